//! Runs of agents: what they are made of, their board in memory, and what the gate must know of them.
//!
//! A run's calls go through the door that faces use, with a credential of their own: there is no second way in. Taint is the
//! gate's own finding: it is written with the call that read an outsider's text, whoever drives the run.

mod calls;
mod charter;
mod content;
mod driver;
mod handle;
mod question;
mod skill;
mod trigger;
mod turn;

pub(crate) use trigger::Stirred;

use crate::context::Control;
use crate::identity::Identity;
use crate::refusal::Refusal;
use agent::{
    Charter, ConversationPlan, Definition, Effect, OperationSet, Procedure, Skill, SkillFile, ToolSpec, Toolset,
};
use api::{Problem, ProblemKind, Spec};
use ids::{RunId, Scope, TenantId};
use seal::Digest;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use store::{AgentDefinition, Changes, RunTaint, Stored};

/// Families of operations whose answers hold only what the platform and its people wrote. Everything else taints.
const OWN_TEXT: [&str; 16] = [
    "agent",
    "approval",
    "audit",
    "config",
    "entity",
    "job",
    "kill_switch",
    "lake",
    "me",
    "operation",
    "policy",
    "role",
    "run",
    "service_key",
    "skill",
    "system",
];

/// How many prepared charters are kept.
const PREPARED_MAX: usize = 256;
/// The most tokens of one answer of a model, and of one result that it hears.
const OUTPUT_TOKENS_MAX: u32 = 4096;
const RESULT_TOKENS_MAX: u32 = 6000;

/// Whether the answer of an operation may hold text that an outsider wrote.
fn reads_outsider_text(spec: &Spec) -> bool {
    // What a lent credential takes up tells its holder nothing but what it said itself.
    !OWN_TEXT.contains(&spec.meta.family()) && spec.meta.id != "grant.redeem"
}

/// A charter, ready to run.
pub(crate) struct Prepared {
    definition: Definition,
    charter: Digest,
    procedure: Procedure,
    tools: Arc<Toolset>,
}

/// What is known of runs without asking the store.
#[derive(Default)]
pub(crate) struct RunBoard {
    tainted: RwLock<HashSet<RunId>>,
    live: RwLock<HashMap<RunId, Arc<Prepared>>>,
    prepared: RwLock<HashMap<String, Arc<Prepared>>>,
    /// Grows with each run that begins to wait.
    parked: AtomicU64,
    /// Agents that something starts.
    watch: trigger::WatchBoard,
}

impl RunBoard {
    fn live(&self, run: RunId) -> Option<Arc<Prepared>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(&run).cloned()
    }

    fn enter(&self, run: RunId, prepared: Arc<Prepared>) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(run, prepared);
    }

    fn leave(&self, run: RunId) {
        self.live.write().unwrap_or_else(PoisonError::into_inner).remove(&run);
        self.tainted.write().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    fn is_tainted(&self, run: RunId) -> bool {
        self.tainted.read().unwrap_or_else(PoisonError::into_inner).contains(&run)
    }

    fn taint(&self, run: RunId) {
        let mut tainted = self.tainted.write().unwrap_or_else(PoisonError::into_inner);
        // A run that is not driven here never leaves; the store still knows it.
        if tainted.len() > 100_000 {
            tainted.clear();
        }
        tainted.insert(run);
    }

    /// How far the agent of a run may go by itself.
    pub(crate) fn autonomy(&self, run: Option<RunId>, operation: &str) -> Option<&'static str> {
        let prepared = self.live(run?)?;
        Some(prepared.definition.autonomy.of(operation).as_str())
    }
}

impl Control {
    /// Whether the caller's run has read an outsider's text.
    pub(crate) async fn run_tainted(&self, identity: &Identity) -> Result<bool, Refusal> {
        let Some(run) = identity.run else { return Ok(false) };
        if self.runs.is_tainted(run) {
            return Ok(true);
        }
        let stored: Option<Stored<RunTaint>> = self.store.snapshot(Scope::Provider).read(&run.to_string()).await?;
        if stored.is_some() {
            self.runs.taint(run);
        }
        Ok(stored.is_some())
    }

    /// What a call of a run writes besides: that the run is tainted from here on. Nothing where it was before, or where the
    /// answer holds no such text.
    pub(crate) fn tainting(&self, identity: &Identity, spec: &Spec) -> Option<(RunId, Changes)> {
        let run = identity.run.filter(|run| reads_outsider_text(spec) && !self.runs.is_tainted(*run))?;
        let mut changes = Changes::new();
        let tenant = identity.place().tenant();
        changes.create(&RunTaint { run, tenant, operation: spec.meta.id.to_owned() });
        Some((run, changes))
    }

    /// The call that tainted a run is committed.
    pub(crate) fn has_tainted(&self, run: RunId) {
        self.runs.taint(run);
    }

    /// That a run calls what its agent's charter lists.
    pub(crate) fn within_charter(&self, identity: &Identity, spec: &Spec) -> Result<(), Problem> {
        let Some(prepared) = identity.run.and_then(|run| self.runs.live(run)) else { return Ok(()) };
        if prepared.definition.operations.holds(spec.meta.id) {
            return Ok(());
        }
        let detail = format!("`{}` is outside the charter of this agent", spec.meta.id);
        Err(Problem::new(ProblemKind::Denied, detail))
    }

