//! `--ai-help`: what a model needs to use the tool, as compact Markdown; and the reference page for people, from
//! the same declarations.

use crate::argument::Argument;
use crate::command::{example, families, is_list, kebab, verb};
use crate::{Exit, Program, exit};
use api::{FieldKind, Spec};
use std::fmt::Write as _;
use std::io::Write;

const FLAG: &str = "--ai-help";

const RULES: &str = "# posse

Posse is a security operations platform. You act through it under policy: every call is decided, recorded, and may need a person's approval.

## How to call
- `posse RESOURCE VERB --field VALUE ...`; lists: give the flag again for each item; objects: JSON.
- A value may be `@FILE` (a file's text), `-` (standard input) or `@@...` (text that begins with @). The whole input at once: `--input JSON|@FILE|-`.
- Environment: `POSSE_URL` (the server), `POSSE_TOKEN` (your credential). Never put a credential into an argument.
- Off a terminal the output is JSON. `--output json|jsonl|yaml|table`.
- Lists answer `{items, next_cursor}`; go on with `--cursor`, or take everything with `--all`.
- Send `--idempotency-key KEY` with what changes things when you may have to send it again: it is carried out once.
- `--if-match ETAG` changes an object only if it is still the one that you saw.
- Ask before you act: `posse policy can-i`, `posse me permissions`. More of one command: `posse RESOURCE VERB --ai-help`.

## How it ends
0 done; 1 failed; 2 the command or input is not right (read the pointers and correct it); 3 denied: do not try again in another way, say so; 4 waits for approval: the answer names the approval, follow it with `posse approval get --approval ID`, do not send it again; 5 waits for evidence.
Problems go to standard error; with `--output json` as one JSON document with `type`, `detail`, `errors[].pointer`.
";

/// The words before `--ai-help`, where it was asked.
pub(crate) fn asked(arguments: &[String]) -> Option<Vec<String>> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let before = arguments.get(1..end)?;
    before
        .iter()
        .any(|argument| argument == FLAG)
        .then(|| before.iter().take_while(|argument| !argument.starts_with('-')).cloned().collect())
}

/// Teach all, one resource or one command.
pub(crate) fn answer(program: &Program, words: &[String], output: &mut dyn Write, errors: &mut dyn Write) -> Exit {
    let text = match words {
        [] => Some(everything(program)),
        [family] => resource(&program.specs, family),
        [family, word, ..] => {
            let named = |spec: &&Spec| kebab(spec.meta.family()) == *family && verb(spec) == *word;
            program.specs.iter().find(named).map(command)
        }
    };
    let Some(text) = text else {
        let text = format!("there is no command `posse {}`; see `posse --ai-help`", words.join(" "));
        return exit::complain(errors, &text, Exit::Usage);
    };
    // Nobody is left to tell where this cannot be written.
    let _ = output.write_all(text.as_bytes());
    Exit::Done
}

fn everything(program: &Program) -> String {
    let mut out = RULES.to_owned();
    out.push_str(
        "\n## Commands\nRequired flags are shown; `[read]` changes nothing, `[govern]` changes who may do what.\n",
    );
    for (family, specs) in families(&program.specs) {
        let _ = writeln!(out, "\n### {}", kebab(family));
        specs.iter().for_each(|spec| out.push_str(&line(spec)));
    }
    out.push_str("\n### without a server\n- `posse audit verify FOLDER --key FILE`: verify an exported log offline\n- `posse policy check FILE...`: check policy files and run their tests\n- `posse rule match --rules DIR --input FILE`, `posse rule correlate ...`, `posse rule lint DIR`: Sigma rules on recorded events\n- `posse borrow --client NAME --profile read --into FILE`: ask a person to lend you a part of their rights; then `--token-file FILE`\n- `posse mcp`: this server as an MCP server on standard input and output\n- `posse import --tenant TENANT --source NAME FILE...`: bring recorded events of files and folders in\n");
    out
}

fn resource(specs: &[Spec], family: &str) -> Option<String> {
    let lines: String = specs.iter().filter(|spec| kebab(spec.meta.family()) == family).map(line).collect();
    (!lines.is_empty()).then(|| format!("# posse {family}\n{lines}\nMore of one: `posse {family} VERB --ai-help`.\n"))
}

/// One command in one line.
fn line(spec: &Spec) -> String {
    let required: String = Argument::all(spec)
        .iter()
        .filter(|argument| argument.required)
        .map(|argument| format!(" --{}", argument.flag))
        .collect();
    format!("- `{}{required}`: {} [{}]\n", spec.cli(), spec.summary, spec.meta.effect.as_str())
}

/// One command, whole.
fn command(spec: &Spec) -> String {
    let mut out = format!("# {}\n{}\n", spec.cli(), spec.description.trim());
    let _ = writeln!(out, "\nEffect: {}. {}", spec.meta.effect.as_str(), traits(spec));
    let arguments = Argument::all(spec);
    if !arguments.is_empty() {
        out.push_str("\nFlags:\n");
    }
    for argument in &arguments {
        let kind = match argument.kind {
            _ if !argument.choices.is_empty() => argument.choices.join("|"),
            FieldKind::Boolean => "true|false".to_owned(),
            FieldKind::Integer => "number".to_owned(),
            FieldKind::Json => "JSON".to_owned(),
            FieldKind::List | FieldKind::Text => "text".to_owned(),
        };
        let _ = writeln!(out, "- `--{}` {kind}: {}", argument.flag, argument.help());
    }
    let _ = write!(out, "\nExample:\n```sh\n{}\n```\n", example(spec));
    let answers: Vec<&str> = spec
        .output_schema()
        .get("properties")
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flat_map(|fields| fields.keys().map(String::as_str))
        .collect();
    if !answers.is_empty() {
        let _ = writeln!(out, "Answers with: {}", answers.join(", "));
    }
    out
}

fn traits(spec: &Spec) -> String {
    let mut traits = Vec::new();
    if spec.meta.idempotent {
        traits.push("Calling it again changes nothing more.");
    }
    if spec.meta.long_running {
        traits.push("Answers with a job that goes on in the background.");
    }
    if is_list(spec) {
        traits.push("Answers page by page.");
    }
    traits.join(" ")
}

/// The reference page of all operations for `docs/reference/operations.md`.
#[must_use]
pub fn reference(specs: &[Spec]) -> String {
    let mut out = "<!-- Generated from the operations' declarations; a test of `cli` keeps it fresh (POSSE_BLESS=1 writes it). -->\n\n# Operations\n\nEvery function of Posse, as the API, the MCP tools and the command line have it. Required fields are bold.\n".to_owned();
    for (family, specs) in families(specs) {
        let _ = write!(out, "\n## {}\n", kebab(family));
        for spec in specs {
            let meta = &spec.meta;
            let _ = write!(out, "\n### `{}`\n\n{}\n\n", meta.id, spec.description.trim());
            let _ = writeln!(
                out,
                "- {}; `{} {}`; MCP tool `{}`",
                meta.effect.as_str(),
                meta.method.as_str(),
                meta.path,
                spec.mcp_tool()
            );
            for argument in Argument::all(spec) {
                let name = if argument.required {
                    format!("**`{}`**", argument.field)
                } else {
                    format!("`{}`", argument.field)
                };
                let help = argument.help().replace("[required]", "").replace("[required; ", "[");
                let _ = writeln!(out, "- {name}: {}", help.trim_end());
            }
            let _ = write!(out, "\n```sh\n{}\n```\n", example(spec));
        }
    }
    out
}
