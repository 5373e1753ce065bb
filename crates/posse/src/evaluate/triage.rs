//! `posse evaluate triage`: recordings in, verdicts out, one line for each recording.

use super::labels::{Labels, Tally};
use super::options::{Given, Usage};
use super::outcome::RecordingOutcome;
use super::rules::Packs;
use super::stage::Stage;
use super::{End, chunk};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Recordings that are judged at once, and bytes of their files.
const FILES_AT_ONCE: usize = 16;
/// See [`FILES_AT_ONCE`].
const BYTES_AT_ONCE: u64 = 16 << 20;
/// The definition that ships.
const DEFINITION: &str = include_str!("../../../../content/agents/triage.md");
/// The greatest number of runs at once: the platform drives no more.
const JOBS_MAX: usize = 64;

struct Options {
    files: Vec<PathBuf>,
    json: bool,
    rules: Option<PathBuf>,
    labels: Option<PathBuf>,
    skill: Option<PathBuf>,
    jobs: usize,
}

fn options(words: &[String]) -> Result<Options, Usage> {
    let given = Given::read(words, &["--json"], &["--rules", "--labels", "--skill", "--jobs"])?;
    if given.files.is_empty() {
        return Err(Usage("name at least one recording; see `posse evaluate --help`".to_owned()));
    }
    let jobs = given.value("--jobs").map_or(Ok(8), str::parse);
    let jobs = jobs.ok().filter(|jobs| (1..=JOBS_MAX).contains(jobs));
    Ok(Options {
        json: given.has("--json"),
        rules: given.path("--rules"),
        labels: given.path("--labels"),
        skill: given.path("--skill"),
        jobs: jobs.ok_or_else(|| Usage(format!("`--jobs` takes 1 to {JOBS_MAX}")))?,
        files: given.files,
    })
}

/// Judge and print.
pub(super) fn run(words: &[String]) -> anyhow::Result<End> {
    let options = options(words)?;
    let labels = options.labels.as_deref().map(Labels::read).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(judge(&options, labels.as_ref(), &mut std::io::stdout()))
}

async fn judge(options: &Options, labels: Option<&Labels>, out: &mut impl Write) -> anyhow::Result<End> {
    let stage = Stage::open(true).await?;
    let ended = judge_on(&stage, options, labels, out).await;
    stage.close().await?;
    ended
}

async fn judge_on(
    stage: &Stage,
    options: &Options,
    labels: Option<&Labels>,
    out: &mut impl Write,
) -> anyhow::Result<End> {
    if let Some(folder) = &options.skill {
        stage.done("skill.import", json!({ "files": skill(folder)? })).await?;
    }
    let packs = Packs::read(stage, options.rules.as_deref()).await?;
    let agent = stage.agent("triage", Some(&on_request(DEFINITION)), &["investigator"]).await?;
    let (mut tally, mut serial) = (Tally::default(), 0_usize);
    for files in parts(&options.files) {
        for mut outcome in chunk::judge(stage, &packs, &agent, files, (serial, options.jobs)).await? {
            if let Some(labels) = labels {
                labels.label(&mut outcome);
            }
            tally.add(&outcome);
            print(&outcome, options.json, out)?;
        }
        serial = serial.saturating_add(files.len());
        out.flush()?;
    }
    let summary = tally.summary();
    if options.json && labels.is_some() {
        writeln!(out, "{}", json!({ "summary": summary }))?;
    }
    eprintln!("{}", serde_json::to_string_pretty(&summary)?);
    Ok(if tally.whole() { End::Whole } else { End::Parts })
}

/// A definition without what wakes the agent: a case is judged once, when everything that belongs to it is there.
fn on_request(definition: &str) -> String {
    let wakes = |line: &&str| line.trim_start().starts_with("- { on:") && !line.contains("on: api");
    definition.lines().filter(|line| !wakes(line)).flat_map(|line| [line, "\n"]).collect()
}

/// Files in groups that fit into memory together.
fn parts(files: &[PathBuf]) -> Vec<&[PathBuf]> {
    let (mut parts, mut from, mut held) = (Vec::new(), 0, 0_u64);
    for (number, file) in files.iter().enumerate() {
        // A file that is not there is told with the others of its group.
        let bytes = std::fs::metadata(file).map_or(0, |file| file.len());
        let full = number - from >= FILES_AT_ONCE || held.saturating_add(bytes) > BYTES_AT_ONCE;
        if full && number > from {
            parts.extend(files.get(from..number));
            (from, held) = (number, 0);
        }
        held = held.saturating_add(bytes);
    }
    parts.extend(files.get(from..).filter(|rest| !rest.is_empty()));
    parts
}

/// The files of a skill's folder, as `skill.import` takes them.
fn skill(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            files.push(json!({ "path": chunk::name(&path), "text": text }));
        }
    }
    if files.is_empty() {
        bail!("`{}` holds no files; name the folder of a skill", folder.display());
    }
    Ok(files)
}

fn print(outcome: &RecordingOutcome, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, outcome)?;
        writeln!(out)?;
        return Ok(());
    }
    let RecordingOutcome { file, events, detections, cases, error, .. } = outcome;
    writeln!(out, "{file}: {events} events, {detections} detections, {} cases", cases.len())?;
    if let Some(error) = error {
        writeln!(out, "  not judged: {error}")?;
    }
    for case in cases {
        let verdict = case.verdict.as_deref().unwrap_or("no verdict");
        let score = case.score.map_or_else(|| "none".to_owned(), |score| score.to_string());
        let hosts = case.hosts.join(", ");
        let title = case.rules.first().map(|rule| rule.title.as_str()).unwrap_or_default();
        writeln!(out, "  {verdict} (score {score}, {} detections) on {hosts}: {title}", case.detections)?;
        if let Some(error) = &case.error {
            writeln!(out, "    {error}")?;
        }
        for one in &case.evidence {
            let quote = one.quotes.first().map(String::as_str).unwrap_or_default();
            writeln!(out, "    {}: `{quote}`", one.claim)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_and_leave_nothing_out() {
        let files: Vec<PathBuf> = (0..35).map(|number| PathBuf::from(format!("/none/{number}"))).collect();
        let parts = parts(&files);
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [16, 16, 3]);
        assert!(super::parts(&[]).is_empty());
    }

    #[test]
    fn nothing_but_a_request_wakes_the_agent() {
        let text = on_request(DEFINITION);
        assert!(text.contains("- { on: api }") && !text.contains("on: case"), "{text}");
        assert_eq!(text.lines().count() + 2, DEFINITION.lines().count());
    }

    #[test]
    fn wrong_words_are_usage_errors() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            options(&words)
        };
        for wrong in [&["--json"][..], &["a", "--jobs", "0"], &["a", "--jobs", "x"], &["a", "--rulez", "x"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(read(&["a", "--jobs=3"]).map(|options| options.jobs).ok(), Some(3));
    }
}
