//! Detection rules as documents with a life: written, checked, tested, shared, made live, rolled back.

use crate::{Etag, Gone, Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{List, Principal, RuleId, RulePackId, RunId, Severity, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Sigma in YAML: one rule, or one correlation with the rules that it counts.
pub type RuleYaml = Text<65536>;

/// Where a rule is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// Written; its tests may fail.
    Draft,
    /// Its tests pass.
    Tested,
    /// It was run over what the lake holds.
    Backtested,
    /// Somebody other than its author looks at it.
    InReview,
    /// It runs; its findings are recorded and nothing follows from them.
    Shadow,
    /// It runs.
    Live,
    /// It ran once, or was given up.
    Retired,
}

/// A test of a rule: events in, and where it must match.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTestCase {
    /// What it shows.
    pub name: Text<200>,
    /// The form of the events: `auto`, `windows-flat`, `windows-evtx`, `cloudtrail`, ...; told from the first one where
    /// nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Text<64>>,
    /// The events, in order of arrival. Rules that count need their times.
    #[schemars(length(min = 1))]
    pub events: List<Map<String, Value>, 100>,
    /// Numbers of the events, from 0, at which the rule must match: no other may.
    #[serde(default)]
    pub matches: List<u32, 100>,
}

/// What the data plane makes of a rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleStatus {
    /// Whether it runs in every tenant where it should.
    pub running: bool,
    /// Why it does not, or not as its author thinks; one for each tenant and reason.
    pub faults: Vec<RuleFlaw>,
}

/// A rule does not run somewhere, or not as its author thinks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleFlaw {
    /// Where.
    pub tenant: TenantId,
    /// True where it does not run at all.
    pub fatal: bool,
    /// Why.
    pub reason: String,
}

/// A detection rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// The rule's id here.
    pub id: RuleId,
    /// The tenant whose it is; absent for the provider's, which runs in every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The id in its text.
    pub sigma_id: Text<200>,
    /// The title in its text.
    pub title: Text<300>,
    /// Its level.
    pub level: Severity,
    /// Where it is in its life.
    pub state: RuleState,
    /// Number of the version shown, from 1.
    pub version: u32,
    /// Number of the version that runs; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_version: Option<u32>,
    /// How many days the retro-hunt goes back when a version goes live, 0 for none; absent where the tenant's holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retro_hunt_days: Option<u32>,
    /// The text of the version shown.
    pub text: RuleYaml,
    /// Its digest: SHA-256, hexadecimal.
    pub digest: Text<64>,
    /// Who wrote the version shown.
    pub author: Principal,
    /// The agent's run that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What the author says of it.
    pub comment: Text<2000>,
    /// How many tests lie beside the version shown.
    pub tests: u32,
    /// When the version shown was written.
    pub updated_at: Timestamp,
    /// What the data plane makes of it; absent while no version runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RuleStatus>,
    /// The rule's tag; send it back as `if_match` to change exactly this one.
    pub etag: Etag,
}

/// Write a rule. It is a draft and runs nowhere until `rule.enable`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleCreate {
    /// The tenant whose it shall be; absent for the provider's, which runs in every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Sigma in YAML; it must load.
    pub text: RuleYaml,
    /// What it is for.
    #[serde(default)]
    pub comment: Text<2000>,
    /// Tests that must pass before it can run.
    #[serde(default)]
    pub tests: List<RuleTestCase, 50>,
}

/// Look at a rule, in its newest or a given version.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleGet {
    /// Which rule.
    pub rule: RuleId,
    /// Which version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: Option<u32>,
}

/// List the rules of a tenant or the provider; those of packs are told by `pack.get`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleList {
    /// Whose; where nothing is said, of the caller's own tenant or the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RuleState>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Write a new version of a rule. What runs goes on running as it was until `rule.enable`; the state is draft again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleUpdate {
    /// Which rule.
    pub rule: RuleId,
    /// The new text; the id in it must stay the same.
    pub text: RuleYaml,
    /// What has changed and why.
    #[serde(default)]
    pub comment: Text<2000>,
    /// New tests, in place of the old ones; these stay where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<List<RuleTestCase, 50>>,
    /// Change only if the rule still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Move a rule along its life; `rule.enable` makes it live, `rule.retire` stops it.
///
/// A step may be left out, and back is always allowed; what follows draft needs tests that pass. Shadow lets the newest
/// version run without consequences.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSetState {
    /// Which rule.
    pub rule: RuleId,
    /// Where to.
    pub state: RuleStep,
    /// Change only if the rule still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// A state that `rule.set_state` can give.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleStep {
    /// Back to draft.
    Draft,
    /// Its tests pass.
    Tested,
    /// It was run over what the lake holds.
    Backtested,
    /// Somebody shall look at it.
    InReview,
    /// Let it run without consequences.
    Shadow,
}

