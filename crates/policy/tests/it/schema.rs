//! The schema's text is stable: a golden file shows every change in review.

use crate::inputs::{document, engine_of, specs};
use policy::{ActionSpec, Effect, SpecError, schema_text};

#[test]
fn text_is_the_golden_one() {
    let text = schema_text(&specs()).unwrap();
    let golden = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("tests/it/golden/schema.cedarschema");
    if std::env::var_os("POSSE_BLESS").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == wanted, "the schema changed; look at the difference and run with POSSE_BLESS=1");
}

#[test]
fn text_does_not_depend_on_the_order_of_specs() {
    let mut specs = specs();
    let text = schema_text(&specs).unwrap();
    specs.reverse();
    assert_eq!(schema_text(&specs).unwrap(), text);
}

#[test]
fn names_that_are_none_are_refused() {
    let spec = |id, resource_type| ActionSpec { id, effect: Effect::Read, resource_type, obligations: &[] };
    for id in ["case", "case.", ".open", "Case.open", "case.open.now", "case.o\"pen", "case.*", "1case.open"] {
        assert_eq!(schema_text(&[spec(id, "Case")]), Err(SpecError::Action(id.to_owned())), "{id}");
    }
    for resource_type in ["case", "", "Case\"", "Ca se", "__cedar", "Action", "CallContext"] {
        assert!(matches!(schema_text(&[spec("case.open", resource_type)]), Err(SpecError::ResourceType(..))));
    }
    let twice = [spec("case.open", "Case"), spec("case.open", "Case")];
    assert_eq!(schema_text(&twice), Err(SpecError::Duplicate("case.open".to_owned())));
}

#[test]
fn a_family_without_operations_may_be_named() {
    let text =
        "@id(\"later\") permit(principal, action in Posse::Action::\"webhook.*\", resource) when { context.tainted };";
    let engine = engine_of(&[document("later", text)]);
    assert!(engine.warnings().is_empty(), "{:?}", engine.warnings());
    let wrong = text.replace("context.tainted", "context.painted");
    let faults = policy::Engine::compile(&specs(), &[document("later", &wrong)], &[]).unwrap_err();
    assert!(faults.iter().any(|fault| fault.why.contains("painted")), "{faults:?}");
}
