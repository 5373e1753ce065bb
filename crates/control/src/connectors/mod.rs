//! Connectors: kept with sealed secrets, asked to carry out response actions, carried by a courier of their own, watched until
//! their effect shows. The format is crate `action`'s; who may do what is policy's. Must never show a secret, and never send
//! with another document than the one that was decided.

mod ask;
mod carry;
mod manage;
mod preview;
mod watch;

pub(crate) use ask::undo;
pub(crate) use carry::ConnectorCourier;

use crate::context::Control;
use crate::refusal::Refusal;
use action::{Facts, Secrets, Values, Wire};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{ActionId, Owner, Scope, TenantId};
use seal::{Digest, SecretText};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use store::{Connector, ConnectorCall, ResponseAction, Stored};

/// What the digest of a connector is over.
const DIGEST_DOMAIN: &str = "posse connector";

/// Digest of a document and its settings: what an action is decided with.
fn digest(document: &str, settings: &BTreeMap<String, String>) -> String {
    let parts = settings.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let parts: Vec<&[u8]> = std::iter::once(document.as_bytes()).chain(parts).collect();
    Digest::framed(DIGEST_DOMAIN, &parts).to_hex()
}

/// What a sealed secret is bound to.
fn context(connector: &str, name: &str) -> Vec<u8> {
    format!("connector/{connector}/{name}").into_bytes()
}

/// The reader of a stored document: it was judged before it was stored.
fn reader(connector: &Connector) -> Result<action::Connector, Refusal> {
    action::Connector::read(&connector.document).map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        Refusal::bug("a stored connector does not read", &first)
    })
}

/// What an action is carried out with.
struct Prepared {
    reader: action::Connector,
    wire: Wire,
    values: Values,
}

impl Control {
    /// The connector of this name that a call in a tenant uses: its own, else one that the provider offers.
    async fn connector_for(&self, tenant: TenantId, name: &str) -> Result<Stored<Connector>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let own: Option<Stored<Connector>> = snapshot.read(&Connector::key(Some(tenant), name)).await?;
        if let Some(own) = own {
            return Ok(own);
        }
        let offered: Option<Stored<Connector>> = snapshot.read(&Connector::key(None, name)).await?;
        offered.filter(|connector| connector.value.offered).ok_or_else(|| Refusal::not_found("connector"))
    }

    /// The connector's secrets, opened.
    fn open_secrets(&self, connector: &Connector) -> Result<BTreeMap<String, SecretText>, Refusal> {
        let key = Connector::key(connector.tenant, &connector.name);
        let mut secrets = BTreeMap::new();
        for (name, sealed) in &connector.secrets {
            let sealed =
                STANDARD.decode(sealed).map_err(|error| Refusal::bug("a sealed secret is no base64", &error))?;
            let opened = self.keys.open(connector.tenant.into(), &context(&key, name), &sealed);
            let opened = opened.map_err(|error| Refusal::bug("a sealed secret does not open", &error))?;
            let text =
                std::str::from_utf8(opened.expose()).map_err(|error| Refusal::bug("a secret is no text", &error))?;
            let text = SecretText::new(text).map_err(|error| Refusal::bug("a secret is too long", &error))?;
            secrets.insert(name.clone(), text);
        }
        Ok(secrets)
    }

    /// Everything that an action needs to be carried out; or why it cannot be.
    async fn equip(&self, action: &ResponseAction, call: &ConnectorCall) -> Result<Result<Prepared, String>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let found: Option<Stored<Connector>> = snapshot.read(&Connector::key(call.owner, &call.name)).await?;
        let Some(connector) = found.map(|stored| stored.value) else {
            return Ok(Err("the connector was deleted".to_owned()));
        };
        if !connector.enabled {
            return Ok(Err("the connector is switched off".to_owned()));
        }
        if connector.digest != call.digest || (call.owner.is_none() && !connector.offered) {
            return Ok(Err("the connector was changed since this was decided".to_owned()));
        }
        let reader = reader(&connector)?;
        let settings = match reader.settings(&connector.settings) {
            Ok(settings) => settings,
            Err(_) => return Ok(Err("a setting of the connector is missing".to_owned())),
        };
        let wire = match self.wire(&reader, &settings) {
            Ok(wire) => wire,
            Err(why) => return Ok(Err(why)),
        };
        let values = Values {
            inputs: action.arguments.as_object().cloned().unwrap_or_default(),
            settings,
            secrets: Secrets::Known(self.open_secrets(&connector)?),
            evidence: call.evidence.clone(),
            outputs: action.output.as_object().cloned().unwrap_or_default(),
            facts: self.facts(action.id, action.tenant, action.case, &action.reason),
        };
        Ok(Ok(Prepared { reader, wire, values }))
    }

    fn facts(&self, id: ActionId, tenant: TenantId, case: Option<ids::CaseId>, reason: &str) -> Facts {
        Facts { id, tenant, case, reason: reason.to_owned(), time: self.now() }
    }

    /// The way out of a connector; or why there is none.
    fn wire(&self, reader: &action::Connector, settings: &BTreeMap<String, String>) -> Result<Wire, String> {
        let origins = reader.origins(settings).map_err(|error| error.to_string())?;
        Wire::to(&origins, &self.settings.connector_hosts_inside).map_err(|failure| match failure {
            egress::Failure::NotAllowed { destination } => format!(
                "`{destination}` is not spoken to without TLS; use https, or name the host in the server's `connector_hosts_inside`"
            ),
            other => other.to_string(),
        })
    }
}

fn faults(at: &str, faults: Vec<(String, String)>) -> Refusal {
    let faults = faults.into_iter().map(|(name, detail)| api::Fault { pointer: format!("{at}/{name}"), detail });
    api::Problem::invalid(faults.collect()).into()
}

/// Settings as texts.
fn texts(settings: &Map<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut all = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, value) in settings {
        match value.as_str().filter(|text| text.chars().count() <= 2048) {
            Some(text) => drop(all.insert(name.clone(), text.to_owned())),
            None => wrong.push((name.clone(), "is not a text of at most 2048 characters".to_owned())),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(faults("/settings", wrong)) }
}

fn tenant_of(owner: Owner) -> Option<TenantId> {
    owner.tenant()
}
