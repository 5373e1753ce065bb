//! Rules: written, changed, moved along their life, made to run, rolled back. What runs is a version; the state tells
//! where the newest one is. Nothing here talks to the data plane: [`crate::rule_live`] carries over what is committed.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::rule_text::{RuleText, difference};
use crate::target::Target;
use api::{
    Etag, Gone, Page, RuleCreate, RuleDelete, RuleDiff, RuleDifference, RuleEnable, RuleGet, RuleList, RuleRetire,
    RuleRollback, RuleSetState, RuleStep, RuleTestCase, RuleUpdate, RuleVersions,
};
use ids::{List, Owner, RuleId, Text};
use seal::Digest;
use store::{Changes, Rule, RuleState, RuleVersion, Snapshot, Stored};

/// A rule's head with one of its versions, as it is told.
pub(crate) fn wire(control: &Control, head: &Stored<Rule>, version: &RuleVersion) -> Result<api::Rule, Refusal> {
    let text = RuleText::stored(&version.text);
    let (title, level) = match &text {
        Ok(text) => (text.title.clone(), text.level),
        Err(_) => ("(does not load any more)".to_owned(), ids::Severity::Unknown),
    };
    Ok(api::Rule {
        id: head.value.id,
        tenant: head.value.tenant,
        sigma_id: Text::truncated(&head.value.sigma_id),
        title: Text::truncated(&title),
        level,
        state: state_wire(head.value.state),
        version: version.version,
        running_version: head.value.running,
        retro_hunt_days: head.value.retro_hunt_days,
        text: Text::truncated(&version.text),
        digest: Text::truncated(&version.digest),
        author: version.author.clone(),
        run: version.run,
        comment: Text::truncated(&version.comment),
        tests: u32::try_from(version.tests.len()).unwrap_or(u32::MAX),
        updated_at: version.written_at,
        status: head.value.running.map(|_| control.rules.status(&head.value)),
        etag: Etag::of(head.version),
    })
}

const fn state_wire(state: RuleState) -> api::RuleState {
    match state {
        RuleState::Draft => api::RuleState::Draft,
        RuleState::Tested => api::RuleState::Tested,
        RuleState::Backtested => api::RuleState::Backtested,
        RuleState::InReview => api::RuleState::InReview,
        RuleState::Shadow => api::RuleState::Shadow,
        RuleState::Live => api::RuleState::Live,
        RuleState::Retired => api::RuleState::Retired,
    }
}

/// The rule that a call acts on, at the version that would take effect.
pub(crate) async fn rule_target(look: &Look<'_>, rule: RuleId) -> Result<Target, Refusal> {
    let head: Stored<Rule> = look.one("rule", &rule.to_string()).await?;
    let version = version_of(look.snapshot, rule, head.value.newest).await?;
    let target = Target::new("Rule", rule.to_string(), head.value.tenant.into());
    Ok(target.named(head.value.sigma_id).made_by(version.author).at_revision(u64::from(head.value.newest)))
}

pub(crate) async fn version_of(snapshot: &Snapshot, rule: RuleId, version: u32) -> Result<RuleVersion, Refusal> {
    let stored: Option<Stored<RuleVersion>> = snapshot.read(&RuleVersion::key(rule, version)).await?;
    stored.map(|stored| stored.value).ok_or_else(|| Refusal::not_found("version of the rule"))
}

/// The stored tests of a version.
pub(crate) fn tests_of(version: &RuleVersion) -> Result<Vec<RuleTestCase>, Refusal> {
    let read = |value: &serde_json::Value| serde_json::from_value(value.clone());
    let tests = version.tests.iter().map(read).collect::<Result<_, _>>();
    tests.map_err(|error| Refusal::bug("a stored rule test does not parse", &error))
}

fn test_values<const MAX: usize>(tests: &List<RuleTestCase, MAX>) -> Vec<serde_json::Value> {
    tests.iter().filter_map(|test| serde_json::to_value(test).ok()).collect()
}

/// A new version of a rule by the caller.
pub(crate) fn version_by(
    admitted: &Admitted<'_>,
    head: &Rule,
    text: String,
    comment: String,
    tests: Vec<serde_json::Value>,
) -> RuleVersion {
    RuleVersion {
        rule: head.id,
        tenant: head.tenant,
        version: head.newest,
        digest: Digest::of(text.as_bytes()).to_hex(),
        text,
        tests,
        comment,
        author: admitted.identity.principal.clone(),
        run: admitted.identity.run,
        written_at: admitted.now,
    }
}

/// That the tests of a version pass; `needed` also asks for at least one.
fn check_tests(text: &RuleText, version: &RuleVersion, needed: bool) -> Result<(), Refusal> {
    let tests = tests_of(version)?;
    if needed && tests.is_empty() {
        return Err(Refusal::conflict("the rule has no tests; give it some with `rule.update`"));
    }
    let report = text.test(&tests);
    if report.passed {
        return Ok(());
    }
    let failed = report.results.iter().filter(|result| !result.passed).map(|result| format!("`{}`", result.name));
    let failed: Vec<String> = failed.collect();
    Err(Refusal::conflict(format!("the rule's tests fail: {}; see `rule.test`", failed.join(", "))))
}