/// Let the newest version of a rule run, with consequences. Its tests must pass.
///
/// What it would have found in the last days is then looked for and stored as by `rule.retro_hunt`, over as many days as
/// the rule says, or else its tenant (`tenant.update`), or else 7; a job of kind `rule.retro_hunt` tells what it came to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleEnable {
    /// Which rule.
    pub rule: RuleId,
    /// How many days the retro-hunt goes back, now and whenever a version of this rule goes live: 0 for none, at most 90;
    /// where nothing is said, as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 90))]
    pub retro_hunt_days: Option<u32>,
    /// Only if the rule still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Stop a rule. It can be a draft again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleRetire {
    /// Which rule.
    pub rule: RuleId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
    /// Only if the rule still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Delete a rule that does not run, with all its versions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDelete {
    /// Which rule.
    pub rule: RuleId,
    /// Delete only if the rule still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// One version of a rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleVersion {
    /// Its number, from 1.
    pub version: u32,
    /// Who wrote it.
    pub author: Principal,
    /// The agent's run that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What the author says of it.
    pub comment: Text<2000>,
    /// The text's digest: SHA-256, hexadecimal.
    pub digest: Text<64>,
    /// When it was written.
    pub created_at: Timestamp,
    /// True where this version runs.
    pub running: bool,
}

/// List the versions of a rule, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleVersions {
    /// Which rule.
    pub rule: RuleId,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// What differs between two versions of a rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleDifference {
    /// The older one's number.
    pub from: u32,
    /// The newer one's number.
    pub to: u32,
    /// Every line that went (`-`) or came (`+`), with the lines that stayed (` `) around them.
    pub lines: Vec<String>,
}

/// Compare two versions of a rule, line by line.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleDiff {
    /// Which rule.
    pub rule: RuleId,
    /// From this version; the one that runs, or else the first, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub from: Option<u32>,
    /// To this version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub to: Option<u32>,
}

/// Write an older version of a rule again, as its newest. It is a draft; `rule.enable` lets it run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleRollback {
    /// Which rule.
    pub rule: RuleId,
    /// Back to this version.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: u32,
    /// Why.
    #[serde(default)]
    pub comment: Text<2000>,
}

/// How bad a remark about a rule is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemarkSeverity {
    /// Worth knowing.
    Info,
    /// The rule works, but not as well or not as meant.
    Warning,
    /// The document does not load, or can never match.
    Error,
}

/// A remark about a rule's text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleRemark {
    /// The file, where there are several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The stable word of this kind of remark.
    pub code: String,
    /// How bad it is.
    pub severity: RemarkSeverity,
    /// Where in the document.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// What is wrong or weak in a rule's text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleRemarks {
    /// Whether it loads.
    pub loads: bool,
    /// The remarks.
    pub items: Vec<RuleRemark>,
}

/// Check a rule's text without writing it: does it load, and what is weak in it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleLint {
    /// Sigma in YAML.
    pub text: RuleYaml,
}

/// What one test came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleTestResult {
    /// Its name.
    pub name: Text<200>,
    /// Whether the rule matched where it must and nowhere else.
    pub passed: bool,
    /// Where it matched.
    pub matched: Vec<u32>,
    /// Where it should have.
    pub expected: Vec<u32>,
    /// What kept the test from being run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What tests of a rule came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleTestReport {
    /// Whether all passed; true where there are none.
    pub passed: bool,
    /// One for each test.
    pub results: Vec<RuleTestResult>,
}

/// Run tests on a rule's newest version: its own, or the given ones.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// Which rule.
    pub rule: RuleId,
    /// These tests; the rule's own where the list is empty.
    #[serde(default)]
    pub tests: List<RuleTestCase, 50>,
}

/// One test of a field, with its outcome.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RulePredicate {
    /// The field, or `any value`.
    pub field: String,
    /// What it should be.
    pub wanted: String,
    /// Whether it is.
    pub held: bool,
    /// What the event holds there, shortened.
    pub values: Vec<String>,
}

/// Whether one named detection of a rule holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleSelection {
    /// Its name in the rule.
    pub name: String,
    /// Whether it holds.
    pub held: bool,
}

