//! The fast evaluator: all rules of a source in one immutable matcher.
//!
//! A record is parsed and walked once; its channel and event id choose partitions; in each partition the needles of the
//! rules' witnesses are looked for per field; rules whose witness occurred are candidates, and only their programs
//! run, over tests that all rules share. Everything per record lives in a [`Scratch`] that is reused: a record without a
//! match allocates nothing. Agrees with [`crate::reference`] on every record, or a test fails.

mod ask;
mod extract;
mod glob;
mod index;
mod needle;
mod program;
mod table;
mod typical;
mod witness;

use crate::profile::{CHANNEL, EVENT_ID, Gate, Profile};
use crate::sigma::Rule;
use crate::value::Leaf;
use event::View;
use extract::{Trie, Values};
use index::{Index, Target};
use needle::Finding;
use program::{Check, Interner, KEYWORD, Programs, Texts, Tree};
use std::collections::{BTreeMap, HashMap};
use table::{NONE, Names, Table};

/// Most pairs of channel and event id under which one rule is listed; above, its event ids are not used to route.
const ROUTES_MAX: usize = 512;

/// An engine of fewer rules saves memory: there may be one for each of hundreds of tenants.
const ROOMY_RULES_MIN: usize = 64;

/// All rules of one source, compiled. Immutable; share it between threads, one [`Scratch`] each.
#[derive(Debug)]
pub struct Engine {
    trie: Trie,
    checks: Box<[Check]>,
    texts: Texts,
    programs: Programs,
    /// By rule, the root of its program; `NONE` for a rule that is never asked here.
    roots: Box<[u32]>,
    fields: u32,
    channels: Names,
    event_ids: Names,
    routes: Table,
    route_keys: Box<[(u32, u32)]>,
    partitions: Box<[Partition]>,
    /// The numbers of the channel fields, then of the event id fields.
    route_fields: [[u32; 2]; 2],
    asked: usize,
}

/// The rules of one pair of channel and event id, either of which may be any.
#[derive(Debug, Default)]
struct Partition {
    indexes: Box<[(u32, Index)]>,
    keywords: Option<Box<Index>>,
    /// Rules without a witness.
    always: Box<[u32]>,
}

/// How a rule comes to be asked, beyond its log source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Only where a text of it was found in the event.
    Found,
    /// Where the event has its field.
    FieldPresent,
    /// Always.
    EveryEvent,
}

impl Cost {
    /// The cost of each rule.
    #[must_use]
    pub fn of(rules: &[Rule]) -> Vec<Self> {
        let mut interner = Interner::default();
        rules
            .iter()
            .map(|rule| {
                let tree = interner.tree(&rule.expr);
                let Some(witness) = witness::witness(&tree, &interner, &[]) else {
                    return if tree.never() { Self::Found } else { Self::EveryEvent };
                };
                let present = |test: &u32| interner.findings.get(*test as usize) == Some(&Finding::Presence);
                if witness.tests.iter().any(present) { Self::FieldPresent } else { Self::Found }
            })
            .collect()
    }
}

/// The buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    values: Values<'static>,
    /// By test: the record's epoch times two, plus one where it holds.
    memo: Vec<u32>,
    /// By rule: the epoch in which it became a candidate.
    listed: Vec<u32>,
    candidates: Vec<u32>,
    partitions: Vec<u32>,
    epoch: u32,
    other: String,
    joined: String,
    keywords_read: bool,
}

