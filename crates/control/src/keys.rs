//! The keys that seal what is kept: one for each tenant and one for the provider, themselves sealed under the master key.
//! What a tenant owns of secrets and of the texts beside its log opens only with its own key, and with that key's end with
//! none. Must never seal a tenant's text under another tenant's key, and never keep a key that was destroyed.

use crate::context::Control;
use crate::open::OpenError;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{CallId, Entropy, Owner, Scope, TenantId};
use seal::{Mac, SealError, Sealer, SecretBytes};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use store::{Changes, SealedSecret, Snapshot, Tenant};

/// The names of these keys among the platform's secrets; also the contexts of their envelopes.
const PREFIX: &str = "data-key/";
/// How many of them one commit makes or moves.
const SECRETS_AT_ONCE: usize = 200;

/// The name of an owner's key.
fn name(owner: Owner) -> String {
    match owner {
        Owner::Provider => format!("{PREFIX}provider"),
        Owner::Tenant(tenant) => format!("{PREFIX}{tenant}"),
    }
}

/// Every key, opened.
pub(crate) struct Keys {
    master: Sealer,
    // The provider's is always here once the gate is open.
    ring: RwLock<HashMap<Owner, Sealer>>,
}

impl Keys {
    /// The keys that are stored, and what is derived from the provider's. In a new installation that one is made: its
    /// sealed form is to be stored.
    pub(crate) async fn load(
        master: Sealer,
        before: Option<&Sealer>,
        snapshot: &Snapshot,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Mac, Option<SealedSecret>), OpenError> {
        let keys = Self { master, ring: RwLock::default() };
        let mut provider = None;
        for stored in crate::decide::all::<SealedSecret>(snapshot).await? {
            let secret = stored.value;
            let Some(place) = secret.name.strip_prefix(PREFIX) else { continue };
            let owner = match place {
                "provider" => Owner::Provider,
                tenant => Owner::Tenant(tenant.parse().map_err(|_| OpenError::State(secret.name.clone()))?),
            };
            let sealed = STANDARD.decode(&secret.sealed).map_err(|_| OpenError::MasterKey)?;
            let opened = match (keys.master.open(secret.name.as_bytes(), &sealed), before) {
                (Err(SealError::Key), Some(before)) => before.open(secret.name.as_bytes(), &sealed),
                (opened, _) => opened,
            };
            let opened = opened.map_err(|_| OpenError::MasterKey)?;
            let key = <[u8; 32]>::try_from(opened.expose()).map_err(|_| OpenError::MasterKey)?;
            if owner == Owner::Provider {
                provider = Some(Mac::from_bytes(key));
            }
            keys.put(owner, key);
        }
        if let Some(provider) = provider {
            return Ok((keys, provider.derive("gate"), None));
        }
        let (key, secret) = keys.fresh(Owner::Provider, entropy);
        Ok((keys, Mac::from_bytes(key).derive("gate"), Some(secret)))
    }

    fn put(&self, owner: Owner, key: [u8; 32]) {
        self.ring.write().unwrap_or_else(PoisonError::into_inner).insert(owner, Sealer::new(key));
    }

    fn fresh(&self, owner: Owner, entropy: &dyn Entropy) -> ([u8; 32], SealedSecret) {
        let mut key = [0_u8; 32];
        entropy.fill(&mut key);
        self.put(owner, key);
        let name = name(owner);
        let sealed = STANDARD.encode(self.master.seal(name.as_bytes(), &key, entropy));
        // The provider's, whoever it serves: a tenant's documents go before what they are sealed with.
        (key, SealedSecret { name, tenant: None, sealed })
    }

    /// A fresh key for an owner, in use from now on; its sealed form is to be stored with the first thing that it seals.
    pub(crate) fn make(&self, owner: Owner, entropy: &dyn Entropy) -> SealedSecret {
        self.fresh(owner, entropy).1
    }

    /// Forget a tenant's key.
    pub(crate) fn forget(&self, tenant: TenantId) {
        self.ring.write().unwrap_or_else(PoisonError::into_inner).remove(&Owner::Tenant(tenant));
    }

    fn has(&self, owner: Owner) -> bool {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).contains_key(&owner)
    }

    /// The key of an owner. What is told of a tenant that is gone is the provider's.
    fn of(&self, owner: Owner) -> Sealer {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.get(&owner).or_else(|| ring.get(&Owner::Provider)).unwrap_or(&self.master).clone()
    }

    /// Seal what this owner has.
    pub(crate) fn seal(&self, owner: Owner, context: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        self.of(owner).seal(context, plaintext, entropy)
    }

    /// Open what was sealed for this owner.
    ///
    /// # Errors
    /// [`SealError::Key`] where its key is destroyed.
    pub(crate) fn open(&self, owner: Owner, context: &[u8], sealed: &[u8]) -> Result<SecretBytes, SealError> {
        match self.of(owner).open(context, sealed) {
            // Sealed for one that was gone then, or before it was here.
            Err(SealError::Key) => self.of(Owner::Provider).open(context, sealed),
            opened => opened,
        }
    }
}

