//! Correlation rules: what is counted over which time, grouped how. Only the document; the state machine is elsewhere.

use super::baseline::{self, Baseline};
use super::condition::{Condition, ConditionError};
use super::parse::{Source, id_of, level, text_at, texts_at};
use super::reject::{Fault, RejectCode};
use crate::yaml::{Node, Value};
use ids::Severity;
use std::collections::HashMap;
use std::time::Duration;

/// The longest time span: ten years.
const TIMESPAN_SECS_MAX: u64 = 315_569_520;

/// What a correlation computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorrelationKind {
    /// Number of events.
    EventCount,
    /// Number of different values of a field.
    ValueCount,
    /// Every rule (or the expression of rules) inside the time span.
    Temporal,
    /// The same, in the order of the list.
    TemporalOrdered,
    /// Sum of a field.
    ValueSum,
    /// Mean of a field.
    ValueAvg,
    /// Percentile of a field, by linear interpolation.
    ValuePercentile,
    /// Median of a field.
    ValueMedian,
    /// A value that its group has not shown, or not for long. Posse's own, like all below.
    FirstSeen,
    /// Values that their group has shown, but not together.
    NewPair,
    /// A value that makes up a small share of its group's.
    RareValue,
    /// A number of events far from the usual one of its time.
    Volume,
    /// No event for longer than is usual.
    Silence,
}

/// One bound of a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// How the value stands to the limit.
    pub operator: Operator,
    /// The limit.
    pub limit: f64,
}

/// Operators of correlation conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `lt`
    Less,
    /// `lte`
    LessEqual,
    /// `gt`
    Greater,
    /// `gte`
    GreaterEqual,
    /// `eq`
    Equal,
    /// `neq`
    NotEqual,
}

/// When a computed value makes an alert: all bounds hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The bounds; at least one.
    pub bounds: Vec<Bound>,
    /// The fields whose values count, for the `value_` kinds.
    pub fields: Vec<String>,
    /// 0 to 100, for `value_percentile`.
    pub percentile: f64,
}

impl Threshold {
    /// A larger value never makes it false.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.bounds.iter().all(|bound| matches!(bound.operator, Operator::Greater | Operator::GreaterEqual))
    }

    /// All bounds hold.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.bounds.iter().all(|bound| match bound.operator {
            Operator::Less => value < bound.limit,
            Operator::LessEqual => value <= bound.limit,
            Operator::Greater => value > bound.limit,
            Operator::GreaterEqual => value >= bound.limit,
            Operator::Equal => (value - bound.limit).abs() < f64::EPSILON,
            Operator::NotEqual => (value - bound.limit).abs() >= f64::EPSILON,
        })
    }
}

/// A condition of a temporal correlation in words, over rule names.
#[derive(Debug, Clone, PartialEq)]
pub struct Extended(pub Condition);

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timespan(pub Duration);

impl Timespan {
    /// Read a number and a unit: `s`, `m`, `h`, `d`, `w`, `M` (30.44 days), `y` (365.24 days).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().next_back()?;
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let unit_secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            'M' => 2_629_746,
            'y' => 31_556_952,
            _ => return None,
        };
        let secs = count.checked_mul(unit_secs)?;
        (1..=TIMESPAN_SECS_MAX).contains(&secs).then(|| Self(Duration::from_secs(secs)))
    }
}

/// A correlation rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// Its id; never empty.
    pub id: String,
    /// Its name for references.
    pub name: Option<String>,
    /// One line for people.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// Severity of an alert.
    pub level: Severity,
    /// Such as `attack.t1110`.
    pub tags: Vec<String>,
    /// What is computed.
    pub kind: CorrelationKind,
    /// The rules and correlations whose matches count, by id or name, in the order given.
    pub rules: Vec<String>,
    /// The fields (or aliases) whose values make the group.
    pub group_by: Vec<String>,
    /// Alias, then rule by id or name, then the field in the events of that rule.
    pub aliases: HashMap<String, HashMap<String, String>>,
    /// The window.
    pub timespan: Timespan,
    /// The numeric condition.
    pub threshold: Threshold,
    /// The condition in words, of temporal kinds.
    pub extended: Option<Extended>,
    /// What is learned, of the kinds that compare with what is usual.
    pub baseline: Option<Baseline>,
    /// The referenced rules make detections of their own too.
    pub generate: bool,
    /// Its place.
    pub source: Source,
}

