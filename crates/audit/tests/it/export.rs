//! What the verifier says about folders that are whole, and about those that a writer should not have made.

use crate::fixture::{FileMap, LOG, Log, record, signer, tenant, time};
use audit::{
    ExportBuilder, ExportError, FaultKind, Leaf, Payload, Phase, Record, Report, Verdict, VerifyOptions, verify,
};
use ids::Owner;

fn with_key(log: &Log, files: &FileMap) -> Report {
    verify(files, &VerifyOptions::under(vec![log.key()]))
}

#[test]
fn a_whole_export_is_valid_under_the_key_and_unauthenticated_without() {
    for tenants in [vec![], vec![("acme", 0)], vec![("acme", 256), ("globex", 300), ("initech", 1)]] {
        let log = Log::sample(1, 5, &tenants);
        let files = log.export();
        let report = with_key(&log, &files);
        assert_eq!((report.verdict, &report.faults), (Verdict::Valid, &Vec::new()));
        assert_eq!(report.files, u64::try_from(files.len()).unwrap());
        assert_eq!(report.trees.len(), tenants.len() + 1);
        assert_eq!(report.log.as_deref(), Some(LOG));
        let report = verify(&files, &VerifyOptions::default());
        assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Unauthenticated, 3));
        assert_eq!(report.key, Some(log.key().to_string()));
    }
}

#[test]
fn expired_payloads_are_counted_and_no_fault() {
    let log = Log::sample(1, 0, &[("acme", 300)]);
    let tree = with_key(&log, &log.export()).trees.pop().unwrap();
    assert_eq!((tree.size, tree.payloads, tree.payloads_absent), (300, 240, 60));
}

#[test]
fn intent_and_outcome_may_each_have_a_payload_and_a_payload_only_one_line() {
    let mut log = Log::sample(1, 0, &[("acme", 2)]);
    let acme = Owner::Tenant(tenant("acme"));
    let ((intent, payload), second) = (record(acme, 1), Payload { input: "isolated".into(), ..record(acme, 1).1 });
    let outcome = Record { phase: Phase::Outcome, input_digest: Some(second.digest().unwrap()), ..intent };
    let outcome = Leaf::Call(Box::new(outcome)).encode().unwrap();
    log.trees.get_mut(&acme).unwrap().push((outcome, Some(second)));
    log.commit();
    let report = with_key(&log, &log.export());
    assert_eq!((report.verdict, report.trees.last().map(|tree| tree.payloads)), (Verdict::Valid, Some(3)));
    let again = log.trees[&acme][1].0.clone();
    log.trees.get_mut(&acme).unwrap().push((again, Some(payload)));
    log.commit();
    let report = with_key(&log, &log.export());
    assert_eq!(report.faults.iter().map(|fault| fault.what).collect::<Vec<_>>(), [FaultKind::Payload]);
}

#[test]
fn a_tenants_auditor_gets_only_that_tenants_folder() {
    let log = Log::sample(1, 5, &[("acme", 20), ("globex", 20)]);
    let files = log.export_of(&[Owner::Tenant(tenant("acme"))]);
    let other = tenant("globex").to_string();
    for (path, bytes) in &files {
        assert!(!path.starts_with("provider") && !path.contains(&other), "{path}");
        assert!(!String::from_utf8_lossy(bytes).contains(&other), "{path}");
    }
    assert_eq!(with_key(&log, &files).verdict, Verdict::Valid);
}

#[test]
fn an_older_checkpoint_of_the_same_log_is_extended() {
    let mut log = Log::sample(1, 2, &[("acme", 20)]);
    let owners = [Owner::Provider, Owner::Tenant(tenant("acme"))];
    let since = owners.map(|owner| log.checkpoint(owner)).to_vec();
    log.grow(owners[1], 300);
    log.commit();
    let options = VerifyOptions { keys: vec![log.key()], since, ..VerifyOptions::default() };
    assert_eq!(verify(&log.export(), &options).verdict, Verdict::Valid);
    // The same checkpoint against a log that never had those entries.
    let mut forked = Log::sample(1, 3, &[("acme", 400)]);
    forked.trees.get_mut(&owners[1]).unwrap().swap(3, 4);
    forked.trees.get_mut(&Owner::Provider).unwrap().pop();
    forked.commit();
    let report = verify(&forked.export(), &options);
    assert!(report.faults.iter().any(|fault| fault.what == FaultKind::RolledBack), "{:?}", report.faults);
    // A tree that is not here at all, and a note of another key.
    let report = verify(&log.export_of(&owners[1..]), &options);
    assert_eq!(report.faults.iter().map(|fault| fault.what).collect::<Vec<_>>(), [FaultKind::RolledBack]);
    let mut other = log.clone();
    other.signer = signer(2);
    let options = VerifyOptions { since: vec![other.checkpoint(owners[1])], ..options };
    assert_eq!(verify(&log.export(), &options).verdict, Verdict::Invalid);
}