/// Why a rule does or does not match an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleExplanation {
    /// The rule's id in its text.
    pub sigma_id: Text<200>,
    /// Whether it matches.
    pub matched: bool,
    /// Why the event is not of the rule's log source; absent where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_source: Option<String>,
    /// Each named detection.
    pub selections: Vec<RuleSelection>,
    /// What decided: for a match what holds, else the fewest things that would have to be different.
    pub decided_by: Vec<RulePredicate>,
}

/// One explanation for each rule of the document.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleExplanations {
    /// The explanations.
    pub items: Vec<RuleExplanation>,
}

/// Explain why a rule does or does not match an event, and by how little.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleExplain {
    /// Which rule.
    pub rule: RuleId,
    /// Which version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: Option<u32>,
    /// The event as its source wrote it.
    #[schemars(extend("type" = "object"))]
    pub event: Map<String, Value>,
    /// The form of the event; told from the event where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Text<64>>,
}

/// Whether the data of a log source comes in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataPresence {
    /// None of the last 7 days' records is of it.
    Absent,
    /// Records of the last 7 days are of it.
    Present,
    /// None of a sample of the last 7 days' records is of it.
    Unknown,
}

/// One ATT&CK technique and who looks for it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TechniqueCoverage {
    /// Such as `T1059.001`.
    pub technique: String,
    /// How many rules that run name it.
    pub rules: u32,
    /// How many of them have data: records of all their log sources came in during the last 7 days.
    pub rules_with_data: u32,
    /// How many of them have none: no record of one of their log sources came in during the last 7 days.
    pub rules_without_data: u32,
    /// Their log sources, such as `windows/process_creation`, and whether their data comes in.
    pub logsources: Vec<LogSourceCoverage>,
}

/// A log source of rules, and whether its data comes in.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
pub struct LogSourceCoverage {
    /// Product, category and service, as far as named, joined by `/`.
    pub logsource: String,
    /// Whether its data comes in.
    pub data: DataPresence,
}

/// What the rules that run in a tenant look for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Rules that run.
    pub rules: u32,
    /// Of these, rules that have data: records of all their log sources came in during the last 7 days.
    pub rules_with_data: u32,
    /// Of these, rules that wait for data that does not come.
    pub rules_without_data: u32,
    /// Of these, rules that name no technique.
    pub untagged: u32,
    /// By technique.
    pub techniques: Vec<TechniqueCoverage>,
    /// Every log source that a rule needs, and whether its data comes in.
    pub logsources: Vec<LogSourceCoverage>,
}

/// Which ATT&CK techniques the rules that run in a tenant look for, and for which of them data comes in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleCoverage {
    /// Which tenant.
    pub tenant: TenantId,
}

/// A file of rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Its path, for the report.
    pub name: Text<300>,
    /// Sigma in YAML: any number of documents.
    pub text: RuleYaml,
}

/// A document that was not taken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleRejection {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The stable word of this kind of fault.
    pub code: String,
    /// Why.
    pub reason: String,
}

/// A rule that loads and asks for what no source has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleGap {
    /// The rule's id in its text.
    pub sigma_id: Text<200>,
    /// What no source has.
    pub reason: String,
}

/// What became of imported files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ImportReport {
    /// Rules that were written, new or as a new version.
    pub loaded: u32,
    /// Rules that are here already with the same text.
    pub unchanged: u32,
    /// Documents that were not taken, and why.
    pub rejected: Vec<RuleRejection>,
    /// Rules that were taken and ask for what no source has.
    pub gaps: Vec<RuleGap>,
}

/// Import rule files as SigmaHQ has them: as drafts of a tenant or the provider, or into a pack.
///
/// Each document becomes a rule; a correlation must lie in one file with the rules that it counts. What is here already by
/// its id gets a new version where its text differs. A whole folder goes in several calls.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleImport {
    /// Whose they shall be; where nothing is said, of the caller's own tenant or the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Into this pack, of the same owner; as drafts where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<RulePackId>,
    /// The files.
    #[schemars(length(min = 1))]
    pub files: List<RuleFile, 150>,
}

/// In which form rules are exported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleForm {
    /// As SigmaHQ writes rules: its keys in its order, what only this platform knows left out and told.
    Sigmahq,
    /// One SELECT over the lake's `events` for each form of records that the rule is asked about; for `event.query`.
    Sql,
    /// As the rules were written.
    #[default]
    Written,
}

/// Something about an exported file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleExportNote {
    /// The file.
    pub file: String,
    /// Where the file says less than the rule, or why there is none.
    pub note: String,
}

