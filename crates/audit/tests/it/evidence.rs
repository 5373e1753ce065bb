//! Evidence packs: complete, drawn by the seed and by nothing else, and every statement the record's own.

use crate::fixture::{FileMap, LOG, Log, tenant, time};
use crate::mutation::{ask, cover};
use audit::{
    AnchorLine, Evidence, EvidenceAsk, EvidenceFilter, FaultKind, FormatVersion, Report, Sampled, Verdict,
    VerifyOptions, verify,
};
use ids::{List, Owner, Text};
use seal::{Digest, canonical_json};
use std::collections::BTreeSet;

fn acme() -> Owner {
    Owner::Tenant(tenant("acme"))
}

fn log(entries: usize) -> Log {
    let mut log = Log::sample(1, 5, &[("acme", entries), ("globex", 20)]);
    log.answer(acme());
    log.erase(acme(), 1);
    log.commit();
    log
}

fn judged(log: &Log, files: &FileMap) -> Report {
    verify(files, &VerifyOptions::under(vec![log.key()]))
}

fn sample(files: &FileMap) -> Vec<Sampled> {
    let text = std::str::from_utf8(&files["evidence/sample.jsonl"]).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn evidence(files: &FileMap) -> Evidence {
    serde_json::from_slice(&files["evidence/evidence.json"]).unwrap()
}

#[test]
fn a_pack_is_valid_and_says_who_approved_and_which_policies_decided() {
    let log = log(300);
    let files = log.pack(Some(&ask("dice 4 2 6", 40)));
    let report = judged(&log, &files);
    assert_eq!((report.verdict, &report.faults), (Verdict::Valid, &Vec::new()));
    let found = report.evidence.unwrap();
    let drawn = sample(&files);
    assert_eq!((found.sampled, drawn.len(), found.policy_versions), (40, 40, 1));
    assert!(found.population > 40 && found.approved > 0 && found.consequential == 40);
    assert!(drawn.is_sorted_by(|left, right| left.rank < right.rank));
    for one in drawn.iter().filter(|one| one.log.as_str() == acme().to_string()) {
        assert_eq!(one.decision.policy_version, Some(Digest::of(b"policies")));
        for approver in &one.approvers {
            // What the approver said is itself an entry.
            assert!(approver.recorded_at.is_some_and(|index| index >= 300), "{one:?}");
        }
    }
    let stated: u64 = evidence(&files).population.iter().map(|tree| tree.records).sum();
    assert_eq!(stated, found.population);
}

#[test]
fn the_seed_draws_and_nobody_else() {
    let log = log(300);
    let drawn = |seed: &str, count: u32| -> BTreeSet<(String, u64)> {
        let files = log.pack(Some(&ask(seed, count)));
        assert_eq!(judged(&log, &files).verdict, Verdict::Valid);
        sample(&files).into_iter().map(|one| (one.log.to_string(), one.index)).collect()
    };
    assert_eq!(drawn("a", 20), drawn("a", 20));
    assert_ne!(drawn("a", 20), drawn("b", 20));
    assert!(drawn("a", 20).is_subset(&drawn("a", 60)), "a larger sample holds the smaller one");
    assert!(drawn("a", 0).is_empty());
    assert_eq!(drawn("a", 1000), drawn("b", 1000), "more than there are: all of them");
}

#[test]
fn a_filter_takes_what_it_says() {
    let log = log(60);
    let filters = [
        EvidenceFilter { operation: Some(Text::new("approval.approve").unwrap()), ..EvidenceFilter::default() },
        EvidenceFilter { since: Some(time(10)), until: Some(time(20)), ..EvidenceFilter::default() },
        EvidenceFilter { since: Some(time(1_000_000)), ..EvidenceFilter::default() },
        EvidenceFilter::default(),
    ];
    let counts: Vec<u64> = filters
        .into_iter()
        .map(|filter| {
            let ask = EvidenceAsk { filter, seed: Text::new("s").unwrap(), sample: 5 };
            let report = judged(&log, &log.pack_of(&[acme()], Some(&ask)));
            assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.faults);
            report.evidence.unwrap().population
        })
        .collect();
    assert_eq!(counts, [15, 10, 0, 76]);
}

