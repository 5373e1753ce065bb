//! An additive score that explains itself: named reasons, each with its points and what it rests on.

use super::expression::{Bound, Expression, ExpressionError};
use super::template::Template;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Why points were given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The reason's name in the playbook.
    pub name: String,
    /// How many points; negative where it speaks for the harmless.
    pub points: f64,
    /// The reason in words, with the values it rests on.
    pub text: String,
    /// What it rests on, as the playbook says it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub cite: Value,
}

/// The sum with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The sum of the points.
    pub total: f64,
    /// What added to it, in the playbook's order.
    pub reasons: Vec<Reason>,
}

/// A reason as it is written.
#[derive(Debug)]
pub(crate) struct ReasonPlan {
    pub(crate) name: String,
    pub(crate) when: Expression,
    pub(crate) points: Template,
    pub(crate) text: Template,
    pub(crate) cite: Option<Template>,
}

/// The score for these variables. A reason that cannot be told is an error: a score with holes would look like one without.
pub(crate) fn score(reasons: &[ReasonPlan], scope: &BTreeMap<String, Bound>) -> Result<Score, ExpressionError> {
    let mut given = Score { total: 0.0, reasons: Vec::new() };
    for plan in reasons {
        if plan.when.evaluate(scope)? != Value::Bool(true) {
            continue;
        }
        let points = plan.points.fill(scope)?;
        let Some(points) = points.as_f64().filter(|points| points.is_finite()) else {
            let message = "the points are not a number".to_owned();
            return Err(ExpressionError::Evaluate { text: plan.name.clone(), message });
        };
        let text = match plan.text.fill(scope)? {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let cite = plan.cite.as_ref().map(|cite| cite.fill(scope)).transpose()?.unwrap_or_default();
        // To hundredths, so that the sum is the same on every machine.
        let points = (points * 100.0).round() / 100.0;
        given.total = ((given.total + points) * 100.0).round() / 100.0;
        given.reasons.push(Reason { name: plan.name.clone(), points, text, cite });
    }
    Ok(given)
}
