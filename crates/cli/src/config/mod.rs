//! `posse config plan|apply|diff|export`: what is declared, as files. Everything is read and done by ordinary operations with
//! the caller's own rights, over HTTP or with `--data-dir`, so that a file can do nothing that its bearer cannot.

mod access;
mod apply;
mod export;
mod file;
mod observed;
mod plan;
mod report;
mod thing;

use crate::answer::Trouble;
use crate::operate::{Around, transport};
use crate::show::{Format, render};
use crate::{Exit, Program, exit};
use clap::{Arg, ArgAction, ArgMatches, Command};
use ids::Entropy as _;
use observed::{Caller, Observed};
use plan::{Change, Plan};
use serde_json::Value;
use std::collections::BTreeSet;
use thing::{Desired, Kind};

/// The family on the command line.
pub(crate) const FAMILY: &str = "config";
/// How often a plan is made anew because something changed under it.
const ROUNDS_MAX: usize = 3;
/// Calls at once where nothing is said.
const AT_ONCE: &str = "16";

/// The commands.
pub(crate) fn commands() -> Vec<Command> {
    let files = || {
        Arg::new("files")
            .value_name("FILE")
            .required(true)
            .num_args(1..)
            .help("Configuration files; together they are one")
    };
    vec![
        Command::new("plan")
            .about("Show what files would change, and whose access changes with it")
            .arg(files())
            .after_help("Ends with: 0 a plan was made, 2 the files are not right."),
        Command::new("apply")
            .about("Carry out what files ask for; run it again to go on where it stopped")
            .arg(files())
            .arg(
                Arg::new("allow-destroy")
                    .long("allow-destroy")
                    .action(ArgAction::SetTrue)
                    .help("Also remove what the files do not have"),
            )
            .arg(
                Arg::new("at-once")
                    .long("at-once")
                    .value_name("N")
                    .value_parser(clap::value_parser!(u16).range(1..=256))
                    .default_value(AT_ONCE)
                    .help("How many calls at once"),
            )
            .after_help("Ends with: 0 all is as the files say, 1 something failed, 2 the files are not right or something would be removed, 4 something waits for approval."),
        Command::new("diff")
            .about("Show every difference between files and the platform, line by line")
            .arg(files())
            .after_help("Ends with: 0 no difference, 1 there are some, 2 the files are not right."),
        Command::new("export").about("Write what the platform has as a configuration file"),
    ]
}

/// Carry out one of the commands; none where it is not one of them.
pub(crate) async fn carry_out(
    program: &Program,
    word: &str,
    matches: &ArgMatches,
    around: &mut Around<'_>,
) -> Option<Exit> {
    let done = match word {
        "plan" | "diff" => planned(program, word == "diff", matches, around).await,
        "apply" => applied(program, matches, around).await,
        "export" => exported(program, matches, around).await,
        _ => return None,
    };
    Some(done.unwrap_or_else(|trouble| exit::complain(around.errors, &trouble.to_string(), trouble.exit())))
}

fn desired(matches: &ArgMatches) -> Result<Desired, Trouble> {
    let paths: Vec<String> = matches.get_many::<String>("files").into_iter().flatten().cloned().collect();
    Desired::of(file::read(&paths)?).map_err(Trouble::Usage)
}

/// Places where files name a service key.
fn programs(desired: &Desired) -> BTreeSet<Option<String>> {
    let names = |fields: &thing::Fields| {
        fields.get("principal").and_then(Value::as_str).is_some_and(|label| label.starts_with("service:"))
    };
    let held = desired.things.iter().filter(|(key, fields)| key.kind == Kind::Assignment && names(fields));
    held.flat_map(|(key, _)| [key.place.clone(), None]).collect()
}

fn plan_of(desired: &Desired, observed: &Observed) -> Result<Plan, Trouble> {
    Plan::of(desired, observed).map_err(|faults| Trouble::Usage(faults.join("\n")))
}

fn write(around: &mut Around<'_>, text: &str) -> Result<(), Trouble> {
    around.output.write_all(text.as_bytes()).map_err(|error| Trouble::local("cannot write the output", error))
}

async fn planned(
    program: &Program,
    diff: bool,
    matches: &ArgMatches,
    around: &mut Around<'_>,
) -> Result<Exit, Trouble> {
    let desired = desired(matches)?;
    let transport = transport(program, matches, around).await?;
    let caller = Caller { transport: transport.as_ref(), specs: &program.specs };
    let observed = Observed::read(&caller, &programs(&desired)).await?;
    let plan = plan_of(&desired, &observed)?;
    let access =
        if diff { Vec::new() } else { access::shifts(&program.specs, &observed, &plan).map_err(Trouble::Usage)? };
    let format = Format::of(matches, around.terminal);
    let shown = match format {
        Format::Table => report::lines(&plan, &access, diff),
        format => render(&report::document(&plan, &access), format),
    };
    write(around, &shown)?;
    Ok(if diff && !plan.steps.is_empty() { Exit::Failed } else { Exit::Done })
}

async fn applied(program: &Program, matches: &ArgMatches, around: &mut Around<'_>) -> Result<Exit, Trouble> {
    let desired = desired(matches)?;
    let transport = transport(program, matches, around).await?;
    let caller = Caller { transport: transport.as_ref(), specs: &program.specs };
    let at_once = usize::from(matches.get_one::<u16>("at-once").copied().unwrap_or(16));
    let mut done = 0;
    let mut round = 0;
    let applied = loop {
        round += 1;
        let observed = Observed::read(&caller, &programs(&desired)).await?;
        let plan = plan_of(&desired, &observed)?;
        let destroys = plan.count(Change::Delete);
        if destroys > 0 && !matches.get_flag("allow-destroy") {
            let named: Vec<String> = plan
                .steps
                .iter()
                .filter(|step| step.change == Change::Delete)
                .take(10)
                .map(|step| step.key.to_string())
                .collect();
            return Err(Trouble::Usage(format!(
                "{destroys} things would be removed ({}); nothing was done; `--allow-destroy` removes them",
                named.join(", ")
            )));
        }
        let mut nonce = [0; 16];
        seal::SystemEntropy.fill(&mut nonce);
        let mut applied = apply::apply(&caller, &observed, &plan, &nonce, at_once, &|_| {}).await?;
        done += applied.done;
        if !applied.stale || round >= ROUNDS_MAX {
            applied.done = done;
            break applied;
        }
    };
    let format = Format::of(matches, around.terminal);
    let shown = match format {
        Format::Table => report::applied_lines(&applied),
        format => render(&report::applied(&applied), format),
    };
    write(around, &shown)?;
    Ok(match (applied.failed.is_empty(), applied.waiting.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Pending,
        (true, true) => Exit::Done,
    })
}

async fn exported(program: &Program, matches: &ArgMatches, around: &mut Around<'_>) -> Result<Exit, Trouble> {
    let transport = transport(program, matches, around).await?;
    let caller = Caller { transport: transport.as_ref(), specs: &program.specs };
    let observed = Observed::read(&caller, &BTreeSet::new()).await?;
    let file = export::file(&observed);
    let text = serde_yaml_ng::to_string(&file)
        .map_err(|error| Trouble::local("the configuration cannot be written", error))?;
    write(around, &text)?;
    Ok(Exit::Done)
}
