//! Carries out a command line that the parser took: finds what it names, sends it, shows what came of it.

use crate::answer::{Answer, Transport, Trouble, exit_of};
use crate::command::{is_list, kebab, verb};
use crate::door::Offline;
use crate::remote::Remote;
use crate::show::{Format, Shown};
use crate::source::Input;
use crate::target::Target;
use crate::{
    Exit, Program, audit_folder, borrow, certificate, config, exit, export, import, input, mcp, policy_check,
    rule_folder, rules,
};
use api::{Problem, Spec};
use clap::ArgMatches;
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;

/// Pages that `--all` follows at most: at the greatest limit, ten million items.
const PAGES_MAX: usize = 10_000;

/// What surrounds the process, with standard input to be read once.
pub(crate) struct Around<'a> {
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) input: Input,
    pub(crate) output: &'a mut dyn Write,
    pub(crate) errors: &'a mut dyn Write,
    pub(crate) terminal: bool,
}

/// Carry out what was parsed.
pub(crate) async fn carry_out(program: &Program, matches: &ArgMatches, around: &mut Around<'_>) -> Exit {
    let Some((family, below)) = matches.subcommand() else { return Exit::Usage };
    if family == mcp::COMMAND {
        return match Target::of(below, around.variable).and_then(Remote::new) {
            Ok(remote) => mcp::bridge(&remote, around).await,
            Err(trouble) => say(&trouble, Format::Table, &[], around.errors),
        };
    }
    if family == borrow::COMMAND {
        return borrow::run(below, around).await;
    }
    if family == import::COMMAND {
        return import::run(program, below, around).await;
    }
    let Some((word, matches)) = below.subcommand() else {
        let text = format!("`{family}` is carried out by the binary that holds it, not by this one");
        return exit::complain(around.errors, &text, Exit::Usage);
    };
    if (family, word) == ("audit", audit_folder::COMMAND) {
        return audit_folder::verify(matches, Format::of(matches, around.terminal), around);
    }
    if (family, word) == ("audit", certificate::COMMAND) {
        return certificate::verify(matches, Format::of(matches, around.terminal), around);
    }
    if (family, word) == ("policy", policy_check::COMMAND) {
        return policy_check::check(&program.specs, matches, Format::of(matches, around.terminal), around);
    }
    if family == rules::COMMAND
        && let Some(exit) = rules::carry_out(word, matches, Format::of(matches, around.terminal), around)
    {
        return exit;
    }
    if family == config::FAMILY
        && let Some(exit) = config::carry_out(program, word, matches, around).await
    {
        return exit;
    }
    let named = |spec: &&Spec| kebab(spec.meta.family()) == family && verb(spec) == word;
    let Some(spec) = program.specs.iter().find(named) else {
        let text = format!("`{family} {word}` is carried out by the binary that holds it, not by this one");
        return exit::complain(around.errors, &text, Exit::Usage);
    };
    let format = Format::of_operation(matches, around.terminal, spec);
    match operation(program, spec, matches, format, around).await {
        Ok(exit) => exit,
        Err(trouble) => say(&trouble, format, &crate::argument::Argument::all(spec), around.errors),
    }
}

async fn operation(
    program: &Program,
    spec: &Spec,
    matches: &ArgMatches,
    format: Format,
    around: &mut Around<'_>,
) -> Result<Exit, Trouble> {
    let rules = (spec.meta.id == rule_folder::OPERATION).then(|| rule_folder::places(matches)).flatten();
    if let Some(places) = rules {
        let (base, _) = input::gathered(spec, matches, &around.input)?;
        let transport = transport(program, matches, around).await?;
        return rule_folder::send(transport.as_ref(), spec, &base, &places, format, around).await;
    }
    let (mut input, notes) = input::build(spec, matches, &around.input)?;
    for note in notes {
        let _ = writeln!(around.errors, "note: {note}");
    }
    let transport = transport(program, matches, around).await?;
    if export::is_folder(spec.meta.id)
        && let Some(folder) = export::folder(matches)
    {
        return export::write(transport.as_ref(), spec, input, &folder, format, around).await;
    }
    let key = matches.try_get_one::<String>("idempotency-key").ok().flatten().map(String::as_str);
    let all = is_list(spec) && (matches.get_flag("all") || streams(spec, &mut input, format));
    let answer = transport.call(spec, input.clone(), key).await?;
    match answer {
        Answer::Done { output, .. } if all => pages(transport.as_ref(), spec, input, output, format, around).await,
        answer => finish(answer, spec, format, around),
    }
}

