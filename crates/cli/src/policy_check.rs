//! `posse policy check FILE...`: reads policy documents as the platform would, together with the shipped ones, and
//! runs their tests. Needs no server; changes nothing.

use crate::answer::Trouble;
use crate::operate::Around;
use crate::show::{Format, render};
use crate::source::read_file;
use crate::table::clean;
use crate::{Exit, exit};
use api::Spec;
use clap::{Arg, ArgAction, ArgMatches, Command};
use policy::{ActionSpec, Document, Engine, ObligationKind, PolicyFault, PolicyTest, TestResult};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// The word on the command line, below `policy`.
pub(crate) const COMMAND: &str = "check";

/// The command.
pub(crate) fn command() -> Command {
    Command::new(COMMAND)
        .about("Check policy files and run their tests, without a server")
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .help("Cedar files; each is a document named like the file, in place of a shipped one of that name"),
        )
        .arg(
            Arg::new("tests")
                .long("tests")
                .value_name("FILE")
                .action(ArgAction::Append)
                .help("A JSON list of tests: {name, request, expect}"),
        )
        .after_help("Ends with: 0 all is right, 1 a fault or a failed test, 2 a file that cannot be read.")
}

/// What was found.
struct Findings {
    documents: usize,
    faults: Vec<PolicyFault>,
    warnings: Vec<PolicyFault>,
    tests: Vec<TestResult>,
}

/// Check and say what was found.
pub(crate) fn check(specs: &[Spec], matches: &ArgMatches, format: Format, around: &mut Around<'_>) -> Exit {
    let read = documents(matches).and_then(|(documents, paths)| Ok((documents, paths, tests(matches)?)));
    let (documents, paths, tests) = match read {
        Ok(read) => read,
        Err(trouble) => return exit::complain(around.errors, &trouble.to_string(), Exit::Usage),
    };
    let findings = match judged(specs, documents, &tests) {
        Ok(findings) => findings,
        Err(reason) => return exit::complain(around.errors, &reason, Exit::Failed),
    };
    let good = findings.faults.is_empty() && findings.tests.iter().all(TestResult::passed);
    let shown =
        if format == Format::Table { text(&findings, &paths) } else { render(&document(&findings, &paths), format) };
    if let Err(error) = around.output.write_all(shown.as_bytes()) {
        return exit::complain(around.errors, &format!("cannot write the output: {error}"), Exit::Failed);
    }
    if good { Exit::Done } else { Exit::Failed }
}

/// The shipped documents and those of the files, with the path of each file's document.
fn documents(matches: &ArgMatches) -> Result<(Vec<Document>, BTreeMap<String, String>), Trouble> {
    let mut documents = policy::shipped::documents();
    let mut paths = BTreeMap::new();
    for path in matches.get_many::<String>("files").into_iter().flatten() {
        let text = read_file(path, policy::DOCUMENT_BYTES_MAX)?;
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = stem.to_ascii_lowercase().replace([' ', '.'], "-");
        if let Some(other) = paths.insert(name.clone(), path.clone()) {
            return Err(Trouble::Usage(format!("`{other}` and `{path}` would be documents of the same name `{name}`")));
        }
        documents.retain(|document| document.name != name);
        documents.push(Document { id: path.clone(), name, version: 1, text, tenant: None });
    }
    Ok((documents, paths))
}

fn tests(matches: &ArgMatches) -> Result<Vec<PolicyTest>, Trouble> {
    let mut all = Vec::new();
    for path in matches.get_many::<String>("tests").into_iter().flatten() {
        let text = read_file(path, crate::source::TEXT_BYTES_MAX)?;
        let tests: Vec<PolicyTest> = serde_json::from_str(&text)
            .map_err(|error| Trouble::Usage(format!("`{path}` is not a list of policy tests: {error}")))?;
        all.extend(tests);
    }
    Ok(all)
}

fn judged(specs: &[Spec], documents: Vec<Document>, tests: &[PolicyTest]) -> Result<Findings, String> {
    let count = documents.len();
    Ok(match compiled(specs, &documents)? {
        Ok(engine) => Findings {
            documents: count,
            faults: Vec::new(),
            warnings: engine.warnings().to_vec(),
            tests: engine.run_tests(tests),
        },
        Err(faults) => Findings { documents: count, faults, warnings: Vec::new(), tests: Vec::new() },
    })
}

/// The policy set of these documents for these operations, or what is wrong with them.
pub(crate) fn compiled(specs: &[Spec], documents: &[Document]) -> Result<Result<Engine, Vec<PolicyFault>>, String> {
    let kept: Vec<(&Spec, Vec<ObligationKind>)> =
        specs.iter().map(|spec| (spec, spec.meta.obligations.iter().map(|one| obligation(*one)).collect())).collect();
    let actions: Vec<ActionSpec<'_>> = kept
        .iter()
        .map(|(spec, obligations)| ActionSpec {
            id: spec.meta.id,
            effect: effect(spec.meta.effect),
            resource_type: spec.meta.resource,
            obligations,
        })
        .collect();
    let rungs = policy::shipped::rungs().map_err(|error| error.to_string())?;
    Ok(Engine::compile(&actions, documents, &rungs))
}

const fn effect(effect: api::Effect) -> policy::Effect {
    match effect {
        api::Effect::Govern => policy::Effect::Govern,
        api::Effect::Read => policy::Effect::Read,
        api::Effect::Respond => policy::Effect::Respond,
        api::Effect::Write => policy::Effect::Write,
    }
}

const fn obligation(obligation: api::Obligation) -> ObligationKind {
    match obligation {
        api::Obligation::Mask => ObligationKind::Mask,
        api::Obligation::MaxRows => ObligationKind::MaxRows,
        api::Obligation::TtlSecsMax => ObligationKind::TtlSecsMax,
    }
}

/// Where a fault is: the file, or a shipped document by name.
fn place<'a>(fault: &'a PolicyFault, paths: &'a BTreeMap<String, String>) -> &'a str {
    paths.get(&fault.document).map_or(fault.document.as_str(), String::as_str)
}

fn text(findings: &Findings, paths: &BTreeMap<String, String>) -> String {
    let mut lines = Vec::new();
    for (kind, list) in [("error", &findings.faults), ("warning", &findings.warnings)] {
        for fault in list {
            let hint = fault.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let place = format!("{}:{}:{}", place(fault, paths), fault.line, fault.column);
            lines.push(clean(&format!("{place}: {kind}: {}{hint}", fault.why), false));
        }
    }
    for test in findings.tests.iter().filter(|test| !test.passed()) {
        lines.push(clean(&format!("test `{}` failed: {}", test.name, test.differences.join("; ")), false));
    }
    let failed = findings.tests.iter().filter(|test| !test.passed()).count();
    lines.push(format!(
        "{} documents with the shipped ones, {} faults, {} warnings, {} tests passed, {failed} failed",
        findings.documents,
        findings.faults.len(),
        findings.warnings.len(),
        findings.tests.len() - failed
    ));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn document(findings: &Findings, paths: &BTreeMap<String, String>) -> serde_json::Value {
    let listed = |list: &[PolicyFault]| -> Vec<serde_json::Value> {
        list.iter()
            .map(|fault| {
                json!({ "file": place(fault, paths), "policy": fault.policy, "line": fault.line, "column": fault.column,
                    "why": fault.why, "hint": fault.hint })
            })
            .collect()
    };
    json!({
        "documents": findings.documents,
        "faults": listed(&findings.faults),
        "warnings": listed(&findings.warnings),
        "tests": findings.tests,
    })
}
