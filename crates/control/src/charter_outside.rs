//! The charter of an agent that is driven from outside: a coding agent with a run's credential keeps to the same definition as
//! one that is driven here. Must never widen anything: an agent without a definition is judged by policy alone.

use crate::context::Control;
use crate::identity::Identity;
use crate::refusal::Refusal;
use agent::{AutonomyLevel, Definition};
use api::{Problem, ProblemKind, Spec};
use ids::{Principal, Scope};
use store::{AgentDefinition, Stored};

impl Control {
    /// The definition of a calling agent whose run is not driven here.
    async fn outside_definition(&self, identity: &Identity) -> Result<Option<Definition>, Refusal> {
        let Principal::Agent(agent) = identity.principal else { return Ok(None) };
        let stored: Option<Stored<AgentDefinition>> =
            self.store.snapshot(Scope::Provider).read(&agent.to_string()).await?;
        stored
            .map(|stored| Definition::parse(&stored.value.text))
            .transpose()
            .map_err(|faults| Refusal::bug("a stored definition does not read", &format!("{faults:?}")))
    }

    /// That an agent that is driven from outside calls what its charter lists. Its own identity it may always look at.
    pub(crate) async fn within_charter_outside(&self, identity: &Identity, spec: &Spec) -> Result<(), Refusal> {
        if self.runs.autonomy(identity.run, spec.meta.id).is_some() || spec.meta.family() == "me" {
            return Ok(());
        }
        match self.outside_definition(identity).await? {
            Some(definition) if !definition.operations.holds(spec.meta.id) => {
                let detail = format!("`{}` is outside the charter of this agent", spec.meta.id);
                Err(Problem::new(ProblemKind::Denied, detail).into())
            }
            _ => Ok(()),
        }
    }

    /// How far an agent may go by itself with an operation, driven here or from outside; none where nothing was said.
    pub(crate) async fn autonomy_of(
        &self,
        identity: &Identity,
        operation: &str,
    ) -> Result<Option<&'static str>, Refusal> {
        if let Some(known) = self.runs.autonomy(identity.run, operation) {
            return Ok(Some(known));
        }
        let definition = self.outside_definition(identity).await?;
        Ok(definition.map(|definition| definition.autonomy.of(operation)).map(AutonomyLevel::as_str))
    }
}