/// Read a correlation document.
pub(super) fn parse(node: &Node, body: &Node, source: Source) -> Result<Correlation, Fault> {
    let within = |fault: Fault| fault.within("correlation", body.line);
    if !matches!(body.value, Value::Map(_)) {
        return Err(within(wrong(format!("is {}", body.kind()), "write a map")));
    }
    let kind = kind(body).map_err(within)?;
    let mut rules = texts_at(body, "rules").map_err(within)?;
    let baseline = baseline::parse(body, kind).map_err(within)?;
    let timespan = timespan(body, kind, baseline.as_ref()).map_err(within)?;
    let temporal = matches!(kind, CorrelationKind::Temporal | CorrelationKind::TemporalOrdered);
    let condition = body.entry("condition").filter(|node| node.value != Value::Null);
    let mut extended = None;
    let threshold = match condition.map(|node| (&node.value, node)) {
        Some((Value::Text(text), _)) if temporal => {
            let parsed = extend(text).map_err(within)?;
            if rules.is_empty() {
                parsed.0.plain_names(&mut rules);
            }
            extended = Some(parsed);
            at_least(rules.len())
        }
        Some((Value::Map(_), node)) => threshold(kind, node).map_err(|f| within(f.within("condition", node.line)))?,
        Some((_, node)) => {
            let hint = "write a map such as `gte: 10`; words are for temporal correlations";
            return Err(within(wrong(format!("is {}", node.kind()), hint).within("condition", node.line)));
        }
        None if temporal => at_least(rules.len()),
        None if kind == CorrelationKind::Silence => at_least(0),
        None => return Err(within(wrong("`condition` is missing", "write for example `gte: 10`"))),
    };
    if rules.is_empty() {
        return Err(within(wrong("`rules` is missing", "name at least one rule by id or name")));
    }
    let generate = match body.entry("generate").map(|node| &node.value) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(truth)) => *truth,
        Some(_) => return Err(within(wrong("`generate` is not true or false", "write true or false"))),
    };
    Ok(Correlation {
        id: id_of(node)?,
        name: text_at(node, "name")?,
        title: text_at(node, "title")?.unwrap_or_default(),
        author: text_at(node, "author")?.unwrap_or_default(),
        level: level(node)?,
        tags: texts_at(node, "tags")?,
        kind,
        rules,
        group_by: texts_at(body, "group-by").map_err(within)?,
        aliases: aliases(body).map_err(within)?,
        timespan,
        threshold,
        extended,
        baseline,
        generate,
        source,
    })
}

fn timespan(body: &Node, kind: CorrelationKind, baseline: Option<&Baseline>) -> Result<Timespan, Fault> {
    let given = match text_at(body, "timespan")? {
        None => None,
        Some(text) => Some(Timespan::parse(&text).ok_or_else(|| {
            let message = format!("`{text}` is not a time span");
            wrong(message, "write a number and s, m, h, d, w, M or y, such as `5m`").within("timespan", body.line)
        })?),
    };
    match baseline {
        Some(baseline) => {
            baseline::timespan(kind, baseline, given).map_err(|fault| fault.within("timespan", body.line))
        }
        None => given.ok_or_else(|| wrong("`timespan` is missing", "write a number and s, m, h, d, w, M or y")),
    }
}

pub(super) fn wrong(message: impl Into<String>, hint: &str) -> Fault {
    Fault::new(RejectCode::Correlation, message, hint)
}

fn kind(body: &Node) -> Result<CorrelationKind, Fault> {
    let text = text_at(body, "type")?.unwrap_or_default();
    Ok(match text.as_str() {
        "event_count" => CorrelationKind::EventCount,
        "value_count" => CorrelationKind::ValueCount,
        "temporal" => CorrelationKind::Temporal,
        "temporal_ordered" => CorrelationKind::TemporalOrdered,
        "value_sum" => CorrelationKind::ValueSum,
        "value_avg" => CorrelationKind::ValueAvg,
        "value_percentile" => CorrelationKind::ValuePercentile,
        "value_median" => CorrelationKind::ValueMedian,
        "first_seen" => CorrelationKind::FirstSeen,
        "new_pair" => CorrelationKind::NewPair,
        "rare_value" => CorrelationKind::RareValue,
        "volume" => CorrelationKind::Volume,
        "silence" => CorrelationKind::Silence,
        _ => {
            let hint = "write event_count, value_count, temporal, temporal_ordered, value_sum, value_avg, \
                        value_percentile or value_median; or of Posse's own first_seen, new_pair, rare_value, volume \
                        or silence";
            return Err(wrong(format!("`{text}` is not a correlation type"), hint).within("type", body.line));
        }
    })
}

