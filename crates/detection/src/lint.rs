//! What is wrong or weak in rules before they run: each finding with a stable code, its place and what would be right.

use crate::engine::Cost;
use crate::profile::{Format, Gate, Profile};
use crate::sigma::{Collection, Expr, Matcher, Part, Rejection, Rule, Test};
use std::collections::HashMap;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LintSeverity {
    /// Worth knowing.
    Info,
    /// The rule works, but not as well or not as meant.
    Warning,
    /// The document does not load, or can never match.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LintFinding {
    /// The file as the caller named it.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// The rule's id; empty where the document was not loaded.
    pub rule: String,
    /// The stable word of this kind of finding.
    pub code: &'static str,
    /// How bad it is.
    pub severity: LintSeverity,
    /// Where in the document.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Check a collection. `fields` knows the fields of a log source: `None` where it knows nothing about it.
#[must_use]
pub fn lint(collection: &Collection, fields: &dyn Fn(&Rule) -> Option<Vec<String>>) -> Vec<LintFinding> {
    let mut findings: Vec<LintFinding> = collection.rejections.iter().map(rejected).collect();
    let windows = Profile::new(Format::WindowsFlat);
    let costs = Cost::of(&collection.rules);
    for (rule, cost) in collection.rules.iter().zip(costs) {
        let mut sink = Sink { rule, findings: &mut findings };
        header(&mut sink);
        logsource(&mut sink, &windows);
        branches(&mut sink);
        tests(&mut sink, fields(rule).as_deref());
        price(&mut sink, cost);
    }
    for correlation in &collection.correlations {
        if correlation.group_by.is_empty() {
            findings.push(LintFinding {
                file: correlation.source.file.clone(),
                line: correlation.source.line,
                rule: correlation.id.clone(),
                code: "correlation_ungrouped",
                severity: LintSeverity::Info,
                path: "correlation.group-by".to_owned(),
                message: "all events fall into one group".to_owned(),
                hint: "group by host or user, unless the whole tenant is meant".to_owned(),
            });
        }
    }
    findings.sort_by(|a, b| (&a.file, a.line, a.code, &a.path).cmp(&(&b.file, b.line, b.code, &b.path)));
    findings
}

/// One line of JSON for each finding.
#[must_use]
pub fn json_lines(findings: &[LintFinding]) -> String {
    findings.iter().filter_map(|finding| serde_json::to_string(finding).ok()).map(|line| line + "\n").collect()
}

fn rejected(rejection: &Rejection) -> LintFinding {
    LintFinding {
        file: rejection.file.clone(),
        line: rejection.line,
        rule: String::new(),
        code: match rejection.code {
            crate::sigma::RejectCode::Condition => "rejected_condition",
            crate::sigma::RejectCode::Correlation => "rejected_correlation",
            crate::sigma::RejectCode::Detection => "rejected_detection",
            crate::sigma::RejectCode::Filter => "rejected_filter",
            crate::sigma::RejectCode::Identity => "rejected_identity",
            crate::sigma::RejectCode::LogSource => "rejected_logsource",
            crate::sigma::RejectCode::Modifier => "rejected_modifier",
            crate::sigma::RejectCode::Missing => "rejected_missing",
            crate::sigma::RejectCode::Reference => "rejected_reference",
            crate::sigma::RejectCode::Regexp => "rejected_regexp",
            crate::sigma::RejectCode::Value => "rejected_value",
            crate::sigma::RejectCode::Yaml => "rejected_yaml",
        },
        severity: LintSeverity::Error,
        path: rejection.path.clone(),
        message: rejection.message.clone(),
        hint: rejection.hint.clone(),
    }
}

struct Sink<'a> {
    rule: &'a Rule,
    findings: &'a mut Vec<LintFinding>,
}

impl Sink<'_> {
    fn add(&mut self, severity: LintSeverity, code: &'static str, path: &str, message: String, hint: &str) {
        self.findings.push(LintFinding {
            file: self.rule.source.file.clone(),
            line: self.rule.source.line,
            rule: self.rule.id.clone(),
            code,
            severity,
            path: path.to_owned(),
            message,
            hint: hint.to_owned(),
        });
    }
}

fn header(sink: &mut Sink<'_>) {
    let rule = sink.rule;
    let uuid = rule.id.len() == 36
        && rule.id.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && rule.id.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if !uuid {
        let message = format!("`{}` is not a UUID", rule.id);
        sink.add(LintSeverity::Warning, "id_form", "id", message, "give the rule a UUID");
    }
    if rule.level == ids::Severity::Unknown {
        let hint = "write informational, low, medium, high or critical";
        sink.add(LintSeverity::Info, "level_missing", "level", "the rule has no level".to_owned(), hint);
    }
    let technique =
        |tag: &String| tag.strip_prefix("attack.t").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !rule.tags.iter().any(technique) {
        let message = "no tag names an ATT&CK technique".to_owned();
        sink.add(LintSeverity::Info, "attack_missing", "tags", message, "add a tag such as `attack.t1059.001`");
    }
}

