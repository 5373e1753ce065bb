//! [`Control`] as the [`api::Door`] that faces hold.

use crate::admission::Look;
use crate::context::Control;
use crate::decide::Circumstances;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Attempt, Call, Credential, Door, Future, Listing, Origin, Problem, Reply, Spec};
use ids::Owner;
use policy::{Authority, Decision};
use seal::Digest;

impl Door for Control {
    fn specs(&self) -> &[Spec] {
        self.registry.specs()
    }

    fn spec(&self, operation: &str) -> Option<&Spec> {
        self.registry.spec(operation)
    }

    fn call(&self, call: Call) -> Future<'_, Reply> {
        Box::pin(self.admit(call))
    }

    fn intake(&self) -> Option<&dyn api::Intake> {
        Some(self)
    }

    fn refused(&self, attempt: Attempt) -> Future<'_, Problem> {
        Box::pin(self.note(attempt))
    }

    fn sign_in_at<'a>(&'a self, ask: api::SignInAsk<'a>) -> Future<'a, Result<String, Problem>> {
        Box::pin(async move { self.begin_sign_in(&ask).await })
    }

    fn listing<'a>(
        &'a self,
        credential: Option<&'a Credential>,
        origin: &'a Origin,
    ) -> Future<'a, Result<Listing, Problem>> {
        Box::pin(async move { self.list_operations(credential, origin).await.map_err(Refusal::into_problem) })
    }
}

impl Control {
    async fn list_operations(&self, credential: Option<&Credential>, origin: &Origin) -> Result<Listing, Refusal> {
        let identity = self.authenticate(credential).await?;
        self.good_for(&identity, origin.face, None)?;
        self.halted(&identity, identity.place(), None)?;
        let place = identity.place();
        let mut operations = Vec::new();
        for spec in self.registry.specs() {
            let (decision, _) = self.cell(&identity, spec, place, origin.face).await?;
            if !matches!(decision.authority(), Authority::Denied | Authority::HumanOnly) {
                operations.push(spec.meta.id);
            }
        }
        Ok(Listing { operations, caller: identity.caller() })
    }

    /// What would be decided for an operation at a place, with a target that has nothing special about it.
    pub(crate) async fn cell(
        &self,
        identity: &Identity,
        spec: &Spec,
        place: Owner,
        face: api::Face,
    ) -> Result<(Decision, Digest), Refusal> {
        let target = self.plain_target(identity, spec, place);
        let none = Circumstances::default();
        let request = self.question(identity, spec, &target, face, &none).await?;
        let (mut decision, version) = self.weigh_both(identity, spec, &target, (face, &none), &request).await?;
        if identity.lent.as_ref().is_some_and(|lent| !lent.covers(spec)) {
            decision = crate::lent::outside(decision);
        }
        Ok((decision, version))
    }

    /// The target of a cell.
    fn plain_target(&self, identity: &Identity, spec: &Spec, place: Owner) -> Target {
        let special = self.registry.find(spec.meta.id).and_then(|(_, own)| own.plain(self, place, identity));
        special.unwrap_or_else(|| plain_target(spec, place, identity))
    }

    /// The question of a cell and the place of its target, for who asks it of several policy sets or sets of roles.
    pub(crate) async fn cell_question(
        &self,
        identity: &Identity,
        spec: &Spec,
        place: Owner,
        face: api::Face,
    ) -> Result<(Owner, policy::Request), Refusal> {
        let target = self.plain_target(identity, spec, place);
        Ok((target.owner, self.question(identity, spec, &target, face, &Circumstances::default()).await?))
    }

    /// A look within a caller's reach.
    pub(crate) fn look<'a>(&'a self, identity: &'a Identity, snapshot: &'a store::Snapshot) -> Look<'a> {
        Look { control: self, identity, snapshot }
    }
}

/// A target of the operation's type at a place, made by nobody in particular.
fn plain_target(spec: &Spec, place: Owner, identity: &Identity) -> Target {
    match spec.meta.resource {
        "Provider" | "Tenant" => match (spec.meta.resource, place) {
            ("Provider", _) | (_, Owner::Provider) => Target { owner: place, ..Target::provider() },
            (_, Owner::Tenant(tenant)) => Target::tenant(tenant),
        },
        "Self" => Target::new("Self", identity.principal.to_string(), identity.home),
        kind => Target::new(kind, "any", place),
    }
}
