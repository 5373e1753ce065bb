//! `posse bench …`: the binary's own speed, printed with the machine's numbers and judged by nobody here. `script/bench`
//! runs a named peer beside it in the same run and prints ratios.

mod decision;
mod gate;
mod lake;
mod load;
mod served;

use anyhow::bail;
use std::ffi::OsString;

/// What `posse bench --help` says.
const HELP: &str = "\
Measure this binary on this machine

Usage: posse bench gate [--json] [--secs N] [--clients N] [--peer URL]
       posse bench lake [--json] [--events N] [--clients N] [--seed N] [--keep] [--print]

  gate   Decisions per microsecond, audited reads and writes over HTTP, idle memory, the kill switch.
         --secs N      How long each of reads and writes is measured, default 5
         --clients N   Connections that call at once, default 64
         --peer URL    Measure the peer at this address with the same load instead (script/bench starts one)
  lake   Ingest over HTTP to searchable, size at rest, and nine questions, on a corpus made from a seed.
         --events N    How many records of about 1 KB, default 10,000,000: 200 tenants, 30 days
         --clients N   Connections that send at once, default 4
         --seed N      Of the corpus, default 1
         --print       Only print the corpus, one record a line with its tenant in `_tenant`, for peers
";

/// Carry out `posse bench` with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    match words.split_first() {
        Some((&"gate", options)) => gate::run(options),
        Some((&"lake", options)) => lake::run(options),
        None | Some((&("-h" | "--help"), _)) => {
            print!("{HELP}");
            Ok(())
        }
        Some((other, _)) => bail!("`{other}` is nothing that can be measured; see `posse bench --help`"),
    }
}
