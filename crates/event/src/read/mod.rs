//! Readers: the bytes of one file or body in, its records out, in file order.
//!
//! Gzip and zstd are unpacked first, within a bound, and zip archives opened; then EVTX, JSON in any framing that sources
//! use, or lines of text. A broken record is handed on as a fault with its place and never hides the ones after it.

mod archive;
mod evtx;
mod json;
mod pack;
mod text;

pub use pack::unpack;
pub use text::line_record;

use crate::view::RECORD_BYTES_MAX;
use std::ops::ControlFlow;
use thiserror::Error;

/// How records follow each other in a file or body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// A Windows event log file.
    Evtx,
    /// JSON texts after one another, on lines of their own or not; in arrays; or in a wrapper with `Records`.
    Json,
    /// One record per line of text.
    Lines,
}

/// Why a file or one record of it cannot be read.
#[derive(Debug, Error)]
pub enum ReadFault {
    /// The compressed stream is broken.
    #[error("the {format} stream is broken: {reason}")]
    Broken {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// In the decompressor's words.
        reason: String,
    },
    /// More bytes than the reader may unpack.
    #[error("more than {0} bytes after decompression; split the file or raise the limit")]
    TooLarge(usize),
    /// The archive cannot be opened.
    #[error("not a readable zip archive: {0}")]
    Archive(String),
    /// The file is not an event log.
    #[error("not a readable Windows event log: {0}")]
    Evtx(String),
    /// One record of an event log cannot be read.
    #[error("event log record cannot be read: {0}")]
    EvtxRecord(String),
    /// One record is longer than any reader takes.
    #[error("the record is {0} bytes long; at most 16 MiB are allowed")]
    RecordTooLarge(usize),
}

/// The framing that the first bytes show.
#[must_use]
pub fn framing(bytes: &[u8]) -> Framing {
    if bytes.starts_with(b"ElfFile\0") {
        return Framing::Evtx;
    }
    match without_mark(bytes).trim_ascii_start().first() {
        Some(b'{' | b'[') => Framing::Json,
        _ => Framing::Lines,
    }
}

/// Hand every record of `bytes` to `found` with its index from 0 in file order, until it breaks. Compressed bytes are
/// unpacked up to `bytes_max`, the files of a zip archive one after the other in the archive's order. JSON records come as they stand in the file; event log records as the nested JSON
/// that `evtx_dump` writes; a record that cannot be read comes as a fault and takes an index too.
///
/// # Errors
/// [`ReadFault`] where nothing of the file can be read.
pub fn each_record(
    bytes: &[u8],
    bytes_max: usize,
    mut found: impl FnMut(u64, Result<&[u8], ReadFault>) -> ControlFlow<()>,
) -> Result<(), ReadFault> {
    let mut index = 0_u64;
    let mut hand_on = |record: Result<&[u8], ReadFault>| {
        let record = record.and_then(|record| {
            if record.len() > RECORD_BYTES_MAX { Err(ReadFault::RecordTooLarge(record.len())) } else { Ok(record) }
        });
        let flow = found(index, record);
        index = index.saturating_add(1);
        flow
    };
    if archive::is_one(bytes) {
        return archive::each_file(bytes, bytes_max, |file| match of_file(file, bytes_max, &mut hand_on) {
            Err(fault @ ReadFault::TooLarge(_)) => Err(fault),
            // One broken file hides none of the others.
            Err(fault) => Ok(hand_on(Err(fault))),
            Ok(flow) => Ok(flow),
        });
    }
    of_file(bytes, bytes_max, &mut hand_on).map(|_| ())
}

/// Hand every file of a zip archive whose name is wanted to `found`, with its name as the archive says it, in the
/// archive's order. All together unpack to at most `bytes_max`.
///
/// # Errors
/// [`ReadFault`] where the bytes are no archive that can be read, or unpack to more.
pub fn each_file_of_zip(
    bytes: &[u8],
    bytes_max: usize,
    wanted: impl Fn(&str) -> bool,
    mut found: impl FnMut(&str, &[u8]),
) -> Result<(), ReadFault> {
    archive::each_named(bytes, bytes_max, wanted, |name, content| {
        found(name, content);
        Ok(ControlFlow::Continue(()))
    })
}

/// The records of one file; whether they were all asked for.
fn of_file(
    bytes: &[u8],
    bytes_max: usize,
    found: &mut impl FnMut(Result<&[u8], ReadFault>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadFault> {
    let bytes = unpack(bytes, bytes_max)?;
    Ok(match framing(&bytes) {
        Framing::Evtx => {
            let mut flow = ControlFlow::Continue(());
            evtx::records(bytes.into_owned(), |record| {
                flow = found(record);
                flow
            })?;
            flow
        }
        Framing::Json => json::records(without_mark(&bytes), &mut |record| found(Ok(record))),
        Framing::Lines => {
            let lines = without_mark(&bytes).split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            lines.filter(|line| !line.is_empty()).try_for_each(|line| found(Ok(line)))
        }
    })
}

/// Without the byte order mark that Windows tools put in front of UTF-8.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
