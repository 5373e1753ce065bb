//! Lists and versions on the wire: `{items, next_cursor}`, `limit`, `etag`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How many items at most: 1 to 1000, 100 where nothing is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Limit(u32);

impl Limit {
    /// The greatest limit.
    pub const MAX: u32 = 1000;

    /// The number.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u32::deserialize(deserializer)?;
        if (1..=Self::MAX).contains(&count) {
            Ok(Self(count))
        } else {
            Err(serde::de::Error::custom(format!("is {count}; write 1 to {}", Self::MAX)))
        }
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX, "default": 100 })
    }
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page<T> {
    /// The items of this page, oldest id first.
    #[schemars(length(max = 1000))]
    pub items: Vec<T>,
    /// Give this as `cursor` to get the next page; absent on the last page. It is bound to this principal and to
    /// the filter of this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub next_cursor: Option<String>,
}

/// The version of an object, quoted as HTTP wants it (RFC 9110 section 8.8.3), for example `"3"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Etag(i64);

impl Etag {
    /// The tag of a version; versions count from 1.
    #[must_use]
    pub const fn of(version: i64) -> Self {
        Self(version)
    }

    /// The version.
    #[must_use]
    pub const fn version(self) -> i64 {
        self.0
    }
}

impl std::fmt::Display for Etag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl std::str::FromStr for Etag {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or("is not an entity tag of this API; send back the `etag` that you got, with its quotes")
    }
}

impl Serialize for Etag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Etag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Etag {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Etag".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^\"[1-9][0-9]{0,17}\"$", "maxLength": 20 })
    }
}
