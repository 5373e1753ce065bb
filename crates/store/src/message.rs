//! Messages to the outside that leave only after the commit that asked for them: what one is and how it ends.
//!
//! A message is durably `sending` before anything is sent. A crash in between ends as `uncertain`, parked for a person,
//! except where the target takes an idempotency key: then it is sent again.

use crate::engine::{Fault, Row};
use crate::resource::parse_owner;
use ids::{CallId, Owner, Timestamp};
use serde_json::Value as Json;

/// A message to be sent after the commit.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Unique over the install, at most 256 bytes; give it to the target as its idempotency key.
    pub id: String,
    /// The call that asked for it.
    pub call: CallId,
    /// For whom.
    pub owner: Owner,
    /// By whose authority: what a kill switch looks at.
    pub principal: String,
    /// Which sender takes it. At most 256 bytes.
    pub channel: String,
    /// Messages of one lane leave one after the other, in the order of their commits. At most 1024 bytes.
    pub lane: String,
    /// What to send.
    pub payload: Json,
    /// Whether the target notices a second delivery (an idempotency key, a verifying read).
    pub idempotent: bool,
    /// How often it may be tried, at least 1.
    pub attempts_max: u32,
}

/// Where a message is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum MessageState {
    /// Refused by its target, or failed as often as it may.
    Failed,
    /// Not sent yet.
    Pending,
    /// A sender has it: it may have been sent.
    Sending,
    /// Accepted by its target.
    Sent,
    /// Its guard said no before it was sent.
    Stopped,
    /// Nobody knows whether the target got it; a person decides.
    Uncertain,
}

impl MessageState {
    /// The word that is stored and shown, for example `pending`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Stopped => "stopped",
            Self::Uncertain => "uncertain",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Failed, Self::Pending, Self::Sending, Self::Sent, Self::Stopped, Self::Uncertain]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its place in the order of all messages.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The call that asked for it.
    pub call: CallId,
    /// For whom.
    pub owner: Owner,
    /// By whose authority.
    pub principal: String,
    /// Which sender takes it.
    pub channel: String,
    /// With what it stays in order.
    pub lane: String,
    /// What to send.
    pub payload: Json,
    /// Whether the target notices a second delivery.
    pub idempotent: bool,
    /// Where it is in its life.
    pub state: MessageState,
    /// How often it was begun.
    pub attempts: u32,
    /// How often it may be begun.
    pub attempts_max: u32,
    /// How the last attempt ended, in words.
    pub outcome: Option<String>,
    /// When it was committed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The columns of a message, in the order in which [`Message::from_row`] reads them.
macro_rules! message_columns {
    () => {
        "seq, id, call, owner, principal, channel, lane, payload, idempotent, state, attempts, attempts_max, outcome, \
         created_at, updated_at"
    };
}
pub(crate) use message_columns;

impl Message {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            seq: row.int(0)?,
            id: row.text(1)?,
            call: row.text(2)?.parse().map_err(Fault::decode)?,
            owner: parse_owner(&row.text(3)?).ok_or_else(|| Fault::decode("owner of a message"))?,
            principal: row.text(4)?,
            channel: row.text(5)?,
            lane: row.text(6)?,
            payload: serde_json::from_str(&row.text(7)?).map_err(Fault::decode)?,
            idempotent: row.int(8)? != 0,
            state: MessageState::parse(&row.text(9)?).ok_or_else(|| Fault::decode("state of a message"))?,
            attempts: u32::try_from(row.int(10)?).map_err(Fault::decode)?,
            attempts_max: u32::try_from(row.int(11)?).map_err(Fault::decode)?,
            outcome: row.maybe_text(12)?,
            created_at: Timestamp::from_micros(row.int(13)?),
            updated_at: Timestamp::from_micros(row.int(14)?),
        })
    }
}

/// How an attempt to send ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The target refused; it will not be tried again.
    Failed {
        /// Why, in words.
        detail: String,
    },
    /// It surely did not reach the target; it is tried again later, or has failed after its last attempt.
    Retry {
        /// Why, in words.
        detail: String,
    },
    /// The target accepted it.
    Sent {
        /// What it answered, in words.
        detail: String,
    },
    /// Nobody knows; parked for a person.
    Uncertain {
        /// What is known, in words.
        detail: String,
    },
}

/// Which messages to list: in the order of their commits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessagePage {
    /// Only of this owner.
    pub owner: Option<Owner>,
    /// Only in this state.
    pub state: Option<MessageState>,
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only after the message with this place.
    pub after_seq: i64,
    /// At most so many; 1000 is the most that is given.
    pub limit: u32,
}
