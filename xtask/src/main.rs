//! Chores of the project, each a module: `cargo xtask tidy` and its like. Never part of the product.

mod ocsf;
mod tidy;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- COMMAND\n\n  ocsf FOLDER    compile the OCSF schema source into the table of crate event\n  tidy    check what the compiler does not: arrows, owners, file heads, lengths, names";

fn main() -> ExitCode {
    match chore() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Result<()> {
    let root = root()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ocsf", schema] => ocsf::run(&root, Path::new(schema)),
        ["tidy"] => tidy::run(&root),
        _ => bail!("{USAGE}"),
    }
}

/// The folder that holds the workspace's manifest. Found at run time: several checkouts may share one build.
fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo run -p xtask`")?;
    let here = Path::new(&here);
    Ok(here.parent().context("xtask lies inside the workspace")?.to_owned())
}
