//! Documents that must not compile, each with the place and the words of its fault.

use crate::inputs::{document, specs};
use policy::{Engine, PolicyFault, Rung, parse_rungs};

fn faults(text: &str) -> Vec<PolicyFault> {
    Engine::compile(&specs(), &[document("mine", text)], &[]).err().unwrap_or_default()
}

#[test]
fn shipped_documents_compile_without_a_warning() {
    let documents = [policy::shipped::documents(), policy::shipped::optional_documents()].concat();
    let engine = Engine::compile(&specs(), &documents, &policy::shipped::rungs().unwrap()).unwrap();
    assert!(engine.warnings().is_empty(), "{:#?}", engine.warnings());
}

/// Text of a policy, words that the fault must hold.
const FAULTY: &[(&str, &str)] = &[
    ("permit(principal, action, resource)", "unexpected"),
    ("@id(\"a\") permit(principal, action resource);", "unexpected"),
    ("permit(principal, action, resource);", "no `@id`"),
    ("@id(\"A b\") permit(principal, action, resource);", "`@id` is not a name"),
    ("@id(\"a\") @colour(\"red\") permit(principal, action, resource);", "`@colour` is an unknown annotation"),
    ("@id(\"a\") permit(principal == ?principal, action, resource);", "template"),
    ("@id(\"a\") permit(principal, action, resource); @id(\"a\") permit(principal, action, resource);", "comes twice"),
    ("@id(\"a\") permit(principal, action == Posse::Action::\"case.burn\", resource);", "case.burn"),
    ("@id(\"a\") permit(principal in Posse::Roll::\"viewer\", action, resource);", "Posse::Roll"),
    ("@id(\"a\") permit(principal, action, resource) when { context.mood == \"good\" };", "mood"),
    ("@id(\"a\") permit(principal, action, resource) when { context.recent_count == \"1\" };", "not compatible"),
    ("@id(\"a\") permit(principal, action, resource) when { resource.owner == principal.id };", "owner"),
    ("@id(\"a\") permit(principal, action, resource) when { context.origin == \"r\u{435}st\" };", "mixed scripts"),
    ("@id(\"a\") @authority(\"robots\") forbid(principal, action, resource);", "`@authority(\"robots\")` is unknown"),
    ("@id(\"a\") @authority(\"human_only\") permit(principal, action, resource);", "stands on a permit"),
    (
        "@id(\"a\") @authority(\"human_only\") forbid(principal, action, resource) unless { context.approvals.people >= 1 };",
        "an approval or evidence lifts",
    ),
    ("@id(\"a\") @defer(\"luck\") forbid(principal, action, resource);", "`luck` is no evidence"),
    ("@id(\"a\") @defer(\"case_verdict\") permit(principal, action, resource);", "stands on a permit"),
    (
        "@id(\"a\") @max_rows(\"many\") permit(principal, action == Posse::Action::\"case.list\", resource);",
        "not a count",
    ),
    ("@id(\"a\") @max_rows(\"0\") permit(principal, action == Posse::Action::\"case.list\", resource);", "not a count"),
    ("@id(\"a\") @mask(\"a..b\") permit(principal, action == Posse::Action::\"case.list\", resource);", "not a field"),
    ("@id(\"a\") @max_rows(\"5\") forbid(principal, action == Posse::Action::\"case.list\", resource);", "on a forbid"),
    (
        "@id(\"a\") @max_rows(\"5\") permit(principal, action == Posse::Action::\"case.open\", resource);",
        "not honoured by `case.open`",
    ),
    ("@id(\"a\") @ttl_secs_max(\"5\") permit(principal, action, resource);", "and others"),
    // Approvals that would take a permission away, or whose effect cannot be seen.
    ("@id(\"a\") permit(principal, action, resource) when { context.approvals.people < 1 };", "take a permission away"),
    (
        "@id(\"a\") permit(principal, action, resource) unless { context.approvals.people >= 1 };",
        "take a permission away",
    ),
    (
        "@id(\"a\") forbid(principal, action, resource) when { context.approvals.people >= 1 };",
        "take a permission away",
    ),
    ("@id(\"a\") forbid(principal, action, resource) when { 2 < context.approvals.people };", "take a permission away"),
    (
        "@id(\"a\") permit(principal, action, resource) when { !context.evidence.case_verdict };",
        "take a permission away",
    ),
    ("@id(\"a\") permit(principal, action, resource) when { context.approvals.people == 1 };", "cannot be seen"),
    (
        "@id(\"a\") permit(principal, action, resource) when { context.approvals.people >= context.recent_count };",
        "not a number",
    ),
    (
        "@id(\"a\") permit(principal, action, resource) when { context.approvals.people >= context.approvals.viewer };",
        "cannot be seen",
    ),
    ("@id(\"a\") permit(principal, action, resource) when { context.approvals.people + 1 >= 2 };", "cannot be seen"),
    (
        "@id(\"a\") permit(principal, action, resource) when { context.evidence.case_verdict == true };",
        "cannot be seen",
    ),
    ("@id(\"a\") permit(principal, action, resource) when { [context.approvals].isEmpty() };", "cannot be seen"),
    ("@id(\"a\") permit(principal, action, resource) when { [context].isEmpty() };", "whole `context`"),
    (
        "@id(\"a\") permit(principal, action, resource) when { {c: context}.c.approvals.people >= 1 };",
        "whole `context`",
    ),
    (
        "@id(\"a\") permit(principal, action, resource) when { (if context.tainted then context else context).approvals.people >= 1 };",
        "whole `context`",
    ),
    (
        "@id(\"a\") permit(principal, action, resource) when { if context.approvals.people >= 1 then false else true };",
        "cannot be seen",
    ),
    (
        "@id(\"a\") permit(principal, action, resource) when { context.approvals.people >= 1 && context.recent_count * 2 > 3 };",
        "it can fail",
    ),
];

