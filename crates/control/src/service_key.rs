//! Service keys: programs as principals; a secret can be rotated with an overlap.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{Etag, Gone, NewServiceKey, Page, ServiceKeyCreate, ServiceKeyList, ServiceKeyRevoke, ServiceKeyRotate};
use ids::{Principal, ServiceKeyId, UserId};
use std::time::Duration;
use store::{Changes, Credential, CredentialKind, ServiceKey, Stored};

fn wire(stored: Stored<ServiceKey>) -> Result<api::ServiceKey, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    Ok(api::ServiceKey {
        id: value.id,
        tenant: value.tenant,
        name: value.name.parse().map_err(|error| Refusal::bug("a stored service key is not well formed", &error))?,
        expires_at: value.expires_at,
        revoked: value.revoked,
        created_by: value.created_by,
        created_at,
        etag: Etag::of(version),
    })
}

/// How many people a key remembers to have been shown a secret of it, its maker always among them.
const HOLDERS_MAX: usize = 16;

/// The people who see the secret that this caller is given: the person, or those who hold the calling key's secret.
fn shown_to(identity: &Identity, mut holders: Vec<UserId>) -> Vec<UserId> {
    let callers = match &identity.principal {
        Principal::User(user) => vec![*user],
        _ => identity.holders.clone(),
    };
    for caller in callers {
        if !holders.contains(&caller) {
            if holders.len() >= HOLDERS_MAX {
                // The maker stays; of the others the one longest ago goes.
                holders.remove(1);
            }
            holders.push(caller);
        }
    }
    holders
}

/// The key as it is once it is dead for good.
pub(crate) fn revoked(key: &ServiceKey) -> ServiceKey {
    ServiceKey { revoked: true, ..key.clone() }
}

async fn key_target(look: &Look<'_>, id: ServiceKeyId) -> Result<Target, Refusal> {
    let stored: Stored<ServiceKey> = look.one("service key", &id.to_string()).await?;
    Ok(Target::new("ServiceKey", id.to_string(), stored.value.tenant.into()).named(stored.value.name))
}

impl Handle<ServiceKeyCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ServiceKeyCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ServiceKeyCreate,
    ) -> Result<Outcome<NewServiceKey>, Refusal> {
        let ttl = Duration::from_secs(u64::from(input.ttl_secs));
        let owner = admitted.target.owner;
        let key = ServiceKey {
            id: ServiceKeyId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: owner.tenant(),
            name: input.name.to_string(),
            revoked: false,
            expires_at: admitted.now.plus(ttl),
            created_by: Some(admitted.identity.principal.clone()),
            holders: shown_to(admitted.identity, Vec::new()),
        };
        let principal = Principal::Service(key.id);
        let (credential, shown) =
            self.new_credential(CredentialKind::Service, principal, owner, &key.name, admitted.now, ttl)?;
        let mut changes = Changes::new();
        changes.create(&key).create(&credential);
        let stored = Stored { value: key, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(NewServiceKey { key: wire(stored)?, credential: shown }, changes))
    }
}

impl Handle<ServiceKeyList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ServiceKeyList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ServiceKeyList,
    ) -> Result<Outcome<Page<api::ServiceKey>>, Refusal> {
        let owner = Some(admitted.target.owner);
        Ok(Outcome::answer(admitted.page(owner, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<ServiceKeyRotate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ServiceKeyRotate) -> Result<Target, Refusal> {
        key_target(look, input.service_key).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ServiceKeyRotate,
    ) -> Result<Outcome<NewServiceKey>, Refusal> {
        let before: Stored<ServiceKey> = admitted.one("service key", &input.service_key.to_string()).await?;
        if before.value.revoked {
            return Err(Refusal::conflict("the service key is revoked for good; create another"));
        }
        let ttl = Duration::from_secs(u64::from(input.ttl_secs));
        let overlap = admitted.now.plus(Duration::from_secs(u64::from(input.overlap_secs)));
        let key = ServiceKey {
            expires_at: admitted.now.plus(ttl),
            holders: shown_to(admitted.identity, before.value.holders.clone()),
            ..before.value.clone()
        };
        let principal = Principal::Service(key.id);
        let (credential, shown) = self.new_credential(
            CredentialKind::Service,
            principal.clone(),
            admitted.target.owner,
            &key.name,
            admitted.now,
            ttl,
        )?;
        let mut changes = Changes::new();
        changes.replace(&key, before.version).create(&credential);
        for old in admitted.snapshot.find::<Credential>("principal", &principal.to_string()).await? {
            if !old.value.revoked && old.value.expires_at > overlap {
                changes.replace(&Credential { expires_at: overlap, ..old.value.clone() }, old.version);
            }
        }
        let version = before.version.saturating_add(1);
        let stored = Stored { value: key, version, created_at: before.created_at, updated_at: admitted.now };
        Ok(Outcome::changed(NewServiceKey { key: wire(stored)?, credential: shown }, changes)
            .touching(&input.service_key))
    }
}

impl Handle<ServiceKeyRevoke> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ServiceKeyRevoke) -> Result<Target, Refusal> {
        key_target(look, input.service_key).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ServiceKeyRevoke) -> Result<Outcome<Gone>, Refusal> {
        let before: Stored<ServiceKey> = admitted.one("service key", &input.service_key.to_string()).await?;
        let mut changes = Changes::new();
        changes.replace(&revoked(&before.value), before.version);
        Ok(Outcome::changed(Gone { id: input.service_key.to_string() }, changes).touching(&input.service_key))
    }
}
