//! How answers and problems look: for people as a table, for programs as JSON, JSON lines or YAML.

use crate::argument::Argument;
use crate::table;
use api::{Problem, Spec};
use clap::ArgMatches;
use serde_json::Value;

/// Operations whose one text is the whole answer, so that it can go into a file as it stands.
const BARE: &[(&str, &str)] = &[("audit.key", "verifier_key")];

/// A form of output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// The one text of an operation whose answer is one.
    Bare,
    /// One indented document.
    Json,
    /// One line for each item.
    JsonLines,
    /// For people.
    Table,
    /// One YAML document.
    Yaml,
}

impl Format {
    /// What was asked for, else what fits where the output goes.
    pub(crate) fn of(matches: &ArgMatches, terminal: bool) -> Self {
        Self::asked(matches).unwrap_or(if terminal { Self::Table } else { Self::Json })
    }

    /// The same for an operation, which may have a form of its own.
    pub(crate) fn of_operation(matches: &ArgMatches, terminal: bool, spec: &Spec) -> Self {
        let bare = BARE.iter().any(|(id, _)| *id == spec.meta.id);
        Self::asked(matches).unwrap_or(if bare {
            Self::Bare
        } else if terminal {
            Self::Table
        } else {
            Self::Json
        })
    }

    fn asked(matches: &ArgMatches) -> Option<Self> {
        match matches.get_one::<String>("output").map(String::as_str) {
            Some("json") => Some(Self::Json),
            Some("jsonl") => Some(Self::JsonLines),
            Some("table") => Some(Self::Table),
            Some("yaml") => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// How the answers of one operation are shown.
pub(crate) struct Shown<'a> {
    format: Format,
    spec: &'a Spec,
}

impl<'a> Shown<'a> {
    pub(crate) const fn new(format: Format, spec: &'a Spec) -> Self {
        Self { format, spec }
    }

    /// The output of a call that was carried out.
    pub(crate) fn output(&self, output: &Value) -> String {
        let items = output.get("items").and_then(Value::as_array);
        match (self.format, items) {
            (Format::JsonLines, Some(items)) => self.items(items),
            (Format::Table, Some(items)) => table::of_items(items, self.spec),
            (Format::Bare, _) => {
                let field = BARE.iter().find(|(id, _)| *id == self.spec.meta.id).map_or("", |(_, field)| *field);
                let text = output.get(field).and_then(Value::as_str).unwrap_or_default();
                format!("{}\n", table::clean(text, true))
            }
            _ => self.document(output),
        }
    }

    /// Items, one line each.
    pub(crate) fn items(&self, items: &[Value]) -> String {
        items.iter().map(|item| format!("{item}\n")).collect()
    }

    /// One document.
    pub(crate) fn document(&self, document: &Value) -> String {
        render(document, self.format)
    }
}

/// One document in a format.
pub(crate) fn render(document: &Value, format: Format) -> String {
    match format {
        Format::Json => format!("{document:#}\n"),
        Format::JsonLines => format!("{document}\n"),
        Format::Bare | Format::Table => table::of_object(document),
        // A value without non-text keys always has a YAML form.
        Format::Yaml => serde_yaml_ng::to_string(document).unwrap_or_default(),
    }
}

/// A problem, with the flags that its pointers mean.
pub(crate) fn problem(problem: &Problem, format: Format, arguments: &[Argument<'_>]) -> String {
    if matches!(format, Format::Json | Format::JsonLines | Format::Yaml) {
        // A problem has only texts and numbers, which always serialize.
        return render(&serde_json::to_value(problem).unwrap_or_default(), format);
    }
    let mut lines = vec![format!("error: {}: {}", problem.title, table::clean(&problem.detail, false))];
    for fault in &problem.errors {
        let field = fault.pointer.split('/').nth(1).unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let flag = arguments.iter().find(|argument| argument.field == field).map(|argument| &argument.flag);
        let place = flag.map_or_else(|| "the input".to_owned(), |flag| format!("--{flag}"));
        let pointer = if fault.pointer.is_empty() { String::new() } else { format!(" ({})", fault.pointer) };
        lines.push(table::clean(&format!("  {place}{pointer}: {}", fault.detail), false));
    }
    if !problem.policies.is_empty() {
        lines.push(format!("policies: {}", problem.policies.join(", ")));
    }
    if let Some(secs) = problem.retry_after_secs {
        lines.push(format!("try again in {secs} s"));
    }
    for (name, id) in [("call", &problem.call), ("request", &problem.request_id)] {
        if let Some(id) = id {
            lines.push(format!("{name}: {id}"));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
