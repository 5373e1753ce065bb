//! Every operation's example, written as flags, arrives at the gate as the example.

use crate::Line;
use api::{Call, Credential, Door, Future, Listing, Origin, Problem, ProblemKind, Reply, Spec};
use cli::{Exit, Program};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// A gate that keeps what it is called with and refuses it.
struct Keeping(Arc<Mutex<Vec<Call>>>);

impl Door for Keeping {
    fn specs(&self) -> &[Spec] {
        &[]
    }
    fn spec(&self, _: &str) -> Option<&Spec> {
        None
    }
    fn call(&self, call: Call) -> Future<'_, Reply> {
        self.0.lock().unwrap().push(call);
        Box::pin(async { Reply::Refused(Problem::new(ProblemKind::Denied, "no")) })
    }
    fn listing<'a>(&'a self, _: Option<&'a Credential>, _: &'a Origin) -> Future<'a, Result<Listing, Problem>> {
        Box::pin(async { Ok(Listing::default()) })
    }
}

fn program(kept: &Arc<Mutex<Vec<Call>>>) -> Program {
    let kept = Arc::clone(kept);
    let open = move |_| -> Future<'static, Result<Arc<dyn Door>, String>> {
        let door: Arc<dyn Door> = Arc::new(Keeping(Arc::clone(&kept)));
        Box::pin(async move { Ok(door) })
    };
    Program { open_data_dir: Some(Box::new(open)), ..crate::program() }
}

/// The words of a command line as a POSIX shell reads them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => quoted = !quoted,
            '\\' if !quoted => words.last_mut().unwrap().extend(characters.next()),
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

#[test]
fn every_example_comes_through_the_flags_unchanged() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let program = program(&kept);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "correct horse battery\n").unwrap();
    let page = cli::reference(&program.specs);
    for spec in &program.specs {
        let heading = format!("### `{}`\n", spec.meta.id);
        let section = page.split_once(&heading).unwrap().1.split("\n### ").next().unwrap();
        let line = section.split_once("```sh\n").unwrap().1.split_once("\n```").unwrap().0;
        let line = line.replace("@FILE", &format!("@{}", secret.path().display()));
        let mut arguments = words(&line).split_off(1);
        arguments.extend(["--data-dir".to_owned(), "/nowhere".to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // The export's own flag is what writes files; without it the operation is like any other.
        let ran = Line::default().run_in(&program, &arguments);
        assert_eq!(ran.exit, Exit::Denied, "{line}: {}", ran.errors);
        let call = kept.lock().unwrap().pop().unwrap();
        assert_eq!(call.operation, spec.meta.id);
        let mut wanted = spec.example.clone();
        for (name, schema) in spec.fields() {
            if schema.get("x-secret").is_some() && wanted.get(name).is_some() {
                wanted[name] = Value::from("correct horse battery");
            }
        }
        assert_eq!(call.input, wanted, "{line}");
    }
}

#[test]
fn the_whole_input_may_be_given_at_once_and_single_flags_go_before_it() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let program = program(&kept);
    let ran = Line::default().input(r#"{"name":"a","display_name":"A"}"#).run_in(
        &program,
        &["tenant", "create", "--input", "-", "--name", "b", "--data-dir", "/nowhere", "--idempotency-key", "k-1"],
    );
    assert_eq!(ran.exit, Exit::Denied, "{}", ran.errors);
    let call = kept.lock().unwrap().pop().unwrap();
    assert_eq!(call.input, serde_json::json!({ "name": "b", "display_name": "A" }));
    assert_eq!(call.idempotency_key.as_deref(), Some("k-1"));
}
