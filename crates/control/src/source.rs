//! Sources: where telemetry comes from, the keys that may send to them, how they fare, and trying a mapping.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Etag, Gone, MappingTest, NewCredential, NewIngestKey, Page, Secret, SourceCreate, SourceCreateKey, SourceDelete,
    SourceGet, SourceHealth, SourceHealthGet, SourceHealths, SourceList, SourceListKeys, SourceName, SourceRevokeKey,
    SourceTestMapping, SourceUpdate,
};
use ids::{CredentialId, Scope, TenantId, Text};
use seal::Token;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Changes, IngestKey, Source, Stored};

/// Keys of one source at most, dead ones included: the rest of a source's life fits into one commit.
const KEYS_MAX: usize = 500;

fn named(text: &str) -> Result<SourceName, Refusal> {
    text.parse().map_err(|error| Refusal::bug("a stored source is not well formed", &error))
}

pub(crate) fn wire(stored: Stored<Source>) -> Result<api::Source, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    Ok(api::Source {
        tenant: value.tenant,
        name: named(&value.name)?,
        description: Text::truncated(&value.description),
        mapping: value.mapping.as_deref().map(Text::truncated),
        mapping_text: value.mapping_text.as_deref().map(Text::truncated),
        enabled: value.enabled,
        silent_after_secs: value.silent_after_secs,
        created_at,
        etag: Etag::of(version),
    })
}

fn wire_key(stored: Stored<IngestKey>) -> Result<api::IngestKey, Refusal> {
    Ok(api::IngestKey {
        id: stored.value.id,
        tenant: stored.value.tenant,
        source: named(&stored.value.source)?,
        name: Text::truncated(&stored.value.name),
        created_at: stored.created_at,
        expires_at: stored.value.expires_at,
        revoked: stored.value.revoked,
    })
}

pub(crate) async fn source_target(look: &Look<'_>, tenant: TenantId, source: &SourceName) -> Result<Target, Refusal> {
    // The tenant first: whether it exists and whether its source exists are answered alike.
    let covered = look.identity.reach().covers(ids::Owner::Tenant(tenant));
    let id = Source::key(tenant, source.text());
    let found: Option<Stored<Source>> = if covered { look.snapshot.read(&id).await? } else { None };
    let found = found.ok_or_else(|| Refusal::not_found("source"))?;
    Ok(Target::new("Source", id, ids::Owner::Tenant(tenant)).named(found.value.name))
}

async fn stored(admitted: &Admitted<'_>, tenant: TenantId, source: &SourceName) -> Result<Stored<Source>, Refusal> {
    admitted.one("source", &Source::key(tenant, source.text())).await
}

/// What a changed source makes stale.
fn after(source: &Source) -> After {
    After::Lake(source.tenant, vec![Source::key(source.tenant, &source.name)])
}

fn some_text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Control {
    /// That the data plane takes these mappings.
    fn check_mapping(&self, source: &Source) -> Result<(), Refusal> {
        if source.mapping.is_some() && source.mapping_text.is_some() {
            return Err(Refusal::fault("/mapping_text", "stands beside `mapping`; give one of them"));
        }
        if let (Some(plane), true) = (&self.plane, source.mapping.is_some() || source.mapping_text.is_some()) {
            plane.test_mapping(source.mapping.as_deref(), source.mapping_text.as_deref(), &[])?;
        }
        Ok(())
    }
}

impl Handle<SourceCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceCreate) -> Result<Outcome<api::Source>, Refusal> {
        let source = Source {
            tenant: input.tenant,
            name: input.name.to_string(),
            description: input.description.into_string(),
            mapping: some_text(input.mapping.map(Text::into_string)),
            mapping_text: some_text(input.mapping_text.map(Text::into_string)),
            enabled: true,
            silent_after_secs: input.silent_after_secs,
        };
        self.check_mapping(&source)?;
        let id = Source::key(input.tenant, &source.name);
        if admitted.snapshot.read::<Source>(&id).await?.is_some() {
            let detail = "the tenant has a source of this name; choose another";
            return Err(api::Problem::new(api::ProblemKind::AlreadyExists, detail).into());
        }
        let mut changes = Changes::new();
        changes.create(&source);
        let after = after(&source);
        let stored = Stored { value: source, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes).then(after))
    }
}

impl Handle<SourceGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceGet) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceGet) -> Result<Outcome<api::Source>, Refusal> {
        Ok(Outcome::answer(wire(stored(admitted, input.tenant, &input.source).await?)?))
    }
}

impl Handle<SourceList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceList) -> Result<Outcome<Page<api::Source>>, Refusal> {
        let page = admitted.page(None, None, input.limit, input.cursor.as_ref(), wire).await?;
        Ok(Outcome::answer(page))
    }
}

impl Handle<SourceUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceUpdate) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceUpdate) -> Result<Outcome<api::Source>, Refusal> {
        let before = stored(admitted, input.tenant, &input.source).await?;
        admitted.check_version(input.if_match, before.version)?;
        let mut source = before.value.clone();
        if let Some(text) = input.description {
            source.description = text.into_string();
        }
        if let Some(mapping) = input.mapping {
            source.mapping = some_text(Some(mapping.into_string()));
        }
        if let Some(text) = input.mapping_text {
            source.mapping_text = some_text(Some(text.into_string()));
        }
        if let Some(enabled) = input.enabled {
            source.enabled = enabled;
        }
        match input.silent_after_secs {
            Some(0) => source.silent_after_secs = None,
            Some(secs) if secs < 60 => {
                return Err(Refusal::fault("/silent_after_secs", "is below 60; write 60 or more, or 0 for never"));
            }
            Some(secs) => source.silent_after_secs = Some(secs),
            None => {}
        }
        self.check_mapping(&source)?;
        let mut changes = Changes::new();
        changes.replace(&source, before.version);
        let (after, version) = (after(&source), before.version.saturating_add(1));
        let stored = Stored { value: source, version, created_at: before.created_at, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes).then(after))
    }
}

