//! What a person and a model read. Reviewed as snapshots.

use crate::Line;
use cli::Exit;

#[test]
fn help_for_people() {
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("help_tenant", &["tenant", "--help"]),
        ("help_tenant_create", &["tenant", "create", "--help"]),
        ("help_tenant_list", &["tenant", "list", "--help"]),
        ("help_audit_verify", &["audit", "verify", "--help"]),
    ] {
        let ran = Line::default().run(arguments);
        assert_eq!((ran.exit, ran.errors.as_str()), (Exit::Done, ""), "{name}");
        insta::assert_snapshot!(name, ran.output);
    }
}

#[test]
fn help_for_models() {
    for (name, arguments) in [
        ("ai_help", &["--ai-help"][..]),
        ("ai_help_tenant", &["tenant", "--ai-help"]),
        ("ai_help_tenant_update", &["tenant", "update", "--ai-help"]),
    ] {
        let ran = Line::default().run(arguments);
        assert_eq!((ran.exit, ran.errors.as_str()), (Exit::Done, ""), "{name}");
        insta::assert_snapshot!(name, ran.output);
    }
    assert_eq!(Line::default().run(&["no", "such", "--ai-help"]).exit, Exit::Usage);
}

#[test]
fn every_command_has_a_summary_and_every_flag_a_meaning() {
    for spec in api::specs() {
        assert!(!spec.summary.is_empty() && spec.summary.len() <= 120, "{}: `{}`", spec.meta.id, spec.summary);
        for (field, schema) in spec.fields() {
            assert!(schema.get("description").is_some(), "{}: `{field}` has no description", spec.meta.id);
        }
    }
}

#[test]
fn no_command_at_all_shows_the_help() {
    let ran = Line::default().run(&[]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.errors.contains("Usage: posse"), "{}", ran.errors);
}
