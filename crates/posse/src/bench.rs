//! `posse bench …`: the binary's own speed, printed with the machine's numbers and judged by nobody here. `script/bench`
//! runs a named peer beside it in the same run and prints ratios.

mod backtest;
mod decision;
mod detect;
mod gate;
mod lake;
mod latency;
mod load;
mod plane;
mod served;
mod triage;

use anyhow::bail;
use std::ffi::OsString;

/// What `posse bench --help` says.
const HELP: &str = "\
Measure this binary on this machine

Usage: posse bench gate [--json] [--secs N] [--clients N] [--peer URL]
       posse bench lake [--json] [--events N] [--clients N] [--seed N] [--print]
       posse bench detect --rules DIR --input FILE [--json] [--format NAME] [--rounds N] [--rules-max N] [--threads N]
                          [--indicators N] [--tenants N] [--correlation-keys N] [--routes-in-rules]
       posse bench backtest --rules DIR --input FILE [--json] [--events N]
       posse bench latency --rules DIR --input FILE [--json] [--rate N] [--secs N] [--batch N]
       posse bench triage [--json] [--events N] [--detections N] [--tenants N]

  gate   Decisions per microsecond, audited reads and writes over HTTP, idle memory, the kill switch.
         --secs N      How long each of reads and writes is measured, default 5
         --clients N   Connections that call at once, default 64
         --peer URL    Measure the peer at this address with the same load instead (script/bench starts one)
  lake   Ingest over HTTP to searchable, size at rest, and nine questions, on a corpus made from a seed.
         --events N    How many records of about 1 KB, default 10,000,000: 200 tenants, 30 days
         --clients N   Connections that send at once, default 4
         --seed N      Of the corpus, default 1
         --print       Only print the corpus, one record a line with its tenant in `_tenant`, for peers
  detect Events per second of CPU time on one thread, JSON text in, rule numbers out; memory and compile time.
         --rounds N         The best of so many, default 3
         --rules-max N      At most so many rules, evenly spread over the folder
         --threads N        On so many threads at once, by the clock
         --indicators N     With so many made-up indicators of every kind in the same pass
         --tenants N        Compile so many tenants' sets of 20 rules beside the shared one
         --correlation-keys N  Hold so many live groups of one correlation, measured apart
         --routes-in-rules  Write each log source into its rule as selections on Channel and EventID
  backtest Rules over the lake beside the same rules over the same records as a stream, and a rule that looks for one
         address over 30 days beside the same without leaving anything out.
         --events N      Records in the lake, default 600,000: those of the file, repeated
  latency From the acknowledgement of a record to its detection being stored, in one process without HTTP.
         --rate N        Records a second, default 20,000
         --secs N        For so long, default 20
         --batch N       Records of one request, default 200
  triage Documented verdicts per second by the shipped playbook, cold, one agent over all tenants.
         --events N      Harmless records of about 1 KB in the lake, default 10,000,000
         --detections N  Planted scenes, each on a host of its own, default 10,000
         --tenants N     Default 500
";

/// Carry out `posse bench` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    match words.split_first() {
        Some((&"gate", options)) => gate::run(options),
        Some((&"lake", options)) => lake::run(options),
        Some((&"detect", options)) => detect::run(options),
        Some((&"backtest", options)) => backtest::run(options),
        Some((&"latency", options)) => latency::run(options),
        Some((&"triage", options)) => triage::run(options),
        None | Some((&("-h" | "--help"), _)) => {
            print!("{HELP}");
            Ok(())
        }
        Some((other, _)) => bail!("`{other}` is nothing that can be measured; see `posse bench --help`"),
    }
}