#[test]
fn after_a_key_rotation_checkpoints_of_the_old_key_still_count() {
    let mut log = Log::sample(1, 2, &[("acme", 20)]);
    let (old_key, since) = (log.key(), vec![log.checkpoint(Owner::Provider)]);
    log.signer = signer(2);
    log.grow(Owner::Provider, 3);
    log.commit();
    let options =
        VerifyOptions { keys: vec![old_key.clone(), log.key()], since: since.clone(), ..VerifyOptions::default() };
    assert_eq!(verify(&log.export(), &options).verdict, Verdict::Valid);
    let options = VerifyOptions { keys: vec![old_key], since, ..VerifyOptions::default() };
    assert_eq!(verify(&log.export(), &options).verdict, Verdict::Invalid);
}

#[test]
fn the_provider_must_commit_to_each_tenants_tree_as_it_is() {
    // Each of these is signed with the right key: only the commitments give it away.
    let whole = Log::sample(1, 2, &[("acme", 20), ("globex", 7)]);
    let acme = Owner::Tenant(tenant("acme"));
    type Change = Box<dyn Fn(&mut Log)>;
    let cases: [(&str, Change); 4] = [
        ("grown since", Box::new(move |log| log.grow(acme, 1))),
        ("cut", Box::new(move |log| drop(log.trees.get_mut(&acme).unwrap().pop()))),
        ("reordered", Box::new(move |log| log.trees.get_mut(&acme).unwrap().swap(0, 1))),
        ("removed", Box::new(move |log| drop(log.trees.remove(&acme)))),
    ];
    for (case, change) in cases {
        let mut log = whole.clone();
        change(&mut log);
        let report = with_key(&log, &log.export());
        let kinds: Vec<_> = report.faults.iter().map(|fault| fault.what).collect();
        assert!(kinds.iter().all(|kind| matches!(kind, FaultKind::Commitment | FaultKind::Missing)), "{case}");
        assert!(!kinds.is_empty(), "{case}");
    }
}

#[test]
fn an_entry_in_another_owners_tree_is_a_fault() {
    let mut log = Log::sample(1, 2, &[("acme", 2)]);
    let (stray, _) = record(Owner::Tenant(tenant("globex")), 0);
    let stray = Leaf::Call(Box::new(stray)).encode().unwrap();
    let acme = Owner::Tenant(tenant("acme"));
    log.trees.get_mut(&acme).unwrap().push((stray, None));
    log.trees.get_mut(&acme).unwrap().push((b"{}".to_vec(), None));
    log.commit();
    let report = with_key(&log, &log.export());
    assert_eq!(report.faults.iter().map(|fault| fault.what).collect::<Vec<_>>(), [FaultKind::Record; 2]);
}

#[test]
fn the_writer_refuses_what_the_verifier_would() {
    let log = Log::sample(1, 2, &[("acme", 3)]);
    let acme = Owner::Tenant(tenant("acme"));
    let mut export = ExportBuilder::new(&log.signer, time(0)).unwrap();
    let mut tree = export.tree(acme).unwrap();
    let (entry, _) = &log.trees[&acme][0];
    let (_, foreign) = record(acme, 1);
    assert!(matches!(tree.push(entry, Some(&foreign)), Err(ExportError::Payload { .. })));
    assert!(matches!(tree.push(&vec![b'x'; 65_536], None), Err(ExportError::Record(_))));
    tree.push(entry, None).unwrap();
    let refused = tree.finish(&log.checkpoint(acme)).unwrap_err();
    assert!(matches!(refused, ExportError::Mismatch { size: 3, found: 1, .. }), "{refused}");
    assert!(matches!(export.tree(acme), Err(ExportError::Twice(_))));
}

#[test]
fn garbage_is_a_report_not_a_crash() {
    let empty = FileMap::new();
    assert_eq!(verify(&empty, &VerifyOptions::default()).verdict, Verdict::Invalid);
    let mut files = FileMap::new();
    for path in ["manifest.json", "manifest.note", "provider/checkpoint"] {
        files.insert(path.to_owned(), vec![0xff, 0x00, 0x7b]);
    }
    assert_eq!(verify(&files, &VerifyOptions::default()).verdict, Verdict::Invalid);
}
