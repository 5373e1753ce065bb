//! Sources that are read from an object store, as documents: where it is, how it fares, what was taken. Must never show the
//! key's secret, and never send it, or what it signs, to another endpoint than the one that it was given for.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::source::source_target;
use crate::source_pull::{bucket_at, context};
use crate::target::Target;
use api::{Gone, Page, SourceGetBucket, SourceListObjects, SourceObject, SourceRemoveBucket, SourceSetBucket};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Owner, Text};
use store::{BucketState, Changes, PulledObject, Source, SourceBucket, Stored};

fn wire(bucket: &SourceBucket, state: &BucketState) -> Result<api::SourceBucket, Refusal> {
    Ok(api::SourceBucket {
        tenant: bucket.tenant,
        source: bucket.source.parse().map_err(|error| Refusal::bug("a stored source is not well formed", &error))?,
        endpoint: Text::truncated(&bucket.endpoint),
        region: Text::truncated(&bucket.region),
        bucket: Text::truncated(&bucket.bucket),
        prefix: Text::truncated(&bucket.prefix),
        access_key_id: bucket.access_key_id.as_deref().map(Text::truncated),
        every_secs: bucket.every_secs,
        listed_at: state.listed_at,
        next_at: state.next_at,
        objects: state.objects,
        records: state.records,
        bytes: state.bytes,
        unreadable: state.unreadable,
        problem: state.problem.clone(),
    })
}

fn wire_object(stored: Stored<PulledObject>) -> Result<SourceObject, Refusal> {
    let PulledObject { key, etag, bytes, records, unreadable, problem, at, .. } = stored.value;
    Ok(SourceObject { key, etag, bytes, records, unreadable, problem, at })
}

/// What is set of a source that goes, goes with it.
pub(crate) async fn forget(
    admitted: &Admitted<'_>,
    source: &str,
    owner: Owner,
    changes: &mut Changes,
) -> Result<bool, Refusal> {
    let bucket: Option<Stored<SourceBucket>> = admitted.snapshot.read(source).await?;
    let state: Option<Stored<BucketState>> = admitted.snapshot.read(source).await?;
    let found = bucket.is_some();
    if let Some(bucket) = bucket {
        changes.delete::<SourceBucket>(source, owner, bucket.version);
    }
    if let Some(state) = state {
        changes.delete::<BucketState>(source, owner, state.version);
    }
    Ok(found)
}

impl Control {
    /// The key's secret, sealed: the one that is given, or the one before where nothing that it is for has changed.
    fn sealed_secret(
        &self,
        input: &SourceSetBucket,
        source: &str,
        before: Option<&SourceBucket>,
    ) -> Result<Option<String>, Refusal> {
        let endpoint = input.endpoint.as_str();
        match (&input.access_key_id, &input.secret_access_key) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Refusal::fault("/access_key_id", "is missing beside its secret")),
            (Some(_), Some(secret)) => {
                let place = context(source, endpoint);
                let sealed = self.keys.seal(
                    Owner::Tenant(input.tenant),
                    &place,
                    secret.reveal().as_bytes(),
                    self.entropy.as_ref(),
                );
                Ok(Some(STANDARD.encode(sealed)))
            }
            (Some(id), None) => {
                let same = |before: &&SourceBucket| {
                    before.endpoint == endpoint && before.access_key_id.as_deref() == Some(id.as_str())
                };
                let kept = before.filter(same).and_then(|before| before.secret.clone());
                let missing = "is missing; give it with a new key, and anew where the endpoint changes";
                kept.map(Some).ok_or_else(|| Refusal::fault("/secret_access_key", missing))
            }
        }
    }
}

impl Handle<SourceSetBucket> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceSetBucket) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SourceSetBucket,
    ) -> Result<Outcome<api::SourceBucket>, Refusal> {
        let id = Source::key(input.tenant, input.source.text());
        let source: Stored<Source> = admitted.one("source", &id).await?;
        let before: Option<Stored<SourceBucket>> = admitted.snapshot.read(&id).await?;
        let secret = self.sealed_secret(&input, &id, before.as_ref().map(|before| &before.value))?;
        let bucket = SourceBucket {
            tenant: input.tenant,
            source: input.source.to_string(),
            endpoint: input.endpoint.into_string(),
            region: input.region.into_string(),
            bucket: input.bucket.into_string(),
            prefix: input.prefix.into_string(),
            access_key_id: input.access_key_id.map(Text::into_string),
            secret,
            every_secs: input.every_secs,
        };
        // Whether it may be spoken to at all; nothing is sent.
        bucket_at(&bucket, None, &self.settings.connector_hosts_inside)
            .map_err(|why| Refusal::fault("/endpoint", why))?;
        let known: Option<Stored<BucketState>> = admitted.snapshot.read(&id).await?;
        let (mut changes, state) = (Changes::new(), known.as_ref().map(|known| known.value.clone()));
        let state = BucketState {
            next_at: admitted.now,
            problem: None,
            ..state.unwrap_or_else(|| BucketState {
                tenant: bucket.tenant,
                source: bucket.source.clone(),
                next_at: admitted.now,
                listed_at: None,
                objects: 0,
                records: 0,
                bytes: 0,
                unreadable: 0,
                problem: None,
            })
        };
        match before {
            Some(before) => changes.replace(&bucket, before.version),
            None => changes.create(&bucket),
        };
        match known {
            Some(known) => changes.replace(&state, known.version),
            None => changes.create(&state),
        };
        changes.expect::<Source>(&id, source.version);
        Ok(Outcome::changed(wire(&bucket, &state)?, changes))
    }
}

impl Handle<SourceGetBucket> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceGetBucket) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: SourceGetBucket) -> Result<Outcome<api::SourceBucket>, Refusal> {
        let bucket: Stored<SourceBucket> = admitted.one("bucket", &admitted.target.id).await?;
        let state: Stored<BucketState> = admitted.one("bucket", &admitted.target.id).await?;
        Ok(Outcome::answer(wire(&bucket.value, &state.value)?))
    }
}

impl Handle<SourceRemoveBucket> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceRemoveBucket) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: SourceRemoveBucket) -> Result<Outcome<Gone>, Refusal> {
        let (id, mut changes) = (admitted.target.id.clone(), Changes::new());
        if !forget(admitted, &id, admitted.target.owner, &mut changes).await? {
            return Err(Refusal::not_found("bucket"));
        }
        Ok(Outcome::changed(Gone { id }, changes))
    }
}

impl Handle<SourceListObjects> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceListObjects) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SourceListObjects,
    ) -> Result<Outcome<Page<SourceObject>>, Refusal> {
        let name = if input.unreadable { "unreadable" } else { "source" };
        let key = Some((name, admitted.target.id.clone()));
        let owner = Some(admitted.target.owner);
        Ok(Outcome::answer(admitted.page(owner, key, input.limit, input.cursor.as_ref(), wire_object).await?))
    }
}
