//! Policy documents: written as drafts, checked at once, tested, then let to bind.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::decide::{PolicyState, compile, installed_document};
use crate::identity::Identity;
use crate::outcome::{After, Outcome};
use crate::policy_questions::run_tests;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Etag, Page, PolicyActivate, PolicyChange, PolicyCreate, PolicyDiff, PolicyDifference, PolicyGet, PolicyList,
    PolicyRetire, PolicyState as WireState, PolicyTest, PolicyTestCase, PolicyTestReport, PolicyUpdate, PolicyVersions,
};
use ids::{Owner, PolicyId, Text};
use policy::Document;
use store::{Changes, Policy, PolicyState as State, PolicyVersion, Snapshot, Stored};

pub(crate) fn wire(head: &Stored<Policy>, version: &PolicyVersion) -> Result<api::Policy, Refusal> {
    Ok(api::Policy {
        id: head.value.id,
        name: head.value.name.parse().map_err(|error| Refusal::bug("a stored policy is not well formed", &error))?,
        text: Text::truncated(&version.text),
        state: match head.value.state {
            State::Draft => WireState::Draft,
            State::Active => WireState::Active,
            State::Retired => WireState::Retired,
        },
        version: version.version,
        active_version: head.value.active,
        author: version.author.clone(),
        comment: Text::truncated(&version.comment),
        updated_at: version.written_at,
        etag: Etag::of(head.version),
    })
}

pub(crate) async fn policy_target(look: &Look<'_>, policy: PolicyId) -> Result<Target, Refusal> {
    let head: Stored<Policy> = look.one("policy", &policy.to_string()).await?;
    let version = version_of(look.snapshot, policy, head.value.newest).await?;
    Ok(Target::new("Policy", policy.to_string(), Owner::Provider).named(head.value.name).made_by(version.author))
}

pub(crate) fn any_policy() -> Target {
    Target::new("Policy", "any", Owner::Provider)
}

pub(crate) async fn version_of(snapshot: &Snapshot, policy: PolicyId, version: u32) -> Result<PolicyVersion, Refusal> {
    let stored: Option<Stored<PolicyVersion>> = snapshot.read(&PolicyVersion::key(policy, version)).await?;
    stored.map(|stored| stored.value).ok_or_else(|| Refusal::not_found("version of the policy"))
}

impl Control {
    /// The policy set as it would be with this document in it.
    pub(crate) fn set_with(&self, document: Document) -> Result<PolicyState, Refusal> {
        if self.shipped.iter().any(|shipped| shipped.name == document.name) {
            return Err(Refusal::fault(
                "/name",
                "is the name of a document that ships with the platform; choose another",
            ));
        }
        let mut documents = self.policies.load().documents.clone();
        documents.retain(|other| other.name != document.name);
        documents.push(document);
        Ok(compile(self.registry.specs(), documents)?)
    }
}

fn test_values<const MAX: usize>(tests: &ids::List<PolicyTestCase, MAX>) -> Vec<serde_json::Value> {
    tests.iter().filter_map(|test| serde_json::to_value(test).ok()).collect()
}

pub(crate) fn test_cases(values: &[serde_json::Value]) -> Result<Vec<PolicyTestCase>, Refusal> {
    let read = |value: &serde_json::Value| serde_json::from_value(value.clone());
    values
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::bug("a stored policy test does not parse", &error))
}

impl Handle<PolicyCreate> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(Target::provider())
    }

    async fn resolve(&self, _: &Look<'_>, _: &PolicyCreate) -> Result<Target, Refusal> {
        Ok(Target::provider())
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyCreate) -> Result<Outcome<api::Policy>, Refusal> {
        let head = Policy {
            id: PolicyId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            name: input.name.to_string(),
            state: State::Draft,
            newest: 1,
            active: None,
        };
        let version = PolicyVersion {
            policy: head.id,
            version: 1,
            text: input.text.into_string(),
            comment: input.comment.into_string(),
            author: admitted.identity.principal.clone(),
            written_at: admitted.now,
            tests: test_values(&input.tests),
        };
        self.set_with(installed_document(&head, &version))?;
        let mut changes = Changes::new();
        changes.create(&head).create(&version);
        let head = Stored { value: head, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(&head, &version)?, changes))
    }
}

impl Handle<PolicyGet> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyGet) -> Result<Target, Refusal> {
        policy_target(look, input.policy).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyGet) -> Result<Outcome<api::Policy>, Refusal> {
        let head: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        let number = input.version.unwrap_or(head.value.newest);
        let version = version_of(&admitted.snapshot, input.policy, number).await?;
        Ok(Outcome::answer(wire(&head, &version)?))
    }
}

impl Handle<PolicyList> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(Target::provider())
    }

    async fn resolve(&self, _: &Look<'_>, _: &PolicyList) -> Result<Target, Refusal> {
        Ok(Target::provider())
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyList) -> Result<Outcome<Page<api::Policy>>, Refusal> {
        let heads: Page<Stored<Policy>> = admitted.page(None, None, input.limit, input.cursor.as_ref(), Ok).await?;
        let mut items = Vec::new();
        for head in heads.items {
            let version = version_of(&admitted.snapshot, head.value.id, head.value.newest).await?;
            items.push(wire(&head, &version)?);
        }
        Ok(Outcome::answer(Page { items, next_cursor: heads.next_cursor }))
    }
}

