//! The states of a case and of its tasks, with OCSF's numbers for them (Incident Finding 2005, `status_id`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A stored or written word that names nothing of this kind.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("`{word}` is no {what}")]
pub struct UnknownWord {
    /// What was asked for, for example `status`.
    pub what: &'static str,
    /// The word, shortened.
    pub word: String,
}

/// `words! { status: Status { New = "new", ... } }`: an enum's words, both ways.
macro_rules! words {
    ($what:literal, $name:ident { $($variant:ident = $word:literal,)* }) => {
        impl $name {
            /// All of them, in the order of their lives.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire and in stored keys.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word).ok_or_else(|| $crate::UnknownWord {
                    what: $what,
                    word: word.chars().take(64).collect(),
                })
            }
        }
    };
}
pub(crate) use words;

/// Where a case is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has looked at it.
    New,
    /// Somebody finds out whether there is anything to it.
    Triage,
    /// It is worked on.
    InProgress,
    /// It waits for something outside.
    OnHold,
    /// The spread is stopped; the cause is not gone.
    Contained,
    /// The cause is gone, or there was none.
    Resolved,
    /// Nothing is left to do.
    Closed,
}

words!("status of a case", Status {
    New = "new",
    Triage = "triage",
    InProgress = "in_progress",
    OnHold = "on_hold",
    Contained = "contained",
    Resolved = "resolved",
    Closed = "closed",
});

impl Status {
    /// OCSF 1.8 `status_id` of an Incident Finding; what OCSF does not tell apart has the number it comes nearest to.
    #[must_use]
    pub const fn ocsf_id(self) -> u8 {
        match self {
            Self::New => 1,
            Self::Triage | Self::InProgress | Self::Contained => 2,
            Self::OnHold => 3,
            Self::Resolved => 4,
            Self::Closed => 5,
        }
    }

    /// OCSF's caption of [`Status::ocsf_id`].
    #[must_use]
    pub const fn ocsf_caption(self) -> &'static str {
        match self.ocsf_id() {
            1 => "New",
            3 => "On Hold",
            4 => "Resolved",
            5 => "Closed",
            _ => "In Progress",
        }
    }

    /// Whether the case goes on: detections join it.
    #[must_use]
    pub const fn open(self) -> bool {
        !matches!(self, Self::Resolved | Self::Closed)
    }

    /// Whether a case may go there from here. Backwards is allowed while it is open; what ended can only be taken up
    /// again, and nothing becomes new twice.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (_, Self::New) => self == Self::New,
            (Self::Closed | Self::Resolved, Self::Triage | Self::InProgress) => true,
            (Self::Resolved, Self::Closed | Self::Resolved) | (Self::Closed, Self::Closed) => true,
            (Self::Closed | Self::Resolved, _) => false,
            _ => true,
        }
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// To be done.
    Open,
    /// Somebody does it.
    InProgress,
    /// Done.
    Done,
    /// Not to be done any more.
    Cancelled,
}

words!("state of a task", TaskState {
    Open = "open",
    InProgress = "in_progress",
    Done = "done",
    Cancelled = "cancelled",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_are_those_of_serde() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert!("open".parse::<Status>().is_err());
        assert_eq!("done".parse(), Ok(TaskState::Done));
    }

    #[test]
    fn what_ended_can_only_be_taken_up_again() {
        assert!(Status::Closed.may_become(Status::InProgress));
        assert!(!Status::Closed.may_become(Status::Contained));
        assert!(!Status::Triage.may_become(Status::New));
        assert!(Status::New.may_become(Status::Closed));
        assert!(Status::Contained.may_become(Status::InProgress));
    }

    #[test]
    fn numbers_and_captions_are_those_of_the_standard() {
        let told: Vec<(u8, &str)> = Status::ALL.iter().map(|one| (one.ocsf_id(), one.ocsf_caption())).collect();
        assert_eq!(told[0], (1, "New"));
        assert_eq!(told[3], (3, "On Hold"));
        assert_eq!(told[6], (5, "Closed"));
        assert!(told.iter().filter(|(id, _)| *id == 2).all(|(_, caption)| *caption == "In Progress"));
    }
}
