//! A policy as one expression, with what is known of a sort of calls worked in.
//!
//! Of a sort of calls the operation, the kinds of principal and target, and perhaps the roles are known; what a policy asks
//! about these is answered here, so that policies which differ only in what does not concern the sort become alike. Works
//! on Cedar's JSON form; must never change what a policy says about a call of the sort, which a property test shows.

use crate::{
    schema::principal_type,
    spec::{ActionSpec, NAMESPACE, family},
};
use ids::PrincipalKind;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What is known of every call of a sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) kind: PrincipalKind,
    pub(crate) spec: &'a ActionSpec<'a>,
    pub(crate) resource_type: &'a str,
    /// Exactly these roles; none where any may be held.
    pub(crate) roles: Option<&'a BTreeSet<String>>,
}

pub(crate) fn truth(value: bool) -> Value {
    json!({ "Value": value })
}

pub(crate) fn and(left: Value, right: Value) -> Value {
    match (constant(&left), constant(&right)) {
        (Some(true), _) => right,
        (Some(false), _) | (_, Some(true)) => left,
        _ => json!({ "&&": { "left": left, "right": right } }),
    }
}

fn not(arg: Value) -> Value {
    constant(&arg).map_or_else(|| json!({ "!": { "arg": arg } }), |value| truth(!value))
}

pub(crate) fn constant(expression: &Value) -> Option<bool> {
    expression.get("Value").and_then(Value::as_bool)
}

/// Scope and conditions of a policy in Cedar's JSON form, as one expression.
pub(crate) fn whole(policy: &Value) -> Value {
    let scopes = ["principal", "action", "resource"];
    let scope = scopes.iter().map(|name| scope(name, policy.get(*name).unwrap_or(&Value::Null)));
    let conditions = policy.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let conditions = conditions.map(|condition| {
        let body = condition.get("body").cloned().unwrap_or(Value::Null);
        if condition.get("kind").and_then(Value::as_str) == Some("when") { body } else { not(body) }
    });
    scope.chain(conditions).fold(truth(true), and)
}

fn literal(entity: &Value) -> Value {
    json!({ "Value": { "__entity": entity } })
}

fn scope(name: &str, constraint: &Value) -> Value {
    let left = json!({ "Var": name });
    let entity = constraint.get("entity").map(literal);
    match (constraint.get("op").and_then(Value::as_str), entity, constraint.get("entities")) {
        (Some("=="), Some(right), _) => json!({ "==": { "left": left, "right": right } }),
        (Some("in"), Some(right), _) => json!({ "in": { "left": left, "right": right } }),
        (Some("in"), _, Some(Value::Array(many))) => {
            let set: Vec<Value> = many.iter().map(literal).collect();
            json!({ "in": { "left": left, "right": { "Set": set } } })
        }
        (Some("is"), ..) => {
            let kind = json!({ "is": { "left": left, "entity_type": constraint.get("entity_type") } });
            match constraint.get("in").and_then(|within| within.get("entity")).map(literal) {
                Some(right) => and(kind, json!({ "in": { "left": left, "right": right } })),
                None => kind,
            }
        }
        _ => truth(true),
    }
}

/// An expression, where it is said of one tenant's calls only.
pub(crate) fn bound(said: Value, tenant: Option<&str>) -> Value {
    let Some(tenant) = tenant.filter(|_| constant(&said) != Some(false)) else { return said };
    let place = json!({ ".": { "left": { "Var": "context" }, "attr": "tenant" } });
    and(json!({ "==": { "left": place, "right": { "Value": tenant } } }), said)
}

