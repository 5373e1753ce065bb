//! `policy.prove`: what the policy set never allows, and whether a draft grants anything new, by `prove`. Decides nothing that
//! counts and changes nothing; without a solver it says so and proves nothing.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::decide::{PolicyState, installed_document, with_actions};
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::policies::{any_policy, policy_target, version_of};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{PolicyCounterexample, PolicyProof, PolicyProperty, PolicyProve, ProofAnswer, PropertyProof};
use ids::Owner;
use policy::{ContextFacts, Property, PropertyText, Request};
use prove::{Answer, Counterexample, Proof, Solver};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Policy, Stored};

const NO_SOLVER: &str = "there is no solver here, so nothing was proved; install cvc5 where the platform runs, or name its program as `solver` in its configuration";
const NEW: (&str, &str) =
    ("grants-nothing-new", "the set with this document allows no call that the set which binds now does not allow");

impl Handle<PolicyProve> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyProve) -> Result<Target, Refusal> {
        match input.policy {
            Some(policy) => policy_target(look, policy).await,
            None => Ok(any_policy()),
        }
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyProve) -> Result<Outcome<PolicyProof>, Refusal> {
        let wanted = wanted(&input)?;
        let binding = self.policies.load_full();
        let set = match (input.policy, input.text) {
            (None, Some(_)) => return Err(Refusal::fault("/text", "is of no document; name it as `policy`")),
            (None, None) => None,
            (Some(policy), text) => {
                let head: Stored<Policy> = admitted.one("policy", &policy.to_string()).await?;
                let mut version = version_of(&admitted.snapshot, policy, head.value.newest).await?;
                if let Some(text) = text {
                    version.text = text.into_string();
                }
                Some(Arc::new(self.set_with(installed_document(&head.value, &version))?))
            }
        };
        let looked_at = set.clone().unwrap_or_else(|| binding.clone());
        let properties = self.read(wanted)?;
        let limit_secs = input.limit_secs.clamp(1, 60);
        let Some(solver) = self.settings.solver.clone() else {
            let unverified = |id: &str, summary: &str| unverified(id, summary, limit_secs);
            let texts = properties.iter().map(Property::text);
            return Ok(Outcome::answer(PolicyProof {
                policy_version: looked_at.version.to_string(),
                properties: texts.map(|text| unverified(&text.id, &text.summary)).collect(),
                grants_nothing_new: set.map(|_| unverified(NEW.0, NEW.1)),
            }));
        };
        // A proof keeps a core and a process busy: one at a time.
        let _turn = self.turns.take("policy.prove".to_owned(), 1).await?;
        let asked = Questions { control: self.clone(), solver, looked_at, compared: set.map(|_| binding), limit_secs };
        let runtime = tokio::runtime::Handle::current();
        let done = tokio::task::spawn_blocking(move || asked.answer(&runtime, &properties));
        Ok(Outcome::answer(done.await.map_err(|error| Refusal::bug("a proof ended", &error))?))
    }
}

impl Control {
    /// Read properties against the schema of all operations; every fault is told.
    fn read(&self, texts: Vec<(Option<usize>, PropertyText)>) -> Result<Vec<Property>, Refusal> {
        let (mut properties, mut faults) = (Vec::new(), Vec::new());
        with_actions(self.registry.specs(), |actions| {
            for (own, text) in texts {
                match (Property::read(actions, text), own) {
                    (Ok(property), _) => properties.push(property),
                    (Err(found), Some(index)) => faults.extend(found.into_iter().map(|fault| api::Fault {
                        pointer: format!("/own/{index}"),
                        detail: format!(
                            "{}{}",
                            fault.why,
                            fault.hint.map(|hint| format!("; {hint}")).unwrap_or_default()
                        ),
                    })),
                    (Err(found), None) => {
                        let why = found.first().map(|fault| fault.why.clone()).unwrap_or_default();
                        return Err(Refusal::bug("a shipped property does not compile", &why));
                    }
                }
            }
            Ok(())
        })?;
        if faults.is_empty() { Ok(properties) } else { Err(api::Problem::invalid(faults).into()) }
    }
}

/// The properties that are asked about: those that ship, by name, and the caller's own with their place.
fn wanted(input: &PolicyProve) -> Result<Vec<(Option<usize>, PropertyText)>, Refusal> {
    let shipped =
        policy::shipped_properties().map_err(|error| Refusal::bug("the shipped properties do not parse", &error))?;
    if let Some(index) = input.shipped.iter().position(|name| !shipped.iter().any(|one| one.id == name.to_string())) {
        let names: Vec<_> = shipped.iter().map(|one| format!("`{}`", one.id)).collect();
        let why = format!("ships with the platform under no such name; there are {}", names.join(", "));
        return Err(Refusal::fault(&format!("/shipped/{index}"), why));
    }
    let all = input.shipped.is_empty() && input.own.is_empty();
    let chosen = shipped.into_iter().filter(|one| all || input.shipped.iter().any(|name| name.to_string() == one.id));
    let own = input.own.iter().enumerate().map(|(index, one)| (Some(index), own(one)));
    Ok(chosen.map(|one| (None, one)).chain(own).collect())
}

