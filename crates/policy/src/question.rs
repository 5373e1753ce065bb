//! From the platform's facts to Cedar's request and entities, and one evaluation.
//!
//! Builds the few entities of one call and nothing more: the policies were validated to look no further
//! (dereference level 1). Does not validate the facts against the schema again on each call; the types here are
//! such that they conform, which a property test shows.

use crate::{
    facts::{ContextFacts, Request, ResourceFacts},
    polarity::{EVIDENCE_ALL, Point},
    schema::{PRINCIPAL_KINDS, principal_type},
    slices::Fact,
    spec::{APPROVAL_COUNTS, AUTONOMIES, EVIDENCE, NAMESPACE, ORIGINS, PROVIDER},
};
use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, EvalResult, Expression, PolicySet,
    Request as CedarRequest, RestrictedExpression, eval_expression,
};
use ids::PrincipalKind;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The entity type names, parsed once.
#[derive(Debug)]
pub(crate) struct Names {
    types: HashMap<String, EntityTypeName>,
    principals: [EntityTypeName; 6],
    role: EntityTypeName,
    tenant: EntityTypeName,
    provider: EntityUid,
}

/// A question that cannot be put: a bug of the platform.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wrong(pub(crate) String);

fn wrong(error: impl std::fmt::Display) -> Wrong {
    Wrong(error.to_string())
}

impl Names {
    pub(crate) fn new(types: impl IntoIterator<Item = String>) -> Result<Self, Wrong> {
        let name = |short: &str| format!("{NAMESPACE}::{short}").parse::<EntityTypeName>().map_err(wrong);
        let [agent, rule, sensor, service, system, user] = PRINCIPAL_KINDS.map(principal_type);
        let principals = [name(agent)?, name(rule)?, name(sensor)?, name(service)?, name(system)?, name(user)?];
        let mut known = HashMap::new();
        for short in types {
            known.insert(short.clone(), name(&short)?);
        }
        Ok(Self {
            types: known,
            principals,
            role: name("Role")?,
            tenant: name("Tenant")?,
            provider: EntityUid::from_type_name_and_id(name("Provider")?, EntityId::new(PROVIDER)),
        })
    }

    pub(crate) fn principal_type(&self, kind: PrincipalKind) -> &EntityTypeName {
        let [agent, rule, sensor, service, system, user] = &self.principals;
        match kind {
            PrincipalKind::Agent => agent,
            PrincipalKind::Rule => rule,
            PrincipalKind::Sensor => sensor,
            PrincipalKind::Service => service,
            PrincipalKind::System => system,
            PrincipalKind::User => user,
        }
    }

    /// A role as an entity.
    pub(crate) fn role(&self, role: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.role.clone(), EntityId::new(role))
    }

    pub(crate) fn action(id: &str) -> Result<EntityUid, Wrong> {
        let kind: EntityTypeName = format!("{NAMESPACE}::Action").parse().map_err(wrong)?;
        Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
    }
}

/// One call as Cedar sees it; the context can be made again with other approvals and evidence.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) principal: EntityUid,
    pub(crate) base: Point,
    action: EntityUid,
    resource: EntityUid,
    entities: Entities,
    request: &'a Request,
    facts: &'a ContextFacts,
    looked_at: &'a [&'static str],
}