impl Handle<PolicyUpdate> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyUpdate) -> Result<Target, Refusal> {
        policy_target(look, input.policy).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyUpdate) -> Result<Outcome<api::Policy>, Refusal> {
        let before: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let old = version_of(&admitted.snapshot, input.policy, before.value.newest).await?;
        let newest = before.value.newest.saturating_add(1);
        let head = Policy { newest, ..before.value.clone() };
        let version = PolicyVersion {
            policy: head.id,
            version: newest,
            text: input.text.into_string(),
            comment: input.comment.into_string(),
            author: admitted.identity.principal.clone(),
            written_at: admitted.now,
            tests: input.tests.as_ref().map_or(old.tests, test_values),
        };
        self.set_with(installed_document(&head, &version))?;
        let mut changes = Changes::new();
        changes.replace(&head, before.version).create(&version);
        let stored_version = before.version.saturating_add(1);
        let head =
            Stored { value: head, version: stored_version, created_at: before.created_at, updated_at: admitted.now };
        Ok(Outcome::changed(wire(&head, &version)?, changes))
    }
}

impl Handle<PolicyActivate> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyActivate) -> Result<Target, Refusal> {
        let head: Stored<Policy> = look.one("policy", &input.policy.to_string()).await?;
        // Whoever approves this approves a text: another text is another call.
        Ok(policy_target(look, input.policy).await?.at_revision(u64::from(head.value.newest)))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyActivate) -> Result<Outcome<api::Policy>, Refusal> {
        let before: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let version = version_of(&admitted.snapshot, input.policy, before.value.newest).await?;
        let state = self.set_with(installed_document(&before.value, &version))?;
        let report = run_tests(self, &state, &test_cases(&version.tests)?)?;
        if !report.passed {
            let failed: Vec<String> = report
                .results
                .iter()
                .filter(|result| !result.passed)
                .map(|result| format!("`{}`", result.name))
                .collect();
            return Err(Refusal::conflict(format!(
                "the document's tests fail: {}; see `policy.test`",
                failed.join(", ")
            )));
        }
        let head = Policy { state: State::Active, active: Some(before.value.newest), ..before.value.clone() };
        replaced(&before, head, &version, admitted)
    }
}

fn replaced(
    before: &Stored<Policy>,
    head: Policy,
    version: &PolicyVersion,
    admitted: &Admitted<'_>,
) -> Result<Outcome<api::Policy>, Refusal> {
    let mut changes = Changes::new();
    changes.replace(&head, before.version);
    let stored_version = before.version.saturating_add(1);
    let head = Stored { value: head, version: stored_version, created_at: before.created_at, updated_at: admitted.now };
    Ok(Outcome::changed(wire(&head, version)?, changes).then(After::Policies))
}

impl Handle<PolicyRetire> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyRetire) -> Result<Target, Refusal> {
        policy_target(look, input.policy).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyRetire) -> Result<Outcome<api::Policy>, Refusal> {
        let before: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        let version = version_of(&admitted.snapshot, input.policy, before.value.newest).await?;
        let head = Policy { state: State::Retired, active: None, ..before.value.clone() };
        replaced(&before, head, &version, admitted)
    }
}

impl Handle<PolicyVersions> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyVersions) -> Result<Target, Refusal> {
        policy_target(look, input.policy).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: PolicyVersions,
    ) -> Result<Outcome<Page<api::PolicyVersion>>, Refusal> {
        let head: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        let wire = |stored: Stored<PolicyVersion>| {
            Ok(api::PolicyVersion {
                version: stored.value.version,
                author: stored.value.author,
                comment: Text::truncated(&stored.value.comment),
                created_at: stored.value.written_at,
                active: head.value.active == Some(stored.value.version),
            })
        };
        let key = Some(("policy", input.policy.to_string()));
        Ok(Outcome::answer(admitted.page(None, key, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<PolicyDiff> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyDiff) -> Result<Target, Refusal> {
        policy_target(look, input.policy).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyDiff) -> Result<Outcome<PolicyDifference>, Refusal> {
        let head: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        let mut before = Vec::new();
        if let Some(number) = input.from.or(head.value.active) {
            before.push(installed_document(&head.value, &version_of(&admitted.snapshot, input.policy, number).await?));
        }
        let to = version_of(&admitted.snapshot, input.policy, input.to.unwrap_or(head.value.newest)).await?;
        let after = [installed_document(&head.value, &to)];
        let diff = policy::diff(&before, &after).map_err(|faults| crate::decide::policy_problem(&faults))?;
        let named = |change: &'static str| {
            move |one: policy::PolicyChange| PolicyChange {
                id: one.policy.to_string(),
                change: change.to_owned(),
                before: one.before,
                after: one.after,
            }
        };
        let mut changes: Vec<PolicyChange> = diff.added.into_iter().map(named("added")).collect();
        changes.extend(diff.changed.into_iter().map(named("changed")));
        changes.extend(diff.removed.into_iter().map(named("removed")));
        Ok(Outcome::answer(PolicyDifference { changes }))
    }
}

impl Handle<PolicyTest> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyTest) -> Result<Target, Refusal> {
        policy_target(look, input.policy).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyTest) -> Result<Outcome<PolicyTestReport>, Refusal> {
        let head: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        let version = version_of(&admitted.snapshot, input.policy, head.value.newest).await?;
        let state = self.set_with(installed_document(&head.value, &version))?;
        let tests = if input.tests.is_empty() { test_cases(&version.tests)? } else { input.tests.into_vec() };
        Ok(Outcome::answer(run_tests(self, &state, &tests)?))
    }
}
