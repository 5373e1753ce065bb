//! Sources that are read from an object store: a prefix that speaks the S3 API, looked at every so often.

use crate::{Gone, Limit, Meta, Method, Operation, Page, Secret, SourceName, example, operation::declare};
use ids::{TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An object store's prefix that a source is read from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SourceBucket {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
    /// Where the store is.
    pub endpoint: Text<512>,
    /// Its region.
    pub region: Text<64>,
    /// The bucket.
    pub bucket: Text<255>,
    /// Only objects whose keys begin with this.
    pub prefix: Text<1024>,
    /// The id of the access key; absent where the bucket is read without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Text<128>>,
    /// Every so many seconds.
    pub every_secs: u32,
    /// When it was last listed to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// When it is looked at next.
    pub next_at: Timestamp,
    /// Objects that were taken.
    pub objects: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them, as they were stored.
    pub bytes: u64,
    /// Objects, or records in objects, that could not be read; see `source.list_objects`.
    pub unreadable: u64,
    /// Why the last look came to nothing, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An object that was taken, or could not be.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SourceObject {
    /// Its key.
    pub key: String,
    /// Its entity tag: the same key with another one is another object.
    pub etag: String,
    /// Its size as it was stored.
    pub bytes: u64,
    /// Records that were taken of it.
    pub records: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Why it was not taken, or not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Read a source from an object store's prefix that speaks the S3 API, from now on and every so many seconds.
///
/// Each object is taken once, by key and entity tag: gzip and zstd are unpacked; JSON lines, arrays, CloudTrail's `Records`,
/// event logs and lines of text are told apart by their first bytes. What can be read is read to its end after a restart, and
/// nothing twice. An endpoint inside (or without TLS) must stand in the server's `connector_hosts_inside`. Calling it again
/// replaces the settings and keeps what is known of objects.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSetBucket {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
    /// Where the store is, without a path: `https://s3.eu-central-1.amazonaws.com`.
    pub endpoint: Text<512>,
    /// Its region, for the signature.
    #[serde(default = "region")]
    pub region: Text<64>,
    /// The bucket.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"))]
    pub bucket: Text<255>,
    /// Only objects whose keys begin with this, for example `AWSLogs/123456789012/CloudTrail/`.
    #[serde(default)]
    pub prefix: Text<1024>,
    /// The id of an access key that may list and get; where nothing is said, requests are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Text<128>>,
    /// The key's secret, kept sealed. May be left out where endpoint and key stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Every so many seconds: 10 to 86,400; 60 where nothing is said.
    #[serde(default = "minute")]
    #[schemars(range(min = 10, max = 86_400))]
    pub every_secs: u32,
}

fn region() -> Text<64> {
    Text::truncated("us-east-1")
}

fn minute() -> u32 {
    60
}

/// See which prefix a source is read from, and how that fares.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceGetBucket {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
}

/// Read a source from an object store no more. What was taken stays, and is not taken again where the bucket is set anew.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceRemoveBucket {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
}

/// List the objects that were taken for a source, or could not be.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceListObjects {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
    /// Only those that could not be read, or not whole.
    #[serde(default)]
    pub unreadable: bool,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

declare! {
    SourceSetBucket => SourceBucket: Meta::govern("source.set_bucket", Method::Put, "/v1/tenants/{tenant}/sources/{source}/bucket", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail", "endpoint": "https://s3.eu-central-1.amazonaws.com", "region": "eu-central-1", "bucket": "acme-trail", "prefix": "AWSLogs/" });
    SourceGetBucket => SourceBucket: Meta::read("source.bucket", Method::Get, "/v1/tenants/{tenant}/sources/{source}/bucket", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail" });
    SourceRemoveBucket => Gone: Meta::govern("source.remove_bucket", Method::Delete, "/v1/tenants/{tenant}/sources/{source}/bucket", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail" });
    SourceListObjects => Page<SourceObject>: Meta::read("source.list_objects", Method::Get, "/v1/tenants/{tenant}/sources/{source}/objects", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail", "unreadable": true });
}