impl Engine {
    /// Compile rules for the records of a profile. Rules of other sources cost nothing.
    #[must_use]
    pub fn compile(rules: &[Rule], profile: &Profile) -> Self {
        let roomy = rules.len() >= ROOMY_RULES_MIN;
        let mut interner = Interner::new(roomy);
        let route_fields = [
            [interner.field(CHANNEL), interner.field("Channel")],
            [interner.field(EVENT_ID), interner.field("EventID")],
        ];
        let mut trees = Vec::with_capacity(rules.len());
        for rule in rules {
            trees.push(match profile.gate(&rule.logsource) {
                Gate::Closed(_) => Tree::Any(Vec::new()),
                Gate::Open(gate) => {
                    let gate = interner.tree(&gate);
                    let own = interner.tree(&rule.expr);
                    join(gate, own)
                }
            });
        }
        let mut programs = Programs::default();
        let mut builder = RouteBuilder::default();
        let mut roots = Vec::with_capacity(rules.len());
        for (tree, rule) in trees.iter().zip(0_u32..) {
            if tree.never() {
                roots.push(NONE);
                continue;
            }
            roots.push(programs.add(tree, &interner.checks));
            builder.place(tree, rule, &interner, &route_fields);
        }
        let (channels, event_ids, keys, drafts) = builder.finish();
        let pairs: Vec<(u32, u32)> =
            keys.iter().zip(0_u32..).map(|((channel, id), number)| (route_hash(*channel, *id), number)).collect();
        programs.shrink();
        let trie = Trie::new(&interner.fields, profile);
        let fields = u32::try_from(interner.fields.len()).unwrap_or(KEYWORD);
        let (checks, texts) = interner.finish();
        Self {
            trie,
            fields,
            partitions: drafts.into_iter().map(|draft| draft.finish(roomy)).collect(),
            asked: roots.iter().filter(|root| **root != NONE).count(),
            checks,
            texts,
            programs,
            roots: roots.into_boxed_slice(),
            channels,
            event_ids,
            routes: Table::new(&pairs),
            route_keys: keys.into_boxed_slice(),
            route_fields,
        }
    }

    /// How many of the rules can hold of a record of this profile.
    #[must_use]
    pub const fn rules_asked(&self) -> usize {
        self.asked
    }

    /// How many different tests the rules share.
    #[must_use]
    pub fn tests(&self) -> usize {
        self.checks.len()
    }

    /// The positions, in the slice given to [`Self::compile`], of the rules that hold of a record; ascending.
    pub fn matches(&self, view: &View<'_>, scratch: &mut Scratch, out: &mut Vec<u32>) {
        out.clear();
        if self.run(view, scratch, out, false) {
            return;
        }
        // A key stands twice in an object: as other JSON readers do, keep the last. Rare, so it may allocate.
        out.clear();
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(view.raw()) else { return };
        let Ok(bytes) = serde_json::to_vec(&value) else { return };
        if let Ok(view) = event::Parser::new().parse(&bytes) {
            self.run(&view, scratch, out, true);
        }
    }

    /// False where a key is doubled and that is not `admitted`.
    fn run(&self, view: &View<'_>, scratch: &mut Scratch, out: &mut Vec<u32>, admitted: bool) -> bool {
        scratch.begin(self);
        let mut values = std::mem::take(&mut scratch.values).reuse();
        values.read(&self.trie, (self.fields as usize).saturating_add(1), view.root());
        let single = admitted || !values.doubled;
        if single {
            self.list_candidates(view, &mut values, scratch);
            scratch.candidates.sort_unstable();
            let candidates = std::mem::take(&mut scratch.candidates);
            for rule in &candidates {
                if let Some(root) = self.roots.get(*rule as usize)
                    && self.programs.run(*root, &mut |test| self.ask(test, view, &mut values, scratch))
                {
                    out.push(*rule);
                }
            }
            scratch.candidates = candidates;
        }
        scratch.values = values.reuse();
        single
    }

    fn list_candidates<'v>(&self, view: &'v View<'_>, values: &mut Values<'v>, scratch: &mut Scratch) {
        self.choose_partitions(values, scratch);
        let chosen = std::mem::take(&mut scratch.partitions);
        for partition in chosen.iter().filter_map(|number| self.partitions.get(*number as usize)) {
            let mut list = Lister {
                memo: &mut scratch.memo,
                listed: &mut scratch.listed,
                candidates: &mut scratch.candidates,
                epoch: scratch.epoch,
            };
            partition.always.iter().for_each(|rule| list.rule(*rule));
            for (field, index) in &partition.indexes {
                if values.present(*field) {
                    scan(index, *field, values, &mut list);
                }
            }
            if let Some(index) = &partition.keywords {
                scratch.joined.clear();
                values.join_all(view.root(), index.bytes_min(), &mut scratch.joined);
                if !index.may_occur(scratch.joined.as_bytes()) {
                    continue;
                }
                if !scratch.keywords_read {
                    scratch.keywords_read = true;
                    values.read_all(self.fields, view.root());
                }
                scan(index, self.fields, values, &mut list);
            }
        }
        scratch.partitions = chosen;
    }

    /// Every partition of a channel of the record, or any, with an event id of the record, or any.
    fn choose_partitions(&self, values: &mut Values<'_>, scratch: &mut Scratch) {
        scratch.partitions.clear();
        let [channel_fields, id_fields] = &self.route_fields;
        // The channel list is short: one value, rarely two; the same values come under both names of a field.
        self.each_route(&self.channels, channel_fields, values, &mut |engine, channel, values| {
            engine.each_route(&engine.event_ids, id_fields, values, &mut |engine, id, _| {
                let found = engine.routes.find(route_hash(channel, id), |number| {
                    engine.route_keys.get(number as usize) == Some(&(channel, id))
                });
                if let Some(number) = found
                    && !scratch.partitions.contains(&number)
                {
                    scratch.partitions.push(number);
                }
            });
        });
    }

    /// The known names among the values of the fields, and `NONE` for any.
    fn each_route<'v>(
        &self,
        names: &Names,
        fields: &[u32],
        values: &mut Values<'v>,
        found: &mut impl FnMut(&Self, u32, &mut Values<'v>),
    ) {
        found(self, NONE, values);
        let mut last = NONE;
        for field in fields {
            let mut at = values.first(*field);
            while let Some(held) = values.get(at) {
                let (leaf, next) = (held.leaf, held.next);
                if let Some(number) = values.folded(at).and_then(|text| names.find(text))
                    && number != last
                {
                    last = number;
                    found(self, number, values);
                }
                if let Some(number) = whole_float(leaf).and_then(|text| names.find(&text)) {
                    found(self, number, values);
                }
                at = next;
            }
        }
    }
}

