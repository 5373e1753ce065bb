//! A correlation made ready: references resolved to ids, fields resolved per rule, the condition as a function.

use super::{Payload, group::Entry, micros, valued};
use crate::sigma::{Baseline, Collection, Condition, Correlation, CorrelationKind, Threshold};

/// A correlation, ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) id: String,
    /// A text that changes whenever the meaning of the state does.
    pub(super) digest: String,
    pub(super) kind: CorrelationKind,
    /// Of a kind that learns.
    pub(super) baseline: Option<Baseline>,
    /// Ids of the rules, in order.
    pub(super) rules: Vec<String>,
    pub(super) group_by: Vec<String>,
    /// By rule, the fields that make the group.
    group_fields: Vec<Vec<String>>,
    /// By rule, the fields whose values count.
    value_fields: Vec<Vec<String>>,
    pub(super) span_us: i64,
    pub(super) threshold: Threshold,
    extended: Option<Condition>,
    /// By rule, its names in a condition of words.
    names: Vec<Vec<String>>,
    monotone: bool,
}

/// A sighting at which the condition held.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) time_us: i64,
    pub(super) event: u64,
    pub(super) value: f64,
    pub(super) events: Vec<u64>,
}

/// The plans of a collection, in its order.
pub(super) fn plans(collection: &Collection) -> Vec<Plan> {
    collection.correlations.iter().map(|correlation| plan(correlation, collection)).collect()
}

/// The numbers of the plans, each after those that it refers to. References have no cycle.
pub(super) fn children_first(plans: &[Plan]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(plans.len());
    while order.len() < plans.len() {
        let ready = (0..plans.len()).find(|index| {
            let open = |rule: &String| plans.iter().position(|p| p.id == *rule).is_some_and(|at| !order.contains(&at));
            !order.contains(index) && plans.get(*index).is_some_and(|plan| !plan.rules.iter().any(open))
        });
        match ready {
            Some(index) => order.push(index),
            None => break,
        }
    }
    order
}

fn plan(correlation: &Correlation, collection: &Collection) -> Plan {
    let identity = |reference: &String| -> (String, Vec<String>) {
        let rules = collection.rules.iter().map(|rule| (&rule.id, rule.name.as_ref()));
        let correlations = collection.correlations.iter().map(|c| (&c.id, c.name.as_ref()));
        let found = rules.chain(correlations).find(|(id, name)| *id == reference || *name == Some(reference));
        let (id, name) = found.unwrap_or((reference, None));
        let mut names = vec![id.clone()];
        names.extend(name.cloned());
        (id.clone(), names)
    };
    let (rules, names): (Vec<String>, Vec<Vec<String>>) = correlation.rules.iter().map(identity).unzip();
    let field_for = |name: &String, rule_names: &Vec<String>| {
        let alias = correlation.aliases.get(name);
        alias.and_then(|map| rule_names.iter().find_map(|rule| map.get(rule))).unwrap_or(name).clone()
    };
    let per_rule = |fields: &Vec<String>| -> Vec<Vec<String>> {
        names.iter().map(|rule| fields.iter().map(|field| field_for(field, rule)).collect()).collect()
    };
    let growing = matches!(
        correlation.kind,
        CorrelationKind::EventCount
            | CorrelationKind::ValueCount
            | CorrelationKind::Temporal
            | CorrelationKind::TemporalOrdered
    );
    let extended = correlation.extended.as_ref().map(|extended| extended.0.clone());
    let monotone = growing && correlation.threshold.grows() && extended.as_ref().is_none_or(without_not);
    let baseline = correlation.baseline.as_ref().map(|baseline| format!(" {baseline:?}")).unwrap_or_default();
    Plan {
        id: correlation.id.clone(),
        digest: format!(
            "{:?} {rules:?} {:?} {:?} {:?} {:?}{baseline}",
            correlation.kind,
            per_rule(&correlation.group_by),
            per_rule(&correlation.threshold.fields),
            correlation.timespan,
            (&correlation.threshold, &extended),
        ),
        kind: correlation.kind,
        baseline: correlation.baseline.clone(),
        group_by: correlation.group_by.clone(),
        group_fields: per_rule(&correlation.group_by),
        value_fields: per_rule(&correlation.threshold.fields),
        span_us: micros(correlation.timespan.0),
        threshold: correlation.threshold.clone(),
        extended,
        rules,
        names,
        monotone,
    }
}

fn without_not(condition: &Condition) -> bool {
    match condition {
        Condition::And(items) | Condition::Or(items) => items.iter().all(without_not),
        Condition::Not(_) => false,
        Condition::Name(_) | Condition::Of { .. } => true,
    }
}

impl Plan {
    /// The answer must wait until nothing older may come.
    pub(super) const fn waits(&self) -> bool {
        !self.monotone
    }

