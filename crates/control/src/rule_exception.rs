//! Exceptions from rules: Sigma filters of one tenant, each with an owner, a reason and an end.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{Etag, Gone, Page, RuleExceptionCreate, RuleExceptionDelete, RuleExceptionList};
use detection::sigma::{Collection, Filter, FilterTarget};
use ids::{Owner, Principal, RuleExceptionId, Text};
use std::time::Duration;
use store::{Changes, RuleException, Stored, User, UserState};

/// The one filter of a text.
fn read(text: &str) -> Result<Filter, Refusal> {
    let collection = Collection::load([("text", text)], &|_| None);
    if let Some(rejection) = collection.rejections.first() {
        return Err(Refusal::fault("/text", rejection.to_string()));
    }
    let mut filters = collection.filters;
    match (filters.pop(), filters.is_empty() && collection.rules.is_empty() && collection.correlations.is_empty()) {
        (Some(filter), true) => Ok(filter),
        _ => Err(Refusal::fault("/text", "is not exactly one Sigma filter; write title, logsource and `filter`")),
    }
}

pub(crate) fn wire(stored: Stored<RuleException>) -> Result<api::RuleException, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    let filter = read(&value.text)?;
    Ok(api::RuleException {
        id: value.id,
        tenant: value.tenant,
        text: Text::truncated(&value.text),
        title: Text::truncated(&filter.title),
        rules: match filter.target {
            FilterTarget::Any => Vec::new(),
            FilterTarget::Rules(rules) => rules,
        },
        reason: Text::truncated(&value.reason),
        owner: value.answerable,
        author: value.author,
        run: value.run,
        expires_at: value.expires_at,
        hits: None,
        last_hit_at: None,
        created_at,
        etag: Etag::of(version),
    })
}

impl Handle<RuleExceptionCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleExceptionCreate) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RuleExceptionCreate,
    ) -> Result<Outcome<api::RuleException>, Refusal> {
        read(&input.text)?;
        let answerable = match input.owner {
            None => admitted.identity.principal.clone(),
            Some(owner) => {
                let user: Option<Stored<User>> = admitted.reach.read(&owner.to_string()).await?;
                if user.is_none_or(|user| user.value.state != UserState::Active) {
                    return Err(Refusal::fault("/owner", "names no active user that you may know of"));
                }
                Principal::User(owner)
            }
        };
        let exception = RuleException {
            id: RuleExceptionId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: input.tenant,
            text: input.text.into_string(),
            reason: input.reason.into_string(),
            answerable,
            author: admitted.identity.principal.clone(),
            run: admitted.identity.run,
            expires_at: admitted.now.plus(Duration::from_secs(u64::from(input.ttl_secs))),
        };
        let mut changes = Changes::new();
        changes.create(&exception);
        let stored = Stored { value: exception, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<RuleExceptionList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleExceptionList) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RuleExceptionList,
    ) -> Result<Outcome<Page<api::RuleException>>, Refusal> {
        let owner = Some(admitted.target.owner);
        let counted = self.plane.as_ref().map(|plane| plane.exception_hits(input.tenant));
        let with_hits = |stored| {
            let mut exception = wire(stored)?;
            if let Some(counted) = &counted {
                let own = counted.iter().find(|own| own.exception == exception.id);
                exception.hits = Some(own.map_or(0, |own| own.hits));
                exception.last_hit_at = own.map(|own| own.last_hit_at);
            }
            Ok(exception)
        };
        Ok(Outcome::answer(admitted.page(owner, None, input.limit, input.cursor.as_ref(), with_hits).await?))
    }
}

impl Handle<RuleExceptionDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleExceptionDelete) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        let stored: Stored<RuleException> = look.one("exception", &input.exception.to_string()).await?;
        if stored.value.tenant != input.tenant {
            return Err(Refusal::not_found("exception"));
        }
        let target = Target::new("RuleException", input.exception.to_string(), Owner::Tenant(stored.value.tenant));
        Ok(target.made_by(stored.value.author).answered_by(stored.value.answerable))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleExceptionDelete) -> Result<Outcome<Gone>, Refusal> {
        let id = input.exception.to_string();
        let before: Stored<RuleException> = admitted.one("exception", &id).await?;
        admitted.check_version(input.if_match, before.version)?;
        let mut changes = Changes::new();
        changes.delete::<RuleException>(&id, Owner::Tenant(before.value.tenant), before.version);
        Ok(Outcome::changed(Gone { id }, changes))
    }
}