/// The changed head in place of the one before.
fn replaced(
    admitted: &Admitted<'_>,
    before: &Stored<Rule>,
    head: Rule,
    version: &RuleVersion,
    mut changes: Changes,
) -> Result<Outcome<api::Rule>, Refusal> {
    changes.replace(&head, before.version);
    let number = before.version.saturating_add(1);
    let head = Stored { value: head, version: number, created_at: before.created_at, updated_at: admitted.now };
    Ok(Outcome::changed(wire(admitted.control, &head, version)?, changes))
}

impl Handle<RuleCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleCreate) -> Result<Outcome<api::Rule>, Refusal> {
        let text = RuleText::of_input(&input.text, "/text")?;
        let head = Rule {
            id: RuleId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: admitted.target.owner.tenant(),
            sigma_id: text.sigma_id,
            state: RuleState::Draft,
            newest: 1,
            running: None,
            shadow: false,
            backtested: None,
            retro_hunt_days: None,
        };
        let tests = test_values(&input.tests);
        let version = version_by(admitted, &head, input.text.into_string(), input.comment.into_string(), tests);
        let mut changes = Changes::new();
        changes.create(&head).create(&version);
        let head = Stored { value: head, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(self, &head, &version)?, changes))
    }
}

impl Handle<RuleGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleGet) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleGet) -> Result<Outcome<api::Rule>, Refusal> {
        let head: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let number = input.version.unwrap_or(head.value.newest);
        let version = version_of(&admitted.snapshot, input.rule, number).await?;
        Ok(Outcome::answer(wire(self, &head, &version)?))
    }
}

impl Handle<RuleList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleList) -> Result<Outcome<Page<api::Rule>>, Refusal> {
        let owner = Some(admitted.target.owner);
        let key = input.state.map(|state| ("state", state_word(state).to_owned()));
        let heads: Page<Stored<Rule>> = admitted.page(owner, key, input.limit, input.cursor.as_ref(), Ok).await?;
        let mut items = Vec::new();
        for head in heads.items {
            let version = version_of(&admitted.snapshot, head.value.id, head.value.newest).await?;
            items.push(wire(self, &head, &version)?);
        }
        Ok(Outcome::answer(Page { items, next_cursor: heads.next_cursor }))
    }
}

const fn state_word(state: api::RuleState) -> &'static str {
    match state {
        api::RuleState::Draft => RuleState::Draft.as_str(),
        api::RuleState::Tested => RuleState::Tested.as_str(),
        api::RuleState::Backtested => RuleState::Backtested.as_str(),
        api::RuleState::InReview => RuleState::InReview.as_str(),
        api::RuleState::Shadow => RuleState::Shadow.as_str(),
        api::RuleState::Live => RuleState::Live.as_str(),
        api::RuleState::Retired => RuleState::Retired.as_str(),
    }
}

impl Handle<RuleUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleUpdate) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleUpdate) -> Result<Outcome<api::Rule>, Refusal> {
        let before: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let text = RuleText::of_input(&input.text, "/text")?;
        if text.sigma_id != before.value.sigma_id {
            let detail =
                format!("has the id `{}`; a new id is a new rule, keep `{}`", text.sigma_id, before.value.sigma_id);
            return Err(Refusal::fault("/text", detail));
        }
        let old = version_of(&admitted.snapshot, input.rule, before.value.newest).await?;
        let newest = before.value.newest.saturating_add(1);
        let head = Rule { newest, state: RuleState::Draft, ..before.value.clone() };
        let tests = input.tests.as_ref().map_or(old.tests, test_values);
        let version = version_by(admitted, &head, input.text.into_string(), input.comment.into_string(), tests);
        let mut changes = Changes::new();
        changes.create(&version);
        replaced(admitted, &before, head, &version, changes)
    }
}

impl Handle<RuleRollback> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleRollback) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleRollback) -> Result<Outcome<api::Rule>, Refusal> {
        let before: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let old = version_of(&admitted.snapshot, input.rule, input.version).await?;
        let newest = before.value.newest.saturating_add(1);
        let head = Rule { newest, state: RuleState::Draft, ..before.value.clone() };
        let comment = format!("back to version {}. {}", input.version, input.comment.as_str());
        let version = version_by(admitted, &head, old.text, comment.trim_end().to_owned(), old.tests);
        let mut changes = Changes::new();
        changes.create(&version);
        replaced(admitted, &before, head, &version, changes)
    }
}