/// Rules as text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleExported {
    /// One file for each rule: `ID.yml`; as SQL `ID.FORM.sql`.
    pub files: Vec<RuleFile>,
    /// Rules that cannot be said in the form, and why.
    pub left_out: Vec<RuleExportNote>,
    /// Where a file says less than its rule.
    pub notes: Vec<RuleExportNote>,
    /// Give this as `cursor` to get the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Export the newest versions of a tenant's or the provider's rules: as Sigma files, as SigmaHQ's, or as SQL.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleExport {
    /// Whose; where nothing is said, of the caller's own tenant or the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// In which form; as written where nothing is said.
    #[serde(default)]
    pub form: RuleForm,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

const EXAMPLE_RULE: &str = "title: Whoami\nid: 7e6f1f2c-6d0e-4f0b-9a52-0f1f4f1d2c11\nlogsource:\n  product: windows\n  category: process_creation\ndetection:\n  selection:\n    Image|endswith: '\\\\whoami.exe'\n  condition: selection\nlevel: low\ntags: [attack.t1033]\n";

declare! {
    RuleCreate => Rule: Meta::write("rule.create", Method::Post, "/v1/rules", "Tenant"),
        json!({ "tenant": example::TENANT, "text": EXAMPLE_RULE, "tests": [{ "name": "whoami", "events": [{ "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": "C:\\Windows\\System32\\whoami.exe" }], "matches": [0] }] });
    RuleGet => Rule: Meta::read("rule.get", Method::Get, "/v1/rules/{rule}", "Rule"), json!({ "rule": example::RULE });
    RuleList => Page<Rule>: Meta::read("rule.list", Method::Get, "/v1/rules", "Tenant"), json!({ "tenant": example::TENANT, "state": "live" });
    RuleUpdate => Rule: Meta::write("rule.update", Method::Patch, "/v1/rules/{rule}", "Rule"),
        json!({ "rule": example::RULE, "text": EXAMPLE_RULE, "comment": "lower level" });
    RuleSetState => Rule: Meta::write("rule.set_state", Method::Post, "/v1/rules/{rule}/state", "Rule").idempotent(),
        json!({ "rule": example::RULE, "state": "tested" });
    RuleEnable => Rule: Meta::write("rule.enable", Method::Post, "/v1/rules/{rule}/enable", "Rule").idempotent(),
        json!({ "rule": example::RULE });
    RuleRetire => Rule: Meta::write("rule.retire", Method::Post, "/v1/rules/{rule}/retire", "Rule").idempotent(),
        json!({ "rule": example::RULE, "reason": "replaced by another" });
    RuleDelete => Gone: Meta::write("rule.delete", Method::Delete, "/v1/rules/{rule}", "Rule"), json!({ "rule": example::RULE });
    RuleVersions => Page<RuleVersion>: Meta::read("rule.versions", Method::Get, "/v1/rules/{rule}/versions", "Rule"),
        json!({ "rule": example::RULE });
    RuleDiff => RuleDifference: Meta::read("rule.diff", Method::Get, "/v1/rules/{rule}/diff", "Rule"),
        json!({ "rule": example::RULE, "from": 1, "to": 2 });
    RuleRollback => Rule: Meta::write("rule.rollback", Method::Post, "/v1/rules/{rule}/rollback", "Rule"),
        json!({ "rule": example::RULE, "version": 1, "comment": "too noisy" });
    RuleLint => RuleRemarks: Meta::read("rule.lint", Method::Post, "/v1/rule/lint", "Tenant"), json!({ "text": EXAMPLE_RULE });
    RuleTest => RuleTestReport: Meta::read("rule.test", Method::Post, "/v1/rules/{rule}/test", "Rule"), json!({ "rule": example::RULE });
    RuleExplain => RuleExplanations: Meta::read("rule.explain", Method::Post, "/v1/rules/{rule}/explain", "Rule"),
        json!({ "rule": example::RULE, "event": { "Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1, "Image": "C:\\Windows\\System32\\cmd.exe" } });
    RuleCoverage => Coverage: Meta::read("rule.coverage", Method::Get, "/v1/tenants/{tenant}/coverage", "Tenant"),
        json!({ "tenant": example::TENANT });
    RuleImport => ImportReport: Meta::write("rule.import", Method::Post, "/v1/rule/import", "Tenant"),
        json!({ "tenant": example::TENANT, "files": [{ "name": "whoami.yml", "text": EXAMPLE_RULE }] });
    RuleExport => RuleExported: Meta::read("rule.export", Method::Get, "/v1/rule/export", "Tenant"), json!({ "tenant": example::TENANT });
}