fn at_least(count: usize) -> Threshold {
    let limit = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    Threshold { bounds: vec![Bound { operator: Operator::GreaterEqual, limit }], fields: Vec::new(), percentile: 50.0 }
}

fn extend(text: &str) -> Result<Extended, Fault> {
    let condition = Condition::parse(text).map_err(|e: ConditionError| wrong(e.to_string(), e.hint()))?;
    fn plain(condition: &Condition) -> bool {
        match condition {
            Condition::And(items) | Condition::Or(items) => items.iter().all(plain),
            Condition::Not(inner) => plain(inner),
            Condition::Name(_) => true,
            Condition::Of { .. } => false,
        }
    }
    if plain(&condition) {
        Ok(Extended(condition))
    } else {
        Err(wrong("`of` is not known in a correlation condition", "name the rules with and, or, not"))
    }
}

fn threshold(kind: CorrelationKind, node: &Node) -> Result<Threshold, Fault> {
    let mut result = Threshold { bounds: Vec::new(), fields: texts_at(node, "field")?, percentile: 50.0 };
    let Value::Map(pairs) = &node.value else { return Ok(result) };
    for (key, value) in pairs {
        let operator = match key.as_str() {
            "lt" => Operator::Less,
            "lte" => Operator::LessEqual,
            "gt" => Operator::Greater,
            "gte" => Operator::GreaterEqual,
            "eq" => Operator::Equal,
            "neq" => Operator::NotEqual,
            "field" => continue,
            "percentile" => {
                result.percentile = number(value).filter(|p| (0.0..=100.0).contains(p)).ok_or_else(|| {
                    wrong("is not a percentile", "write a number from 0 to 100").within(key, value.line)
                })?;
                continue;
            }
            other => {
                let hint = "write lt, lte, gt, gte, eq, neq, field or percentile";
                return Err(wrong(format!("`{other}` is not known here"), hint).within(key, value.line));
            }
        };
        let limit = number(value)
            .ok_or_else(|| wrong(format!("is {}", value.kind()), "write a number").within(key, value.line))?;
        result.bounds.push(Bound { operator, limit });
    }
    if kind.learns() {
        return baseline::check(kind, &result).map(|()| result);
    }
    if result.bounds.is_empty() {
        return Err(wrong("holds no bound", "write for example `gte: 10`"));
    }
    let valued =
        !matches!(kind, CorrelationKind::EventCount | CorrelationKind::Temporal | CorrelationKind::TemporalOrdered);
    if valued && result.fields.is_empty() {
        return Err(wrong("`field` is missing", "name the field whose values count"));
    }
    if result.fields.len() > 1 && kind != CorrelationKind::ValueCount {
        return Err(wrong("names several fields", "only value_count takes several"));
    }
    Ok(result)
}

pub(super) fn number(node: &Node) -> Option<f64> {
    match &node.value {
        #[expect(clippy::cast_precision_loss, reason = "limits above 2^53 are beyond any count")]
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn aliases(body: &Node) -> Result<HashMap<String, HashMap<String, String>>, Fault> {
    let mut result = HashMap::new();
    let Some(node) = body.entry("aliases").filter(|node| node.value != Value::Null) else { return Ok(result) };
    let shape = || wrong("is not a map of alias to rule to field", "write `alias: {rule_name: field}`");
    let Value::Map(pairs) = &node.value else { return Err(shape().within("aliases", node.line)) };
    for (alias, inner) in pairs {
        let Value::Map(fields) = &inner.value else { return Err(shape().within("aliases", inner.line)) };
        let mut mapping = HashMap::new();
        for (rule, field) in fields {
            let field = field.scalar_text().ok_or_else(|| shape().within("aliases", field.line))?;
            mapping.insert(rule.clone(), field);
        }
        result.insert(alias.clone(), mapping);
    }
    Ok(result)
}

/// The first correlation that reaches itself over its references.
pub(super) fn first_in_cycle(correlations: &[Correlation]) -> Option<usize> {
    let index_of = |name: &String| correlations.iter().position(|c| c.id == *name || c.name.as_ref() == Some(name));
    (0..correlations.len()).find(|start| {
        let mut seen = vec![false; correlations.len()];
        let mut open = vec![*start];
        while let Some(at) = open.pop() {
            for next in correlations.get(at).into_iter().flat_map(|c| &c.rules).filter_map(index_of) {
                if next == *start {
                    return true;
                }
                if let Some(mark) = seen.get_mut(next)
                    && !std::mem::replace(mark, true)
                {
                    open.push(next);
                }
            }
        }
        false
    })
}
