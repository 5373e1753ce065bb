//! Zip archives: the recordings in them, one after the other. What is no recording (a text to read, a packet capture) is
//! passed over, archives in archives too. Never trusts the size that an archive announces.

use super::ReadFault;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;

/// What files with records are called; also compressed.
const ENDINGS: [&str; 7] = ["evtx", "json", "jsonl", "log", "ndjson", "gz", "zst"];
/// Files of one archive at most.
const FILES_MAX: usize = 10_000;

/// Whether these are the bytes of an archive.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Hand each file with records to `found`, in the archive's order, until it breaks; all together have at most `bytes_max`
/// bytes.
pub(super) fn each_file(
    bytes: &[u8],
    bytes_max: usize,
    mut found: impl FnMut(&[u8]) -> Result<ControlFlow<()>, ReadFault>,
) -> Result<(), ReadFault> {
    each_named(bytes, bytes_max, is_recording, |_, content| found(content))
}

/// Hand each file of a wanted name to `found` with its name, in the archive's order, until it breaks; all together have at
/// most `bytes_max` bytes. The name is what the archive says: never a path to be written to.
pub(super) fn each_named(
    bytes: &[u8],
    bytes_max: usize,
    wanted: impl Fn(&str) -> bool,
    mut found: impl FnMut(&str, &[u8]) -> Result<ControlFlow<()>, ReadFault>,
) -> Result<(), ReadFault> {
    let broken = |reason: String| ReadFault::Archive(reason);
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(error.to_string()))?;
    let mut left = bytes_max;
    for number in 0..archive.len().min(FILES_MAX) {
        let file = archive.by_index(number).map_err(|error| broken(error.to_string()))?;
        let Some(name) = file.name().ok().map(|name| name.to_string()).filter(|name| wanted(name)) else { continue };
        if !file.is_file() {
            continue;
        }
        let limit = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content).map_err(|error| broken(error.to_string()))?;
        left = left.checked_sub(content.len()).ok_or(ReadFault::TooLarge(bytes_max))?;
        if found(&name, &content)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Whether a file of this name holds records; what a Mac puts beside files does not.
fn is_recording(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && !name.starts_with("__MACOSX/")
}
