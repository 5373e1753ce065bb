//! Indexer acknowledgement: ids per channel, asked for later. Here an id is given only after its batch is durable,
//! so its status is true at once; it is told once and then forgotten, as Splunk does. Bounded: the channel that has
//! been quiet the longest goes first.

use ids::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A channel of one key. Two keys with the same channel text have two channels.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Channel {
    /// Who sends: the id of the ingest key.
    pub key: String,
    /// The UUID from `X-Splunk-Request-Channel` or the query.
    pub channel: u128,
}

impl Channel {
    /// A channel from the text of the header.
    ///
    /// # Errors
    /// [`Code::InvalidChannel`](super::Code::InvalidChannel) where it is no UUID.
    pub fn new(key: impl Into<String>, channel: &str) -> Result<Self, super::HecError> {
        let refused = super::HecError { code: super::Code::InvalidChannel, event: None };
        let digits: String = channel.trim().chars().filter(|character| *character != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused);
        }
        let channel = u128::from_str_radix(&digits, 16).map_err(|_| refused)?;
        Ok(Self { key: key.into(), channel })
    }
}

#[derive(Debug, Default)]
struct Ids {
    next: u64,
    untold: BTreeSet<u64>,
    used: Timestamp,
}

/// The acknowledgement ids of all channels.
#[derive(Debug)]
pub struct Acks {
    channels: HashMap<Channel, Ids>,
    channels_max: usize,
    ids_max: usize,
}

#[derive(Deserialize)]
struct Asked {
    acks: Vec<u64>,
}

impl Acks {
    /// At most so many channels, and so many untold ids in each.
    #[must_use]
    pub fn new(channels_max: usize, ids_max: usize) -> Self {
        Self { channels: HashMap::new(), channels_max: channels_max.max(1), ids_max: ids_max.max(1) }
    }

    /// An id for a batch that is durable. Ids count from 0 in each channel.
    pub fn give(&mut self, channel: &Channel, now: Timestamp) -> u64 {
        if !self.channels.contains_key(channel) && self.channels.len() >= self.channels_max {
            let quiet = self.channels.iter().min_by_key(|(_, ids)| ids.used).map(|(channel, _)| channel.clone());
            if let Some(quiet) = quiet {
                self.channels.remove(&quiet);
            }
        }
        let ids = self.channels.entry(channel.clone()).or_default();
        let id = ids.next;
        ids.next = ids.next.saturating_add(1);
        ids.used = now;
        ids.untold.insert(id);
        while ids.untold.len() > self.ids_max {
            ids.untold.pop_first();
        }
        id
    }

    /// Answer `/services/collector/ack`: `{"acks":[0,1]}` asks, `{"acks":{"0":true,"1":false}}` answers. An id that
    /// is unknown or was told already is false.
    ///
    /// # Errors
    /// [`Code::InvalidFormat`](super::Code::InvalidFormat), also for more than 10,000 ids at once.
    pub fn answer(&mut self, channel: &Channel, body: &[u8], now: Timestamp) -> Result<String, super::HecError> {
        let refused = super::HecError { code: super::Code::InvalidFormat, event: None };
        let asked: Asked = serde_json::from_slice(body).map_err(|_| refused)?;
        if asked.acks.len() > 10_000 {
            return Err(refused);
        }
        let mut ids = self.channels.get_mut(channel);
        if let Some(ids) = ids.as_mut() {
            ids.used = now;
        }
        let mut answers = BTreeMap::new();
        for id in asked.acks {
            let told = ids.as_mut().is_some_and(|ids| ids.untold.remove(&id));
            let answer = answers.entry(id).or_insert(false);
            *answer |= told;
        }
        let answers: Vec<String> = answers.iter().map(|(id, told)| format!("\"{id}\":{told}")).collect();
        Ok(format!("{{\"acks\":{{{}}}}}", answers.join(",")))
    }
}
