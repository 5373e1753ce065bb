//! Which process is meant: boot, number and start together. A number alone is reused. Never compares numbers only.

use std::fmt;

/// Nanoseconds of one tick of `/proc/PID/stat` (`USER_HZ` is 100 on every architecture that we build for).
const TICK_NS: u64 = 10_000_000;

/// A process of this boot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct ProcessKey {
    /// Its number in the host's namespace.
    pub pid: u32,
    /// When it started: hundredths of a second since boot, as field 22 of `/proc/PID/stat` has it.
    pub start_ticks: u64,
}

impl ProcessKey {
    /// From the kernel's own start time in nanoseconds since boot.
    #[must_use]
    pub const fn from_start_ns(pid: u32, start_ns: u64) -> Self {
        Self { pid, start_ticks: start_ns / TICK_NS }
    }
}

/// A process of any boot, as text: `BOOT:PID:START`.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct ProcessGuid {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// Which process of that boot.
    pub key: ProcessKey,
}

/// Why a text names no process.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` names no process; write BOOT:PID:START as in a record's `ProcessGuid`")]
pub struct ParseGuidError(String);

impl fmt::Display for ProcessGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.boot, self.key.pid, self.key.start_ticks)
    }
}

impl std::str::FromStr for ProcessGuid {
    type Err = ParseGuidError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.split(':');
            let boot = parts.next().filter(|boot| !boot.is_empty() && boot.len() <= 64)?.to_owned();
            let key = ProcessKey { pid: parts.next()?.parse().ok()?, start_ticks: parts.next()?.parse().ok()? };
            parts.next().is_none().then_some(Self { boot, key })
        };
        read().ok_or_else(|| ParseGuidError(text.chars().take(100).collect()))
    }
}

impl serde::Serialize for ProcessGuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ProcessGuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_as_it_is_written() {
        let guid = ProcessGuid { boot: "b-1".to_owned(), key: ProcessKey::from_start_ns(7, 129_999_999) };
        assert_eq!(guid.to_string(), "b-1:7:12");
        assert_eq!("b-1:7:12".parse(), Ok(guid));
        for wrong in ["", "b:7", "b:7:12:1", ":7:12", "b:-7:12", "b:7:x"] {
            assert!(wrong.parse::<ProcessGuid>().is_err(), "{wrong}");
        }
    }
}