impl Handle<RuleSetState> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleSetState) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleSetState) -> Result<Outcome<api::Rule>, Refusal> {
        let before: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let version = version_of(&admitted.snapshot, input.rule, before.value.newest).await?;
        let text = RuleText::stored(&version.text)?;
        let mut head = before.value.clone();
        head.state = match input.state {
            RuleStep::Draft => RuleState::Draft,
            RuleStep::Tested => RuleState::Tested,
            RuleStep::Backtested => RuleState::Backtested,
            RuleStep::InReview => RuleState::InReview,
            RuleStep::Shadow => RuleState::Shadow,
        };
        check_step(&before.value, head.state)?;
        if head.state != RuleState::Draft {
            check_tests(&text, &version, head.state == RuleState::Tested)?;
        }
        if head.state == RuleState::Shadow {
            head.running = Some(head.newest);
            head.shadow = true;
        }
        replaced(admitted, &before, head, &version, Changes::new())
    }
}

/// Whether a rule may go there from where it is.
fn check_step(rule: &Rule, to: RuleState) -> Result<(), Refusal> {
    let refuse = |detail: &str| Err(Refusal::conflict(detail));
    match (rule.state, to) {
        (RuleState::Retired, RuleState::Draft) => Ok(()),
        (RuleState::Retired, _) => refuse("the rule is retired; make it a draft first"),
        (_, RuleState::Backtested) if rule.backtested != Some(rule.newest) => {
            refuse("the newest version was not run over stored events; call `rule.backtest` first")
        }
        (_, RuleState::Shadow) if rule.running.is_some() && !rule.shadow => {
            refuse("a version runs with consequences; retire the rule first, or write a second rule to try a change")
        }
        // What runs goes on: only `rule.retire` and `rule.enable` change that.
        (RuleState::Live, _) if rule.running == Some(rule.newest) => {
            refuse("the newest version runs; write a new one with `rule.update`, or stop it with `rule.retire`")
        }
        _ => Ok(()),
    }
}

impl Handle<RuleEnable> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleEnable) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleEnable) -> Result<Outcome<api::Rule>, Refusal> {
        let before: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let version = version_of(&admitted.snapshot, input.rule, before.value.newest).await?;
        check_tests(&RuleText::stored(&version.text)?, &version, false)?;
        let running = Some(before.value.newest);
        let retro_hunt_days = input.retro_hunt_days.or(before.value.retro_hunt_days);
        let head = Rule { state: RuleState::Live, running, shadow: false, retro_hunt_days, ..before.value.clone() };
        let mut changes = Changes::new();
        if let Some(hunt) = self.hunt_of(admitted, &head).await? {
            changes.enqueue(hunt);
        }
        replaced(admitted, &before, head, &version, changes)
    }
}

impl Handle<RuleRetire> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleRetire) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleRetire) -> Result<Outcome<api::Rule>, Refusal> {
        let before: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        let version = version_of(&admitted.snapshot, input.rule, before.value.newest).await?;
        let head = Rule { state: RuleState::Retired, running: None, shadow: false, ..before.value.clone() };
        replaced(admitted, &before, head, &version, Changes::new())
    }
}

impl Handle<RuleDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleDelete) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleDelete) -> Result<Outcome<Gone>, Refusal> {
        let before: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        if before.value.running.is_some() {
            return Err(Refusal::conflict("the rule runs; stop it with `rule.retire` first"));
        }
        let (id, owner) = (input.rule.to_string(), Owner::from(before.value.tenant));
        let mut changes = Changes::new();
        for version in admitted.snapshot.find::<RuleVersion>("rule", &id).await? {
            let key = RuleVersion::key(input.rule, version.value.version);
            changes.delete::<RuleVersion>(&key, owner, version.version);
        }
        changes.delete::<Rule>(&id, owner, before.version);
        Ok(Outcome::changed(Gone { id }, changes))
    }
}

impl Handle<RuleVersions> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleVersions) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RuleVersions,
    ) -> Result<Outcome<Page<api::RuleVersion>>, Refusal> {
        let head: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let wire = |stored: Stored<RuleVersion>| {
            Ok(api::RuleVersion {
                version: stored.value.version,
                author: stored.value.author,
                run: stored.value.run,
                comment: Text::truncated(&stored.value.comment),
                digest: Text::truncated(&stored.value.digest),
                created_at: stored.value.written_at,
                running: head.value.running == Some(stored.value.version),
            })
        };
        let key = Some(("rule", input.rule.to_string()));
        Ok(Outcome::answer(admitted.page(None, key, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<RuleDiff> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleDiff) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleDiff) -> Result<Outcome<RuleDifference>, Refusal> {
        let head: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let (from, to) = (input.from.or(head.value.running).unwrap_or(1), input.to.unwrap_or(head.value.newest));
        let old = version_of(&admitted.snapshot, input.rule, from).await?;
        let new = version_of(&admitted.snapshot, input.rule, to).await?;
        Ok(Outcome::answer(difference((from, &old.text), (to, &new.text))))
    }
}
