//! From the solver's model to the facts of a call, in the words of the decision point.
//!
//! What the model says nothing of keeps its default. Whether the call is one that matters is not judged here.

use cedar_policy::{Context, Entities, EntityUid, EvalResult};
use cedar_policy_symcc::Env;
use ids::Timestamp;
use policy::{APPROVAL_COUNTS, ContextFacts, EVIDENCE, PROVIDER, PrincipalFacts, Request, ResourceFacts, Sort};
use std::collections::{BTreeMap, BTreeSet};

const HOUR_MICROS: i64 = 3_600_000_000;

/// The call that a model describes; none where it is not a whole one.
pub(crate) fn request(env: &Env, sort: &Sort, roles: Option<&BTreeSet<String>>) -> Option<Request> {
    let (principal, resource) = (env.request.principal()?, env.request.resource()?);
    let action = sort.operations.first()?.clone();
    let who = Attributes { entities: &env.entities, uid: principal };
    let what = Attributes { entities: &env.entities, uid: resource };
    let tenant = what.text("tenant");
    let facts = env.request.context().map(context).unwrap_or_default();
    Some(Request {
        principal: PrincipalFacts {
            kind: sort.kind,
            id: who.id(),
            roles: roles.cloned().unwrap_or_else(|| who.above("Posse::Role")),
            owner: who.text("owner"),
            tenant: who.text("tenant"),
            tags: who.texts("tags"),
        },
        action,
        resource: ResourceFacts {
            kind: sort.resource_type.clone(),
            id: if sort.resource_type == "Provider" { PROVIDER.to_owned() } else { what.id() },
            tenant,
            owner: what.text("owner"),
            created_by: what.text("created_by"),
            tags: what.texts("tags"),
        },
        context: facts,
    })
}

struct Attributes<'a> {
    entities: &'a Entities,
    uid: &'a EntityUid,
}

impl Attributes<'_> {
    fn value(&self, name: &str) -> Option<EvalResult> {
        self.entities.get(self.uid)?.attr(name)?.ok()
    }

    fn id(&self) -> String {
        self.text("id").unwrap_or_else(|| AsRef::<str>::as_ref(self.uid.id()).to_owned())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name).as_ref().and_then(text)
    }

    fn texts(&self, name: &str) -> BTreeSet<String> {
        self.value(name).as_ref().map(texts).unwrap_or_default()
    }

    fn above(&self, kind: &str) -> BTreeSet<String> {
        let above = self.entities.ancestors(self.uid).into_iter().flatten();
        let above = above.filter(|uid| uid.type_name().to_string() == kind);
        above.map(|uid| AsRef::<str>::as_ref(uid.id()).to_owned()).collect()
    }
}

fn text(value: &EvalResult) -> Option<String> {
    match value {
        EvalResult::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn texts(value: &EvalResult) -> BTreeSet<String> {
    match value {
        EvalResult::Set(set) => set.iter().filter_map(text).collect(),
        _ => BTreeSet::new(),
    }
}

fn context(model: &Context) -> ContextFacts {
    let default = ContextFacts::default();
    let string = |name: &str| model.get(name).as_ref().and_then(text);
    let set = |name: &str| model.get(name).as_ref().map(texts).unwrap_or_default();
    let long = |name: &str| match model.get(name) {
        Some(EvalResult::Long(number)) => Some(number),
        _ => None,
    };
    let truth = |name: &str| matches!(model.get(name), Some(EvalResult::Bool(true)));
    let approvals = record(model, "approvals", &APPROVAL_COUNTS, |value| match value {
        EvalResult::Long(count) => Some(*count),
        _ => None,
    });
    let evidence = record(model, "evidence", &EVIDENCE, |value| match value {
        EvalResult::Bool(there) => Some(*there),
        _ => None,
    });
    ContextFacts {
        tenant: string("tenant").unwrap_or(default.tenant),
        tenant_tags: set("tenant_tags"),
        origin: string("origin").unwrap_or(default.origin),
        now: now(long("now_micros"), long("hour"), long("weekday")),
        autonomy: string("autonomy").unwrap_or(default.autonomy),
        tainted: truth("tainted"),
        target_in_case: truth("target_in_case"),
        target_count: long("target_count").unwrap_or(default.target_count),
        recent_count: long("recent_count").unwrap_or(default.recent_count),
        budget_left: long("budget_left").unwrap_or(default.budget_left),
        on_behalf_of: set("on_behalf_of"),
        granted_roles: set("granted_roles"),
        approvals,
        evidence,
        break_glass: truth("break_glass"),
        self_approval: truth("self_approval"),
    }
}

fn record<T>(
    model: &Context,
    name: &str,
    fields: &[&str],
    read: impl Fn(&EvalResult) -> Option<T>,
) -> BTreeMap<String, T> {
    let Some(EvalResult::Record(record)) = model.get(name) else { return BTreeMap::new() };
    let fields = fields.iter().filter_map(|field| Some(((*field).to_owned(), record.get(field).and_then(&read)?)));
    fields.collect()
}

/// An instant with this hour and weekday; the model knows of each by itself, and the engine works both out from the instant.
fn now(micros: Option<i64>, hour: Option<i64>, weekday: Option<i64>) -> Timestamp {
    match (micros, hour, weekday) {
        (Some(micros), ..) if micros != 0 => Timestamp::from_micros(micros),
        (_, None, None) => Timestamp::from_micros(0),
        (_, hour, weekday) => {
            // 1970-01-01 was a Thursday, the fourth day of the week.
            let days = weekday.map_or(0, |weekday| weekday.saturating_sub(4).rem_euclid(7));
            let hours = days.saturating_mul(24).saturating_add(hour.unwrap_or(0).rem_euclid(24));
            Timestamp::from_micros(hours.saturating_mul(HOUR_MICROS))
        }
    }
}
