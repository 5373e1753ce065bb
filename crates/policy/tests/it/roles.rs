//! Roles of an install, differences of documents, tenants' own documents, explanations.

use crate::inputs::{document, engine_of, engine_with, request};
use ids::PrincipalKind::{Agent, User};
use policy::{Effect, Outcome, RoleError, RoleSpec, diff, role_document};
use proptest::prelude::*;

fn role(name: &str) -> RoleSpec {
    RoleSpec {
        id: "lead".to_owned(),
        name: name.to_owned(),
        operations: vec!["case.*".to_owned(), "audit.list".to_owned()],
        effects: vec![Effect::Read, Effect::Write],
        principals: vec![User],
    }
}

#[test]
fn a_role_permits_what_it_says() {
    let engine = engine_of(&[role_document(&role("SOC lead"), 3, None).unwrap()]);
    for (kind, roles, action, permitted) in [
        (User, "lead", "case.open", true),
        (User, "lead", "audit.list", true),
        (User, "lead", "audit.get", false),
        (User, "lead", "action.isolate_host", false),
        (User, "other", "case.open", false),
        (Agent, "lead", "case.open", false),
    ] {
        let decision = engine.decide(&request(kind, &[roles], action));
        assert_eq!(decision.permits(), permitted, "{action} as {roles}: {decision:?}");
    }
}

#[test]
fn a_role_that_is_none_is_refused() {
    let with = |change: fn(&mut RoleSpec)| {
        let mut spec = role("SOC lead");
        change(&mut spec);
        role_document(&spec, 1, None).unwrap_err()
    };
    assert!(matches!(with(|role| role.id = "x\" || true".to_owned()), RoleError::Id(_)));
    assert!(matches!(with(|role| role.name = String::new()), RoleError::Name(0)));
    assert!(matches!(with(|role| role.operations.push("case.*\"]".to_owned())), RoleError::Pattern(_)));
    assert!(matches!(with(|role| role.operations.clear()), RoleError::Nothing("operations")));
    assert!(matches!(with(|role| role.effects.clear()), RoleError::Nothing("effects")));
    assert!(matches!(with(|role| role.principals.clear()), RoleError::Nothing("principals")));
    assert!(matches!(with(|role| role.operations = vec!["*".to_owned(); 201]), RoleError::TooMany(201)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_name_of_a_role_becomes_policy(name in "\\PC{1,40}|[\"\\\\)(;@}{\\n\\r\\t\\u{0}\\u{85}a]{1,40}") {
        let document = role_document(&role(&name), 1, None).unwrap();
        let difference = diff(&[], &[document]).unwrap();
        prop_assert_eq!(difference.added.len(), 1);
        prop_assert_eq!(&*difference.added[0].policy, "role-lead/user");
    }
}

#[test]
fn a_tenants_document_stays_in_the_tenant() {
    let mut own = document("acme-rules", "@id(\"open\") permit(principal, action, resource);");
    own.tenant = Some("acme".to_owned());
    let engine = engine_with(&[own]);
    let mut call = request(User, &[], "case.open");
    assert!(engine.decide(&call).permits());
    call.context.tenant = "globex".to_owned();
    assert!(!engine.decide(&call).permits());
}

#[test]
fn a_difference_is_told_policy_by_policy() {
    let old = document(
        "d",
        "@id(\"a\") permit(principal, action, resource);\n@id(\"b\") forbid(principal, action, resource);",
    );
    let new = document(
        "d",
        "// moved\n@id(\"b\")\nforbid(principal,  action, resource);\n@id(\"c\") forbid(principal is Posse::Rule, action, resource);\n@id(\"a\") permit(principal is Posse::User, action, resource);",
    );
    let difference = diff(std::slice::from_ref(&old), &[new]).unwrap();
    let names =
        |changes: &[policy::PolicyChange]| changes.iter().map(|change| change.policy.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&difference.added), ["d/c"]);
    assert_eq!(names(&difference.changed), ["d/a"]);
    assert!(difference.removed.is_empty());
    assert!(difference.changed[0].after.as_ref().unwrap().contains("is Posse::User"));
    let mut bound = old.clone();
    bound.tenant = Some("acme".to_owned());
    assert_eq!(diff(std::slice::from_ref(&old), &[bound]).unwrap().changed.len(), 2, "another reach is a change");
    assert!(diff(std::slice::from_ref(&old), std::slice::from_ref(&old)).unwrap().is_empty());
}

#[test]
fn an_explanation_says_who_would_have_to_approve() {
    let engine = engine_with(&[]);
    let mut call = request(Agent, &["responder_with_approval"], "action.isolate_host");
    call.resource.tags.insert("crown-jewel".to_owned());
    let explanation = engine.explain(&call);
    assert!(matches!(&explanation.decision.outcome, Outcome::StepUp(step) if &*step.rung == "two_people"));
    assert!(explanation.sentence.contains("crown-jewel"), "{}", explanation.sentence);
    let one = explanation.rungs.iter().find(|trial| &*trial.rung == "one_responder").unwrap();
    assert!(!one.passes && one.permitted);
    assert_eq!(
        one.forbidden_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["guardrails/protected-targets-two-people"]
    );
    let two = explanation.rungs.iter().find(|trial| &*trial.rung == "two_people").unwrap();
    assert!(two.passes && two.forbidden_by.is_empty());
    assert!(engine.explain(&request(User, &["viewer"], "case.list")).rungs.is_empty());
}

#[test]
fn the_version_text_changes_with_what_decides() {
    let text = |version, body: &str| {
        let mut document = document("d", body);
        document.version = version;
        engine_of(&[document]).canonical_text().to_owned()
    };
    let body = "@id(\"a\") permit(principal, action, resource);";
    assert_eq!(text(1, body), text(1, body));
    assert_ne!(text(1, body), text(2, body));
    assert_ne!(text(1, body), text(1, &body.replace("permit", "forbid")));
}

#[test]
fn a_wrong_question_is_refused() {
    let engine = engine_with(&[]);
    let good = request(User, &["provider_admin"], "case.get");
    assert!(engine.decide(&good).permits());
    let changes: [fn(&mut policy::Request); 6] = [
        |call| call.action = "case.burn".to_owned(),
        |call| call.resource.kind = "User".to_owned(),
        |call| call.context.origin = "thin air".to_owned(),
        |call| call.context.autonomy = "full".to_owned(),
        |call| call.context.approvals = [("pope".to_owned(), 1)].into(),
        |call| call.context.evidence = [("luck".to_owned(), true)].into(),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut call = good.clone();
        change(&mut call);
        let decision = engine.decide(&call);
        let wrong = matches!(&decision.outcome, Outcome::Deny(deny) if matches!(deny.reason, policy::DenyReason::WrongQuestion(_)));
        assert!(wrong, "{index}: {decision:?}");
    }
}
