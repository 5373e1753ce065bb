//! The door for offline commands: the same gate in the process of a command that holds the data folder. The caller is
//! `system` plus the name of the operating system's user, decided by policy and recorded like everyone.

use crate::context::Control;
use crate::identity::Identity;
use api::{Call, Credential, Door, Future, Listing, Origin, Problem, Reply, Spec};
use ids::{CredentialId, Owner, Principal};
use std::sync::Arc;
use std::time::Duration;

/// How long one command may go on.
const COMMAND_TTL: Duration = Duration::from_secs(24 * 3600);

/// A gate that is opened for one command.
pub struct Offline {
    control: Control,
    identity: Arc<Identity>,
}

impl Control {
    /// A door for an offline command of this operating system user.
    #[must_use]
    pub fn offline(&self, user: &str) -> Offline {
        let letter = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        let name: String = user.to_lowercase().chars().take(50).map(letter).collect();
        let principal = Principal::System(format!("cli-{name}"));
        let now = self.now();
        let identity = Arc::new(Identity {
            credential: CredentialId::derive(&[b"offline", principal.to_string().as_bytes()]),
            principal,
            home: Owner::Provider,
            issued_at: now,
            expires_at: now.plus(COMMAND_TTL),
            bound: None,
            run: None,
            case: None,
            on_behalf_of: Vec::new(),
            owner: None,
            holders: Vec::new(),
            name,
            roles: Vec::new(),
            lent: None,
        });
        Offline { control: self.clone(), identity }
    }
}

impl Door for Offline {
    fn specs(&self) -> &[Spec] {
        self.control.specs()
    }

    fn spec(&self, operation: &str) -> Option<&Spec> {
        self.control.spec(operation)
    }

    fn call(&self, call: Call) -> Future<'_, Reply> {
        Box::pin(self.control.admit_as(call, Some(self.identity.clone())))
    }

    fn listing<'a>(&'a self, _: Option<&'a Credential>, _: &'a Origin) -> Future<'a, Result<Listing, Problem>> {
        let operations = self.control.specs().iter().map(|spec| spec.meta.id).collect();
        Box::pin(async move { Ok(Listing { operations, caller: String::new() }) })
    }
}
