//! A counterexample that people can read: every fact that does not matter is taken back to what it usually is.
//!
//! Each step is kept only if the call still refutes what it refuted; must never make another call of it.

use policy::{ContextFacts, PROVIDER, Request};
use std::collections::BTreeSet;

/// The same counterexample with as little in it as possible, by the judgement of `still`.
pub(crate) fn shorten(request: Request, still: &dyn Fn(&Request) -> bool) -> Request {
    let mut best = request;
    let mut keep = |change: &dyn Fn(&mut Request)| {
        let mut shorter = best.clone();
        change(&mut shorter);
        if shorter != best && still(&shorter) {
            best = shorter;
        }
        best.clone()
    };
    let usual = ContextFacts::default;
    keep(&|call| {
        let (tenant, approvals, evidence) =
            (call.context.tenant.clone(), call.context.approvals.clone(), call.context.evidence.clone());
        call.context = ContextFacts { tenant, approvals, evidence, ..usual() };
    });
    let fields: [fn(&mut Request, ContextFacts); 23] = [
        |call, usual| call.context.tenant_tags = usual.tenant_tags,
        |call, usual| call.context.origin = usual.origin,
        |call, usual| call.context.now = usual.now,
        |call, usual| call.context.autonomy = usual.autonomy,
        |call, usual| call.context.tainted = usual.tainted,
        |call, usual| call.context.target_in_case = usual.target_in_case,
        |call, usual| call.context.target_count = usual.target_count,
        |call, usual| call.context.recent_count = usual.recent_count,
        |call, usual| call.context.budget_left = usual.budget_left,
        |call, usual| call.context.on_behalf_of = usual.on_behalf_of,
        |call, usual| call.context.granted_roles = usual.granted_roles,
        |call, usual| call.context.break_glass = usual.break_glass,
        |call, usual| call.context.self_approval = usual.self_approval,
        |call, _| call.context.evidence.clear(),
        |call, _| call.context.approvals.clear(),
        |call, _| call.principal.owner = None,
        |call, _| call.principal.tenant = None,
        |call, _| call.principal.tags.clear(),
        |call, _| call.resource.owner = None,
        |call, _| call.resource.created_by = None,
        |call, _| call.resource.tags.clear(),
        |call, _| call.context.evidence.retain(|_, there| *there),
        |call, _| call.context.approvals.retain(|_, count| *count > 0),
    ];
    for field in fields {
        keep(&|call| field(call, usual()));
    }
    each(&mut keep, |call| &mut call.principal.roles);
    each(&mut keep, |call| &mut call.resource.tags);
    each(&mut keep, |call| &mut call.context.granted_roles);
    let counts: Vec<String> = keep(&|_| ()).context.approvals.keys().cloned().collect();
    for name in counts {
        keep(&|call| {
            call.context.approvals.remove(&name);
        });
        for count in [1, 2, 3] {
            keep(&|call| {
                if let Some(now) = call.context.approvals.get_mut(&name).filter(|now| **now > count) {
                    *now = count;
                }
            });
        }
    }
    let now = keep(&|_| ());
    let target = Some(now.resource.id.clone()).filter(|id| id != PROVIDER);
    let people = [("some-principal", Some(now.principal.id.clone())), ("some-target", target)];
    let people =
        people.into_iter().chain([("some-person", now.resource.owner.clone().filter(|one| *one != now.principal.id))]);
    for (name, old) in people.filter_map(|(name, old)| Some((name, old?))) {
        keep(&|call| renamed(ids(call), &old, name));
    }
    let tenants = [("some-tenant", now.resource.tenant.clone()), ("other-tenant", now.principal.tenant)];
    let tenants = tenants.into_iter().filter(|(_, tenant)| tenant.as_deref() != Some(PROVIDER));
    for (name, old) in tenants.filter_map(|(name, old)| Some((name, old?))) {
        keep(&|call| renamed(places(call), &old, name));
    }
    best
}

/// Try one change to a call: what the call is afterwards, changed only if it still shows the same.
type Keep<'a> = dyn FnMut(&dyn Fn(&mut Request)) -> Request + 'a;

/// Leave out one element of a set after the other.
fn each(keep: &mut Keep<'_>, set: fn(&mut Request) -> &mut BTreeSet<String>) {
    let all = set(&mut keep(&|_| ())).clone();
    for element in all {
        keep(&|call| {
            set(call).remove(&element);
        });
    }
}

/// Every text of a call that names a principal or a target.
fn ids(call: &mut Request) -> Vec<&mut String> {
    let (who, what) = (&mut call.principal, &mut call.resource);
    let optional = [&mut who.owner, &mut what.owner, &mut what.created_by];
    [&mut who.id, &mut what.id].into_iter().chain(optional.into_iter().flatten()).collect()
}

/// Every text of a call that names a tenant.
fn places(call: &mut Request) -> Vec<&mut String> {
    let optional = [&mut call.principal.tenant, &mut call.resource.tenant];
    [&mut call.context.tenant].into_iter().chain(optional.into_iter().flatten()).collect()
}

/// One name in place of another, wherever it stands.
fn renamed(texts: Vec<&mut String>, old: &str, new: &str) {
    for text in texts.into_iter().filter(|text| text.as_str() == old) {
        new.clone_into(text);
    }
}