/// `5.0` equals the number 5 of a rule, though its text differs.
fn whole_float(leaf: Leaf<'_>) -> Option<String> {
    match leaf {
        Leaf::Float(float) if float.fract() == 0.0 => Some(format!("{float}")),
        _ => None,
    }
}

fn scan(index: &Index, field: u32, values: &mut Values<'_>, list: &mut Lister<'_>) {
    index.presence().iter().for_each(|target| list.target(*target));
    if !index.reads_text() {
        return;
    }
    let mut at = values.first(field);
    while let Some(held) = values.get(at) {
        let (leaf, next) = (held.leaf, held.next);
        if let Some(text) = values.folded(at) {
            index.scan(text.as_bytes(), &mut |targets| targets.iter().for_each(|target| list.target(*target)));
        }
        if let Some(text) = whole_float(leaf) {
            index.scan(text.as_bytes(), &mut |targets| targets.iter().for_each(|target| list.rule(target.rule)));
        }
        at = next;
    }
}

struct Lister<'a> {
    memo: &'a mut [u32],
    listed: &'a mut [u32],
    candidates: &'a mut Vec<u32>,
    epoch: u32,
}

impl Lister<'_> {
    fn target(&mut self, target: Target) {
        if let Some(memo) = self.memo.get_mut(target.test as usize) {
            *memo = self.epoch << 1 | 1;
        }
        self.rule(target.rule);
    }

    fn rule(&mut self, rule: u32) {
        if let Some(listed) = self.listed.get_mut(rule as usize)
            && std::mem::replace(listed, self.epoch) != self.epoch
        {
            self.candidates.push(rule);
        }
    }
}

impl Scratch {
    fn begin(&mut self, engine: &Engine) {
        self.epoch = self.epoch.wrapping_add(1) & (u32::MAX >> 1);
        let fits = self.memo.len() == engine.checks.len() && self.listed.len() == engine.roots.len();
        if self.epoch == 0 || !fits {
            self.memo.clear();
            self.memo.resize(engine.checks.len(), 0);
            self.listed.clear();
            self.listed.resize(engine.roots.len(), 0);
            self.epoch = 1;
        }
        self.candidates.clear();
        self.keywords_read = false;
    }
}

const fn route_hash(channel: u32, id: u32) -> u32 {
    channel.wrapping_mul(0x85EB_CA6B) ^ id.rotate_left(16).wrapping_add(0x27D4_EB2F)
}

fn join(gate: Tree, own: Tree) -> Tree {
    match (gate, own) {
        (_, own) if own.never() => own,
        (Tree::All(mut items), Tree::All(more)) => {
            items.extend(more);
            Tree::All(items)
        }
        (Tree::All(mut items), own) => {
            items.push(own);
            Tree::All(items)
        }
        (gate, Tree::All(mut items)) => {
            items.push(gate);
            Tree::All(items)
        }
        (gate, own) => Tree::All(vec![gate, own]),
    }
}

/// A partition while it is built.
#[derive(Default)]
struct Draft {
    needles: BTreeMap<u32, Vec<(needle::Needle, Target)>>,
    presence: BTreeMap<u32, Vec<Target>>,
    always: Vec<u32>,
}