/// Changes that are re-listed and signed by the log's own key: only what the log itself says gives them away.
#[test]
fn what_the_log_does_not_say_is_noticed_also_under_its_own_signature() {
    let log = log(300);
    let whole = log.pack(Some(&ask("dice", 20)));
    let other = log.pack(Some(&ask("other dice", 20)));
    type Change = Box<dyn Fn(&mut FileMap)>;
    let edit = |change: fn(&mut Sampled)| -> Change {
        Box::new(move |files: &mut FileMap| {
            let mut drawn = sample(files);
            let chosen = drawn.iter_mut().find(|one| !one.approvers.is_empty()).unwrap();
            change(chosen);
            files.insert("evidence/sample.jsonl".to_owned(), lines(&drawn));
        })
    };
    let state = |change: fn(&mut Evidence)| -> Change {
        Box::new(move |files: &mut FileMap| {
            let mut stated = evidence(files);
            change(&mut stated);
            let bytes = canonical_json(&serde_json::to_value(&stated).unwrap()).unwrap();
            files.insert("evidence/evidence.json".to_owned(), bytes);
        })
    };
    let population = format!("tenants/{}/population/000.jsonl", tenant("acme"));
    let cases: Vec<(&str, Change)> = vec![
        ("another approver", edit(|one| one.approvers[0].approver = one.principal.clone())),
        ("no approver", edit(|one| one.approvers.clear())),
        ("another policy version", edit(|one| one.decision.policy_version = Some(Digest::of(b"older")))),
        ("another outcome", edit(|one| one.outcome.status = 403)),
        ("a shorter proof", edit(|one| one.proof.truncate(one.proof.len() - 1))),
        ("another place", edit(|one| one.index += 1)),
        ("another rank", edit(|one| one.rank = Digest::of(b"rank"))),
        ("an answer elsewhere", edit(|one| one.approvers[0].recorded_at = Some(0))),
        (
            "another seed's sample",
            Box::new(move |files| {
                files.insert("evidence/sample.jsonl".to_owned(), other["evidence/sample.jsonl"].clone());
            }),
        ),
        (
            "a line less",
            Box::new(|files| {
                let mut drawn = sample(files);
                drawn.pop();
                files.insert("evidence/sample.jsonl".to_owned(), lines(&drawn));
            }),
        ),
        ("another seed", state(|stated| stated.seed = Text::new("chosen").unwrap())),
        ("a smaller sample", state(|stated| stated.sample = 3)),
        ("another filter", state(|stated| stated.filter.consequential = false)),
        ("a smaller population", state(|stated| stated.population[0].records = 0)),
        ("another count of policies", state(|stated| stated.policy_versions[0].records += 1)),
        (
            "a population without a record",
            Box::new(move |files| {
                let text = std::str::from_utf8(&files[&population]).unwrap();
                let less: Vec<&str> = text.lines().skip(1).collect();
                files.insert(population.clone(), format!("{}\n", less.join("\n")).into_bytes());
            }),
        ),
    ];
    for (case, change) in cases {
        let mut files = whole.clone();
        change(&mut files);
        cover(&mut files, Some(&log.signer));
        let report = judged(&log, &files);
        assert_eq!(report.verdict, Verdict::Invalid, "{case}");
        assert!(report.faults.iter().all(|fault| fault.what == FaultKind::Evidence), "{case}: {:?}", report.faults);
    }
}

fn lines(drawn: &[Sampled]) -> Vec<u8> {
    drawn
        .iter()
        .flat_map(|one| [canonical_json(&serde_json::to_value(one).unwrap()).unwrap(), b"\n".to_vec()].concat())
        .collect()
}

#[test]
fn an_erased_payload_is_told_from_a_missing_one() {
    let mut log = Log::sample(1, 0, &[("acme", 20)]);
    let tree = |log: &Log| judged(log, &log.export()).trees.pop().unwrap();
    let before = tree(&log);
    assert_eq!((before.payloads, before.payloads_absent, before.payloads_erased), (16, 4, 0));
    log.erase(acme(), 1);
    log.commit();
    let after = tree(&log);
    assert_eq!((after.payloads, after.payloads_absent, after.payloads_erased), (15, 4, 1));
    // One that is said to be erased and is here all the same.
    let kept = Log::sample(1, 0, &[("acme", 20)]).trees[&acme()][1].1.clone();
    log.trees.get_mut(&acme()).unwrap()[1].1 = kept;
    let report = judged(&log, &log.export());
    assert_eq!(report.faults.iter().map(|fault| fault.what).collect::<Vec<_>>(), [FaultKind::Payload]);
}

#[test]
fn what_an_anchor_kept_must_be_extended() {
    let mut log = Log::sample(1, 2, &[("acme", 20), ("globex", 3)]);
    let owners = [Owner::Provider, acme(), Owner::Tenant(tenant("globex"))];
    let line = |log: &Log| AnchorLine {
        checkpoints: List::new(owners.map(|owner| Text::new(log.checkpoint(owner)).unwrap()).to_vec()).unwrap(),
        log: Text::new(LOG).unwrap(),
        time: time(0),
        v: FormatVersion,
    };
    let mut kept = line(&log).encode().unwrap();
    let older = log.export();
    log.grow(acme(), 300);
    log.commit();
    kept.push(b'\n');
    kept.extend(line(&log).encode().unwrap());
    let lines = AnchorLine::read_all(std::str::from_utf8(&kept).unwrap()).unwrap();
    let anchors: Vec<String> = lines.iter().flat_map(|line| line.checkpoints.iter().map(ToString::to_string)).collect();
    let options = VerifyOptions { anchors, ..VerifyOptions::under(vec![log.key()]) };
    assert_eq!(verify(&log.export(), &options).verdict, Verdict::Valid);
    // A tenant's own export is held against that tenant's checkpoints.
    assert_eq!(verify(&log.export_of(&[acme()]), &options).verdict, Verdict::Valid);
    let rolled_back = verify(&older, &options);
    assert!(rolled_back.faults.iter().any(|fault| fault.what == FaultKind::RolledBack), "{rolled_back:?}");
    // Another log under the same key: as long, with two entries in another order.
    let mut replaced = log.clone();
    replaced.trees.get_mut(&acme()).unwrap().swap(2, 3);
    replaced.trees.insert(Owner::Provider, Vec::new());
    replaced.grow(Owner::Provider, 2);
    replaced.commit();
    assert_eq!(judged(&replaced, &replaced.export()).verdict, Verdict::Valid);
    let report = verify(&replaced.export(), &options);
    assert!(report.faults.iter().any(|fault| fault.what == FaultKind::RolledBack), "{report:?}");
    // An anchor of another log, or of other trees only, is no anchor of this one.
    let globex = VerifyOptions { anchors: vec![log.checkpoint(owners[2])], ..VerifyOptions::under(vec![log.key()]) };
    assert_eq!(verify(&log.export_of(&[acme()]), &globex).verdict, Verdict::Invalid);
    assert!(AnchorLine::read_all("{}").is_err());
}
