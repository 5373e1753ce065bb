//! What a demo says: each step with its time and what truly happened, told as it happens or as one JSON object at the end.
//! Must never say that a step happened which was not looked at.

use serde::Serialize;
use serde_json::{Map, Value};
use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// One step.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// Its name: the same in every release.
    pub(crate) name: &'static str,
    /// Whether it happened, by what was looked at.
    pub(crate) ok: bool,
    /// How long it took, the looking included.
    pub(crate) ms: u64,
    /// What was seen.
    pub(crate) detail: String,
}

/// A step that did not happen; the reason stands in the report.
#[derive(Debug)]
pub(crate) struct Failed;

/// The steps so far and the figures.
pub(crate) struct Report {
    json: bool,
    colour: bool,
    steps: Vec<Step>,
    figures: Map<String, Value>,
    counts: Map<String, Value>,
}

impl Report {
    /// A report that tells on standard output, or only at the end as JSON.
    pub(crate) fn new(json: bool) -> Self {
        let colour = !json && std::io::stdout().is_terminal();
        Self { json, colour, steps: Vec::new(), figures: Map::new(), counts: Map::new() }
    }

    /// Do a step: what it returns beside its value is what was seen.
    pub(crate) async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> Result<T, Failed> {
        let begun = Instant::now();
        let done = work.await;
        let ms = millis(begun);
        match done {
            Ok((value, detail)) => {
                self.note(Step { name, ok: true, ms, detail });
                Ok(value)
            }
            Err(error) => {
                self.note(Step { name, ok: false, ms, detail: format!("{error:#}") });
                Err(Failed)
            }
        }
    }

    /// A step that was timed elsewhere.
    pub(crate) fn note(&mut self, step: Step) {
        let mark = if step.ok { self.painted("32", "ok") } else { self.painted("31", "FAILED") };
        let name = step.name.replace('_', " ");
        self.say(&format!("  {mark}  {name} ({} ms): {}", step.ms, step.detail));
        self.steps.push(step);
    }

    /// The head of a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        self.say(&format!("\n{}", self.painted("1", title)));
    }

    /// A line that belongs to the step under way.
    pub(crate) fn detail(&self, text: &str) {
        self.say(&format!("      {}", self.painted("2", text)));
    }

    /// A line, where somebody reads along.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            // Whoever closed the terminal reads no more; the demo still cleans up.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A figure of the result, for example `detect_ms`.
    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// One of `counts`.
    pub(crate) fn count(&mut self, name: &str, value: u64) {
        self.counts.insert(name.to_owned(), value.into());
    }

    /// Whether every step so far happened.
    pub(crate) fn ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// The first step that did not happen.
    pub(crate) fn failed(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.ok)
    }

    /// The whole, as it is printed for scripts.
    pub(crate) fn whole(&self, ok: bool) -> Value {
        let mut whole = self.figures.clone();
        whole.insert("ok".to_owned(), ok.into());
        whole.insert("counts".to_owned(), self.counts.clone().into());
        whole.insert("steps".to_owned(), serde_json::to_value(&self.steps).unwrap_or_default());
        Value::Object(whole)
    }
}

/// Whole milliseconds since then.
pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