impl Known<'_> {
    /// The same expression, without what is known.
    pub(crate) fn fold(&self, expression: &Value) -> Value {
        let Some((operator, arguments)) = expression.as_object().and_then(|object| object.iter().next()) else {
            return expression.clone();
        };
        let part = |name: &str| self.fold(arguments.get(name).unwrap_or(&Value::Null));
        match operator.as_str() {
            "Value" | "Var" | "Slot" | "Unknown" => expression.clone(),
            "&&" => and(part("left"), part("right")),
            "||" => {
                let (left, right) = (part("left"), part("right"));
                match (constant(&left), constant(&right)) {
                    (Some(false), _) => right,
                    (Some(true), _) | (_, Some(false)) => left,
                    _ => json!({ "||": { "left": left, "right": right } }),
                }
            }
            "!" => not(part("arg")),
            "if-then-else" => match constant(&part("if")) {
                Some(true) => part("then"),
                Some(false) => part("else"),
                None => json!({ "if-then-else": { "if": part("if"), "then": part("then"), "else": part("else") } }),
            },
            "is" => self.is(arguments).unwrap_or_else(|| self.children(operator, arguments)),
            "in" => self.within(arguments).map_or_else(|| self.children(operator, arguments), truth),
            "==" => self.same(arguments).map_or_else(|| self.children(operator, arguments), truth),
            "!=" => self.same(arguments).map_or_else(|| self.children(operator, arguments), |same| truth(!same)),
            _ => self.children(operator, arguments),
        }
    }

    fn children(&self, operator: &str, arguments: &Value) -> Value {
        let fold = |value: &Value| if value.is_object() { self.fold(value) } else { value.clone() };
        let arguments = match arguments {
            Value::Array(items) => Value::Array(items.iter().map(fold).collect()),
            Value::Object(parts) => {
                Value::Object(parts.iter().map(|(name, part)| (name.clone(), fold(part))).collect::<Map<_, _>>())
            }
            other => other.clone(),
        };
        json!({ operator: arguments })
    }

    fn is(&self, arguments: &Value) -> Option<Value> {
        let own = match arguments.get("left")?.get("Var")?.as_str()? {
            "principal" => principal_type(self.kind),
            "resource" => self.resource_type,
            _ => return None,
        };
        let asked = arguments.get("entity_type")?.as_str()?;
        if asked != format!("{NAMESPACE}::{own}") {
            return Some(truth(false));
        }
        match arguments.get("in") {
            Some(right) => Some(self.fold(&json!({ "in": { "left": arguments.get("left"), "right": right } }))),
            None => Some(truth(true)),
        }
    }

    fn within(&self, arguments: &Value) -> Option<bool> {
        let var = arguments.get("left")?.get("Var")?.as_str()?;
        let right = arguments.get("right")?;
        let entities: Vec<(String, String)> = match right.get("Set") {
            Some(set) => set.as_array()?.iter().map(entity).collect::<Option<_>>()?,
            None => vec![entity(right)?],
        };
        let (action, role) = (format!("{NAMESPACE}::Action"), format!("{NAMESPACE}::Role"));
        match (var, self.roles) {
            ("action", _) if entities.iter().all(|(kind, _)| *kind == action) => {
                Some(entities.iter().any(|(_, id)| self.action_in(id)))
            }
            ("principal", Some(roles)) if entities.iter().all(|(kind, _)| *kind == role) => {
                Some(entities.iter().any(|(_, id)| roles.contains(id)))
            }
            _ => None,
        }
    }

    fn action_in(&self, id: &str) -> bool {
        id == self.spec.id
            || id == self.spec.effect.as_str()
            || id.strip_suffix(".*").is_some_and(|group| Some(group) == family(self.spec.id))
    }

    fn same(&self, arguments: &Value) -> Option<bool> {
        let (left, right) = (arguments.get("left")?, arguments.get("right")?);
        let is_action = |side: &Value| side.get("Var").and_then(Value::as_str) == Some("action");
        let other = if is_action(left) { right } else { Some(left).filter(|_| is_action(right))? };
        let (kind, id) = entity(other)?;
        (kind == format!("{NAMESPACE}::Action")).then(|| id == self.spec.id)
    }
}

/// Type and id of an entity that is named.
fn entity(expression: &Value) -> Option<(String, String)> {
    let entity = expression.get("Value")?.get("__entity")?;
    Some((entity.get("type")?.as_str()?.to_owned(), entity.get("id")?.as_str()?.to_owned()))
}