#[test]
fn every_faulty_policy_is_refused_with_its_place() {
    for (text, words) in FAULTY {
        let found = faults(text);
        assert!(found.iter().any(|fault| fault.why.contains(words)), "{text}\n{found:#?}");
        for fault in &found {
            assert_eq!(fault.document, "mine", "{text}");
            assert!(fault.line >= 1 || fault.why.contains("template"), "{text}\n{fault:?}");
        }
    }
}

#[test]
fn a_fault_names_line_column_and_policy() {
    let text = "@id(\"fine\")\npermit(principal, action, resource);\n\n@id(\"broken\")\npermit(principal, action, resource)\nwhen { context.mood };\n";
    let found = faults(text);
    let fault = found.first().unwrap();
    assert_eq!((fault.policy.as_deref(), fault.line, fault.column), (Some("broken"), 6, 8), "{fault:?}");
}

#[test]
fn all_faults_come_at_once() {
    let text = "permit(principal, action, resource); @id(\"b\") @colour(\"red\") forbid(principal, action, resource);";
    assert_eq!(faults(text).len(), 2);
    let two = [document("one", "permit(principal, action, resource);"), document("one", "nonsense")];
    assert!(Engine::compile(&specs(), &two, &[]).unwrap_err().len() >= 3, "same name, no id, not Cedar");
}

#[test]
fn rungs_that_mean_nothing_are_refused() {
    for (text, words) in [
        ("{}", "not a list of rungs"),
        ("[{\"name\": \"one\"}]", "not a list of rungs"),
        ("[{\"name\": \"One\", \"counts\": {\"people\": 1}}]", "needs a name"),
        ("[{\"name\": \"one\", \"counts\": {\"responder\": 1}}]", "`people` of at least 1"),
        ("[{\"name\": \"one\", \"counts\": {\"people\": 1, \"responder\": 2}}]", "no role may need more"),
        ("[{\"name\": \"one\", \"counts\": {\"people\": 1, \"pope\": 1}}]", "unknown role"),
        (
            "[{\"name\": \"one\", \"counts\": {\"people\": 1}}, {\"name\": \"one\", \"counts\": {\"people\": 2}}]",
            "comes twice",
        ),
    ] {
        let error = parse_rungs(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let many: Vec<_> =
        (0..33).map(|n| Rung { name: format!("r{n}"), counts: [("people".to_owned(), 1)].into() }).collect();
    assert!(Engine::compile(&specs(), &[], &many).is_err());
}
