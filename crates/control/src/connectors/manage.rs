//! Connectors as documents: create, look, change, set secrets, delete, and what ships.

use super::{context, digest, faults, reader, tenant_of, texts};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use action::{Document, Step, Verify};
use api::{
    ConnectorAction, ConnectorCatalogue, ConnectorCreate, ConnectorDelete, ConnectorGet, ConnectorInput, ConnectorList,
    ConnectorSetSecret, ConnectorUpdate, Etag, Gone, Page, ShippedConnector, ShippedConnectors,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::{Owner, TenantId, Text};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use store::{Changes, Connector, Stored};

/// Connectors of one place at most.
const CONNECTORS_MAX: u32 = 200;

fn word<T: serde::Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn action_wire(name: &str, step: &Step) -> ConnectorAction {
    let asks = |verify: &Verify| if verify.by_answer { "answer" } else { "question" };
    let inputs = step.inputs.iter().map(|(name, input)| ConnectorInput {
        name: name.clone(),
        kind: word(input.kind),
        description: input.description.clone(),
        optional: input.optional,
    });
    ConnectorAction {
        name: name.to_owned(),
        title: step.title.clone(),
        description: step.description.clone(),
        openc2_action: step.openc2.action.clone(),
        openc2_target: step.openc2.target.clone(),
        inputs: inputs.collect(),
        precondition: step.precondition.is_some(),
        evidence: step.evidence.is_some(),
        verify: step.verify.as_ref().map_or("none", asks).to_owned(),
        verify_within_secs: step.verify.as_ref().filter(|verify| !verify.by_answer).map(|verify| verify.within_secs),
        inverse: step.inverse.as_ref().map(|inverse| inverse.action.clone()),
        may_repeat: step.may_repeat(),
    }
}

fn actions(document: &Document) -> Vec<ConnectorAction> {
    document.actions.iter().map(|(name, step)| action_wire(name, step)).collect()
}

fn wire(stored: Stored<Connector>) -> Result<api::Connector, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    let reader = reader(&value)?;
    let settings = reader.settings(&value.settings).unwrap_or_default();
    let hosts = reader.origins(&settings).unwrap_or_default();
    let document = reader.document();
    let missing = document.secrets.iter().filter(|(name, one)| !one.optional && !value.secrets.contains_key(*name));
    Ok(api::Connector {
        tenant: value.tenant,
        name: Text::truncated(&value.name),
        kind: document.connector.clone(),
        title: document.title.clone(),
        description: document.description.clone(),
        document: Text::truncated(&value.document),
        hosts,
        settings: settings.into_iter().map(|(name, value)| (name, Value::from(value))).collect(),
        missing_secrets: missing.map(|(name, _)| name.clone()).collect(),
        secrets: value.secrets.keys().cloned().collect(),
        actions: actions(document),
        offered: value.offered,
        enabled: value.enabled,
        created_at,
        etag: Etag::of(version),
    })
}

/// A connector by name at a place that the caller can reach; another's is as one that is not there.
pub(super) async fn named(look: &Look<'_>, tenant: Option<TenantId>, name: &Text<64>) -> Result<Target, Refusal> {
    let place = tenant.map_or_else(|| look.identity.place(), Owner::Tenant);
    let key = Connector::key(tenant_of(place), name);
    let covered = look.identity.reach().covers(place);
    let found: Option<Stored<Connector>> = if covered { look.snapshot.read(&key).await? } else { None };
    let found = found.ok_or_else(|| Refusal::not_found("connector"))?;
    Ok(Target::new("Connector", key, place).named(found.value.name))
}

pub(super) async fn stored(admitted: &Admitted<'_>) -> Result<Stored<Connector>, Refusal> {
    admitted.one("connector", &admitted.target.id).await
}

/// A document that reads, with settings that fit it; its digest and where it speaks to.
fn judged(
    pointer: &str,
    document: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(action::Connector, BTreeSet<String>), Refusal> {
    let reader = action::Connector::read(document).map_err(|found| {
        let found =
            found.into_iter().map(|fault| api::Fault { pointer: pointer.to_owned(), detail: fault.to_string() });
        api::Problem::invalid(found.collect())
    })?;
    let all = reader.settings(settings).map_err(|found| faults("/settings", found))?;
    let origins = reader.origins(&all).map_err(|error| Refusal::fault("/settings", error.to_string()))?;
    Ok((reader, origins.into_iter().collect()))
}

impl Handle<ConnectorCatalogue> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &ConnectorCatalogue) -> Result<Target, Refusal> {
        Ok(Target { owner: look.identity.place(), ..Target::provider() })
    }

    async fn handle(&self, _: &Admitted<'_>, _: ConnectorCatalogue) -> Result<Outcome<ShippedConnectors>, Refusal> {
        let mut items = Vec::new();
        for shipped in action::shipped() {
            let reader = action::Connector::read(shipped.text)
                .map_err(|_| Refusal::bug("a connector that ships does not read", &shipped.name))?;
            let document = reader.document();
            let told = |all: &BTreeMap<String, action::Declared>| {
                all.iter()
                    .map(|(name, one)| (name.clone(), Value::from(one.description.as_str())))
                    .collect::<Map<_, _>>()
            };
            items.push(ShippedConnector {
                kind: shipped.name.to_owned(),
                title: document.title.clone(),
                description: document.description.clone(),
                settings: told(&document.settings),
                secrets: told(&document.secrets),
                actions: actions(document),
                document: Text::truncated(shipped.text),
            });
        }
        Ok(Outcome::answer(ShippedConnectors { items }))
    }
}