fn logsource(sink: &mut Sink<'_>, windows: &Profile) {
    if sink.rule.logsource.product.as_deref() == Some("windows")
        && let Gate::Closed(reason) = windows.gate(&sink.rule.logsource)
    {
        let message = format!("no Windows event is asked: {reason}");
        let hint = "use a category or service of content/mappings/windows-logsources.yml";
        sink.add(LintSeverity::Error, "logsource_unknown", "logsource", message, hint);
    }
}

fn branches(sink: &mut Sink<'_>) {
    let rule = sink.rule;
    for (name, expr) in &rule.detections {
        if !rule.conditions.iter().any(|condition| condition.names(name)) {
            let message = format!("no condition asks for `{name}`");
            let path = format!("detection.{name}");
            sink.add(LintSeverity::Warning, "detection_unused", &path, message, "use it in the condition or remove it");
        }
        if let Some(field) = contradiction(expr) {
            let message = format!("`{field}` would have to equal two different values at once");
            let path = format!("detection.{name}");
            sink.add(LintSeverity::Warning, "never_true", &path, message, "write the values as a list to mean either");
        }
    }
    if never(&rule.expr) {
        let message = "no event can match".to_owned();
        let hint = "give its placeholders values, or change the condition";
        sink.add(LintSeverity::Error, "never_true", "detection.condition", message, hint);
    }
}

/// The expression holds of no event, whatever its fields.
fn never(expr: &Expr) -> bool {
    match expr {
        Expr::Test(test) => matches!(test.matcher, Matcher::Unresolved(_)),
        Expr::And(items) => items.iter().any(never) || opposed(items),
        Expr::Or(items) => items.iter().all(never),
        Expr::Not(inner) => matches!(&**inner, Expr::And(items) if items.is_empty()),
    }
}

/// `x and not x`.
fn opposed(items: &[Expr]) -> bool {
    items.iter().any(|item| matches!(item, Expr::Not(inner) if items.contains(inner)))
}

/// A field that an `and` compares with two different whole texts. (A list field could hold both; rules rarely mean it.)
fn contradiction(expr: &Expr) -> Option<&str> {
    let Expr::And(items) = expr else { return None };
    let mut wanted: HashMap<&str, String> = HashMap::new();
    items.iter().find_map(|item| {
        let Expr::Test(Test { field: Some(field), matcher: Matcher::Text(pattern) }) = item else { return None };
        let text = crate::fold::fold(pattern.as_literal()?);
        match wanted.insert(field, text.clone()) {
            Some(other) if other != text => Some(&**field),
            _ => None,
        }
    })
}

fn tests(sink: &mut Sink<'_>, fields: Option<&[String]>) {
    let rule = sink.rule;
    for (name, expr) in &rule.detections {
        expr.each_test(&mut |test| {
            let path = format!("detection.{name}.{}", test.field.as_deref().unwrap_or("keyword"));
            match &test.matcher {
                Matcher::Unresolved(placeholder) => {
                    let message = format!("`%{placeholder}%` has no values, so this never matches");
                    sink.add(
                        LintSeverity::Warning,
                        "placeholder_unresolved",
                        &path,
                        message,
                        "give the placeholder values",
                    );
                }
                Matcher::Regexp(regexp) if regexp.backtracks() => {
                    let message = format!("`{}` needs lookaround or backreferences", regexp.source());
                    let hint = "say the exception as a second detection with `not`; its time is bounded by steps";
                    sink.add(LintSeverity::Warning, "regexp_backtracks", &path, message, hint);
                }
                Matcher::Text(pattern) if starred(pattern.parts()) => {
                    let message = format!("`{pattern}` holds a literal `*` or `?`, written with a backslash before it");
                    let hint = "if a path and a wildcard were meant, write two backslashes before the wildcard";
                    sink.add(LintSeverity::Info, "wildcard_escaped", &path, message, hint);
                }
                _ => {}
            }
            if let (Some(field), Some(known)) = (test.field.as_deref(), fields)
                && !known.iter().any(|name| name == field)
            {
                let alike = known.iter().find(|name| name.eq_ignore_ascii_case(field));
                let hint =
                    alike.map_or("see the fields of this log source".to_owned(), |name| format!("write `{name}`"));
                let message = format!("events of this log source have no field `{field}`");
                sink.add(LintSeverity::Warning, "field_unknown", &path, message, &hint);
            }
        });
    }
}

fn starred(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains(['*', '?'])))
}

fn price(sink: &mut Sink<'_>, cost: Cost) {
    let (code, message) = match cost {
        Cost::Found => return,
        Cost::FieldPresent => ("cost_field", "is asked about every event that has its field"),
        Cost::EveryEvent => ("cost_every_event", "is asked about every event of its log source"),
    };
    let hint = "add a detection on text that is rare in other events";
    sink.add(LintSeverity::Info, code, "detection", format!("the rule {message}"), hint);
}
