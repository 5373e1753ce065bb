//! Connectors from outside: signatures against published vectors, documents, requests made of hostile values, answers, and the
//! way out against real sockets.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod answers;
mod documents;
mod requests;
mod sending;
mod signatures;

use action::{Connector, Facts, Secrets, Values};
use ids::{ActionId, TenantId, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A connector that ships.
fn shipped(name: &str) -> Connector {
    let found = action::shipped().into_iter().find(|one| one.name == name).unwrap();
    Connector::read(found.text).unwrap()
}

/// Values with these inputs, settings and secrets.
fn values(inputs: Value, settings: &[(&str, &str)], secrets: &[(&str, &str)]) -> Values {
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let secrets =
        text(secrets).into_iter().map(|(name, value)| (name, seal::SecretText::new(value).unwrap())).collect();
    Values {
        inputs: inputs.as_object().cloned().unwrap(),
        settings: text(settings),
        secrets: Secrets::Known(secrets),
        evidence: Map::new(),
        outputs: Map::new(),
        facts: Facts {
            id: ActionId::derive(&[b"one"]),
            tenant: TenantId::derive(&[b"acme"]),
            case: None,
            reason: "a \"test\"".to_owned(),
            time: "2015-08-30T12:36:00Z".parse::<Timestamp>().unwrap(),
        },
    }
}

fn spec(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/action").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
