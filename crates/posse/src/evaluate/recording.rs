//! One recording: its records as bodies of JSON lines, and which record an event came from.

use anyhow::Context as _;
use event::read::each_record;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::ControlFlow;
use std::path::Path;

/// Bytes of an unpacked recording.
const BYTES_MAX: usize = 2 << 30;
/// Records and bytes of one body.
const BODY_RECORDS: usize = 5_000;
/// See [`BODY_RECORDS`].
const BODY_BYTES: usize = 4 << 20;

/// A recording that was read.
#[derive(Default)]
pub(super) struct Recording {
    /// Its records, in the file's order.
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) records: u64,
    /// Records that cannot be read.
    pub(super) unreadable: u64,
    /// By a hash of its text, the place of a record in the file, from 0; the first of equal ones.
    places: HashMap<u64, u64>,
}

impl Recording {
    /// Read a file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(file).context("cannot be read")?;
        let (mut own, mut body, mut held) = (Self::default(), Vec::new(), 0_usize);
        each_record(&bytes, BYTES_MAX, |index, record| {
            let Ok(record) = record else {
                own.unreadable = own.unreadable.saturating_add(1);
                return ControlFlow::Continue(());
            };
            let from = body.len();
            // A record of several lines is JSON, where a line's end is white space.
            body.extend(record.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            own.places.entry(hash(body.get(from..).unwrap_or_default())).or_insert(index);
            body.push(b'\n');
            (own.records, held) = (own.records.saturating_add(1), held.saturating_add(1));
            if held >= BODY_RECORDS || body.len() >= BODY_BYTES {
                own.bodies.push(std::mem::take(&mut body));
                held = 0;
            }
            ControlFlow::Continue(())
        })?;
        if held > 0 {
            own.bodies.push(body);
        }
        anyhow::ensure!(own.records > 0, "holds no record that can be read");
        Ok(own)
    }

    /// The place of a record with this text.
    pub(super) fn place(&self, raw: &str) -> Option<u64> {
        self.places.get(&hash(raw.trim().as_bytes())).copied()
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.trim_ascii().hash(&mut hasher);
    hasher.finish()
}
