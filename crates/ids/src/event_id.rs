//! An event's name: where its record stands in the durable log, so that nothing random is stored for each event and the
//! name survives compaction. Text form: `event_` and the packed numbers in base32, 10 to 61 characters.

use crate::{ParseIdError, base32};

/// The name of one event or of a finding that was made from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct EventId {
    /// The OCSF class; with the day it says which files may hold the event.
    pub class_uid: u32,
    /// The day of the event's time: days since 1970-01-01.
    pub day: i32,
    /// The log's segment.
    pub segment: u64,
    /// The frame's byte offset in the segment.
    pub offset: u64,
    /// The record's index in the frame.
    pub index: u32,
    /// 0 for the record, 1 and more for what was made from it.
    pub part: u16,
}

impl EventId {
    /// The prefix of the text form.
    pub const KIND: &'static str = "event";

    fn pack(self) -> Vec<u8> {
        let day = i64::from(self.day);
        // Zigzag: days around 1970 are small numbers.
        let day = u64::try_from(if day < 0 { -2 * day - 1 } else { 2 * day }).unwrap_or(0);
        let mut bytes = Vec::with_capacity(24);
        let numbers =
            [u64::from(self.class_uid), day, self.segment, self.offset, u64::from(self.index), u64::from(self.part)];
        for number in numbers {
            push_varint(&mut bytes, number);
        }
        bytes
    }

    fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut next = || take_varint(&mut rest);
        let (class_uid, day, segment, offset, index, part) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let half = i64::try_from(day / 2).ok()?;
        let day = if day % 2 == 1 { -half - 1 } else { half };
        rest.is_empty().then_some(())?;
        Some(Self {
            class_uid: u32::try_from(class_uid).ok()?,
            day: i32::try_from(day).ok()?,
            segment,
            offset,
            index: u32::try_from(index).ok()?,
            part: u16::try_from(part).ok()?,
        })
    }
}

/// LEB128: seven bits a byte, the least significant first.
fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads only the shortest form: one spelling for each name.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..10_u32 {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        let low = u64::from(byte & 0x7f);
        if place == 9 && low > 1 {
            return None;
        }
        number |= low << (7 * place);
        if byte & 0x80 == 0 {
            return (low != 0 || place == 0).then_some(number);
        }
    }
    None
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "event_{}", base32::encode_bytes(&self.pack()))
    }
}

impl std::str::FromStr for EventId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("event_").and_then(base32::decode_bytes).and_then(|bytes| Self::unpack(&bytes)).ok_or_else(
            || ParseIdError::new(Self::KIND, text).hint("send back the `id` of an event as an answer told it"),
        )
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for EventId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^event_[0-9a-hjkmnp-tv-z]{10,61}$",
            "maxLength": 67,
            "x-id": "event",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(day: i32, segment: u64) -> EventId {
        EventId { class_uid: 1007, day, segment, offset: 33_554_431, index: 17, part: 2 }
    }

    #[test]
    fn text_form_round_trips_at_the_ends_of_every_range() {
        let most = EventId {
            class_uid: u32::MAX,
            day: i32::MIN,
            segment: u64::MAX,
            offset: u64::MAX,
            index: u32::MAX,
            part: u16::MAX,
        };
        let least = EventId { class_uid: 0, day: 0, segment: 0, offset: 0, index: 0, part: 0 };
        for id in [event(20_779, 3), event(-1, 0), most, least] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(most.to_string().len(), 67);
        assert_eq!(least.to_string().len(), 16);
        assert!(event(20_779, 3).to_string().len() <= "event_".len() + 24);
    }

    #[test]
    fn one_name_has_one_spelling() {
        let text = event(20_779, 3).to_string();
        assert!(text.to_uppercase().parse::<EventId>().is_err());
        assert!(format!("{text}0").parse::<EventId>().is_err());
        assert!(text.replace("event_", "case_").parse::<EventId>().is_err());
        // 0 written in two bytes.
        let long = base32::encode_bytes(&[0x80, 0, 0, 0, 0, 0, 0]);
        assert!(format!("event_{long}").parse::<EventId>().is_err());
        assert!("event_".parse::<EventId>().is_err());
    }
}
