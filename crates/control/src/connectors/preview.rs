//! What an action of a connector would send, with secrets blanked. Must never send anything.

use super::manage::{named, stored};
use super::{faults, reader};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use action::{Request, Secrets, Shown, Step, Values};
use api::{ConnectorPreview, ConnectorTest, RequestShown};
use ids::{ActionId, TenantId};
use serde_json::{Map, Value};
use store::{Connector, Stored};

/// What stands for a value that an earlier answer brings.
const LATER: &str = "[from the answer before]";

/// One of a connector's actions, and inputs that fit it.
pub(super) fn chosen<'r>(
    reader: &'r action::Connector,
    does: &str,
    inputs: &Map<String, Value>,
) -> Result<&'r Step, Refusal> {
    let step = reader.step(does).ok_or_else(|| {
        let known: Vec<&str> = reader.document().actions.keys().map(String::as_str).collect();
        Refusal::fault("/does", format!("is no action of this connector; it has {}", known.join(", ")))
    })?;
    step.check(inputs).map_err(|found| faults("/inputs", found))?;
    Ok(step)
}

/// The requests of an action as people see them.
pub(super) fn requests(reader: &action::Connector, step: &Step, values: &mut Values) -> Vec<RequestShown> {
    let later = |names: Vec<&String>| names.into_iter().map(|name| (name.clone(), Value::from(LATER))).collect();
    let mut shown = Vec::new();
    let mut show = |purpose: &str, request: &Request, key: Option<(&str, &str)>, values: &Values| {
        let made = request.make(reader.auth(), key, values);
        let purpose = purpose.to_owned();
        shown.push(match made.as_ref().map(Shown::of) {
            Ok(one) => RequestShown {
                purpose,
                method: one.method,
                url: one.url,
                header_lines: one.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
                body: one.body,
                unfit: None,
            },
            Err(error) => RequestShown {
                purpose,
                method: request.method.as_str().to_owned(),
                url: String::new(),
                header_lines: Vec::new(),
                body: String::new(),
                unfit: Some(error.to_string()),
            },
        });
    };
    if let Some(check) = &step.precondition {
        show("precondition", &check.request, None, values);
    }
    if let Some(evidence) = &step.evidence {
        show("evidence", &evidence.request, None, values);
        values.evidence = later(evidence.outputs.keys().collect());
    }
    let id = values.facts.id.to_string();
    let key = step.execute.idempotency_header.as_deref().map(|header| (header, id.as_str()));
    show("execute", &step.execute.request, key, values);
    values.outputs = later(step.execute.outputs.keys().collect());
    if let Some(request) = step.verify.as_ref().and_then(|verify| verify.request.as_ref()) {
        show("verify", request, None, values);
    }
    shown
}

impl Control {
    /// What an action would send, and why it could not.
    pub(super) fn preview(
        &self,
        connector: &Connector,
        does: &str,
        inputs: &Map<String, Value>,
        tenant: TenantId,
    ) -> Result<ConnectorPreview, Refusal> {
        let reader = reader(connector)?;
        let step = chosen(&reader, does, inputs)?;
        let settings = reader.settings(&connector.settings).map_err(|found| faults("/settings", found))?;
        let declared = reader.document().secrets.iter();
        let missing = declared.filter(|(name, one)| !one.optional && !connector.secrets.contains_key(*name));
        let mut obstacles: Vec<String> = missing.map(|(name, _)| format!("the secret `{name}` is not set")).collect();
        obstacles.extend(self.wire(&reader, &settings).err());
        obstacles.extend((!connector.enabled).then(|| "the connector is switched off".to_owned()));
        let id = ActionId::generate(self.clock.as_ref(), self.entropy.as_ref());
        let mut values = Values {
            inputs: inputs.clone(),
            settings,
            secrets: Secrets::Blank,
            evidence: Map::new(),
            outputs: Map::new(),
            facts: self.facts(id, tenant, None, "a dry run"),
        };
        Ok(ConnectorPreview { requests: requests(&reader, step, &mut values), obstacles })
    }
}

impl Handle<ConnectorTest> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ConnectorTest) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.connector).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ConnectorTest,
    ) -> Result<Outcome<ConnectorPreview>, Refusal> {
        let connector: Stored<Connector> = stored(admitted).await?;
        // The provider's own connector is tried as if in no tenant.
        let tenant = admitted.target.owner.tenant().unwrap_or_else(|| TenantId::derive(&[b"a dry run"]));
        let preview = self.preview(&connector.value, &input.does, &input.inputs, tenant)?;
        Ok(Outcome::answer(preview))
    }
}
