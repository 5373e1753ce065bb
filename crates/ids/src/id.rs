//! One type for each kind of id: a kind prefix and a `UUIDv7` (RFC 9562) in base32, for example
//! `tenant_01jd3k5v9qf8m2x7r4t6w8y0zc`. Text order is time order. An id of one kind cannot be used as another.

use crate::{Clock, Entropy, base32};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Why a text is not an id of the kind that was asked for.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
#[error("`{text}` is not {article} {kind} id; {hint}")]
pub struct ParseIdError {
    kind: &'static str,
    article: &'static str,
    text: String,
    hint: String,
}

impl ParseIdError {
    pub(crate) fn new(kind: &'static str, text: &str) -> Self {
        let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        // The echo is bounded: the text is an outsider's.
        let hint = format!("write `{kind}_` and 26 characters of lower-case base32");
        Self { kind, article, text: text.chars().take(64).collect(), hint }
    }

    /// The same with another hint at what would be right.
    pub(crate) fn hint(self, hint: &str) -> Self {
        Self { hint: hint.to_owned(), ..self }
    }
}

/// A `UUIDv7` from a clock and entropy: 48 bits of milliseconds, 74 bits of randomness.
fn uuid_v7(clock: &dyn Clock, entropy: &dyn Entropy) -> u128 {
    let mut random = [0_u8; 10];
    entropy.fill(&mut random);
    let tail = random.iter().fold(0_u128, |value, byte| (value << 8) | u128::from(*byte));
    let millis = u128::try_from(clock.now().as_micros() / 1000).unwrap_or(0) & 0xffff_ffff_ffff;
    let high = (tail >> 62) & 0xfff;
    let low = tail & 0x3fff_ffff_ffff_ffff;
    (millis << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low
}

/// A `UUIDv8` whose bits are a hash: the id of an object that is derived from others.
fn uuid_v8(kind: &str, parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let bits = digest.iter().take(16).fold(0_u128, |value, byte| (value << 8) | u128::from(*byte));
    (bits & !(0xf << 76) & !(0b11 << 62)) | (0x8 << 76) | (0b10 << 62)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The prefix of the text form.
            pub const KIND: &'static str = $kind;

            /// A new id: the time comes from `clock`, the rest from `entropy`.
            #[must_use]
            pub fn generate(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(uuid_v7(clock, entropy))
            }

            /// The id of an object that is derived from others: the same parts give the same id.
            #[must_use]
            pub fn derive(parts: &[&[u8]]) -> Self {
                Self(uuid_v8($kind, parts))
            }

            /// The 128 bits of the UUID.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// The text form, given to `then` without a trip to the heap.
            fn with_text<T>(self, then: impl FnOnce(&str) -> T) -> T {
                const PREFIX: &[u8] = concat!($kind, "_").as_bytes();
                let mut text = [0_u8; PREFIX.len() + base32::LENGTH];
                for (place, letter) in text.iter_mut().zip(PREFIX) {
                    *place = *letter;
                }
                base32::encode_into(self.0, &mut text);
                // ASCII all of it.
                then(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.with_text(|text| f.write_str(text))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($kind, "_"))
                    .and_then(base32::decode)
                    .map(Self)
                    .ok_or_else(|| ParseIdError::new($kind, text))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.with_text(|text| serializer.serialize_str(text))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $kind, "_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
                    "minLength": $kind.len() + 27,
                    "maxLength": $kind.len() + 27,
                    "x-id": $kind,
                })
            }
        }
    )*};
}

ids! {
    /// A response action: what is done to a host or an account.
    ActionId = "action";
    /// An AI agent that is registered here.
    AgentId = "agent";
    /// A request for approval of one exact call.
    ApprovalId = "approval";
    /// One role held by one principal in one scope.
    AssignmentId = "assignment";
    /// A break-glass grant: a role that a person holds for a while in an emergency.
    BreakGlassId = "breakglass";
    /// One call through the gate; also names its audit record.
    CallId = "call";
    /// A case (OCSF Incident Finding with its work).
    CaseId = "case";
    /// A comment on a case.
    CommentId = "comment";
    /// A bearer credential: session, API token, service key's secret or run credential.
    CredentialId = "credential";
    /// A detection (OCSF Detection Finding made by a rule).
    DetectionId = "detection";
    /// A piece of evidence of a case.
    EvidenceId = "evidence";
    /// A durable piece of background work.
    JobId = "job";
    /// One engagement of the kill switch.
    KillSwitchId = "killswitch";
    /// A lockdown of one tenant.
    LockdownId = "lockdown";
    /// A longer piece of work that several agents share.
    MissionId = "mission";
    /// A policy document.
    PolicyId = "policy";
    /// The frozen answer of a saved query.
    QueryResultId = "result";
    /// A role.
    RoleId = "role";
    /// An exception from detection rules in one tenant.
    RuleExceptionId = "exception";
    /// A detection rule.
    RuleId = "rule";
    /// A pack of detection rules.
    RulePackId = "pack";
    /// One execution of an agent.
    RunId = "run";
    /// A sensor: the program on a host.
    SensorId = "sensor";
    /// A task that the platform signed for a sensor.
    SensorTaskId = "sensortask";
    /// A service key: the identity of a program.
    ServiceKeyId = "service";
    /// A task of a case.
    TaskId = "task";
    /// A customer or environment.
    TenantId = "tenant";
    /// A person.
    UserId = "user";
    /// A place outside that is told of things by webhook.
    WebhookId = "webhook";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    struct Fixed(i64);
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0)
        }
    }
    struct Byte(u8);
    impl Entropy for Byte {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn text_form_round_trips_and_sorts_by_time() {
        let early = TenantId::generate(&Fixed(1_700_000_000_000_000), &Byte(255));
        let late = TenantId::generate(&Fixed(1_700_000_000_001_000), &Byte(0));
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.to_string().len(), "tenant_".len() + 26);
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let tenant = TenantId::derive(&[b"a"]).to_string();
        assert!(tenant.parse::<UserId>().is_err());
        assert!(tenant.to_uppercase().parse::<TenantId>().is_err());
        assert!("tenant_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<TenantId>().is_err());
    }

    #[test]
    fn derived_ids_keep_part_boundaries() {
        assert_ne!(CaseId::derive(&[b"ab", b"c"]), CaseId::derive(&[b"a", b"bc"]));
        assert_eq!(CaseId::derive(&[b"ab"]), CaseId::derive(&[b"ab"]));
    }
}
