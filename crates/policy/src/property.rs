//! Properties of a policy set: what must never be allowed, in the words of a policy's scope and condition.
//!
//! A property is data; here it is read and checked against the schema like a policy, and put to single calls. Whether it
//! holds for all calls is for the crate `prove` to find out. Never decides.

use crate::{
    decision::Obligations,
    document::{Clause, Document, slug},
    engine::Engine,
    facts::Request,
    fault::{Place, PolicyFault},
    fold::whole,
    question::{CONTEXT, Question},
    spec::ActionSpec,
    validate::validate,
};
use cedar_policy::{Effect, PolicySet};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// The text of the properties that ship.
pub const SHIPPED_PROPERTIES: &str = include_str!("../../../content/properties/shipped.json");

/// Longest text of one property, all parts together, in bytes.
const TEXT_BYTES_MAX: usize = 8_192;

/// A property as it is written: no call that all parts describe is ever allowed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertyText {
    /// A short name.
    pub id: String,
    /// What it says, in one sentence.
    pub summary: String,
    /// Who: the first part of a policy's scope, for example `principal is Posse::Agent`.
    #[serde(default = "any_principal")]
    pub principal: String,
    /// What: the second part, for example `action in Posse::Action::"govern"`.
    #[serde(default = "any_action")]
    pub action: String,
    /// On what: the third part.
    #[serde(default = "any_resource")]
    pub resource: String,
    /// When: a Cedar expression; always where it is empty.
    #[serde(default)]
    pub condition: String,
    /// The principal holds exactly these roles at the target's tenant; any where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeSet<String>>,
}

fn any_principal() -> String {
    "principal".to_owned()
}

fn any_action() -> String {
    "action".to_owned()
}

fn any_resource() -> String {
    "resource".to_owned()
}

/// A property that was read and checked.
#[derive(Debug)]
pub struct Property {
    text: PropertyText,
    /// Scope and condition as one expression in Cedar's JSON form.
    pub(crate) said: Value,
    /// The same as the only permit of a set.
    alone: PolicySet,
}

/// The properties that ship.
///
/// # Errors
/// Where the shipped file is broken; a test keeps it whole.
pub fn shipped_properties() -> Result<Vec<PropertyText>, serde_json::Error> {
    serde_json::from_str(SHIPPED_PROPERTIES)
}

impl Property {
    /// Read a property and check it against the schema of these operations.
    ///
    /// # Errors
    /// All faults: another form, unknown names, an expression that does not fit the types.
    pub fn read(specs: &[ActionSpec<'_>], text: PropertyText) -> Result<Self, Vec<PolicyFault>> {
        let fault = |why: &str, hint: &str| vec![PolicyFault::new("property", None, why.to_owned(), hint)];
        if !slug(&text.id) {
            return Err(fault("`id` is not a name", "use lower-case letters, digits, `_` and `-`, at most 64"));
        }
        let PropertyText { id, principal, action, resource, condition, .. } = &text;
        let condition = if condition.trim().is_empty() { "true" } else { condition };
        let cedar = format!("@id(\"{id}\")\npermit({principal}, {action}, {resource})\nwhen {{ {condition} }};\n");
        if cedar.len() > TEXT_BYTES_MAX {
            return Err(fault("the property is too long", "write several shorter ones"));
        }
        let set: PolicySet = cedar.parse().map_err(|errors: cedar_policy::ParseErrors| {
            errors
                .iter()
                .map(|error| PolicyFault::from_cedar("property", Some(id.as_str()), &cedar, error))
                .collect::<Vec<_>>()
        })?;
        let mut policies = set.policies();
        let (Some(policy), None, None) = (policies.next(), policies.next(), set.templates().next()) else {
            return Err(fault("this is not one property", "write one scope and one condition"));
        };
        let annotations = policy.annotations().count();
        if policy.effect() != Effect::Permit || annotations != 1 {
            return Err(fault("this is not one property", "write one scope and one condition, without annotations"));
        }
        let said = policy.to_json().map(|json| whole(&json));
        let said = said.map_err(|error| fault(&error.to_string(), "write it as a policy's condition"))?;
        let clause = Clause {
            reference: id.as_str().into(),
            document: 0,
            id: id.clone(),
            summary: None,
            policy: policy.clone(),
            permit: true,
            human_only: false,
            defer: 0,
            obligations: Obligations::default(),
            obligation_kinds: Vec::new(),
            atoms: Vec::new(),
            tests: Vec::new(),
            place: Place::default(),
        };
        let document =
            Document { id: id.clone(), name: "property".to_owned(), version: 1, text: cedar.clone(), tenant: None };
        validate(specs, &[document], &[clause])?;
        let alone = set.clone();
        Ok(Self { text, said, alone })
    }

    /// As it was written.
    #[must_use]
    pub const fn text(&self) -> &PropertyText {
        &self.text
    }

    /// Exactly the roles that the principal holds; none where any may be held.
    #[must_use]
    pub const fn roles(&self) -> Option<&BTreeSet<String>> {
        self.text.roles.as_ref()
    }
}

impl Engine {
    /// Whether a call is one that a property says must never be allowed.
    #[must_use]
    pub fn describes(&self, property: &Property, request: &Request) -> bool {
        if property.roles().is_some_and(|roles| *roles != request.principal.roles) {
            return false;
        }
        let Some(action) = self.actions.get(&request.action) else { return false };
        let asked = Question::new(&self.names, &action.entity, request, &CONTEXT)
            .and_then(|question| Ok(question.ask_authorizer(&question.at(&question.base)?, &property.alone)));
        matches!(asked, Ok(Some(true)))
    }
}