    /// The operations that a definition lists, as tools. Schemas only where a model wants them.
    fn tools_of(&self, operations: &OperationSet, with_schemas: bool) -> Toolset {
        let tool = |spec: &Spec| ToolSpec {
            operation: spec.meta.id.to_owned(),
            effect: match spec.meta.effect {
                api::Effect::Read => Effect::Read,
                api::Effect::Respond => Effect::Respond,
                api::Effect::Govern | api::Effect::Write => Effect::Write,
            },
            outsider_text: reads_outsider_text(spec),
            description: if with_schemas { spec.summary.clone() } else { String::new() },
            input_schema: if with_schemas { spec.input_schema.clone() } else { serde_json::Value::Null },
        };
        let listed = self.registry.specs().iter().filter(|spec| operations.holds(spec.meta.id));
        listed.map(|spec| (spec.meta.id.to_owned(), tool(spec))).collect()
    }

    /// A charter as it is stored, ready to run.
    async fn prepared(&self, stored: &AgentDefinition) -> Result<Arc<Prepared>, Refusal> {
        let known = self.runs.prepared.read().unwrap_or_else(PoisonError::into_inner).get(&stored.charter).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut skills = BTreeMap::new();
        for (name, digest) in &stored.skills {
            let (skill, _) = self.skill_of(stored.tenant, digest).await?.ok_or_else(|| Refusal::not_found("skill"))?;
            skills.insert(name.clone(), skill);
        }
        let prepared = Arc::new(self.prepare(&stored.text, skills)?);
        let mut kept = self.runs.prepared.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PREPARED_MAX {
            kept.clear();
        }
        kept.insert(stored.charter.clone(), prepared.clone());
        Ok(prepared)
    }

    /// A definition with the skills that it brings, checked against the operations there are.
    fn prepare(&self, text: &str, skills: BTreeMap<String, Skill>) -> Result<Prepared, Refusal> {
        let definition = Definition::parse(text).map_err(|faults| faulty(&faults))?;
        for trigger in &definition.triggers {
            let agent::Trigger::Case { verdicts, .. } = trigger else { continue };
            if let Some(wrong) = verdicts.iter().find(|word| word.parse::<case::Verdict>().is_err()) {
                let detail =
                    format!("triggers: `{wrong}` is no verdict; use for example `true_positive` or `suspicious`");
                return Err(Refusal::fault("/text", detail));
            }
        }
        let digests = skills.iter().map(|(name, skill)| (name.clone(), skill.digest)).collect();
        let charter = Charter::of(text, &definition, &digests).map_err(|fault| faulty(&[fault]))?.digest();
        let procedure = match (&definition.playbook, &definition.model) {
            (Some(name), _) => {
                let playbook = skills.get(name).and_then(|skill| skill.playbook.clone());
                let playbook =
                    playbook.ok_or_else(|| Refusal::fault("/text", format!("skill `{name}` has no playbook")))?;
                let faults = playbook.faults_against(&self.tools_of(&definition.operations, true));
                if !faults.is_empty() {
                    return Err(faulty(&faults));
                }
                Procedure::Playbook(playbook)
            }
            (None, model) => Procedure::Model(Arc::new(ConversationPlan {
                model: model.clone().unwrap_or_default(),
                prompt: definition.prompt.clone(),
                skills: skills.values().map(|skill| (skill.name.clone(), skill.text.clone())).collect(),
                output_tokens_max: OUTPUT_TOKENS_MAX,
                result_tokens_max: RESULT_TOKENS_MAX,
            })),
        };
        let tools = Arc::new(self.tools_of(&definition.operations, definition.playbook.is_none()));
        Ok(Prepared { definition, charter, procedure, tools })
    }

    /// A skill that an agent of this place can bring, and what is stored of it: nothing where it ships.
    async fn skill_of(
        &self,
        place: Option<TenantId>,
        digest: &str,
    ) -> Result<Option<(Skill, Option<store::Skill>)>, Refusal> {
        if let Some(skill) = content::skills().iter().find(|skill| skill.digest.to_hex() == digest) {
            return Ok(Some((skill.clone(), None)));
        }
        let snapshot = self.store.snapshot(Scope::Provider);
        for owner in [place, None] {
            let stored: Option<Stored<store::Skill>> = snapshot.read(&store::Skill::key(owner, digest)).await?;
            if let Some(stored) = stored {
                let skill = read_stored(&stored.value)?;
                return Ok(Some((skill, Some(stored.value))));
            }
        }
        Ok(None)
    }
}

fn read_stored(stored: &store::Skill) -> Result<Skill, Refusal> {
    let file = |(path, text): &(String, String)| SkillFile { path: path.clone(), text: text.clone() };
    Skill::read(stored.files.iter().map(file).collect())
        .map_err(|error| Refusal::bug("a stored skill does not read", &error))
}

/// Faults of a definition, as those of the input `text`.
fn faulty(faults: &[agent::Fault]) -> Refusal {
    let fault = |fault: &agent::Fault| api::Fault { pointer: "/text".to_owned(), detail: fault.to_string() };
    Problem::invalid(faults.iter().take(64).map(fault).collect()).into()
}
