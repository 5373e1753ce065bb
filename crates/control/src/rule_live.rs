//! What runs where: from stored rules, packs, assignments and exceptions to one rule set for each tenant, and what the
//! data plane said of it. Derived state only: it may be thrown away, and is made anew at every start.

use crate::context::Control;
use crate::decide::all;
use crate::refusal::Refusal;
use crate::rule_text::RuleText;
use api::{DataPlane, RuleFlaw, RuleReport, RuleSet, RuleStatus};
use detection::shipped;
use ids::{RuleId, RulePackId, Scope, TenantId, Timestamp};
use seal::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use store::{Rule, RuleException, RulePack, RulePackAssignment, RulePackRule, RuleVersion, Snapshot, Stored, Tenant};

/// The kinds of documents from which rule sets are made, beside the tenants.
pub(crate) const KINDS: [&str; 6] =
    ["rule", "rule_exception", "rule_pack", "rule_pack_assignment", "rule_pack_rule", "rule_version"];

/// The id of the pack that ships.
pub(crate) fn shipped_id() -> RulePackId {
    RulePackId::derive(&[b"posse"])
}

/// Everything that rule sets are made of.
pub(crate) struct RuleStock {
    /// The provider's running rules, which run everywhere.
    provider: Option<Arc<api::RulePack>>,
    own: BTreeMap<TenantId, Vec<api::RuleText>>,
    packs: BTreeMap<RulePackId, (Option<TenantId>, Arc<api::RulePack>)>,
    assigned: BTreeMap<TenantId, Vec<RulePackAssignment>>,
    exceptions: BTreeMap<TenantId, Vec<RuleException>>,
    /// Which version of a rule runs.
    versions: HashMap<RuleId, u32>,
}

impl RuleStock {
    /// Read it all; the snapshot is the provider's.
    pub(crate) async fn read(snapshot: &Snapshot) -> Result<Self, Refusal> {
        let (mut own, mut provider) = (BTreeMap::<TenantId, Vec<api::RuleText>>::new(), Vec::new());
        let mut versions = HashMap::new();
        for head in running(snapshot).await? {
            let Some(number) = head.running else { continue };
            versions.insert(head.id, number);
            let version: Option<Stored<RuleVersion>> = snapshot.read(&RuleVersion::key(head.id, number)).await?;
            let Some(version) = version else { continue };
            let text = api::RuleText {
                id: Some(head.id),
                name: head.sigma_id,
                digest: version.value.digest,
                text: version.value.text,
                shadow: head.shadow,
            };
            match head.tenant {
                Some(tenant) => own.entry(tenant).or_default().push(text),
                None => provider.push(text),
            }
        }
        let mut packs = BTreeMap::from([(shipped_id(), (None, shipped_pack()))]);
        let mut contents: HashMap<RulePackId, Vec<api::RuleText>> = HashMap::new();
        for rule in all::<RulePackRule>(snapshot).await? {
            contents.entry(rule.value.pack).or_default().push(api::RuleText {
                id: None,
                name: rule.value.sigma_id,
                digest: rule.value.digest,
                text: rule.value.text,
                shadow: false,
            });
        }
        for pack in all::<RulePack>(snapshot).await? {
            let rules = contents.remove(&pack.value.id).unwrap_or_default();
            packs.insert(pack.value.id, (pack.value.tenant, Arc::new(pack_of(rules))));
        }
        let mut assigned = BTreeMap::<TenantId, Vec<RulePackAssignment>>::new();
        for one in all::<RulePackAssignment>(snapshot).await? {
            assigned.entry(one.value.tenant).or_default().push(one.value);
        }
        let mut exceptions = BTreeMap::<TenantId, Vec<RuleException>>::new();
        for one in all::<RuleException>(snapshot).await? {
            exceptions.entry(one.value.tenant).or_default().push(one.value);
        }
        let provider = (!provider.is_empty()).then(|| Arc::new(pack_of(provider)));
        Ok(Self { provider, own, packs, assigned, exceptions, versions })
    }

    /// The exceptions that hold in a tenant now.
    pub(crate) fn exceptions_of(&self, tenant: TenantId, now: Timestamp) -> Vec<api::RuleText> {
        let own = self.exceptions.get(&tenant).into_iter().flatten();
        let text = |one: &RuleException| api::RuleText {
            id: None,
            name: one.id.to_string(),
            digest: Digest::of(one.text.as_bytes()).to_hex(),
            text: one.text.clone(),
            shadow: false,
        };
        own.filter(|one| one.expires_at > now).map(text).collect()
    }

