//! What becomes of recordings: each record read, mapped and held to the OCSF schema; a table by folder and mapping on standard
//! output. Files are named on standard input, `GROUP<tab>PATH` a line. Ends with 1 where a required attribute is missing.
//!
//! For `script/recordings`; it reads whole files into memory and is not for servers.

use event::mapping::{Mapping, Mappings, Normalised, Normaliser};
use event::ocsf::{OcsfFaultKind, Schema};
use event::{Leaves, Parser, read};
use ids::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;
use std::ops::ControlFlow;

/// Unpacked bytes of one file at most.
const BYTES_MAX: usize = 2 << 30;
/// Fields and faults that the table names.
const NAMED: usize = 6;

/// What is counted of one mapping in one group.
#[derive(Default)]
struct Row {
    files: BTreeSet<String>,
    records: u64,
    timed: u64,
    leaves: u64,
    unmapped: u64,
    fields: BTreeMap<String, u64>,
    faulty: u64,
    missing: u64,
    faults: BTreeMap<String, u64>,
}

/// Everything that was read.
#[derive(Default)]
struct Report {
    rows: BTreeMap<(String, String), Row>,
    dead: BTreeMap<String, BTreeMap<String, u64>>,
}

struct Reading {
    parser: Parser,
    made: Parser,
    normaliser: Normaliser,
    event: Normalised,
}

impl Report {
    fn dead(&mut self, group: &str, why: String) {
        *self.dead.entry(group.to_owned()).or_default().entry(why).or_default() += 1;
    }

    fn record(&mut self, reading: &mut Reading, group: &str, path: &str, json: &[u8]) {
        let Reading { parser, made, normaliser, event } = reading;
        let view = match parser.parse(json) {
            Ok(view) => view,
            Err(fault) => return self.dead(group, fault.to_string()),
        };
        let mappings = Mappings::built_in();
        let Some(mapping) = mappings.detect(&view).or_else(|| mappings.named("json")) else { return };
        normaliser.normalise(mapping, &view, Timestamp::default(), event);
        let row = self.rows.entry((group.to_owned(), Mapping::name(mapping).to_owned())).or_default();
        row.files.insert(path.to_owned());
        row.records += 1;
        row.timed += u64::from(event.time_from_source);
        view.leaves(&mut Leaves::default(), |_, _| {
            row.leaves += 1;
            ControlFlow::Continue(())
        });
        row.unmapped += u64::try_from(event.unmapped.len()).unwrap_or(0);
        for field in &event.unmapped {
            *row.fields.entry(field.clone()).or_default() += 1;
        }
        let Ok(ocsf) = made.parse(event.json.as_bytes()) else { return self.dead(group, "made no JSON".to_owned()) };
        let faults = Schema::built_in().validate(&ocsf);
        row.faulty += u64::from(!faults.is_empty());
        row.missing += u64::from(faults.iter().any(|fault| fault.kind == OcsfFaultKind::Missing));
        for fault in faults {
            *row.faults.entry(format!("{}: {}", fault.path, fault.kind)).or_default() += 1;
        }
    }
}

fn top(counts: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<_> = counts.iter().collect();
    all.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    let named: Vec<String> = all.iter().take(NAMED).map(|(name, count)| format!("{name} ({count})")).collect();
    let more = all.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

fn main() -> std::process::ExitCode {
    let mut report = Report::default();
    let mut reading = Reading {
        parser: Parser::new(),
        made: Parser::new(),
        normaliser: Normaliser::new(),
        event: Normalised::default(),
    };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Some((group, path)) = line.split_once('\t') else { continue };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.dead(group, format!("cannot be opened: {error}"));
                continue;
            }
        };
        let mut text = Vec::new();
        let read = read::each_record(&bytes, BYTES_MAX, |_, record| {
            match record {
                Ok(json) if json.trim_ascii_start().starts_with(b"{") => {
                    report.record(&mut reading, group, path, json);
                }
                Ok(line) => {
                    text.clear();
                    let line = String::from_utf8_lossy(line);
                    let made = read::line_record(&line, Timestamp::default());
                    text.extend_from_slice(made.unwrap_or_default().as_bytes());
                    report.record(&mut reading, group, path, &text);
                }
                Err(fault) => report.dead(group, fault.to_string()),
            }
            ControlFlow::Continue(())
        });
        if let Err(fault) = read {
            report.dead(group, fault.to_string());
        }
    }
    println!(
        "| recordings | mapping | files | records | with a time | unmapped leaves | fields that stay unmapped | OCSF faults | of them required | which |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut missing = 0;
    for ((group, mapping), row) in &report.rows {
        missing += row.missing;
        let share = row.unmapped.min(row.leaves) * 1000 / row.leaves.max(1);
        println!(
            "| {group} | {mapping} | {} | {} | {} | {}.{} % | {} | {} | {} | {} |",
            row.files.len(),
            row.records,
            row.timed,
            share / 10,
            share % 10,
            top(&row.fields),
            row.faulty,
            row.missing,
            top(&row.faults)
        );
    }
    for (group, why) in &report.dead {
        println!("\nNot read in {group}: {}", top(why));
    }
    std::process::ExitCode::from(u8::from(missing > 0))
}
