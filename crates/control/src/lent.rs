//! What a lent credential may do: what its agent may, what its person may, and what was lent, the least of the three. Must
//! never let through what either of the two could not do.

use crate::attempts::Kind;
use crate::context::Control;
use crate::decide::Circumstances;
use crate::grant::{audience_word, profile_of};
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Audience, Effect, Face, LentProfile, Problem, ProblemKind, Spec};
use ids::{CredentialId, Principal, Scope, Timestamp, UserId};
use policy::{Decision, Outcome, Request};
use seal::Digest;
use store::{CredentialKind, Grant, Snapshot, Stored};

/// The one operation that codes and refresh tokens are good for.
const REDEEM: &str = "grant.redeem";

/// What a credential was lent for.
#[derive(Clone, Debug)]
pub(crate) struct Lent {
    pub(crate) grant: CredentialId,
    pub(crate) person: UserId,
    profile: LentProfile,
    operations: Vec<String>,
    audience: String,
    /// A code or a refresh token: good for being taken up, and for nothing else.
    pub(crate) exchange: bool,
}

impl Lent {
    /// Whether a face and an operation are ones that the credential is good for.
    fn good_for(&self, face: Face, operation: Option<&str>) -> bool {
        let audience = if face == Face::Mcp { Audience::Mcp } else { Audience::Api };
        operation == Some(REDEEM) || (!self.exchange && self.audience == audience_word(audience))
    }

    /// Whether an operation lies within what was lent.
    pub(crate) fn covers(&self, spec: &Spec) -> bool {
        if spec.meta.family() == "me" || spec.meta.id == REDEEM {
            return true;
        }
        let effect = match spec.meta.effect {
            Effect::Govern => false,
            Effect::Read => true,
            Effect::Respond => self.profile == LentProfile::Respond,
            Effect::Write => matches!(self.profile, LentProfile::Respond | LentProfile::Work),
        };
        let named = |pattern: &String| {
            pattern == spec.meta.id || pattern.strip_suffix(".*").is_some_and(|family| family == spec.meta.family())
        };
        effect && (self.operations.is_empty() || self.operations.iter().any(named))
    }
}

/// What a credential was lent for; none where the grant is over.
pub(crate) async fn lent_of(
    snapshot: &Snapshot,
    grant: CredentialId,
    kind: CredentialKind,
    now: Timestamp,
) -> Result<Option<Lent>, Refusal> {
    let stored: Option<Stored<Grant>> = snapshot.read(&grant.to_string()).await?;
    let Some(grant) = stored.map(|stored| stored.value).filter(|grant| !grant.revoked && grant.expires_at > now) else {
        return Ok(None);
    };
    Ok(profile_of(&grant.profile).map(|profile| Lent {
        grant: grant.id,
        person: grant.person,
        profile,
        operations: grant.operations,
        audience: grant.audience,
        exchange: matches!(kind, CredentialKind::GrantCode | CredentialKind::GrantRefresh),
    }))
}

impl Control {
    /// That a lent credential is presented where it is good for something; else it is as one that does not exist.
    pub(crate) fn good_for(&self, identity: &Identity, face: Face, operation: Option<&str>) -> Result<(), Problem> {
        if identity.lent.as_ref().is_none_or(|lent| lent.good_for(face, operation)) {
            return Ok(());
        }
        self.attempts.count(Kind::of_nobody("authenticate", 401), self.now());
        Err(crate::authenticate::unauthenticated())
    }

    /// That a lent credential calls what was lent.
    pub(crate) fn within_lent(&self, identity: &Identity, spec: &Spec) -> Result<(), Refusal> {
        match &identity.lent {
            Some(lent) if !lent.covers(spec) => {
                let detail =
                    format!("`{}` is outside of what was lent; the person who lent it can do it", spec.meta.id);
                Err(Problem::new(ProblemKind::Denied, detail).into())
            }
            _ => Ok(()),
        }
    }

    /// Decide for a caller. For a lent credential the person behind it is asked about too, and the stricter answer holds.
    pub(crate) async fn weigh_both(
        &self,
        identity: &Identity,
        spec: &Spec,
        target: &Target,
        (face, circumstances): (Face, &Circumstances),
        request: &Request,
    ) -> Result<(Decision, Digest), Refusal> {
        let own = self.weigh(request);
        let Some(lent) = identity.lent.as_ref().filter(|_| spec.meta.family() != "me" && spec.meta.id != REDEEM) else {
            return Ok(own);
        };
        let snapshot = self.store.snapshot(Scope::Provider);
        let person = self.identity_for(&snapshot, &Principal::User(lent.person)).await?;
        let mut person = person.ok_or_else(crate::authenticate::unauthenticated)?;
        person.bound = identity.bound;
        let request = self.question(&person, spec, target, face, circumstances).await?;
        let (theirs, version) = self.weigh(&request);
        Ok((stricter(own.0, theirs), version))
    }
}

/// How far an outcome is from yes; among step-ups, how many people it asks for.
fn strictness(outcome: &Outcome) -> (u8, i64) {
    match outcome {
        Outcome::Allow => (0, 0),
        Outcome::Modify { .. } => (1, 0),
        Outcome::StepUp(step) => (2, step.needs.values().sum()),
        Outcome::Defer(_) => (3, 0),
        Outcome::Deny(_) => (4, 0),
    }
}

/// The stricter of two decisions; where both lay obligations, all of them hold.
fn stricter(agent: Decision, person: Decision) -> Decision {
    let (mut decision, other) =
        if strictness(&person.outcome) > strictness(&agent.outcome) { (person, agent) } else { (agent, person) };
    if let (Outcome::Modify { obligations }, Outcome::Modify { obligations: more }) =
        (&mut decision.outcome, &other.outcome)
    {
        obligations.tighten(more);
    }
    decision
}

/// The decision about what was not lent: no, whatever policy says.
pub(crate) fn outside(decision: Decision) -> Decision {
    let deny = policy::Deny { reason: policy::DenyReason::NotPermitted, human_only: false };
    Decision { outcome: Outcome::Deny(deny), policies: Vec::new(), ..decision }
}
