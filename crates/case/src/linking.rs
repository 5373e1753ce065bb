//! Which entities tie detections together: windows, stop lists and bounds, as data (`content/cases/linking.json`).
//! Shared things (the SYSTEM user, loopback, the hash of `cmd.exe`, a proxy's address) must not glue everything.

use crate::{Detection, Entity, EntityKind};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

const SHIPPED: &str = include_str!("../../../content/cases/linking.json");

/// Why linking data cannot be used.
#[derive(Debug, Error)]
pub enum LinkingError {
    /// It does not parse.
    #[error("the linking data does not parse")]
    Json(#[from] serde_json::Error),
    /// It is of another format version.
    #[error("the linking data has the version {0}; this release reads 1")]
    Version(u32),
}

/// How one kind of entity links.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRule {
    window_secs: u64,
    /// Hosts, in all open cases together, past which the entity draws in no further one; none is unbounded.
    #[serde(default)]
    pub hosts_max: Option<usize>,
}

impl LinkRule {
    /// How far apart two detections may be.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_secs(self.window_secs)
    }
}

/// What one case may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Detections.
    pub detections_max: u64,
    /// From the first to the last detection, in seconds.
    pub span_secs_max: u64,
    /// Cases that became one by themselves.
    pub merges_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u32,
    links: BTreeMap<EntityKind, LinkRule>,
    #[serde(default)]
    stop: BTreeMap<EntityKind, Vec<String>>,
    #[serde(default)]
    common_programs: BTreeSet<String>,
    bounds: Bounds,
}

/// The rules of linking.
#[derive(Clone, Debug)]
pub struct Linking {
    links: BTreeMap<EntityKind, LinkRule>,
    stop: BTreeMap<EntityKind, Vec<String>>,
    common_programs: BTreeSet<String>,
    bounds: Bounds,
}

/// An entity of a detection that links.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link<'a> {
    /// The entity.
    pub entity: &'a Entity,
    /// How.
    pub rule: LinkRule,
}

impl Linking {
    /// The rules that ship.
    ///
    /// # Errors
    /// Never, as a test of this crate proves.
    pub fn shipped() -> Result<Self, LinkingError> {
        Self::parse(SHIPPED)
    }

    /// Rules from their text (JSON, `content/cases/README.md`).
    ///
    /// # Errors
    /// [`LinkingError`].
    pub fn parse(text: &str) -> Result<Self, LinkingError> {
        let Wire { v, links, stop, common_programs, bounds } = serde_json::from_str(text)?;
        if v != 1 {
            return Err(LinkingError::Version(v));
        }
        Ok(Self { links, stop, common_programs, bounds })
    }

    /// What one case may hold.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// How a kind links; none where it never does.
    #[must_use]
    pub fn rule(&self, kind: EntityKind) -> Option<LinkRule> {
        self.links.get(&kind).copied()
    }

    /// Whether a value is one that everybody has.
    #[must_use]
    pub fn stopped(&self, entity: &Entity) -> bool {
        let stop = self.stop.get(&entity.kind());
        stop.is_some_and(|patterns| patterns.iter().any(|pattern| fits(pattern, entity.value())))
    }

    /// The entities of a detection that tie it to others.
    pub fn links<'a>(&'a self, detection: &'a Detection) -> impl Iterator<Item = Link<'a>> {
        let mut programs = detection.entities.iter().filter(|entity| entity.kind() == EntityKind::Process).peekable();
        // Whose hash it is is not told where there are several; then all of them have to be common.
        let common =
            programs.peek().is_some() && programs.all(|program| self.common_programs.contains(program.value()));
        detection.entities.iter().filter_map(move |entity| {
            let rule = self.rule(entity.kind())?;
            let shared = self.stopped(entity) || common && entity.kind() == EntityKind::Hash;
            (!shared).then_some(Link { entity, rule })
        })
    }
}

/// Whether a value fits a pattern of literals, `*` and `?`.
fn fits(pattern: &str, value: &str) -> bool {
    let (pattern, value): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
    let (mut p, mut v) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while v < value.len() {
        match (pattern.get(p), value.get(v)) {
            (Some('*'), _) => {
                back = Some((p, v));
                p += 1;
            }
            (Some(one), Some(other)) if *one == '?' || one == other => {
                p += 1;
                v += 1;
            }
            _ => {
                // Let the last star take one character more.
                let Some((star, taken)) = back else { return false };
                back = Some((star, taken + 1));
                p = star + 1;
                v = taken + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit() {
        for (pattern, value, expected) in [
            ("system", "system", true),
            ("system", "systems", false),
            ("*$", "ws01$", true),
            ("*$", "alice", false),
            ("127.*", "127.0.0.1", true),
            ("127.*", "10.127.0.1", false),
            ("*.local", "printer.local", true),
            ("ff0?:*", "ff02::fb", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn what_ships_parses_and_stops_what_everybody_has() {
        let linking = Linking::shipped().unwrap();
        let entity = |text: &str| text.parse::<Entity>().unwrap();
        for noisy in
            ["user:NT AUTHORITY\\SYSTEM", "user:SYSTEM", "user:WS01$", "ip:127.0.0.1", "ip:::1", "host:unknown"]
        {
            assert!(linking.stopped(&entity(noisy)), "{noisy}");
        }
        for telling in ["user:alice", "ip:10.0.0.7", "ip:185.220.101.4", "host:ws01", "domain:evil.example"] {
            assert!(!linking.stopped(&entity(telling)), "{telling}");
        }
        assert!(linking.rule(EntityKind::File).is_none(), "file names link nothing");
        assert!(matches!(
            Linking::parse(
                "{\"v\":2,\"links\":{},\"bounds\":{\"detections_max\":1,\"span_secs_max\":1,\"merges_max\":1}}"
            ),
            Err(LinkingError::Version(2))
        ));
    }
}
