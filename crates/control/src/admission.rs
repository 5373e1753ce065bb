//! What a handler is given: a look at what the caller can reach while the target is resolved, and afterwards a call that
//! policy let through.

use crate::context::Control;
use crate::cursor::Binding;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Limit, Page};
use ids::{CallId, CaseId, Owner, TenantId, Text, Timestamp};
use policy::Obligations;
use store::{Case, Resource, Snapshot, Stored};

/// A look at what the caller can reach, before policy is asked.
pub struct Look<'a> {
    pub(crate) control: &'a Control,
    /// Who calls.
    pub identity: &'a Identity,
    /// Everything within the caller's reach, and nothing else.
    pub snapshot: &'a Snapshot,
}

impl Look<'_> {
    /// A document in the caller's reach; `what` names it in the problem.
    pub(crate) async fn one<R: Resource>(&self, what: &str, id: &str) -> Result<Stored<R>, Refusal> {
        self.snapshot.read::<R>(id).await?.ok_or_else(|| Refusal::not_found(what))
    }

    /// Where a call acts: the named tenant where the caller can reach it, else the caller's own place.
    pub(crate) async fn place(&self, tenant: Option<TenantId>) -> Result<Owner, Refusal> {
        let Some(tenant) = tenant else { return Ok(self.identity.place()) };
        self.tenant(tenant).await?;
        Ok(Owner::Tenant(tenant))
    }

    /// That a tenant exists within the caller's reach.
    pub(crate) async fn tenant(&self, tenant: TenantId) -> Result<(), Refusal> {
        let covered = self.identity.reach().covers(Owner::Tenant(tenant));
        if covered && self.control.tenant_facts(tenant).await?.is_some() {
            Ok(())
        } else {
            Err(Refusal::not_found("tenant"))
        }
    }
}

/// A call that policy let through.
pub struct Admitted<'a> {
    pub(crate) control: &'a Control,
    /// The call's id.
    pub call: CallId,
    /// Who calls.
    pub identity: &'a Identity,
    /// What it acts on.
    pub target: &'a Target,
    /// The target's owner and nothing else (for the provider: everything).
    pub snapshot: Snapshot,
    /// Everything within the caller's reach.
    pub reach: &'a Snapshot,
    /// The time of the call.
    pub now: Timestamp,
    /// What the answer must keep to.
    pub obligations: &'a Obligations,
    /// The operation's id.
    pub(crate) operation: &'static str,
    /// The canonical input without `cursor` and `limit`: what a cursor is bound to.
    pub(crate) filter: &'a [u8],
    /// The credential of the call, where one was presented.
    pub(crate) face: api::Face,
    /// The approval that the call runs under.
    pub(crate) approval: Option<ids::ApprovalId>,
}

impl Admitted<'_> {
    /// The limit that was asked for, under the obligation on rows.
    pub(crate) fn rows(&self, limit: Limit) -> u32 {
        let most = self.obligations.max_rows.and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX);
        limit.count().min(most.max(1))
    }

    fn binding<'b>(&'b self, principal: &'b str) -> Binding<'b> {
        Binding { principal, operation: self.operation, filter: self.filter }
    }

    /// The key behind which a list goes on.
    pub(crate) fn after(&self, cursor: Option<&Text<1024>>) -> Result<Option<String>, Refusal> {
        let Some(cursor) = cursor else { return Ok(None) };
        let principal = self.identity.principal.to_string();
        let key = self.binding(&principal).read(&self.control.cursors, cursor);
        key.map(Some).ok_or_else(|| {
            Refusal::fault(
                "/cursor",
                "is not a cursor of this list; send back the `next_cursor` of a page of the same filter",
            )
        })
    }

    /// The cursor behind the item with this key.
    pub(crate) fn cursor(&self, last: &str) -> String {
        let principal = self.identity.principal.to_string();
        self.binding(&principal).write(&self.control.cursors, last)
    }

    /// One page of a list of documents of the target's owner.
    pub(crate) async fn page<R: Resource, T>(
        &self,
        owner: Option<Owner>,
        key: Option<(&'static str, String)>,
        limit: Limit,
        cursor: Option<&Text<1024>>,
        wire: impl Fn(Stored<R>) -> Result<T, Refusal>,
    ) -> Result<Page<T>, Refusal> {
        let rows = self.rows(limit);
        let after = self.after(cursor)?;
        let asked =
            store::Page { owner, after, limit: rows.saturating_add(1).min(1000), key, ..store::Page::default() };
        let mut found: Vec<Stored<R>> = self.snapshot.list(&asked).await?;
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX);
        // A page of the greatest size cannot ask for one more: there a full page is taken to have a successor.
        let more = found.len() > wanted || (rows >= 1000 && found.len() == wanted);
        found.truncate(wanted);
        let next_cursor = found.last().filter(|_| more).map(|last| self.cursor(&last.value.id()));
        let items = found.into_iter().map(wire).collect::<Result<Vec<T>, Refusal>>()?;
        Ok(Page { items, next_cursor })
    }

    /// One page of a list that is already in memory, ordered by key.
    pub(crate) fn page_of<T>(
        &self,
        all: impl IntoIterator<Item = (String, T)>,
        limit: Limit,
        cursor: Option<&Text<1024>>,
    ) -> Result<Page<T>, Refusal> {
        let wanted = usize::try_from(self.rows(limit)).unwrap_or(usize::MAX);
        let after = self.after(cursor)?;
        let mut rest = all.into_iter().skip_while(|(key, _)| after.as_ref().is_some_and(|after| key <= after));
        let taken: Vec<(String, T)> = rest.by_ref().take(wanted).collect();
        let more = rest.next().is_some();
        let next_cursor = taken.last().filter(|_| more).map(|(key, _)| self.cursor(key));
        Ok(Page { items: taken.into_iter().map(|(_, item)| item).collect(), next_cursor })
    }

    /// That the object still has the version that the caller saw.
    pub(crate) fn check_version(&self, if_match: Option<api::Etag>, version: i64) -> Result<(), Refusal> {
        match if_match {
            Some(tag) if tag.version() != version => Err(api::Problem::new(
                api::ProblemKind::PreconditionFailed,
                format!("the object now has the tag `{}`; read it again and decide anew", api::Etag::of(version)),
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// That a case which a call names belongs to the tenant that it acts in; another's is as one that is not there.
    pub(crate) async fn check_case(&self, case: Option<CaseId>) -> Result<(), Refusal> {
        let Some(case) = case else { return Ok(()) };
        let found: Option<Stored<Case>> = self.snapshot.read(&case.to_string()).await?;
        if found.is_some_and(|found| found.value.owner() == self.target.owner) {
            return Ok(());
        }
        Err(Refusal::fault("/case", "is no case of this tenant"))
    }

    /// The case of the calling run, where it is of the target's tenant.
    pub(crate) fn run_case(&self) -> Option<CaseId> {
        self.identity
            .case
            .filter(|_| self.identity.bound.is_some() && self.identity.bound == self.target.owner.tenant())
    }

    /// A document of the target's owner.
    pub(crate) async fn one<R: Resource>(&self, what: &str, id: &str) -> Result<Stored<R>, Refusal> {
        self.snapshot.read::<R>(id).await?.ok_or_else(|| Refusal::not_found(what))
    }
}
