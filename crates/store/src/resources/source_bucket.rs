//! Sources that are read from an object store: where it is, how far it was read, and which objects were taken.

use crate::{Key, Resource, Source, sortable};
use ids::{Owner, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a source is read from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceBucket {
    /// The source's tenant.
    pub tenant: TenantId,
    /// The source's name.
    pub source: String,
    /// Where the store is.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with this.
    pub prefix: String,
    /// The id of the access key.
    pub access_key_id: Option<String>,
    /// Its secret, sealed, base64. The source and the endpoint are the envelope's context: a moved one does not open.
    pub secret: Option<String>,
    /// Every so many seconds.
    pub every_secs: u32,
}

impl Resource for SourceBucket {
    const KIND: &'static str = "source_bucket";
    fn id(&self) -> String {
        Source::key(self.tenant, &self.source)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// How far it was read; apart from where it is, which people hold on to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BucketState {
    /// The source's tenant.
    pub tenant: TenantId,
    /// The source's name.
    pub source: String,
    /// When it is looked at next.
    pub next_at: Timestamp,
    /// When it was last listed to its end.
    pub listed_at: Option<Timestamp>,
    /// Objects that were taken.
    pub objects: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects, or records in them, that could not be read.
    pub unreadable: u64,
    /// Why the last look came to nothing.
    pub problem: Option<String>,
}

impl Resource for BucketState {
    const KIND: &'static str = "bucket_state";
    fn id(&self) -> String {
        Source::key(self.tenant, &self.source)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("due", sortable(self.next_at))]
    }
}

/// An object that was taken, or will never be: the durable cursor of a bucket is all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PulledObject {
    /// The source's tenant.
    pub tenant: TenantId,
    /// The source's name.
    pub source: String,
    /// Digest of endpoint, bucket, key and entity tag, hexadecimal.
    pub digest: String,
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub etag: String,
    /// Its size.
    pub bytes: u64,
    /// Records taken.
    pub records: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Batches of it that are durable, where the look broke off in its midst: the rest of it is still to come.
    pub begun: Option<u32>,
    /// Why it was not taken, or not whole.
    pub problem: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Resource for PulledObject {
    const KIND: &'static str = "pulled_object";
    fn id(&self) -> String {
        format!("{}/{}", Source::key(self.tenant, &self.source), self.digest)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        let source = Source::key(self.tenant, &self.source);
        let unreadable =
            (self.unreadable > 0 || self.problem.is_some()).then(|| Key::lookup("unreadable", source.clone()));
        std::iter::once(Key::lookup("source", source)).chain(unreadable).collect()
    }
}
