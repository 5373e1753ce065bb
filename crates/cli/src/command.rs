//! The tree of commands: one resource, one verb for each operation, and the commands that are none.

use crate::argument::{Argument, PLAIN, plain_field};
use crate::{Exit, Program};
use api::{Effect, Spec};
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use std::collections::BTreeMap;
use std::io::Write;

const ABOUT: &str = "Posse: people, AI agents, rules and schedules operate security through one policy-checked door.";
const ENVIRONMENT: &str = "Environment:
  POSSE_URL    the server, http://127.0.0.1:7300 where nothing is said
  POSSE_TOKEN  the credential; --token-file FILE goes before it

Ends with: 0 done, 1 failed, 2 not a right command or input, 3 denied, 4 waits for approval, 5 waits for evidence.
Learn it all at once: posse --ai-help";

/// The whole tree.
pub(crate) fn tree(program: &Program) -> Command {
    let mut root = Command::new("posse")
        .version(program.version)
        .about(ABOUT)
        .after_help(ENVIRONMENT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args(everywhere(program));
    for other in &program.others {
        root = root.subcommand(Command::new(other.name).about(other.about));
    }
    root = root
        .subcommand(crate::mcp::command())
        .subcommand(crate::import::command())
        .subcommand(crate::borrow::command());
    for (family, specs) in families(&program.specs) {
        let mut words: Vec<String> = specs.iter().map(|spec| verb(spec)).collect();
        let (both, only): (Vec<Command>, Vec<Command>) =
            offline(family).into_iter().partition(|command| words.iter().any(|word| word == command.get_name()));
        words.extend(only.iter().map(|command| command.get_name().to_owned()));
        let mut command = Command::new(kebab(family))
            .about(words.join(", "))
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true);
        for spec in specs {
            let here = both.iter().find(|one| one.get_name() == verb(spec));
            command = command.subcommand(here.map_or_else(|| operation(spec), |here| either(spec, here)));
        }
        root = root.subcommand(command.subcommands(only));
    }
    if program.specs.iter().all(|spec| spec.meta.family() != crate::rules::COMMAND) {
        let rules = Command::new(crate::rules::COMMAND)
            .about("match, correlate, lint: Sigma rules on files of this machine")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true);
        root = root.subcommand(rules.subcommands(offline(crate::rules::COMMAND)));
    }
    root
}

/// Operations by their resource.
pub(crate) fn families(specs: &[Spec]) -> BTreeMap<&'static str, Vec<&Spec>> {
    let mut families: BTreeMap<&'static str, Vec<&Spec>> = BTreeMap::new();
    for spec in specs {
        families.entry(spec.meta.family()).or_default().push(spec);
    }
    families
}

/// A word of an operation's id as a word of the command line.
pub(crate) fn kebab(word: &str) -> String {
    word.replace('_', "-")
}

/// The verb of an operation as a word of the command line.
pub(crate) fn verb(spec: &Spec) -> String {
    kebab(spec.meta.id.split_once('.').map_or(spec.meta.id, |(_, verb)| verb))
}

/// Whether an operation answers with pages.
pub(crate) fn is_list(spec: &Spec) -> bool {
    let pages = spec.output_schema().get("properties").is_some_and(|fields| fields.get("next_cursor").is_some());
    pages && spec.fields().any(|(field, _)| field == "cursor")
}

/// `posse resource verb --flag value` for the example that the operation was declared with.
pub(crate) fn example(spec: &Spec) -> String {
    let arguments = Argument::all(spec);
    let flags = arguments
        .iter()
        .flat_map(|argument| spec.example.get(argument.field).map(|value| argument.example(value)).unwrap_or_default());
    std::iter::once(spec.cli()).chain(flags).collect::<Vec<_>>().join(" ")
}

/// A command line that the parser did not take, or a question for help.
pub(crate) fn refused(error: &clap::Error, output: &mut dyn Write, errors: &mut dyn Write) -> Exit {
    let text = error.to_string();
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Nobody is left to tell where this cannot be written.
    let _ = if asked { write!(output, "{text}") } else { write!(errors, "{text}") };
    if asked { Exit::Done } else { Exit::Usage }
}

fn operation(spec: &Spec) -> Command {
    let meta = &spec.meta;
    let after =
        format!("Example:\n  {}\n\nThis is {} {} ({}).", example(spec), meta.method.as_str(), meta.path, meta.id);
    let mut command = Command::new(verb(spec))
        .about(spec.summary.clone())
        .long_about(spec.description.clone())
        .after_help(after)
        .arg(
            Arg::new("input")
                .long("input")
                .value_name("JSON|@FILE|-")
                .help("The whole input as one JSON object; single flags go before its fields"),
        )
        .args(Argument::all(spec).iter().map(|argument| match plain_field(meta.id) {
            Some(field) if field == argument.field => argument.to_arg_beside_plain(),
            _ => argument.to_arg(),
        }));
    if let Some(field) = plain_field(meta.id) {
        let help = format!("The same as --{field}");
        command = command.arg(Arg::new(PLAIN).value_name(field.to_uppercase()).help(help).index(1));
    }
    if meta.effect != Effect::Read {
        let help = "A key of your own: the same call with the same key is carried out once, however often it is sent";
        command = command.arg(Arg::new("idempotency-key").long("idempotency-key").value_name("KEY").help(help));
    }
    if is_list(spec) {
        let help = "Follow the cursors to the end, page by page";
        command = command.arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help(help));
    }
    match meta.id {
        operation if crate::export::is_folder(operation) => crate::export::arguments(command),
        crate::rule_folder::OPERATION => crate::rule_folder::arguments(command),
        _ => command,
    }
}

/// An operation that can also be carried out here, on files: their arguments in place of the input.
fn either(spec: &Spec, here: &Command) -> Command {
    let mut command = operation(spec);
    let own: Vec<clap::Id> = here.get_arguments().map(|argument| argument.get_id().clone()).collect();
    let mut instead: Vec<clap::Id> = vec!["input".into()];
    instead.extend(own);
    for argument in Argument::all(spec).iter().filter(|argument| argument.required) {
        let instead = instead.clone();
        command = command.mut_arg(argument.id(), |arg| arg.required_unless_present_any(instead));
    }
    command.args(here.get_arguments().cloned().map(|argument| argument.required(false)))
}

/// The commands of a resource that need no server.
fn offline(family: &str) -> Vec<Command> {
    match family {
        "audit" => vec![crate::audit_folder::command(), crate::certificate::command()],
        crate::config::FAMILY => crate::config::commands(),
        "policy" => vec![crate::policy_check::command()],
        crate::rules::COMMAND => crate::rules::commands(),
        _ => Vec::new(),
    }
}

fn everywhere(program: &Program) -> Vec<Arg> {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).global(true).help_heading("Everywhere")
    };
    let mut all = vec![
        flag("url", "URL", "The server; else POSSE_URL"),
        flag("token-file", "FILE", "A file that holds the credential; else POSSE_TOKEN"),
        flag("output", "FORMAT", "table on a terminal, json elsewhere")
            .value_parser(PossibleValuesParser::new(["table", "json", "jsonl", "yaml"])),
        flag("ai-help", "", "Teach a model: all commands, one resource or one command as compact Markdown")
            .num_args(0)
            .action(ArgAction::SetTrue),
    ];
    if program.open_data_dir.is_some() {
        all.push(flag("data-dir", "DIR", "Without a server: open this data folder, which no server may hold open"));
    }
    all
}
