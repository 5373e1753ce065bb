//! A small log with a provider and tenants, the same for the same seed.

use audit::{
    AgentDigests, ApprovalUse, Checkpoint, Decided, Decision, Effect, EvidenceAsk, ExportBuilder, Face, FormatVersion,
    Frontier, Leaf, LogName, NoteSigner, NoteVerifier, Origin, Outcome, Payload, Phase, Record, Salt, Target,
    TenantCheckpoint,
};
use ids::{AgentId, ApprovalId, CallId, List, Owner, Principal, RunId, TenantId, Text, Timestamp, UserId};
use seal::{Digest, SeededEntropy, SigningKey};
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) const LOG: &str = "posse.example.com/audit";
/// 2026-11-22T00:00:00Z.
const START_MICROS: i64 = 1_795_305_600_000_000;

pub(crate) type FileMap = BTreeMap<String, Vec<u8>>;

/// Entries in order, each with its payload unless that has expired.
pub(crate) type Entries = Vec<(Vec<u8>, Option<Payload>)>;

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) signer: NoteSigner,
    pub(crate) trees: BTreeMap<Owner, Entries>,
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::derive(&[name.as_bytes()])
}

pub(crate) fn signer(seed: u64) -> NoteSigner {
    NoteSigner::new(LOG, SigningKey::generate(&SeededEntropy::new(seed))).unwrap()
}

pub(crate) fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

pub(crate) fn time(index: usize) -> Timestamp {
    Timestamp::from_micros(START_MICROS + i64::try_from(index).unwrap() * 1_234_567)
}

/// The record number `index` of one owner: every third a read, every fourth by an agent under approval.
pub(crate) fn record(owner: Owner, index: usize) -> (Record, Payload) {
    let part = [owner.to_string(), index.to_string()];
    let part = [part[0].as_bytes(), part[1].as_bytes()];
    let (user, by_agent) = (Principal::User(UserId::derive(&[b"ada"])), index % 4 == 3);
    let payload = Payload {
        call: CallId::derive(&part),
        salt: Salt::from_bytes(*Digest::framed("salt", &part).as_bytes()),
        input: json!({"host": format!("web-{index}"), "minutes": index, "note": "é\n"}),
    };
    let approval = ApprovalUse {
        approval: ApprovalId::derive(&part),
        approvers: List::new(vec![Principal::User(UserId::derive(&[b"grace"]))]).unwrap(),
    };
    let record = Record {
        v: FormatVersion,
        call: payload.call,
        time: time(index),
        tenant: owner.tenant(),
        principal: if by_agent { Principal::Agent(AgentId::derive(&[b"triage"])) } else { user.clone() },
        on_behalf_of: List::new(if by_agent { vec![user] } else { Vec::new() }).unwrap(),
        run: by_agent.then(|| RunId::derive(&part)),
        operation: text(if index.is_multiple_of(3) { "case.get" } else { "host.isolate" }),
        effect: if index.is_multiple_of(3) { Effect::Read } else { Effect::Respond },
        phase: if index.is_multiple_of(3) { Phase::Call } else { Phase::Intent },
        target: Some(Target { kind: text("host"), id: text(&format!("web-{index}")) }),
        input_digest: Some(payload.digest().unwrap()),
        decision: Decision {
            outcome: if by_agent { Decided::StepUp } else { Decided::Allow },
            policies: List::new(vec![text("responder-may-isolate")]).unwrap(),
            policy_version: Some(Digest::of(b"policies")),
            rung: by_agent.then(|| text("one_responder")),
            obligations: List::new(vec![text("ttl_secs=3600")]).unwrap(),
        },
        approvals: List::new(if by_agent { vec![approval] } else { Vec::new() }).unwrap(),
        outcome: Outcome { status: 200, problem: None, error: None },
        duration_us: 1500 + u64::try_from(index).unwrap(),
        origin: Origin {
            face: if by_agent { Face::Agent } else { Face::Rest },
            address: Some(text("192.0.2.7")),
            user_agent: Some(text("curl/8.5.0")),
            request: Some(text("req-1")),
        },
        agent: by_agent.then(|| AgentDigests { model: Some(Digest::of(b"model")), ..AgentDigests::default() }),
        aggregate: None,
    };
    (record, payload)
}

/// The record on these bytes, where it is one of a call.
fn called(entry: &[u8]) -> Option<Record> {
    if let Ok(Leaf::Call(record)) = Leaf::decode(entry) { Some(*record) } else { None }
}

/// A record of a person, about this target, without approvals and without a payload that is kept.
fn plain(owner: Owner, index: usize, target: Target) -> Record {
    let (record, _) = record(owner, index);
    Record {
        phase: Phase::Call,
        target: Some(target),
        approvals: List::default(),
        agent: None,
        run: None,
        on_behalf_of: List::default(),
        input_digest: None,
        principal: Principal::User(UserId::derive(&[b"ada"])),
        decision: Decision { outcome: Decided::Allow, rung: None, ..record.decision },
        ..record
    }
}