impl<'a> Question<'a> {
    pub(crate) fn new(
        names: &Names,
        action: &Entity,
        request: &'a Request,
        looked_at: &'a [&'static str],
    ) -> Result<Self, Wrong> {
        let facts = &request.context;
        if !ORIGINS.contains(&facts.origin.as_str()) {
            return Err(Wrong(format!("`{}` is no origin", facts.origin)));
        }
        if !AUTONOMIES.contains(&facts.autonomy.as_str()) {
            return Err(Wrong(format!("`{}` is no autonomy", facts.autonomy)));
        }
        let principal = EntityUid::from_type_name_and_id(
            names.principal_type(request.principal.kind).clone(),
            EntityId::new(&request.principal.id),
        );
        let kind = names.types.get(&request.resource.kind);
        let kind = kind.ok_or_else(|| Wrong(format!("`{}` is no type of target", request.resource.kind)))?;
        let resource = EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(&request.resource.id));
        let entities = entities(names, &principal, &resource, action, request)?;
        Ok(Self { principal, base: base(facts)?, action: action.uid(), resource, entities, request, facts, looked_at })
    }

    /// The entities above the principal, itself among them.
    pub(crate) fn principal_and_ancestors(&self) -> Vec<&EntityUid> {
        let mut all: Vec<_> = self.entities.ancestors(&self.principal).into_iter().flatten().collect();
        all.push(&self.principal);
        all
    }

    /// The words of a fact, those of `entities` and `context`.
    pub(crate) fn words(&self, fact: Fact, mut take: impl FnMut(&str)) {
        let (request, facts) = (self.request, self.facts);
        let many = |words: &BTreeSet<String>, take: &mut dyn FnMut(&str)| words.iter().for_each(|word| take(word));
        match fact {
            Fact::Origin => take(&facts.origin),
            Fact::ResourceId => take(&request.resource.id),
            Fact::ResourceTags => {
                many(&request.resource.tags, &mut take);
                if self.principal == self.resource {
                    many(&request.principal.tags, &mut take);
                }
            }
            Fact::Tenant => take(&facts.tenant),
            Fact::TenantTags => many(&facts.tenant_tags, &mut take),
        }
    }

    /// Cedar's request with these approvals and this evidence.
    pub(crate) fn at(&self, point: &Point) -> Result<CedarRequest, Wrong> {
        let context = context(self.facts, point, self.looked_at)?;
        CedarRequest::new(self.principal.clone(), self.action.clone(), self.resource.clone(), context, None)
            .map_err(wrong)
    }

    /// Whether an expression holds; none where it cannot be evaluated.
    pub(crate) fn ask(&self, request: &CedarRequest, expression: &Expression) -> Option<bool> {
        match eval_expression(request, &self.entities, expression) {
            Ok(EvalResult::Bool(holds)) => Some(holds),
            _ => None,
        }
    }

    /// Whether the only policy of a set holds, by Cedar's authorizer; none where it cannot be evaluated.
    pub(crate) fn ask_authorizer(&self, request: &CedarRequest, alone: &PolicySet) -> Option<bool> {
        let response = Authorizer::new().is_authorized(request, alone, &self.entities);
        let failed = response.diagnostics().errors().next().is_some();
        (!failed).then(|| response.diagnostics().reason().next().is_some())
    }

    #[cfg(test)]
    pub(crate) fn entities(&self) -> &Entities {
        &self.entities
    }
}

fn base(facts: &ContextFacts) -> Result<Point, Wrong> {
    let mut point = Point { counts: [0; APPROVAL_COUNTS.len()], evidence: 0 };
    for (name, count) in &facts.approvals {
        let index = APPROVAL_COUNTS.iter().position(|known| known == name);
        let slot = index.and_then(|index| point.counts.get_mut(index));
        *slot.ok_or_else(|| Wrong(format!("`{name}` is no count of approvals")))? = *count;
    }
    for (name, there) in &facts.evidence {
        let index = EVIDENCE.iter().position(|known| known == name);
        let index = index.ok_or_else(|| Wrong(format!("`{name}` is no evidence")))?;
        point.evidence |= u8::from(*there) << index;
    }
    debug_assert_eq!(point.evidence & !EVIDENCE_ALL, 0, "evidence has a bit for each fact");
    Ok(point)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn set(values: &BTreeSet<String>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.iter().map(|value| text(value)))
}

fn entities(
    names: &Names,
    principal: &EntityUid,
    resource: &EntityUid,
    action: &Entity,
    request: &Request,
) -> Result<Entities, Wrong> {
    let who = &request.principal;
    let roles = who.roles.iter();
    let mut above: HashSet<EntityUid> =
        roles.map(|role| EntityUid::from_type_name_and_id(names.role.clone(), EntityId::new(role))).collect();
    let same = principal == resource;
    if same {
        // A principal that is its own target is one entity: both sets of parents.
        above.extend(parents(names, &request.resource));
    } else if let Some(tenant) = &who.tenant {
        above.insert(EntityUid::from_type_name_and_id(names.tenant.clone(), EntityId::new(tenant)));
    }
    let own = ResourceFacts {
        kind: who.kind.as_str().to_owned(),
        id: who.id.clone(),
        tenant: who.tenant.clone().or_else(|| request.resource.tenant.clone().filter(|_| same)),
        owner: who.owner.clone().or_else(|| request.resource.owner.clone().filter(|_| same)),
        created_by: request.resource.created_by.clone().filter(|_| same),
        tags: if same { who.tags.union(&request.resource.tags).cloned().collect() } else { who.tags.clone() },
    };
    let mut all = vec![entity(principal, &own, above)?, action.clone()];
    if !same {
        all.push(entity(resource, &request.resource, parents(names, &request.resource))?);
    }
    Entities::from_entities(all, None).map_err(wrong)
}