impl Handle<SourceDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceDelete) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceDelete) -> Result<Outcome<Gone>, Refusal> {
        let before = stored(admitted, input.tenant, &input.source).await?;
        let id = Source::key(input.tenant, input.source.text());
        let owner = admitted.target.owner;
        let mut changes = Changes::new();
        for key in admitted.snapshot.find::<IngestKey>("source", &id).await? {
            changes.delete::<IngestKey>(&key.value.id.to_string(), owner, key.version);
        }
        crate::source_bucket::forget(admitted, &id, owner, &mut changes).await?;
        changes.delete::<Source>(&id, owner, before.version);
        Ok(Outcome::changed(Gone { id }, changes).then(after(&before.value)))
    }
}

impl Handle<SourceCreateKey> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceCreateKey) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceCreateKey) -> Result<Outcome<NewIngestKey>, Refusal> {
        let source = stored(admitted, input.tenant, &input.source).await?;
        let id = Source::key(input.tenant, input.source.text());
        if admitted.snapshot.find::<IngestKey>("source", &id).await?.len() >= KEYS_MAX {
            return Err(Refusal::conflict(format!("the source has {KEYS_MAX} keys; make another source")));
        }
        let token = Token::generate("ingest", self.entropy.as_ref())
            .map_err(|error| Refusal::bug("a token was not made", &error))?;
        let key = IngestKey {
            id: CredentialId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: input.tenant,
            source: input.source.to_string(),
            name: input.name.into_string(),
            hash: token.lookup_hash().to_string(),
            expires_at: admitted.now.plus(Duration::from_secs(u64::from(input.ttl_secs))),
            revoked: false,
        };
        let credential =
            NewCredential { id: key.id, secret: Secret::new(token.expose().to_owned()), expires_at: key.expires_at };
        let mut changes = Changes::new();
        changes.create(&key).expect::<Source>(&id, source.version);
        let stored = Stored { value: key, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(NewIngestKey { key: wire_key(stored)?, credential }, changes))
    }
}

impl Handle<SourceListKeys> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceListKeys) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SourceListKeys,
    ) -> Result<Outcome<Page<api::IngestKey>>, Refusal> {
        let key = Some(("source", Source::key(input.tenant, input.source.text())));
        let page =
            admitted.page(Some(admitted.target.owner), key, input.limit, input.cursor.as_ref(), wire_key).await?;
        Ok(Outcome::answer(page))
    }
}

impl Handle<SourceRevokeKey> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceRevokeKey) -> Result<Target, Refusal> {
        source_target(look, input.tenant, &input.source).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceRevokeKey) -> Result<Outcome<Gone>, Refusal> {
        let key: Stored<IngestKey> = admitted.one("ingest key", &input.key.to_string()).await?;
        if key.value.source != input.source.text().as_str() {
            return Err(Refusal::not_found("ingest key"));
        }
        let mut changes = Changes::new();
        changes.replace(&IngestKey { revoked: true, ..key.value.clone() }, key.version);
        Ok(Outcome::changed(Gone { id: input.key.to_string() }, changes).touching(&input.key))
    }
}

impl Handle<SourceHealthGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceHealthGet) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SourceHealthGet) -> Result<Outcome<SourceHealths>, Refusal> {
        let scope = Scope::from(admitted.target.owner);
        let told = self.plane()?.sources(&scope).await?;
        let mut fares: BTreeMap<(TenantId, String), SourceHealth> =
            told.into_iter().map(|(tenant, health)| ((tenant, health.source.clone()), health)).collect();
        for stored in crate::decide::all::<Source>(&admitted.snapshot).await? {
            let Source { tenant, name, enabled, silent_after_secs, .. } = stored.value;
            let health = fares.entry((tenant, name.clone())).or_insert_with(|| SourceHealth {
                source: name,
                state: "never_seen".to_owned(),
                ..SourceHealth::default()
            });
            health.known = true;
            let silent = |secs: u32| {
                health.last_seen.is_some_and(|seen| admitted.now.since(seen) > Duration::from_secs(u64::from(secs)))
            };
            if !enabled {
                "disabled".clone_into(&mut health.state);
            } else if silent_after_secs.is_some_and(silent) {
                "silent".clone_into(&mut health.state);
            }
        }
        let wanted = input.source.map(|source| source.to_string());
        let fits = |health: &SourceHealth| wanted.as_ref().is_none_or(|wanted| *wanted == health.source);
        Ok(Outcome::answer(SourceHealths { items: fares.into_values().filter(fits).take(1000).collect() }))
    }
}

impl Handle<SourceTestMapping> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SourceTestMapping) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, _: &Admitted<'_>, input: SourceTestMapping) -> Result<Outcome<MappingTest>, Refusal> {
        let samples: Vec<String> = input.samples.into_iter().map(Text::into_string).collect();
        let tested = self.plane()?.test_mapping(input.mapping.as_deref(), input.mapping_text.as_deref(), &samples)?;
        Ok(Outcome::answer(tested))
    }
}
