//! `posse audit export`, `posse audit evidence-pack` and `posse tenant export` with `--out FOLDER`: fetches the pages of an export and
//! writes them as files.

use crate::Exit;
use crate::answer::{Answer, Transport, Trouble};
use crate::operate::{Around, finish};
use crate::show::{Format, render};
use api::Spec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

/// Whether the operation answers with the files of a folder.
pub(crate) fn is_folder(operation: &str) -> bool {
    matches!(operation, "audit.evidence_pack" | "audit.export" | "tenant.export")
}

/// Pages at most: at the greatest limit, a hundred million files.
const PAGES_MAX: usize = 100_000;

/// The flag of its own.
pub(crate) fn arguments(command: Command) -> Command {
    let help = "Write the files into this folder, which must be new or empty; every page is fetched";
    command.arg(Arg::new("out").long("out").value_name("FOLDER").help(help))
}

/// Where to write, where that was asked.
pub(crate) fn folder(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<String>("out").map(PathBuf::from)
}

/// Fetch every page and write every file. The folder is complete only if this ends well.
pub(crate) async fn write(
    transport: &dyn Transport,
    spec: &Spec,
    mut input: Value,
    folder: &Path,
    format: Format,
    around: &mut Around<'_>,
) -> Result<Exit, Trouble> {
    let cannot = |error: std::io::Error| Trouble::local(format!("cannot write into `{}`", folder.display()), error);
    fs::create_dir_all(folder).map_err(cannot)?;
    if fs::read_dir(folder).map_err(cannot)?.next().is_some() {
        return Err(Trouble::Usage(format!("`{}` is not empty; name a new folder", folder.display())));
    }
    if let Some(fields) = input.as_object_mut() {
        fields.entry("limit").or_insert(json!(1000));
    }
    let mut files: u64 = 0;
    let mut bytes: u64 = 0;
    for _ in 0..PAGES_MAX {
        let page = match transport.call(spec, input.clone(), None).await? {
            Answer::Done { output, .. } => output,
            other => return finish(other, spec, format, around),
        };
        for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
            bytes += write_file(folder, item)?;
            files += 1;
        }
        let Some(cursor) = page.get("next_cursor").and_then(Value::as_str) else {
            let done = json!({ "folder": folder.display().to_string(), "files": files, "bytes": bytes });
            let shown = render(&done, format);
            around
                .output
                .write_all(shown.as_bytes())
                .map_err(|error| Trouble::local("cannot write the output", error))?;
            return Ok(Exit::Done);
        };
        if let Some(fields) = input.as_object_mut() {
            fields.insert("cursor".to_owned(), Value::String(cursor.to_owned()));
        }
    }
    Err(Trouble::Remote(format!("the export has more than {PAGES_MAX} pages")))
}

fn write_file(folder: &Path, item: &Value) -> Result<u64, Trouble> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let broken = || Trouble::Remote("the server's export holds what is not a file".to_owned());
    let path = Path::new(text("path").ok_or_else(broken)?);
    // The server is not trusted with where on this machine it writes.
    if !path.components().all(|part| matches!(part, Component::Normal(_))) || path.as_os_str().is_empty() {
        return Err(Trouble::Remote(format!("the server names a file outside of the folder: `{}`", path.display())));
    }
    let bytes = text("content").and_then(|text| STANDARD.decode(text).ok()).ok_or_else(broken)?;
    let full = folder.join(path);
    let cannot = |error: std::io::Error| Trouble::local(format!("cannot write `{}`", full.display()), error);
    if let Some(parent) = full.parent() {
        fs::create_dir_all(parent).map_err(cannot)?;
    }
    let mut file = fs::File::create_new(&full).map_err(cannot)?;
    file.write_all(&bytes).map_err(cannot)?;
    u64::try_from(bytes.len()).map_err(|_| broken())
}
