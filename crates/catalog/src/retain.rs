//! Which rows to drop: those past their time, and all of a tenant that is erased. Pure: state, rules and holds in, work
//! out. What a hold covers stays, and the plan says so.

use crate::{File, FileId, Hold, State};
use ids::{TenantId, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long rows are kept. The most exact rule decides: tenant and class, then tenant, then class, then neither; of two
/// alike the longer one. Where no rule fits, rows stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retention {
    /// Of this tenant; of all where none is named.
    pub tenant: Option<TenantId>,
    /// Of this class; of all where none is named.
    pub class_uid: Option<u32>,
    /// So many days, counted from the later of the event's day and its coming in.
    pub days: u32,
}

/// Rows to drop.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Removal {
    /// Files of which nothing stays.
    pub whole: Vec<FileId>,
    /// Files of which a part stays.
    pub rewrite: Vec<Rewrite>,
    /// The holds that keep rows which would have gone.
    pub held: BTreeSet<String>,
}

/// A file to write again without some of its tenants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rewrite {
    /// The file.
    pub file: FileId,
    /// The tenants that stay, at least one.
    pub keep: BTreeSet<TenantId>,
}

const DAY: Duration = Duration::from_hours(24);

/// What is past its time at `now`.
#[must_use]
pub fn plan_retention(state: &State, rules: &[Retention], holds: &[Hold], now: Timestamp) -> Removal {
    plan(state, holds, |file, tenant| {
        let fits = |rule: &&Retention| {
            rule.tenant.is_none_or(|own| own == tenant) && rule.class_uid.is_none_or(|class| class == file.class_uid)
        };
        let rule =
            rules.iter().filter(fits).max_by_key(|rule| (rule.tenant.is_some(), rule.class_uid.is_some(), rule.days));
        let since = file.day.end().max(file.received_max);
        rule.is_some_and(|rule| since.plus(DAY.saturating_mul(rule.days)) < now)
    })
}

/// All of a tenant.
#[must_use]
pub fn plan_erase(state: &State, tenant: TenantId, holds: &[Hold]) -> Removal {
    plan(state, holds, |_, owner| owner == tenant)
}

fn plan(state: &State, holds: &[Hold], goes: impl Fn(&File, TenantId) -> bool) -> Removal {
    let mut removal = Removal::default();
    for file in state.files.values() {
        let (mut keep, mut gone) = (BTreeSet::new(), false);
        for tenant in file.tenants() {
            let hold = holds.iter().find(|hold| hold.covers(tenant, file.class_uid, file.day));
            match (goes(file, tenant), hold) {
                (true, None) => gone = true,
                (true, Some(hold)) => {
                    removal.held.insert(hold.id.clone());
                    keep.insert(tenant);
                }
                (false, _) => {
                    keep.insert(tenant);
                }
            }
        }
        match (gone, keep.is_empty()) {
            (true, true) => removal.whole.push(file.id),
            (true, false) => removal.rewrite.push(Rewrite { file: file.id, keep }),
            (false, _) => {}
        }
    }
    removal
}