    pub(super) fn group_fields(&self, source: u16) -> impl Iterator<Item = &str> {
        self.group_fields.get(usize::from(source)).into_iter().flatten().map(String::as_str)
    }

    /// What of the event counts; `None` where the field is absent or not a number, so that the event does not count.
    pub(super) fn payload(&self, source: u16, field: &dyn Fn(&str) -> Option<String>) -> Option<Payload> {
        if !valued(self.kind) {
            return Some(Payload::Nothing);
        }
        let fields = self.value_fields.get(usize::from(source))?;
        if self.kind == CorrelationKind::ValueCount {
            let values: Vec<String> = fields.iter().map(|name| field(name)).collect::<Option<_>>()?;
            return Some(Payload::Text(match <[String; 1]>::try_from(values) {
                Ok([only]) => only.into(),
                Err(several) => serde_json::to_string(&several).unwrap_or_default().into(),
            }));
        }
        let number: f64 = field(fields.first()?)?.trim().parse().ok()?;
        number.is_finite().then_some(Payload::Number(number))
    }

    /// The values that a correlation learns; `None` where a field is absent, so that the event does not count.
    pub(super) fn values(&self, source: u16, field: &dyn Fn(&str) -> Option<String>) -> Option<Vec<String>> {
        self.value_fields.get(usize::from(source))?.iter().map(|name| field(name)).collect()
    }

    /// The number that the condition speaks of, where the condition holds of the window.
    pub(super) fn holds(&self, window: &[Entry]) -> Option<f64> {
        let value = match self.kind {
            CorrelationKind::EventCount => count(window.len()),
            CorrelationKind::ValueCount => {
                let mut texts: Vec<&str> = window.iter().filter_map(|e| e.payload.text()).collect();
                texts.sort_unstable();
                texts.dedup();
                count(texts.len())
            }
            CorrelationKind::Temporal => return self.temporal(window),
            CorrelationKind::TemporalOrdered => return self.ordered(window),
            CorrelationKind::ValueSum => numbers(window).sum(),
            CorrelationKind::ValueAvg => numbers(window).sum::<f64>() / count(numbers(window).count().max(1)),
            CorrelationKind::ValueMedian => percentile(window, 50.0)?,
            CorrelationKind::ValuePercentile => percentile(window, self.threshold.percentile)?,
            // These are compared in their own state.
            CorrelationKind::FirstSeen
            | CorrelationKind::NewPair
            | CorrelationKind::RareValue
            | CorrelationKind::Volume
            | CorrelationKind::Silence => return None,
        };
        self.threshold.holds(value).then_some(value)
    }

    fn temporal(&self, window: &[Entry]) -> Option<f64> {
        let mut seen = vec![false; self.rules.len()];
        for entry in window {
            if let Some(seen) = seen.get_mut(usize::from(entry.source)) {
                *seen = true;
            }
        }
        let value = count(seen.iter().filter(|seen| **seen).count());
        let holds = match &self.extended {
            Some(condition) => self.words_hold(condition, &seen),
            None => self.threshold.holds(value),
        };
        holds.then_some(value)
    }

    /// How many rules, in the order of the list, were seen one after the other.
    fn ordered(&self, window: &[Entry]) -> Option<f64> {
        let mut next = 0_u16;
        let mut seen = vec![false; self.rules.len()];
        for entry in window {
            if let Some(seen) = seen.get_mut(usize::from(entry.source)) {
                *seen = true;
            }
            if entry.source == next {
                next = next.saturating_add(1);
            }
        }
        let value = f64::from(next);
        match &self.extended {
            Some(condition) if !self.words_hold(condition, &seen) => None,
            Some(_) => (usize::from(next) == self.rules.len()).then_some(value),
            None => self.threshold.holds(value).then_some(value),
        }
    }

    fn words_hold(&self, condition: &Condition, seen: &[bool]) -> bool {
        match condition {
            Condition::And(items) => items.iter().all(|item| self.words_hold(item, seen)),
            Condition::Or(items) => items.iter().any(|item| self.words_hold(item, seen)),
            Condition::Not(inner) => !self.words_hold(inner, seen),
            Condition::Name(name) => self.names.iter().zip(seen).any(|(names, seen)| *seen && names.contains(name)),
            Condition::Of { .. } => false,
        }
    }
}

fn numbers(window: &[Entry]) -> impl Iterator<Item = f64> {
    window.iter().filter_map(|entry| entry.payload.number())
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Linear interpolation between the closest ranks.
fn percentile(window: &[Entry], percentile: f64) -> Option<f64> {
    let mut values: Vec<f64> = numbers(window).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let rank = percentile / 100.0 * count(last);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank lies between 0 and the length")]
    let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
    let (low_value, high_value) = (*values.get(low)?, *values.get(high.min(last))?);
    Some(low_value + (rank - rank.floor()) * (high_value - low_value))
}
