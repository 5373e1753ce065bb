//! What is put outside, so that a log that is rolled back or replaced is noticed: checkpoints as they were signed, a line for each time.
//! The same line goes into a file, to a webhook or into a bucket; whoever kept them gives them to [`crate::verify`].
//! A line must never be believed for itself: only the signatures in it count.

use crate::evidence::{decode, encode};
use crate::record::FormatVersion;
use ids::{List, Text, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most checkpoints of one line.
pub const ANCHORED_MAX: usize = 512;

/// Why text is not what an anchor kept.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Error)]
#[error("line {0} is not what an anchor keeps: `checkpoints`, `log`, `time` and `v` in canonical form")]
pub struct AnchorError(pub usize);

/// One line of an anchor.
///
/// Members stand in canonical order.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorLine {
    /// Signed notes, one for each tree that grew.
    pub checkpoints: List<Text<4096>, ANCHORED_MAX>,
    /// The log's name.
    pub log: Text<128>,
    /// When it was put there.
    pub time: Timestamp,
    /// Format version.
    pub v: FormatVersion,
}

impl AnchorLine {
    /// The line, without its newline; none where it has no canonical form.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        encode(self)
    }

    /// The lines of what an anchor kept. Empty lines are none.
    ///
    /// # Errors
    /// [`AnchorError`] with the number of the first line that is not one as it was written.
    pub fn read_all(text: &str) -> Result<Vec<Self>, AnchorError> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty());
        lines.map(|(number, line)| decode(line.as_bytes()).ok_or(AnchorError(number))).collect()
    }
}
