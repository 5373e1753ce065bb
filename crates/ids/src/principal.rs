//! Who acts. Every caller is one of six kinds; there is no seventh way in.

use crate::{AgentId, ParseIdError, RuleId, SensorId, ServiceKeyId, UserId};
use thiserror::Error;

/// The kinds of principal (DESIGN section 3).
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// An AI agent.
    Agent,
    /// A detection rule that asks for a response.
    Rule,
    /// The program on a host.
    Sensor,
    /// A program that holds a service key.
    Service,
    /// The platform itself: schedules, reconcilers, offline commands.
    System,
    /// A person.
    User,
}

impl PrincipalKind {
    /// The word used on the wire and in policies, for example `agent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Rule => "rule",
            Self::Sensor => "sensor",
            Self::Service => "service",
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// One principal. On the wire its id's text; `system` has a name in place of an id (`system_scheduler`).
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Principal {
    /// An AI agent.
    Agent(AgentId),
    /// A detection rule.
    Rule(RuleId),
    /// A sensor.
    Sensor(SensorId),
    /// A program.
    Service(ServiceKeyId),
    /// A part of the platform, by name: lower-case letters, digits and `-`, at most 64.
    System(String),
    /// A person.
    User(UserId),
}

/// Why a text names no principal.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum ParsePrincipalError {
    /// The prefix is that of a principal, the rest is not an id.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// The prefix is none of a principal's.
    #[error("a principal is the id of a user, agent, service key, sensor or rule, or `system_` and a name")]
    Kind,
}

impl Principal {
    /// Which kind this is.
    #[must_use]
    pub const fn kind(&self) -> PrincipalKind {
        match self {
            Self::Agent(_) => PrincipalKind::Agent,
            Self::Rule(_) => PrincipalKind::Rule,
            Self::Sensor(_) => PrincipalKind::Sensor,
            Self::Service(_) => PrincipalKind::Service,
            Self::System(_) => PrincipalKind::System,
            Self::User(_) => PrincipalKind::User,
        }
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Agent(id) => id.fmt(f),
            Self::Rule(id) => id.fmt(f),
            Self::Sensor(id) => id.fmt(f),
            Self::Service(id) => id.fmt(f),
            Self::System(name) => write!(f, "system_{name}"),
            Self::User(id) => id.fmt(f),
        }
    }
}

impl std::str::FromStr for Principal {
    type Err = ParsePrincipalError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('_') {
            Some((AgentId::KIND, _)) => Ok(Self::Agent(text.parse()?)),
            Some((RuleId::KIND, _)) => Ok(Self::Rule(text.parse()?)),
            Some((SensorId::KIND, _)) => Ok(Self::Sensor(text.parse()?)),
            Some((ServiceKeyId::KIND, _)) => Ok(Self::Service(text.parse()?)),
            Some((UserId::KIND, _)) => Ok(Self::User(text.parse()?)),
            Some(("system", name)) if system_name(name) => Ok(Self::System(name.to_owned())),
            _ => Err(ParsePrincipalError::Kind),
        }
    }
}

fn system_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl serde::Serialize for Principal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Agent(id) => id.serialize(serializer),
            Self::Rule(id) => id.serialize(serializer),
            Self::Sensor(id) => id.serialize(serializer),
            Self::Service(id) => id.serialize(serializer),
            Self::System(_) => serializer.collect_str(self),
            Self::User(id) => id.serialize(serializer),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Principal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Principal {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Principal".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^((agent|rule|sensor|service|user)_[0-7][0-9a-hjkmnp-tv-z]{25}|system_[a-z0-9-]{1,64})$",
            "maxLength": 72,
            "x-id": "principal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for principal in [
            Principal::User(UserId::derive(&[b"a"])),
            Principal::Service(ServiceKeyId::derive(&[b"a"])),
            Principal::System("scheduler".to_owned()),
        ] {
            assert_eq!(principal.to_string().parse(), Ok(principal));
        }
        assert!("system_".parse::<Principal>().is_err());
        assert!("root_1".parse::<Principal>().is_err());
    }
}
