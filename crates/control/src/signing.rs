//! The key that signs the log: made once, sealed at rest, changed by `audit.rotate_key`. Must never leave this process unsealed.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::open::OpenError;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{AuditPublicKey, AuditRotateKey};
use audit::{KeyRotation, Leaf, NoteSigner};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Entropy, Owner, Scope};
use seal::{Sealer, SigningKey};
use std::sync::Arc;
use store::{AuditEntry, Changes, SealedSecret, Snapshot, Stored};

/// The secret's name, also its envelope's context.
pub(crate) const SIGNING_KEY: &str = "audit-signing-key";

/// The key that signs now, and how it came to be.
pub(crate) struct LogKey {
    pub(crate) signer: NoteSigner,
    /// The notes of the changes of key before it, oldest first.
    pub(crate) rotations: Vec<String>,
}

/// The stored key.
pub(crate) async fn stored_key(
    snapshot: &Snapshot,
    sealer: &Sealer,
    log_name: &str,
) -> Result<Option<LogKey>, OpenError> {
    let stored: Option<Stored<SealedSecret>> = snapshot.read(SIGNING_KEY).await.map_err(Refusal::from)?;
    let Some(stored) = stored else { return Ok(None) };
    let sealed = STANDARD.decode(&stored.value.sealed).map_err(|_| OpenError::MasterKey)?;
    let seed = sealer.open(SIGNING_KEY.as_bytes(), &sealed).map_err(|_| OpenError::MasterKey)?;
    let seed = <[u8; 32]>::try_from(seed.expose()).map_err(|_| OpenError::MasterKey)?;
    let signer = signer_of(log_name, SigningKey::from_bytes(&seed))?;
    let rotations = crate::decide::all::<store::KeyRotation>(snapshot).await?;
    Ok(Some(LogKey { signer, rotations: rotations.into_iter().map(|one| one.value.note).collect() }))
}

/// A fresh key and its sealed form.
pub(crate) fn fresh_key(
    sealer: &Sealer,
    entropy: &dyn Entropy,
    log_name: &str,
) -> Result<(NoteSigner, SealedSecret), OpenError> {
    let key = SigningKey::generate(entropy);
    let sealed = STANDARD.encode(sealer.seal(SIGNING_KEY.as_bytes(), key.to_bytes().as_slice(), entropy));
    Ok((signer_of(log_name, key)?, SealedSecret { name: SIGNING_KEY.to_owned(), tenant: None, sealed }))
}

fn signer_of(log_name: &str, key: SigningKey) -> Result<NoteSigner, OpenError> {
    NoteSigner::new(log_name, key).map_err(|error| OpenError::LogName(error.to_string()))
}

impl Control {
    /// Take the stored key for all that is signed from now on.
    pub(crate) async fn load_signing_key(&self) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let key = stored_key(&snapshot, &self.sealer, self.log_name.as_str()).await;
        let key = key.map_err(|error| Refusal::bug("the stored signing key does not open", &error))?;
        let key = key.ok_or_else(|| Refusal::bug("the stored signing key", &"is not there"))?;
        self.log_key.store(Arc::new(key));
        Ok(())
    }
}

impl Handle<AuditRotateKey> for Control {
    fn plain(&self, _: Owner, _: &crate::Identity) -> Option<Target> {
        Some(Target::new("AuditLog", Owner::Provider.to_string(), Owner::Provider))
    }

    // One key signs the trees of all tenants, so only the provider changes it.
    async fn resolve(&self, _: &Look<'_>, _: &AuditRotateKey) -> Result<Target, Refusal> {
        Ok(Target::new("AuditLog", Owner::Provider.to_string(), Owner::Provider))
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: AuditRotateKey) -> Result<Outcome<AuditPublicKey>, Refusal> {
        let bug = |error: &dyn std::fmt::Display| Refusal::bug("a key cannot be changed", error);
        let before: Stored<SealedSecret> = admitted.one("signing key", SIGNING_KEY).await?;
        let old = self.log_key.load_full();
        let name = self.log_name.as_str();
        let (new, sealed) = fresh_key(&self.sealer, self.inner.entropy.as_ref(), name).map_err(|error| bug(&error))?;
        let rotation = KeyRotation::sign(&old.signer, &new, admitted.now).map_err(|error| bug(&error))?;
        let number = u32::try_from(old.rotations.len()).unwrap_or(u32::MAX).saturating_add(1);
        let stored = store::KeyRotation { number, note: rotation.rotation.clone(), made_at: admitted.now };
        let mut changes = Changes::new();
        changes.replace(&sealed, before.version).create(&stored);
        let leaf = Leaf::Rotation(rotation).encode().map_err(|error| bug(&error))?;
        let entry = AuditEntry { tree: Owner::Provider, call: admitted.call, part: 1, leaf, payload: None };
        let output = AuditPublicKey { verifier_key: new.verifier().to_string() };
        let mut outcome = Outcome::changed(output, changes).then(After::SigningKey);
        outcome.leaves.push(entry);
        Ok(outcome)
    }
}
