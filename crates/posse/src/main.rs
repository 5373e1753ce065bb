//! The binary and only composition root: reads one typed configuration, opens store, gate and server, and hands every
//! other command to the command line. Holds no logic of its own.

mod audit_anchors;
mod bench;
mod case_feed;
mod config;
mod data_dir;
mod demo;
mod doctor;
mod evaluate;
mod hooks;
mod sensor_command;
mod serve;
mod sign_in;
mod telemetry;

use cli::{Other, Program, Surroundings};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Many small pieces are made and dropped for each call; this allocator halves what that costs. What a thread asks of it
/// is counted for `posse bench detect`; docs/decisions/dependencies.md says what that costs.
#[global_allocator]
static ALLOCATOR: alloc_tracker::Allocator<mimalloc::MiMalloc> = alloc_tracker::Allocator::new(mimalloc::MiMalloc);

const SERVE: Other =
    Other { name: "serve", about: "Start everything that a data folder holds, with REST and MCP on one address" };

const BENCH: Other = Other { name: "bench", about: "Measure this binary on this machine" };

const DEMO: Other = Other { name: "demo", about: "See the whole line happen on this machine, for real" };

const DOCTOR: Other =
    Other { name: "doctor", about: "Check whether this machine and a data folder are fit to run Posse" };

const EVALUATE: Other =
    Other { name: "evaluate", about: "Judge triage and the gate on recordings and calls of your own" };

/// A command that the binary carries out itself.
type OwnCommand = fn(&[std::ffi::OsString]) -> anyhow::Result<()>;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let own: [(Other, OwnCommand); 4] =
        [(SERVE, serve::run), (DEMO, demo::run), (BENCH, bench::run), (DOCTOR, doctor::run)];
    for (other, run) in own {
        if arguments.get(1).is_some_and(|first| first == other.name) {
            return match run(arguments.get(2..).unwrap_or_default()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("posse {}: {error:#}", other.name);
                    ExitCode::FAILURE
                }
            };
        }
    }
    if arguments.get(1).is_some_and(|first| first == EVALUATE.name) {
        return evaluate::run(arguments.get(2..).unwrap_or_default());
    }
    if arguments.get(1).is_some_and(|first| first == "sensor")
        && sensor_command::meant(arguments.get(2..).unwrap_or_default())
    {
        return match sensor_command::run(arguments.get(2..).unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("posse sensor: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    // One folder is opened once: for its gate and, where records come in, for its data plane.
    let opened: Arc<Mutex<Option<telemetry::Offline>>> = Arc::default();
    let opened_before = Arc::clone(&opened);
    let program = Program {
        specs: api::specs(),
        version: env!("CARGO_PKG_VERSION"),
        others: vec![SERVE, DEMO, BENCH, DOCTOR, EVALUATE],
        open_data_dir: Some(Box::new(move |folder| {
            let opened = Arc::clone(&opened);
            Box::pin(async move {
                let (door, offline) = data_dir::open_offline(&folder).await.map_err(|error| format!("{error:#}"))?;
                *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(offline);
                Ok(Arc::new(door) as Arc<dyn api::Door>)
            })
        })),
        ingest: Some(Box::new(move |_| {
            let offline = opened_before.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                let offline = offline.ok_or_else(|| "the data folder is not open".to_owned())?;
                Ok(Arc::new(offline.start()) as Arc<dyn cli::Ingest>)
            })
        })),
    };
    let (mut output, mut errors) = (std::io::stdout().lock(), std::io::stderr().lock());
    let exit = cli::run(
        &program,
        arguments,
        Surroundings {
            variable: &|name| std::env::var(name).ok(),
            input: Box::new(std::io::stdin()),
            terminal: output.is_terminal(),
            output: &mut output,
            errors: &mut errors,
        },
    );
    ExitCode::from(exit)
}