    /// What runs in a tenant now.
    pub(crate) fn set_of(&self, tenant: TenantId, now: Timestamp) -> RuleSet {
        let mut rules = self.own.get(&tenant).cloned().unwrap_or_default();
        rules.extend(self.exceptions_of(tenant, now));
        rules.sort_by(|one, other| one.name.cmp(&other.name));
        let assigned = self.assigned.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let mut on: BTreeSet<RulePackId> = [shipped_id()].into();
        let mut off = BTreeSet::new();
        for one in assigned {
            if one.on {
                on.insert(one.pack);
                off.extend(one.off.iter().cloned());
            } else {
                on.remove(&one.pack);
            }
        }
        let reachable = |owner: &Option<TenantId>| owner.is_none_or(|owner| owner == tenant);
        let chosen = on.iter().filter_map(|id| self.packs.get(id)).filter(|(owner, _)| reachable(owner));
        let packs: Vec<Arc<api::RulePack>> =
            self.provider.iter().cloned().chain(chosen.map(|(_, pack)| pack.clone())).collect();
        let digest = set_digest(&rules, &packs, &off);
        RuleSet { digest, rules, packs, off }
    }
}

/// The heads of all rules of which a version runs.
async fn running(snapshot: &Snapshot) -> Result<Vec<Rule>, Refusal> {
    let mut found: Vec<Rule> = Vec::new();
    loop {
        let after = found.last().map(|last| last.id.to_string());
        let key = Some(("running", "true".to_owned()));
        let page = store::Page { after, limit: 1000, key, ..store::Page::default() };
        let more: Vec<Stored<Rule>> = snapshot.list(&page).await?;
        let whole = more.len() >= 1000;
        found.extend(more.into_iter().map(|stored| stored.value));
        if !whole {
            return Ok(found);
        }
    }
}

fn pack_of(mut rules: Vec<api::RuleText>) -> api::RulePack {
    rules.sort_by(|one, other| one.name.cmp(&other.name));
    let parts: Vec<&[u8]> = rules.iter().flat_map(rule_parts).collect();
    api::RulePack { digest: Digest::framed("posse-rule-pack-v1", &parts).to_hex(), rules }
}

fn rule_parts(rule: &api::RuleText) -> [&[u8]; 3] {
    [rule.name.as_bytes(), rule.digest.as_bytes(), if rule.shadow { b"shadow" } else { b"live" }]
}

fn set_digest(rules: &[api::RuleText], packs: &[Arc<api::RulePack>], off: &BTreeSet<String>) -> String {
    let own = pack_of(rules.to_vec()).digest;
    let mut parts: Vec<&[u8]> = vec![own.as_bytes()];
    parts.extend(packs.iter().map(|pack| pack.digest.as_bytes()));
    parts.push(b"off");
    parts.extend(off.iter().map(String::as_bytes));
    Digest::framed("posse-rule-set-v1", &parts).to_hex()
}

/// The pack that ships; read once.
pub(crate) fn shipped_pack() -> Arc<api::RulePack> {
    static PACK: LazyLock<Arc<api::RulePack>> = LazyLock::new(|| {
        // A test reads every shipped rule, so that none is left out here.
        let rules = shipped::RULES.iter().filter_map(|(file, text)| {
            Some(api::RuleText {
                id: None,
                name: RuleText::read(file, text).ok()?.sigma_id,
                digest: Digest::of(text.as_bytes()).to_hex(),
                text: (*text).to_owned(),
                shadow: false,
            })
        });
        Arc::new(pack_of(rules.collect()))
    });
    PACK.clone()
}

/// What the data plane was given last, and what it said.
#[derive(Default)]
pub(crate) struct RuleBoard {
    applied: Mutex<Applied>,
    /// What was read last, and the state of the documents that it was read from. Held by whoever carries rules over:
    /// an older set must not come after a newer one.
    stock: tokio::sync::Mutex<Option<(u64, RuleStock)>>,
}

#[derive(Default)]
struct Applied {
    /// States of the tenants and of the other documents at which the last round found nothing left.
    generation: Option<(u64, u64)>,
    /// When the next exception expires.
    again_at: Option<Timestamp>,
    tenants: HashMap<TenantId, Carried>,
}

/// What one tenant was given.
struct Carried {
    /// Digest of the set.
    digest: String,
    report: RuleReport,
    /// The versions of stored rules in it.
    versions: HashMap<RuleId, u32>,
}

impl RuleBoard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of a rule that runs.
    pub(crate) fn status(&self, rule: &Rule) -> RuleStatus {
        let applied = self.lock();
        let concerned: Vec<_> =
            applied.tenants.iter().filter(|(tenant, _)| rule.tenant.is_none_or(|own| own == **tenant)).collect();
        let flaw = |tenant: TenantId, fault: &api::RuleFault| RuleFlaw {
            tenant,
            fatal: fault.fatal,
            reason: fault.reason.clone(),
        };
        let mut faults: Vec<RuleFlaw> = concerned
            .iter()
            .flat_map(|(tenant, carried)| {
                carried
                    .report
                    .faults
                    .iter()
                    .filter(|fault| fault.name == rule.sigma_id)
                    .map(|fault| flaw(**tenant, fault))
            })
            .collect();
        faults.sort_by_key(|fault| fault.tenant);
        let given = |carried: &Carried| carried.versions.get(&rule.id).copied() == rule.running;
        let everywhere = !concerned.is_empty() && concerned.iter().all(|(_, carried)| given(carried));
        RuleStatus { running: everywhere && faults.iter().all(|fault| !fault.fatal), faults }
    }
}