fn parents(names: &Names, resource: &ResourceFacts) -> HashSet<EntityUid> {
    let tenant = resource.tenant.as_ref().filter(|_| resource.kind != "Tenant");
    let tenant = tenant.map(|id| EntityUid::from_type_name_and_id(names.tenant.clone(), EntityId::new(id)));
    let provider = Some(names.provider.clone()).filter(|_| resource.kind != "Provider");
    tenant.into_iter().chain(provider).collect()
}

fn entity(uid: &EntityUid, facts: &ResourceFacts, parents: HashSet<EntityUid>) -> Result<Entity, Wrong> {
    let optional = [("owner", &facts.owner), ("tenant", &facts.tenant), ("created_by", &facts.created_by)];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value.as_ref()?))));
    let attributes = [
        ("id".to_owned(), text(&facts.id)),
        ("kind".to_owned(), text(&facts.kind)),
        ("tags".to_owned(), set(&facts.tags)),
    ];
    Entity::new(uid.clone(), attributes.into_iter().chain(optional).collect(), parents).map_err(wrong)
}

/// Every name of `context` in the schema.
pub(crate) const CONTEXT: [&str; 18] = [
    "approvals",
    "autonomy",
    "break_glass",
    "budget_left",
    "evidence",
    "granted_roles",
    "hour",
    "now_micros",
    "on_behalf_of",
    "origin",
    "recent_count",
    "self_approval",
    "tainted",
    "target_count",
    "target_in_case",
    "tenant",
    "tenant_tags",
    "weekday",
];

/// Those names of the context that some policy looks at.
fn context(facts: &ContextFacts, point: &Point, looked_at: &[&'static str]) -> Result<Context, Wrong> {
    let mut pairs = Vec::with_capacity(looked_at.len());
    for name in looked_at {
        pairs.push(((*name).to_owned(), fact(facts, point, name)?));
    }
    Context::from_pairs(pairs).map_err(wrong)
}

fn fact(facts: &ContextFacts, point: &Point, name: &str) -> Result<RestrictedExpression, Wrong> {
    let long = RestrictedExpression::new_long;
    let truth = RestrictedExpression::new_bool;
    let now = facts.now.as_micros();
    Ok(match name {
        "approvals" => {
            let counts = APPROVAL_COUNTS.iter().zip(point.counts);
            RestrictedExpression::new_record(counts.map(|(name, count)| ((*name).to_owned(), long(count))))
                .map_err(wrong)?
        }
        "autonomy" => text(&facts.autonomy),
        "break_glass" => truth(facts.break_glass),
        "budget_left" => long(facts.budget_left),
        "evidence" => {
            let there = |index: usize| truth(point.evidence & (1 << index) != 0);
            let evidence = EVIDENCE.iter().enumerate().map(|(index, name)| ((*name).to_owned(), there(index)));
            RestrictedExpression::new_record(evidence).map_err(wrong)?
        }
        "granted_roles" => set(&facts.granted_roles),
        "hour" => long(now.div_euclid(3_600_000_000).rem_euclid(24)),
        "now_micros" => long(now),
        "on_behalf_of" => set(&facts.on_behalf_of),
        "origin" => text(&facts.origin),
        "recent_count" => long(facts.recent_count),
        "self_approval" => truth(facts.self_approval),
        "tainted" => truth(facts.tainted),
        "target_count" => long(facts.target_count),
        "target_in_case" => truth(facts.target_in_case),
        "tenant" => text(&facts.tenant),
        "tenant_tags" => set(&facts.tenant_tags),
        // 1970-01-01 was a Thursday, the fourth day of the week.
        "weekday" => long((now.div_euclid(86_400_000_000) + 3).rem_euclid(7) + 1),
        other => return Err(Wrong(format!("`{other}` is not in the context"))),
    })
}
