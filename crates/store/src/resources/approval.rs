//! Approvals: the exact call that waits, who proposed it, and what people said.

use crate::{Key, Resource, sortable};
use ids::{ApprovalId, CallId, CaseId, CredentialId, Owner, Principal, RunId, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for people.
    Pending,
    /// Waits for evidence.
    Deferred,
    /// Enough said yes.
    Approved,
    /// Ran.
    Executed,
    /// Did not pass when decided again, or failed.
    Failed,
    /// Somebody said no.
    Denied,
    /// Ran out of time.
    Expired,
    /// Taken back.
    Cancelled,
    /// Sent, outcome unknown.
    Uncertain,
}

impl ApprovalState {
    /// Whether it still waits.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Pending | Self::Deferred)
    }

    /// The word in keys and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Deferred => "deferred",
            Self::Approved => "approved",
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Uncertain => "uncertain",
        }
    }
}

/// The identity that proposed, as it was recorded: an approved call runs as this, never as its approver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// With which credential.
    pub credential: CredentialId,
    /// When that credential was made: the kill switch compares with it.
    pub credential_issued_at: Timestamp,
    /// The one tenant that a run may reach.
    pub reach: Option<TenantId>,
    /// The run.
    pub run: Option<RunId>,
    /// The run's case.
    pub case: Option<CaseId>,
    /// On whose behalf, nearest first.
    pub on_behalf_of: Vec<Principal>,
    /// The person who answers for an agent, or who made a service key.
    pub owner: Option<UserId>,
    /// Further people behind it, for example who was shown a secret of a service key; empty in what was proposed before
    /// this was kept.
    #[serde(default)]
    pub holders: Vec<UserId>,
    /// Through which face, in the registry's words.
    pub face: String,
}

/// What one person said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vote {
    /// Who.
    pub by: UserId,
    /// Yes or no.
    pub approve: bool,
    /// This person narrowed the call.
    pub narrowed: bool,
    /// Why.
    pub comment: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The digest that the vote was given to.
    pub digest: String,
}

/// The further rung of an approval that waited long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Escalation {
    /// When it was escalated.
    pub at: Timestamp,
    /// The rung.
    pub rung: String,
    /// What it needs.
    pub needs: BTreeMap<String, u32>,
}

/// A request for approval of one exact call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The tenant concerned.
    pub tenant: Option<TenantId>,
    /// Where it stands.
    pub state: ApprovalState,
    /// The call that proposed it.
    pub call: CallId,
    /// Who proposed it.
    pub caller: Caller,
    /// The operation.
    pub operation: String,
    /// The exact input with secrets blanked, as people see it.
    pub input: Value,
    /// The exact input, sealed, where it holds secrets.
    pub sealed_input: Option<String>,
    /// Digest of operation, full input, tenant and target.
    pub digest: String,
    /// Policy's type of the target.
    pub target_kind: String,
    /// The target's id.
    pub target_id: String,
    /// The target's tags as they were.
    pub target_tags: Vec<String>,
    /// The target's name.
    pub target_name: Option<String>,
    /// The rung asked for.
    pub rung: String,
    /// What the rung needs.
    pub needs: BTreeMap<String, u32>,
    /// The policies that would permit.
    pub policies: Vec<String>,
    /// When a further rung is to be asked; none where that was done, and in what was proposed before there was such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_at: Option<Timestamp>,
    /// The further rung that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// Evidence that is missing.
    pub missing: Vec<String>,
    /// What people said.
    pub votes: Vec<Vote>,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// After that the answer is no.
    pub expires_at: Timestamp,
    /// The output once it ran, secrets blanked.
    pub result: Option<Value>,
    /// Why it did not run.
    pub problem: Option<String>,
}

impl Resource for Approval {
    const KIND: &'static str = "approval";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        let mut keys =
            vec![Key::lookup("state", self.state.as_str()), Key::lookup("proposer", self.caller.principal.to_string())];
        if self.state.waits() {
            keys.push(Key::lookup("due", sortable(self.expires_at)));
            keys.extend(self.escalate_at.map(|at| Key::lookup("escalate", sortable(at))));
        }
        keys
    }
}