impl Draft {
    fn finish(mut self, roomy: bool) -> Partition {
        let mut fields: Vec<u32> = self.needles.keys().chain(self.presence.keys()).copied().collect();
        fields.sort_unstable();
        fields.dedup();
        let mut partition = Partition { always: self.always.into_boxed_slice(), ..Partition::default() };
        let mut indexes = Vec::with_capacity(fields.len());
        for field in fields {
            let needles = self.needles.remove(&field).unwrap_or_default();
            let presence = self.presence.remove(&field).unwrap_or_default();
            let index = Index::new(needles, presence, roomy);
            if field == KEYWORD {
                partition.keywords = Some(Box::new(index));
            } else {
                indexes.push((field, index));
            }
        }
        partition.indexes = indexes.into_boxed_slice();
        partition
    }
}

#[derive(Default)]
struct RouteBuilder {
    channels: Vec<Box<str>>,
    event_ids: Vec<Box<str>>,
    numbers: [HashMap<Box<str>, u32>; 2],
    drafts: Vec<Draft>,
    keys: HashMap<(u32, u32), usize>,
    order: Vec<(u32, u32)>,
}

impl RouteBuilder {
    fn place(&mut self, tree: &Tree, rule: u32, interner: &Interner, route_fields: &[[u32; 2]; 2]) {
        let [channel_fields, id_fields] = route_fields;
        let least = |fields: &[u32]| {
            fields.iter().filter_map(|field| witness::required(tree, interner, &[*field])).min_by_key(Vec::len)
        };
        let channels = least(channel_fields);
        let mut ids = least(id_fields);
        let count = |names: &Option<Vec<Box<str>>>| names.as_ref().map_or(1, Vec::len);
        if count(&channels).saturating_mul(count(&ids)) > ROUTES_MAX {
            ids = None;
        }
        let mut routed = Vec::new();
        if channels.is_some() {
            routed.extend(channel_fields);
        }
        if ids.is_some() {
            routed.extend(id_fields);
        }
        let chosen = witness::witness(tree, interner, &routed);
        let channel_numbers = self.numbers_of(0, channels);
        let id_numbers = self.numbers_of(1, ids);
        for channel in &channel_numbers {
            for id in &id_numbers {
                let draft = self.draft(*channel, *id);
                match &chosen {
                    None => draft.always.push(rule),
                    Some(witness) => {
                        for test in &witness.tests {
                            add(draft, rule, *test, interner);
                        }
                    }
                }
            }
        }
    }

    fn draft(&mut self, channel: u32, id: u32) -> &mut Draft {
        let fresh = self.drafts.len();
        let number = *self.keys.entry((channel, id)).or_insert(fresh);
        if number == fresh {
            self.drafts.push(Draft::default());
            self.order.push((channel, id));
        }
        // INVARIANT: `number` is `fresh`, pushed just now, or an earlier length.
        #[expect(clippy::indexing_slicing, reason = "see the invariant above")]
        &mut self.drafts[number]
    }

    fn numbers_of(&mut self, dimension: usize, names: Option<Vec<Box<str>>>) -> Vec<u32> {
        let Some(names) = names else { return vec![NONE] };
        let list = if dimension == 0 { &mut self.channels } else { &mut self.event_ids };
        let Some(numbers) = self.numbers.get_mut(dimension) else { return vec![NONE] };
        names
            .into_iter()
            .map(|name| {
                *numbers.entry(name.clone()).or_insert_with(|| {
                    list.push(name);
                    u32::try_from(list.len().saturating_sub(1)).unwrap_or(NONE)
                })
            })
            .collect()
    }

    fn finish(self) -> (Names, Names, Vec<(u32, u32)>, Vec<Draft>) {
        (Names::new(self.channels), Names::new(self.event_ids), self.order, self.drafts)
    }
}

fn add(draft: &mut Draft, rule: u32, test: u32, interner: &Interner) {
    let Some(check) = interner.checks.get(test as usize) else { return };
    match interner.findings.get(test as usize) {
        Some(Finding::Needles { needles, decides }) => {
            let target = Target { rule, test: if *decides { test } else { NONE } };
            let list = draft.needles.entry(check.field).or_default();
            list.extend(needles.iter().map(|needle| (needle.clone(), target)));
        }
        _ => draft.presence.entry(check.field).or_default().push(Target { rule, test: NONE }),
    }
}
