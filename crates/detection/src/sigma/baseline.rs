//! Correlations that compare with what is usual: an extension of Posse, read from the same document as Sigma's kinds.
//! Only the document; what is learned and compared is elsewhere.

use super::correlation::{CorrelationKind, Operator, Threshold, Timespan, number, wrong};
use super::parse::text_at;
use super::reject::Fault;
use crate::yaml::{Node, Value};
use std::time::Duration;

/// How long a group is watched before it can match, where nothing is said.
const LEARN: Duration = Duration::from_secs(7 * 86_400);
/// After this long a sighting counts half, where nothing is said.
const HALF_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// Sightings from which a share is judged, where nothing is said.
const FLOOR: f64 = 100.0;
/// How many times its longest usual gap a source is silent, where nothing is said.
const TIMES: f64 = 2.0;
/// Most spans of one season.
const SPANS_MAX: u64 = 2016;

/// What a baseline learns, and how fast it forgets.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// A group matches nothing before it was watched for so long.
    pub learn: Duration,
    /// After so long a sighting counts half.
    pub half_life: Duration,
    /// For `volume`: what repeats.
    pub season: Season,
    /// For `rare_value`: sightings, each by its age, that a group must have before a share is judged.
    pub floor: f64,
    /// For `silence`: how many times its longest usual gap a group must be silent.
    pub times: f64,
}

/// After what time numbers of events are thought to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// Every span is like every other.
    None,
    /// Like the same span of the day before, in UTC.
    Day,
    /// Like the same span of the week before, in UTC.
    Week,
}

impl Season {
    /// Its length in seconds; none for one without.
    #[must_use]
    pub const fn secs(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Day => Some(86_400),
            Self::Week => Some(604_800),
        }
    }
}

impl CorrelationKind {
    /// It compares with what is usual.
    #[must_use]
    pub const fn learns(self) -> bool {
        matches!(self, Self::FirstSeen | Self::NewPair | Self::RareValue | Self::Volume | Self::Silence)
    }

    /// It learns values of fields, not times.
    #[must_use]
    pub const fn learns_values(self) -> bool {
        matches!(self, Self::FirstSeen | Self::NewPair | Self::RareValue)
    }
}

/// Read `baseline` below `correlation`.
pub(super) fn parse(body: &Node, kind: CorrelationKind) -> Result<Option<Baseline>, Fault> {
    let node = body.entry("baseline").filter(|node| node.value != Value::Null);
    if !kind.learns() {
        return match node {
            None => Ok(None),
            Some(node) => {
                let hint = "leave it out, or write one of first_seen, new_pair, rare_value, volume, silence as type";
                Err(wrong("this type has no baseline", hint).within("baseline", node.line))
            }
        };
    }
    let mut baseline =
        Baseline { learn: LEARN, half_life: HALF_LIFE, season: Season::Week, floor: FLOOR, times: TIMES };
    let Some(node) = node else { return Ok(Some(baseline)) };
    let Value::Map(pairs) = &node.value else {
        return Err(wrong(format!("is {}", node.kind()), "write a map").within("baseline", node.line));
    };
    for (key, value) in pairs {
        read(&mut baseline, kind, node, key, value)
            .map_err(|fault| fault.within(key, value.line).within("baseline", node.line))?;
    }
    Ok(Some(baseline))
}

fn read(baseline: &mut Baseline, kind: CorrelationKind, node: &Node, key: &str, value: &Node) -> Result<(), Fault> {
    let time = || {
        let text = text_at(node, key)?.unwrap_or_default();
        let hint = "write a number and s, m, h, d, w, M or y, such as `7d`";
        Timespan::parse(&text).map(|span| span.0).ok_or_else(|| wrong(format!("`{text}` is not a time span"), hint))
    };
    match key {
        "learn" => baseline.learn = time()?,
        "half-life" => baseline.half_life = time()?,
        "season" if kind == CorrelationKind::Volume => {
            baseline.season = match text_at(node, key)?.unwrap_or_default().as_str() {
                "none" => Season::None,
                "day" => Season::Day,
                "week" => Season::Week,
                other => return Err(wrong(format!("`{other}` is not a season"), "write none, day or week")),
            }
        }
        "floor" if kind == CorrelationKind::RareValue => {
            baseline.floor = number(value)
                .filter(|floor| *floor >= 1.0)
                .ok_or_else(|| wrong("is not a number of sightings", "write a number of at least 1"))?;
        }
        "times" if kind == CorrelationKind::Silence => {
            baseline.times = number(value)
                .filter(|times| (1.0..=1000.0).contains(times))
                .ok_or_else(|| wrong("is not a number of times", "write a number from 1 to 1000"))?;
        }
        other => {
            let hint = match kind {
                CorrelationKind::RareValue => "write learn, half-life or floor",
                CorrelationKind::Volume => "write learn, half-life or season",
                CorrelationKind::Silence => "write learn, half-life or times",
                _ => "write learn or half-life",
            };
            return Err(wrong(format!("`{other}` is not known here"), hint));
        }
    }
    Ok(())
}

/// What the condition of a kind that learns must and must not say.
pub(super) fn check(kind: CorrelationKind, threshold: &Threshold) -> Result<(), Fault> {
    let fields = threshold.fields.len();
    let bounded = !threshold.bounds.is_empty();
    match kind {
        CorrelationKind::FirstSeen | CorrelationKind::NewPair if bounded => {
            Err(wrong("takes no bound", "write `field` only: a value is known or it is not"))
        }
        CorrelationKind::FirstSeen | CorrelationKind::RareValue if fields == 0 => {
            Err(wrong("`field` is missing", "name the field whose values are learned"))
        }
        CorrelationKind::NewPair if fields < 2 => {
            Err(wrong("names fewer than two fields", "name the fields of the pair, such as `field: [user, host]`"))
        }
        CorrelationKind::RareValue => {
            let share = |bound: &super::correlation::Bound| {
                matches!(bound.operator, Operator::Less | Operator::LessEqual) && (0.0..=1.0).contains(&bound.limit)
            };
            if bounded && threshold.bounds.iter().all(share) {
                Ok(())
            } else {
                Err(wrong("does not bound the share from above", "write `lt` with a share, such as `lt: 0.01`"))
            }
        }
        CorrelationKind::Volume if fields > 0 || !bounded => {
            let hint = "write how many deviations are too many, such as `gte: 4`, and no field";
            Err(wrong("does not bound the deviation", hint))
        }
        CorrelationKind::Silence if fields > 0 || bounded => {
            Err(wrong("is not known here", "leave it out; `timespan` says how long silence is"))
        }
        _ => Ok(()),
    }
}

/// The span of a kind that learns: of `volume` it divides the season; kinds that learn values have none.
pub(super) fn timespan(kind: CorrelationKind, baseline: &Baseline, given: Option<Timespan>) -> Result<Timespan, Fault> {
    if kind.learns_values() {
        return match given {
            None => Ok(Timespan(baseline.half_life)),
            Some(_) => Err(wrong("has no meaning for this type", "say `half-life` below `baseline`")),
        };
    }
    let span = given.ok_or_else(|| wrong("is missing", "write a number and s, m, h, d, w, M or y"))?;
    if kind == CorrelationKind::Volume
        && let Some(season) = baseline.season.secs()
    {
        let secs = span.0.as_secs();
        if secs == 0 || season % secs != 0 || season / secs > SPANS_MAX || season == secs {
            let hint = "write a span that divides the season into 2 to 2016 parts, such as `1h`";
            return Err(wrong("does not fit its season", hint));
        }
    }
    Ok(span)
}