fn own(property: &PolicyProperty) -> PropertyText {
    let or = |text: Option<String>, usual: &str| text.unwrap_or_else(|| usual.to_owned());
    let roles = property.roles.as_ref();
    PropertyText {
        id: property.id.to_string(),
        summary: "a property of the caller's own".to_owned(),
        principal: or(property.principal.as_ref().map(ToString::to_string), "principal"),
        action: or(property.action.as_ref().map(ToString::to_string), "action"),
        resource: or(property.resource.as_ref().map(ToString::to_string), "resource"),
        condition: or(property.condition.as_ref().map(ToString::to_string), ""),
        roles: roles.map(|roles| roles.iter().map(ToString::to_string).collect()),
    }
}

/// What is asked, all of it owned: it is answered on a thread of its own.
struct Questions {
    control: Control,
    solver: Solver,
    looked_at: Arc<PolicyState>,
    /// The set that binds, where another one is looked at.
    compared: Option<Arc<PolicyState>>,
    limit_secs: u32,
}

impl Questions {
    fn answer(&self, runtime: &tokio::runtime::Handle, properties: &[Property]) -> PolicyProof {
        let limit = Duration::from_secs(self.limit_secs.into());
        let engine = &self.looked_at.engine;
        let (properties, grants_nothing_new) = with_actions(self.control.registry.specs(), |actions| {
            let never = |property: &Property| {
                let proof = runtime.block_on(prove::never(&self.solver, engine, actions, property, limit));
                wire(&property.text().id, &property.text().summary, proof, self.limit_secs)
            };
            let new = |before: &Arc<PolicyState>| {
                let proof = prove::nothing_new(&self.solver, &before.engine, engine, actions, limit);
                wire(NEW.0, NEW.1, runtime.block_on(proof), self.limit_secs)
            };
            (properties.iter().map(never).collect(), self.compared.as_ref().map(new))
        });
        PolicyProof { policy_version: self.looked_at.version.to_string(), properties, grants_nothing_new }
    }
}

fn unverified(id: &str, summary: &str, limit_secs: u32) -> PropertyProof {
    PropertyProof {
        id: id.to_owned(),
        summary: summary.to_owned(),
        answer: ProofAnswer::Unverified,
        reason: Some(NO_SOLVER.to_owned()),
        empty: false,
        counterexamples: Vec::new(),
        sorts: 0,
        settled: 0,
        took_millis: 0,
        limit_secs,
    }
}

fn wire(id: &str, summary: &str, proof: Proof, limit_secs: u32) -> PropertyProof {
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let base = PropertyProof {
        sorts: small(proof.sorts),
        settled: small(proof.settled),
        took_millis: u32::try_from(proof.took.as_millis()).unwrap_or(u32::MAX),
        reason: None,
        ..unverified(id, summary, limit_secs)
    };
    match proof.answer {
        Answer::Proved { empty } => PropertyProof { answer: ProofAnswer::Proved, empty, ..base },
        Answer::Unknown(why) => PropertyProof { answer: ProofAnswer::Unknown, reason: Some(why), ..base },
        Answer::Counterexamples(found) => PropertyProof {
            answer: ProofAnswer::Counterexample,
            counterexamples: found.into_iter().map(counterexample).collect(),
            ..base
        },
    }
}

fn counterexample(found: Counterexample) -> PolicyCounterexample {
    let Counterexample { request, operations, policies, sentence } = found;
    PolicyCounterexample { sentence, operations, request: unusual(&request), policies }
}

/// The facts of a call without those that are as usual.
fn unusual(request: &Request) -> BTreeMap<String, Value> {
    let Ok(Value::Object(parts)) = serde_json::to_value(request) else { return BTreeMap::new() };
    let usual = serde_json::to_value(ContextFacts::default()).unwrap_or_default();
    let plain = |part: &str, name: &str, value: &Value| {
        let nothing = match value {
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        nothing || (part == "context" && name != "tenant" && usual.get(name) == Some(value))
    };
    let fewer = |(part, mut value): (String, Value)| {
        if let Value::Object(fields) = &mut value {
            fields.retain(|name, value| !plain(&part, name, value));
        }
        (part, value)
    };
    parts.into_iter().map(fewer).collect()
}
