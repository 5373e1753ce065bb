//! The rules of cases: which detections belong together, the states of a case, what its timeline says, how long it took,
//! and whether a conclusion is borne out by the evidence that it cites.
//!
//! Pure: no I/O, no clock, no randomness. `store` keeps these words in its documents, `control` applies them.

mod conclusion;
mod detection;
mod entity;
mod grouping;
mod island;
mod linking;
mod status;
mod timeline;
mod verdict;

pub use conclusion::{Citation, Claim, ClaimFault, EvidenceRef, check_conclusion};
pub use detection::{Detection, Matched};
pub use entity::{Entity, EntityKind, UnknownEntity};
pub use grouping::{Board, Bond, Known, OtherTenant, Placed};
pub use island::{Island, Islands};
pub use linking::{Bounds, Link, LinkRule, Linking, LinkingError};
pub use status::{Status, TaskState, UnknownWord};
pub use timeline::{Clocks, EntryKind};
pub use verdict::Verdict;