impl Control {
    /// What should run in a tenant now, as it is committed.
    ///
    /// # Errors
    /// State could not be read.
    pub async fn rule_set(&self, tenant: TenantId) -> Result<RuleSet, Refusal> {
        Ok(RuleStock::read(&self.store.snapshot(Scope::Provider)).await?.set_of(tenant, self.now()))
    }

    /// Give a new tenant its rules, so that they run before it is told that records may be sent.
    pub(crate) async fn carry_first_rules(&self, plane: &dyn DataPlane, tenant: TenantId) -> Result<(), Refusal> {
        if self.rules.lock().tenants.contains_key(&tenant) {
            return Ok(());
        }
        {
            let (kept, now) = (self.rules.stock.lock().await, self.now());
            let there: Option<Stored<Tenant>> =
                self.store.snapshot(Scope::Tenant(tenant)).read(&tenant.to_string()).await?;
            if let Some((read_at, stock)) = kept.as_ref()
                && *read_at == self.store.generation(&KINDS)
                && there.is_some()
            {
                // All tenants are looked through where one came or went, once for many and not for each of them.
                self.carry_to(plane, stock, tenant, now);
                return Ok(());
            }
        }
        self.carry_rules(plane).await
    }

    /// Carry what is committed over to the data plane: every tenant whose set is another than the one it has.
    pub(crate) async fn carry_rules(&self, plane: &dyn DataPlane) -> Result<(), Refusal> {
        let mut kept = self.rules.stock.lock().await;
        let now = self.now();
        let (of_tenants, of_rules) = (self.store.generation(&["tenant"]), self.store.generation(&KINDS));
        let generation = (of_tenants, of_rules);
        {
            let applied = self.rules.lock();
            if applied.generation == Some(generation) && applied.again_at.is_none_or(|at| at > now) {
                return Ok(());
            }
        }
        let snapshot = self.store.snapshot(Scope::Provider);
        let tenants: BTreeSet<TenantId> =
            all::<Tenant>(&snapshot).await?.iter().map(|tenant| tenant.value.id).collect();
        if kept.as_ref().is_none_or(|(read_at, _)| *read_at != of_rules) {
            *kept = Some((of_rules, RuleStock::read(&snapshot).await?));
        }
        let Some((_, stock)) = kept.as_ref() else { return Ok(()) };
        let mut complete = true;
        // Where only tenants came or went, those that have their rules keep them.
        let settled: BTreeSet<TenantId> = {
            let applied = self.rules.lock();
            let same = applied.generation.is_some_and(|(_, rules)| rules == of_rules);
            let same = same && applied.again_at.is_none_or(|at| at > now);
            if same { applied.tenants.keys().copied().collect() } else { BTreeSet::new() }
        };
        for tenant in tenants.difference(&settled) {
            complete &= self.carry_to(plane, stock, *tenant, now);
        }
        let ends = stock.exceptions.values().flatten().map(|one| one.expires_at).filter(|end| *end > now);
        let mut applied = self.rules.lock();
        applied.again_at = ends.min();
        applied.generation = complete.then_some(generation);
        applied.tenants.retain(|tenant, _| tenants.contains(tenant));
        Ok(())
    }

    /// Carry one tenant's rules over where they are others than it has; false where they were not taken.
    fn carry_to(&self, plane: &dyn DataPlane, stock: &RuleStock, tenant: TenantId, now: Timestamp) -> bool {
        let set = stock.set_of(tenant, now);
        let digest = set.digest.clone();
        let texts = set.rules.iter().chain(set.packs.iter().flat_map(|pack| &pack.rules));
        let versions: HashMap<RuleId, u32> =
            texts.filter_map(|text| Some((text.id?, *stock.versions.get(&text.id?)?))).collect();
        if let Some(carried) = self.rules.lock().tenants.get_mut(&tenant)
            && carried.digest == digest
        {
            // A version may have the text of another one.
            carried.versions = versions;
            return true;
        }
        match plane.set_rules(tenant, set) {
            Ok(report) => {
                for fault in report.faults.iter().filter(|fault| fault.fatal) {
                    tracing::warn!(%tenant, rule = fault.name, reason = fault.reason, "a rule does not run");
                }
                self.rules.lock().tenants.insert(tenant, Carried { digest, report, versions });
                true
            }
            Err(problem) => {
                tracing::error!(%tenant, %problem, "the data plane did not take the rules; it is tried again");
                false
            }
        }
    }
}
