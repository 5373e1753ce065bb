//! Proving what a policy set never allows, and that a change grants nothing new.

use crate::{Meta, Method, Operation, Slug, example, operation::declare};
use ids::{List, PolicyId, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A property of your own: no call that all of its parts describe is ever allowed.
///
/// Who, what and on what are the three parts of a Cedar policy's scope; the condition is a Cedar expression over
/// `principal`, `action`, `resource` and `context`, as in a policy's `when`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyProperty {
    /// A short name for the answer.
    pub id: Slug,
    /// Who, for example `principal is Posse::Agent`; anybody where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Text<500>>,
    /// What, for example `action in Posse::Action::"govern"`; any operation where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Text<2000>>,
    /// On what, for example `resource is Posse::Case`; anything where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Text<500>>,
    /// When, for example `context.approvals.people < 2`; always where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Text<4000>>,
    /// Whoever holds exactly these roles where the call acts; anybody where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<List<Text<100>, 20>>,
}

/// What is known of a property.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofAnswer {
    /// There is a call of which it does not hold; the decision point itself allows that call.
    Counterexample,
    /// It holds for all calls there can be.
    Proved,
    /// It was asked, and time ended or the solver gave up.
    Unknown,
    /// There is no solver here, so nothing was asked.
    Unverified,
}

/// A call that refutes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyCounterexample {
    /// The call in one sentence.
    pub sentence: String,
    /// Operations that policy treats like this one; the first is the call's.
    pub operations: Vec<String>,
    /// The facts that the call would be decided on; what is not there is as usual.
    pub request: BTreeMap<String, Value>,
    /// The policies that allow it, by `document/id`.
    pub policies: Vec<String>,
}

/// What was found out about one property.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PropertyProof {
    /// The property's name.
    pub id: String,
    /// What it says.
    pub summary: String,
    /// The answer.
    pub answer: ProofAnswer,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True where it holds because no call fits its description, whatever the policies: it says nothing then.
    pub empty: bool,
    /// Calls that refute it, at most five.
    pub counterexamples: Vec<PolicyCounterexample>,
    /// Sorts of calls that policy can tell apart here.
    pub sorts: u32,
    /// Of these, how many were settled.
    pub settled: u32,
    /// How long it took, in milliseconds.
    pub took_millis: u32,
    /// How long it might have taken at most, in seconds.
    pub limit_secs: u32,
}

/// What was found out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyProof {
    /// Digest of the policy set that was looked at.
    pub policy_version: String,
    /// Property by property: those that ship, then your own.
    pub properties: Vec<PropertyProof>,
    /// For a document: whether the set with it allows nothing that the set which binds now does not. A counterexample is
    /// something that it grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants_nothing_new: Option<PropertyProof>,
}

/// Prove properties of the policy set for all calls there can be, or find calls that refute them.
///
/// Looks at the set that binds, or at the set as it would be with a document's newest version or with a text in its place;
/// then it also says whether that grants anything new. The properties that ship are: no agent responds on a target tagged
/// crown-jewel without two people; no agent changes policy or judges a proposal; nobody approves their own call; the
/// read-only role changes nothing; principals of one tenant never act in another. Needs an SMT solver (cvc5) where the
/// platform runs: without one every answer is `unverified`, and what is not finished in time is `unknown`. A proof is about
/// policy: what the gate refuses besides (kill switch, lockdowns, charters, reach) is not looked at and can only refuse more.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyProve {
    /// A document to look at as if it were binding; the set as it binds where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyId>,
    /// A text to try in place of the document's newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<65536>>,
    /// Which of the properties that ship; all of them where the list is empty and there is none of your own.
    #[serde(default)]
    pub shipped: List<Slug, 20>,
    /// Properties of your own.
    #[serde(default)]
    pub own: List<PolicyProperty, 10>,
    /// How long one property may take at most, in seconds: 1 to 60.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 60))]
    pub limit_secs: u32,
}

const fn ten() -> u32 {
    10
}

declare! {
    PolicyProve => PolicyProof: Meta::read("policy.prove", Method::Post, "/v1/policy/prove", "Policy"),
        json!({
            "policy": example::POLICY,
            "own": [{
                "id": "no-night-isolation",
                "principal": "principal is Posse::Agent",
                "action": "action == Posse::Action::\"action.isolate_host\"",
                "condition": "context.hour >= 22 && context.approvals.people < 1"
            }],
            "limit_secs": 10
        });
}
