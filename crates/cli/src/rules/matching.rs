//! Rules on the records of one file: read in order, matched in batches side by side, printed in order.

use super::load;
use crate::Exit;
use crate::answer::Trouble;
use crate::operate::Around;
use clap::ArgMatches;
use detection::correlate::Limits;
use detection::engine::Engine;
use detection::offline;
use detection::profile::{Format, Profile};
use detection::sigma::{Collection, Rule};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// As much as a compressed file may unpack to.
const INPUT_BYTES_MAX: usize = 64 << 30;
/// Records of one batch at most; a thread takes an even share of it.
const BATCH_RECORDS: usize = 16_384;
/// Bytes of one batch about.
const BATCH_BYTES: usize = 32 << 20;

/// Records of a file that follow each other; one that cannot be read is empty and matches nothing.
#[derive(Default)]
struct Batch {
    first: u64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// `posse rule match`.
pub(super) fn run(matches: &ArgMatches, around: &mut Around<'_>) -> Result<Exit, Trouble> {
    let collection = loaded(matches, around)?;
    let (path, bytes) = input(matches)?;
    let engine = Engine::compile(&collection.rules, &Profile::new(format(matches, &bytes)?));
    let threads = matches
        .get_one::<u16>("threads")
        .map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), |count| usize::from(*count));
    let mut job = Job { engine: &engine, rules: &collection.rules, threads, batch: Batch::default(), unreadable: 0 };
    let mut failed = None;
    let read =
        event::read::each_record(&bytes, INPUT_BYTES_MAX, |index, record| match job.take(index, record.ok(), around) {
            Ok(()) => ControlFlow::Continue(()),
            Err(trouble) => {
                failed = Some(trouble);
                ControlFlow::Break(())
            }
        });
    if let Some(trouble) = failed {
        return Err(trouble);
    }
    read.map_err(|fault| Trouble::local(format!("cannot read `{path}`"), fault))?;
    job.flush(around)?;
    unreadable(job.unreadable, around);
    Ok(Exit::Done)
}

/// `posse rule correlate`: correlations look back over the whole file, so it is held.
pub(super) fn correlate(matches: &ArgMatches, around: &mut Around<'_>) -> Result<Exit, Trouble> {
    let collection = loaded(matches, around)?;
    let (path, bytes) = input(matches)?;
    let profile = Profile::new(format(matches, &bytes)?);
    let mut all = Batch::default();
    let mut lost = 0_u64;
    event::read::each_record(&bytes, INPUT_BYTES_MAX, |_, record| {
        lost += u64::from(record.is_err());
        all.push(record.unwrap_or_default());
        ControlFlow::Continue(())
    })
    .map_err(|fault| Trouble::local(format!("cannot read `{path}`"), fault))?;
    let found = offline::correlate(&collection, &profile, Limits::default(), all.records(0, &all.ends));
    print(&offline::correlate_lines(&found), around)?;
    unreadable(lost, around);
    Ok(Exit::Done)
}

fn loaded(matches: &ArgMatches, around: &mut Around<'_>) -> Result<Collection, Trouble> {
    let collection = load(matches)?;
    for rejection in &collection.rejections {
        let _ = writeln!(around.errors, "note: not loaded: {}", crate::table::clean(&rejection.to_string(), false));
    }
    Ok(collection)
}

fn input(matches: &ArgMatches) -> Result<(String, Vec<u8>), Trouble> {
    let path = matches.get_one::<String>("input").cloned().unwrap_or_default();
    let bytes = std::fs::read(&path).map_err(|error| Trouble::local(format!("cannot read `{path}`"), error))?;
    Ok((path, bytes))
}

/// The format that was asked for, or that the first record in JSON shows.
fn format(matches: &ArgMatches, bytes: &[u8]) -> Result<Format, Trouble> {
    let asked = matches.get_one::<String>("format").map_or("auto", String::as_str);
    let mut first = Vec::new();
    if asked == "auto" {
        // A file that cannot be read is said when it is read for its records.
        let _ = event::read::each_record(bytes, INPUT_BYTES_MAX, |_, record| {
            let record = record.unwrap_or_default();
            if serde_json::from_slice::<serde_json::Value>(record).is_err() {
                return ControlFlow::Continue(());
            }
            first = record.to_vec();
            ControlFlow::Break(())
        });
    }
    offline::format_named(asked, [first.as_slice()]).map_err(|error| Trouble::Usage(error.to_string()))
}

fn unreadable(count: u64, around: &mut Around<'_>) {
    if count > 0 {
        let _ = writeln!(around.errors, "note: {count} records cannot be read");
    }
}

fn print(text: &str, around: &mut Around<'_>) -> Result<(), Trouble> {
    around.output.write_all(text.as_bytes()).map_err(|error| Trouble::local("cannot write the output", error))
}

impl Batch {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// The records that end at `ends`, which is a part of [`Self::ends`] from the place `from` on.
    fn records<'b>(&'b self, from: usize, ends: &'b [usize]) -> impl Iterator<Item = &'b [u8]> {
        let start = from.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        let starts = std::iter::once(start).chain(ends.iter().copied());
        starts.zip(ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

/// One run of rules over a file.
struct Job<'a> {
    engine: &'a Engine,
    rules: &'a [Rule],
    threads: usize,
    batch: Batch,
    unreadable: u64,
}

impl Job<'_> {
    fn take(&mut self, index: u64, record: Option<&[u8]>, around: &mut Around<'_>) -> Result<(), Trouble> {
        if self.batch.ends.is_empty() {
            self.batch.first = index;
        }
        self.unreadable += u64::from(record.is_none());
        self.batch.push(record.unwrap_or_default());
        if self.batch.ends.len() >= BATCH_RECORDS || self.batch.bytes.len() >= BATCH_BYTES {
            self.flush(around)?;
        }
        Ok(())
    }

    /// Match a batch and print what was found.
    fn flush(&mut self, around: &mut Around<'_>) -> Result<(), Trouble> {
        let batch = std::mem::take(&mut self.batch);
        let share = batch.ends.len().div_ceil(self.threads).max(1);
        let (engine, rules, batch) = (self.engine, self.rules, &batch);
        let texts: Vec<Option<String>> = std::thread::scope(|scope| {
            let shares = batch.ends.chunks(share).enumerate();
            let running: Vec<_> = shares
                .map(|(at, ends)| {
                    let from = at.saturating_mul(share);
                    let first = batch.first.saturating_add(u64::try_from(from).unwrap_or(u64::MAX));
                    scope.spawn(move || {
                        let found = offline::match_records(engine, first, batch.records(from, ends));
                        offline::match_lines(&found, rules)
                    })
                })
                .collect();
            running.into_iter().map(|thread| thread.join().ok()).collect()
        });
        for text in texts {
            print(&text.ok_or_else(|| Trouble::Remote("a matching thread failed".to_owned()))?, around)?;
        }
        Ok(())
    }
}