/// Where a text beside a leaf stands.
fn payload_context(call: CallId, part: u8) -> Vec<u8> {
    format!("payload/{call}/{part}").into_bytes()
}

impl Control {
    /// A text beside a leaf, as it is stored.
    pub(crate) fn sealed_payload(&self, tree: Owner, call: CallId, part: u8, text: &[u8]) -> Vec<u8> {
        self.keys.seal(tree, &payload_context(call, part), text, self.inner.entropy.as_ref())
    }

    /// A stored text beside a leaf; none where its key is destroyed, as where it has expired.
    pub(crate) fn opened_payload(
        &self,
        tree: Owner,
        call: CallId,
        part: u8,
        body: &[u8],
    ) -> Result<Option<Value>, Refusal> {
        let opened = match self.keys.open(tree, &payload_context(call, part), body) {
            Ok(opened) => opened,
            Err(SealError::Key) => return Ok(None),
            Err(error) => return Err(Refusal::bug("a stored payload does not open", &error)),
        };
        let text = serde_json::from_slice(opened.expose());
        text.map(Some).map_err(|error| Refusal::bug("a stored payload is not JSON", &error))
    }

    /// The salt and the text beside a call's leaf, as they were digested: for tests that look at what is stored.
    pub async fn kept_text(&self, tree: Owner, call: CallId) -> Option<(Vec<u8>, Vec<u8>)> {
        let payload = self.store.snapshot(Scope::Provider).payload(call, 0).await.ok()??;
        let opened = self.keys.open(tree, &payload_context(call, 0), &payload.body).ok()?;
        Some((payload.salt, opened.expose().to_vec()))
    }

    /// Make the keys of tenants that have none.
    pub(crate) async fn complete_keys(&self) -> Result<(), Refusal> {
        let tenants = crate::decide::all::<Tenant>(&self.store.snapshot(Scope::Provider)).await?;
        let owners = tenants.into_iter().map(|one| Owner::Tenant(one.value.id));
        let missing: Vec<Owner> = owners.filter(|owner| !self.keys.has(*owner)).collect();
        for some in missing.chunks(SECRETS_AT_ONCE) {
            let mut changes = Changes::new();
            for owner in some {
                changes.create(&self.keys.make(*owner, self.inner.entropy.as_ref()));
            }
            let what = PREFIX.to_owned();
            self.commit_as_system("setup", "system.create_data_keys", Owner::Provider, what, changes).await?;
        }
        Ok(())
    }

    /// Seal every key under the master key of now that is still sealed under the one before; what the keys seal stays as it
    /// is. After a crash half-way, again.
    pub(crate) async fn move_keys(&self, before: &Sealer) -> Result<(), OpenError> {
        let entropy = self.inner.entropy.as_ref();
        let mut moved = Vec::new();
        for stored in crate::decide::all::<SealedSecret>(&self.store.snapshot(Scope::Provider)).await? {
            let sealed = STANDARD.decode(&stored.value.sealed).map_err(|_| OpenError::MasterKey)?;
            let context = stored.value.name.clone().into_bytes();
            match before.rewrap(&self.sealer, &context, &sealed, entropy) {
                Ok(sealed) => {
                    moved.push((SealedSecret { sealed: STANDARD.encode(sealed), ..stored.value }, stored.version))
                }
                Err(SealError::Key) if self.sealer.open(&context, &sealed).is_ok() => {}
                Err(_) => return Err(OpenError::MasterKey),
            }
        }
        for some in moved.chunks(SECRETS_AT_ONCE) {
            let mut changes = Changes::new();
            for (secret, version) in some {
                changes.replace(secret, *version);
            }
            let what = format!("{} keys", some.len());
            self.commit_as_system("setup", "system.change_master_key", Owner::Provider, what, changes).await?;
        }
        Ok(())
    }

    /// Destroy a tenant's key: what only it opens is closed for good. Whether there is none any more.
    pub(crate) async fn destroy_key(&self, tenant: TenantId) -> Result<bool, Refusal> {
        let name = name(Owner::Tenant(tenant));
        let read = async || self.store.snapshot(Scope::Provider).read::<SealedSecret>(&name).await;
        self.keys.forget(tenant);
        if let Some(stored) = read().await? {
            let mut changes = Changes::new();
            changes.delete::<SealedSecret>(&name, Owner::Provider, stored.version);
            self.commit_as_system("tenant-purge", "tenant.destroy_key", Owner::Provider, tenant.to_string(), changes)
                .await?;
        }
        Ok(read().await?.is_none())
    }
}