/// Whether the rows of a question flow to their end by themselves: as JSON lines, where no limit was asked for. The
/// pages are then as large as they can be.
fn streams(spec: &Spec, input: &mut Value, format: Format) -> bool {
    let asks = matches!(spec.meta.id, "event.query" | "event.search") && format == Format::JsonLines;
    let Some(fields) = input.as_object_mut().filter(|fields| asks && !fields.contains_key("limit")) else {
        return false;
    };
    fields.insert("limit".to_owned(), Value::from(api::RowLimit::MAX));
    true
}

pub(crate) async fn transport(
    program: &Program,
    matches: &ArgMatches,
    around: &Around<'_>,
) -> Result<Box<dyn Transport>, Trouble> {
    let data_dir = matches.try_get_one::<String>("data-dir").ok().flatten();
    match (data_dir, &program.open_data_dir) {
        (Some(folder), Some(open)) => match open(PathBuf::from(folder)).await {
            Ok(door) => Ok(Box::new(Offline(door))),
            Err(reason) => Err(Trouble::local(format!("cannot open `{folder}`"), reason)),
        },
        _ => Ok(Box::new(Remote::new(Target::of(matches, around.variable)?)?)),
    }
}

/// Follow the cursors from a first page to the last one.
async fn pages(
    transport: &dyn Transport,
    spec: &Spec,
    mut input: Value,
    first: Value,
    format: Format,
    around: &mut Around<'_>,
) -> Result<Exit, Trouble> {
    let mut page = first;
    let mut items = Vec::new();
    for _ in 0..PAGES_MAX {
        let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let mut here = page.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        if format == Format::JsonLines {
            write(around.output, &Shown::new(format, spec).items(&here))?;
        } else {
            items.append(&mut here);
        }
        let Some(cursor) = next else {
            if format == Format::JsonLines {
                return Ok(Exit::Done);
            }
            let whole = serde_json::json!({ "items": items });
            return finish(Answer::Done { output: whole, obligations: None }, spec, format, around);
        };
        if let Some(fields) = input.as_object_mut() {
            fields.insert("cursor".to_owned(), Value::String(cursor));
        }
        page = match transport.call(spec, input.clone(), None).await? {
            Answer::Done { output, .. } => output,
            other => return finish(other, spec, format, around),
        };
    }
    Err(Trouble::Remote(format!("the list has more than {PAGES_MAX} pages; narrow it by a filter")))
}

/// Show what became of a call; returns how to end.
pub(crate) fn finish(answer: Answer, spec: &Spec, format: Format, around: &mut Around<'_>) -> Result<Exit, Trouble> {
    let shown = Shown::new(format, spec);
    match answer {
        Answer::Done { output, obligations } => {
            write(around.output, &shown.output(&output))?;
            if let (Format::Table, Some(obligations)) = (format, obligations) {
                let _ = writeln!(around.errors, "note: policy laid this on the answer: {obligations}");
            }
            let next = output.get("next_cursor").and_then(Value::as_str);
            if let (Format::Table, Some(cursor)) = (format, next) {
                let _ = writeln!(around.errors, "note: there is more: --all, or --cursor {cursor}");
            }
            Ok(Exit::Done)
        }
        Answer::Pending(document) => {
            write(around.output, &shown.document(&document))?;
            follow(&document, "waits for approval", around.errors);
            Ok(Exit::Pending)
        }
        Answer::Deferred(document) => {
            write(around.output, &shown.document(&document))?;
            follow(&document, "waits for evidence", around.errors);
            Ok(Exit::Deferred)
        }
        Answer::Refused(problem) => {
            let arguments = crate::argument::Argument::all(spec);
            let _ = write!(around.errors, "{}", crate::show::problem(&problem, format, &arguments));
            Ok(exit_of(&problem))
        }
    }
}

fn follow(document: &Value, what: &str, errors: &mut dyn Write) {
    let approval = document.get("approval").and_then(Value::as_str).unwrap_or_default();
    let _ = writeln!(errors, "note: {what}; follow it with: posse approval get --approval {approval}");
}

fn write(output: &mut dyn Write, text: &str) -> Result<(), Trouble> {
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(|error| Trouble::local("cannot write the output", error))
}

/// Say why there is no answer.
fn say(trouble: &Trouble, format: Format, arguments: &[crate::argument::Argument<'_>], errors: &mut dyn Write) -> Exit {
    let problem: Option<&Problem> = if let Trouble::Input(problem) = trouble { Some(problem) } else { None };
    match problem {
        Some(problem) => {
            let _ = write!(errors, "{}", crate::show::problem(problem, format, arguments));
            trouble.exit()
        }
        None => exit::complain(errors, &trouble.to_string(), trouble.exit()),
    }
}
