//! What the tests decide with: the registry under `spec/policy`, the shipped documents, people and agents.

use ids::PrincipalKind;
use policy::{
    ActionSpec, ContextFacts, Document, Effect, Engine, ObligationKind, PrincipalFacts, Request, ResourceFacts,
};
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
struct Operation {
    id: String,
    effect: Effect,
    resource_type: String,
    obligations: Vec<ObligationKind>,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/policy")
}

/// The operations of `spec/policy/operations.json`; they live as long as the test program.
pub(crate) fn specs() -> Vec<ActionSpec<'static>> {
    let text = std::fs::read_to_string(folder().join("operations.json")).unwrap();
    let operations: Vec<Operation> = serde_json::from_str(&text).unwrap();
    let operations: &'static [Operation] = Vec::leak(operations);
    let spec = |operation: &'static Operation| ActionSpec {
        id: &operation.id,
        effect: operation.effect,
        resource_type: &operation.resource_type,
        obligations: &operation.obligations,
    };
    operations.iter().map(spec).collect()
}

pub(crate) fn document(name: &str, text: &str) -> Document {
    Document { id: name.to_owned(), name: name.to_owned(), version: 1, text: text.to_owned(), tenant: None }
}

/// The shipped documents and these.
pub(crate) fn engine_with(more: &[Document]) -> Engine {
    let documents = [policy::shipped::documents(), more.to_vec()].concat();
    Engine::compile(&specs(), &documents, &policy::shipped::rungs().unwrap())
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// Only these documents, with the shipped rungs.
pub(crate) fn engine_of(documents: &[Document]) -> Engine {
    let rungs = policy::shipped::rungs().unwrap();
    Engine::compile(&specs(), documents, &rungs).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

pub(crate) fn request(kind: PrincipalKind, roles: &[&str], action: &str) -> Request {
    let spec = specs().into_iter().find(|spec| spec.id == action).unwrap_or_else(|| panic!("no operation {action}"));
    let mut resource = ResourceFacts::tenant("acme", ["env=prod".to_owned()].into());
    if spec.resource_type == "Provider" {
        resource = ResourceFacts::provider();
    } else if spec.resource_type != "Tenant" {
        resource.kind = spec.resource_type.to_owned();
        resource.id = format!("{}-1", spec.resource_type.to_lowercase());
    }
    let tenant = resource.tenant.clone().unwrap_or_else(|| policy::PROVIDER.to_owned());
    Request {
        principal: PrincipalFacts {
            kind,
            id: format!("{}-1", kind.as_str()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            owner: None,
            tenant: None,
            tags: [].into(),
        },
        action: action.to_owned(),
        resource,
        context: ContextFacts { tenant, ..ContextFacts::default() },
    }
}
