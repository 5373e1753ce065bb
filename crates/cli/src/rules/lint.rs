//! What is wrong with rules, and what is weak in them.

use super::load;
use crate::Exit;
use crate::answer::Trouble;
use crate::operate::Around;
use crate::show::Format;
use crate::table::clean;
use clap::ArgMatches;
use detection::lint::{LintFinding, LintSeverity, json_lines, lint};
use serde_json::json;

pub(super) fn run(matches: &ArgMatches, format: Format, around: &mut Around<'_>) -> Result<Exit, Trouble> {
    let collection = load(matches)?;
    let findings = lint(&collection, &|_| None);
    let (rules, correlations, rejected) =
        (collection.rules.len(), collection.correlations.len(), collection.rejections.len());
    let text = match format {
        Format::JsonLines => json_lines(&findings),
        Format::Bare | Format::Table => {
            let mut text: String = findings.iter().map(line).collect();
            text.push_str(&format!(
                "{rules} rules and {correlations} correlations loaded, {rejected} documents rejected\n"
            ));
            text
        }
        other => crate::show::render(&json!({ "items": findings, "rules": rules, "rejected": rejected }), other),
    };
    around.output.write_all(text.as_bytes()).map_err(|error| Trouble::local("cannot write the output", error))?;
    let wrong = findings.iter().any(|finding| finding.severity == LintSeverity::Error);
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

fn line(finding: &LintFinding) -> String {
    let severity = match finding.severity {
        LintSeverity::Info => "info",
        LintSeverity::Warning => "warning",
        LintSeverity::Error => "error",
    };
    let LintFinding { file, line, path, message, hint, code, .. } = finding;
    format!("{}\n", clean(&format!("{file}:{line}: {severity}: {path}: {message}; {hint} [{code}]"), false))
}