impl Log {
    /// A log with these numbers of records per owner, whose provider commits to every tenant.
    pub(crate) fn sample(seed: u64, provider: usize, tenants: &[(&str, usize)]) -> Self {
        let mut log = Self { signer: signer(seed), trees: BTreeMap::new() };
        log.grow(Owner::Provider, provider);
        for (name, count) in tenants {
            log.grow(Owner::Tenant(tenant(name)), *count);
        }
        log.commit();
        log
    }

    /// A provider's log alone.
    pub(crate) fn provider(count: usize) -> Self {
        Self::sample(1, count, &[])
    }

    /// Append an entry as it is.
    pub(crate) fn push(&mut self, owner: Owner, entry: Vec<u8>) {
        self.trees.entry(owner).or_default().push((entry, None));
    }

    /// The entries of one tree.
    pub(crate) fn entries(&self, owner: Owner) -> &[(Vec<u8>, Option<Payload>)] {
        &self.trees[&owner]
    }

    /// Append records; every fifth payload has expired.
    pub(crate) fn grow(&mut self, owner: Owner, count: usize) {
        let tree = self.trees.entry(owner).or_default();
        for index in tree.len()..tree.len() + count {
            let (record, payload) = record(owner, index);
            let entry = Leaf::Call(Box::new(record)).encode().unwrap();
            tree.push((entry, (index % 5 != 4).then_some(payload)));
        }
    }

    /// Append the answers of those who approved what is in a tree already.
    pub(crate) fn answer(&mut self, owner: Owner) {
        let records: Vec<Record> = self.trees[&owner].iter().filter_map(|(entry, _)| called(entry)).collect();
        for before in records {
            for approval in before.approvals.iter() {
                let index = self.trees[&owner].len();
                let target = Target { kind: text("Approval"), id: text(&approval.approval.to_string()) };
                let said = Record {
                    principal: approval.approvers[0].clone(),
                    operation: text("approval.approve"),
                    effect: Effect::Govern,
                    ..plain(owner, index, target)
                };
                self.push(owner, Leaf::Call(Box::new(said)).encode().unwrap());
            }
        }
    }

    /// Erase the payload of an entry, and say so in a later one.
    pub(crate) fn erase(&mut self, owner: Owner, index: usize) {
        let entries = self.trees.get_mut(&owner).unwrap();
        entries[index].1 = None;
        let (call, at) = (called(&entries[index].0).unwrap().call, entries.len());
        let target = Target { kind: text("AuditLog"), id: text(&call.to_string()) };
        let erased =
            Record { operation: text("audit.erase_payload"), effect: Effect::Govern, ..plain(owner, at, target) };
        self.push(owner, Leaf::Call(Box::new(erased)).encode().unwrap());
    }

    /// Let the provider's tree commit to every tenant's tree as it is now.
    pub(crate) fn commit(&mut self) {
        let tenants: Vec<_> = self.trees.keys().filter_map(|owner| owner.tenant()).collect();
        for tenant in tenants {
            let frontier = self.frontier(Owner::Tenant(tenant));
            let index = self.trees[&Owner::Provider].len();
            let (v, time) = (FormatVersion, time(index));
            let leaf =
                Leaf::Checkpoint(TenantCheckpoint { v, time, tenant, size: frontier.size(), root: frontier.root() });
            self.trees.get_mut(&Owner::Provider).unwrap().push((leaf.encode().unwrap(), None));
        }
    }

    pub(crate) fn frontier(&self, owner: Owner) -> Frontier {
        let mut frontier = Frontier::new();
        self.trees[&owner].iter().for_each(|(entry, _)| drop(frontier.append(entry)));
        frontier
    }

    pub(crate) fn checkpoint(&self, owner: Owner) -> String {
        let frontier = self.frontier(owner);
        let origin = LogName::new(LOG).unwrap().origin(owner);
        Checkpoint { origin, size: frontier.size(), root: frontier.root() }.sign(&self.signer).unwrap()
    }

    pub(crate) fn key(&self) -> NoteVerifier {
        self.signer.verifier().clone()
    }

    pub(crate) fn export(&self) -> FileMap {
        let owners: Vec<_> = self.trees.keys().copied().collect();
        self.export_of(&owners)
    }

    pub(crate) fn export_of(&self, owners: &[Owner]) -> FileMap {
        self.pack_of(owners, None)
    }

    /// An evidence pack of every tree; a plain export where nothing is asked.
    pub(crate) fn pack(&self, ask: Option<&EvidenceAsk>) -> FileMap {
        let owners: Vec<_> = self.trees.keys().copied().collect();
        self.pack_of(&owners, ask)
    }

    pub(crate) fn pack_of(&self, owners: &[Owner], ask: Option<&EvidenceAsk>) -> FileMap {
        let mut files = Vec::new();
        let mut export = ExportBuilder::new(&self.signer, time(0)).unwrap();
        if let Some(ask) = ask {
            export = export.evidence(ask.clone());
        }
        for owner in owners {
            let mut tree = export.tree(*owner).unwrap();
            for (entry, payload) in &self.trees[owner] {
                files.extend(tree.push(entry, payload.as_ref()).unwrap());
            }
            files.extend(tree.finish(&self.checkpoint(*owner)).unwrap());
        }
        files.extend(export.finish().unwrap());
        files.into_iter().map(|file| (file.path, file.bytes)).collect()
    }
}