impl Handle<ConnectorCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ConnectorCreate,
    ) -> Result<Outcome<api::Connector>, Refusal> {
        let (pointer, document) = match (input.shipped, input.document) {
            (Some(kind), None) => {
                let found = action::shipped().into_iter().find(|shipped| shipped.name == kind.as_str());
                let found =
                    found.ok_or_else(|| Refusal::fault("/shipped", "does not ship; see `connector.catalogue`"))?;
                ("/shipped", found.text.to_owned())
            }
            (None, Some(document)) => ("/document", document.into_string()),
            _ => return Err(Refusal::fault("/document", "give either `document` or `shipped`")),
        };
        let tenant = tenant_of(admitted.target.owner);
        if input.offered && tenant.is_some() {
            return Err(Refusal::fault("/offered", "is for connectors of the provider; leave it out"));
        }
        let settings = texts(&input.settings)?;
        judged(pointer, &document, &settings)?;
        let key = Connector::key(tenant, &input.name);
        if admitted.snapshot.read::<Connector>(&key).await?.is_some() {
            let detail = "there is a connector of this name; choose another";
            return Err(api::Problem::new(api::ProblemKind::AlreadyExists, detail).into());
        }
        let page = store::Page { owner: Some(admitted.target.owner), limit: CONNECTORS_MAX, ..store::Page::default() };
        if admitted.snapshot.list::<Connector>(&page).await?.len()
            >= usize::try_from(CONNECTORS_MAX).unwrap_or(usize::MAX)
        {
            return Err(Refusal::conflict(format!("there are {CONNECTORS_MAX} connectors; delete one first")));
        }
        let connector = Connector {
            tenant,
            name: input.name.into_string(),
            digest: digest(&document, &settings),
            document,
            settings,
            secrets: BTreeMap::new(),
            offered: input.offered,
            enabled: true,
        };
        let mut changes = Changes::new();
        changes.create(&connector);
        let stored = Stored { value: connector, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<ConnectorGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorGet) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.connector).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: ConnectorGet) -> Result<Outcome<api::Connector>, Refusal> {
        Ok(Outcome::answer(wire(stored(admitted).await?)?))
    }
}

impl Handle<ConnectorList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ConnectorList,
    ) -> Result<Outcome<Page<api::Connector>>, Refusal> {
        Ok(Outcome::answer(admitted.page(None, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

fn replaced(
    admitted: &Admitted<'_>,
    before: &Stored<Connector>,
    value: Connector,
) -> Result<Outcome<api::Connector>, Refusal> {
    let mut changes = Changes::new();
    changes.replace(&value, before.version);
    let version = before.version.saturating_add(1);
    let stored = Stored { value, version, created_at: before.created_at, updated_at: admitted.now };
    Ok(Outcome::changed(wire(stored)?, changes))
}

impl Handle<ConnectorUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorUpdate) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.connector).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ConnectorUpdate,
    ) -> Result<Outcome<api::Connector>, Refusal> {
        let before = stored(admitted).await?;
        admitted.check_version(input.if_match, before.version)?;
        let mut connector = before.value.clone();
        if let Some(document) = input.document {
            connector.document = document.into_string();
        }
        if let Some(settings) = &input.settings {
            connector.settings = texts(settings)?;
        }
        if let Some(offered) = input.offered {
            if offered && connector.tenant.is_some() {
                return Err(Refusal::fault("/offered", "is for connectors of the provider; leave it out"));
            }
            connector.offered = offered;
        }
        connector.enabled = input.enabled.unwrap_or(connector.enabled);
        let (reader, origins) = judged("/document", &connector.document, &connector.settings)?;
        let (_, known) = judged("/document", &before.value.document, &before.value.settings)?;
        // Whoever may change where a connector speaks to must not thereby be told the secrets that it speaks with.
        if origins.is_subset(&known) {
            connector.secrets.retain(|name, _| reader.document().secrets.contains_key(name));
        } else {
            connector.secrets.clear();
        }
        connector.digest = digest(&connector.document, &connector.settings);
        replaced(admitted, &before, connector)
    }
}

impl Handle<ConnectorSetSecret> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorSetSecret) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.connector).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ConnectorSetSecret,
    ) -> Result<Outcome<api::Connector>, Refusal> {
        let before = stored(admitted).await?;
        let declared = &reader(&before.value)?;
        if !declared.document().secrets.contains_key(input.name.as_str()) {
            let known: Vec<&str> = declared.document().secrets.keys().map(String::as_str).collect();
            let detail = format!("is no secret of this connector; it has {}", known.join(", "));
            return Err(Refusal::fault("/name", detail));
        }
        let place = context(&admitted.target.id, &input.name);
        let sealed =
            self.keys.seal(admitted.target.owner, &place, input.value.reveal().as_bytes(), self.entropy.as_ref());
        let mut connector = before.value.clone();
        connector.secrets.insert(input.name.into_string(), STANDARD.encode(sealed));
        replaced(admitted, &before, connector)
    }
}

impl Handle<ConnectorDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorDelete) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.connector).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: ConnectorDelete) -> Result<Outcome<Gone>, Refusal> {
        let before = stored(admitted).await?;
        let id = admitted.target.id.clone();
        let mut changes = Changes::new();
        changes.delete::<Connector>(&id, admitted.target.owner, before.version);
        Ok(Outcome::changed(Gone { id }, changes))
    }
}
