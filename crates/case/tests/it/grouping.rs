//! Grouping, beside a plain oracle: two detections belong together where they share a linking entity within its window,
//! and cases are what hangs together. Whatever the order, however it is cut into batches.

use case::{Board, Detection, Entity, Known, Linking};
use ids::{CaseId, DetectionId, Severity, TenantId, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LINKING: &str = r#"{ "v": 1,
  "links": { "lineage": { "window_secs": 1000 }, "host": { "window_secs": 60 }, "user": { "window_secs": 100 }, "hash": { "window_secs": 500 } },
  "stop": { "user": ["system"] }, "common_programs": ["cmd.exe"],
  "bounds": { "detections_max": 100000, "span_secs_max": 100000000, "merges_max": 100000 } }"#;

fn detection(number: u32, secs: i64, entities: &[&str]) -> Detection {
    let time = Timestamp::from_micros(secs * 1_000_000);
    Detection {
        id: DetectionId::derive(&[&number.to_be_bytes()]),
        tenant: TenantId::derive(&[b"own"]),
        rule: None,
        rule_uid: "r".to_owned(),
        title: "t".to_owned(),
        severity: Severity::Low,
        techniques: Vec::new(),
        event: None,
        events: Vec::new(),
        time,
        found_at: time,
        entities: entities.iter().map(|text| text.parse().unwrap()).collect(),
        matched: Vec::new(),
    }
}

/// The cases as sets of detections, by placing in this order; `batch` detections share a board, and what is known of cases
/// is carried from board to board as a store would.
fn placed(linking: &Linking, detections: &[Detection], batch: usize) -> BTreeSet<BTreeSet<DetectionId>> {
    let mut cases: BTreeMap<CaseId, Known> = BTreeMap::new();
    let mut bonds: BTreeMap<(CaseId, Entity), case::Bond> = BTreeMap::new();
    let mut members: BTreeMap<CaseId, BTreeSet<DetectionId>> = BTreeMap::new();
    for batch in detections.chunks(batch) {
        let mut board = Board::new(batch[0].tenant, linking);
        cases.values().for_each(|case| board.know(case.clone()));
        bonds.iter().for_each(|((case, entity), bond)| board.bind(*case, entity.clone(), bond));
        for detection in batch {
            let fresh = || CaseId::derive(&[detection.id.to_string().as_bytes()]);
            let found = board.place(detection, fresh).unwrap();
            let mut all = BTreeSet::from([detection.id]);
            for absorbed in &found.absorbed {
                all.extend(members.remove(absorbed).unwrap());
                cases.remove(absorbed);
                bonds.retain(|(case, _), _| case != absorbed);
            }
            members.entry(found.case).or_default().extend(all);
        }
        cases.extend(members.keys().map(|id| (*id, board.case(*id).unwrap().clone())));
        for (case, entity, bond) in board.touched() {
            bonds.insert((case, entity.clone()), bond.clone());
        }
    }
    for (id, all) in &members {
        assert_eq!(cases[id].detections, u64::try_from(all.len()).unwrap());
    }
    members.into_values().collect()
}

/// The same by looking at every pair.
fn oracle(linking: &Linking, detections: &[Detection]) -> BTreeSet<BTreeSet<DetectionId>> {
    let tied = |one: &Detection, other: &Detection| {
        linking.links(one).any(|link| {
            let apart = one.time.max(other.time).since(one.time.min(other.time));
            linking.links(other).any(|own| own.entity == link.entity) && apart <= link.rule.window()
        })
    };
    let mut groups: Vec<Vec<&Detection>> = Vec::new();
    for detection in detections {
        let (near, mut rest): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| tied(detection, other)));
        rest.push(near.into_iter().flatten().chain([detection]).collect());
        groups = rest;
    }
    groups.iter().map(|group| group.iter().map(|one| one.id).collect()).collect()
}

const ENTITIES: [&str; 12] = [
    "host:a",
    "host:b",
    "host:c",
    "user:alice",
    "user:bob",
    "user:SYSTEM",
    "lineage:a/1",
    "lineage:a/2",
    "lineage:b/1",
    "hash:00ff",
    "process:cmd.exe",
    "process:evil.exe",
];

fn some() -> impl Strategy<Value = Vec<Detection>> {
    let one = (0_i64..2000, proptest::collection::btree_set(0_usize..ENTITIES.len(), 0..4));
    proptest::collection::vec(one, 1..24).prop_map(|all| {
        let numbered = (0_u32..).zip(all);
        numbered
            .map(|(number, (secs, entities))| {
                detection(number, secs, &entities.iter().map(|place| ENTITIES[*place]).collect::<Vec<_>>())
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_arrival_and_the_batches_do_not_matter(
        (first, second) in some().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        batch in 1_usize..8,
    ) {
        let linking = Linking::parse(LINKING).unwrap();
        let expected = oracle(&linking, &first);
        prop_assert_eq!(&placed(&linking, &first, 1), &expected);
        prop_assert_eq!(&placed(&linking, &second, batch), &expected);
    }

    #[test]
    fn another_tenants_detection_is_refused(all in some()) {
        let linking = Linking::parse(LINKING).unwrap();
        let mut board = Board::new(TenantId::derive(&[b"other"]), &linking);
        for detection in &all {
            prop_assert!(board.place(detection, || CaseId::derive(&[b"x"])).is_err());
        }
        prop_assert_eq!(board.touched().count(), 0);
    }
}

/// How many cases become of detections that share one entity, one a host, by what ships.
fn spread(entity: &[&str], hosts: u32) -> usize {
    let linking = Linking::shipped().unwrap();
    let all: Vec<Detection> = (0..hosts)
        .map(|number| {
            let host = format!("host:ws{number}");
            let mut entities = vec![host.as_str()];
            entities.extend(entity);
            detection(number, 1_000 + i64::from(number), &entities)
        })
        .collect();
    placed(&linking, &all, 7).len()
}

#[test]
fn shared_things_do_not_glue() {
    assert_eq!(spread(&["user:NT AUTHORITY\\SYSTEM"], 40), 40);
    assert_eq!(spread(&["ip:127.0.0.1"], 40), 40);
    assert_eq!(spread(&["hash:00aa", "process:cmd.exe"], 40), 40);
    assert_eq!(spread(&["ip:10.0.0.53"], 3), 1, "three hosts and one address are one attack");
    // A resolver, a proxy, a scanner: past its bound it draws in no further host.
    assert!(spread(&["ip:10.0.0.53"], 60) > 50);
    assert_eq!(spread(&["user:alice"], 4), 1);
}

/// Found by the property above: where an entity was seen and did not tie, it drew in what came near that sighting, once
/// another sighting of it in the same case did tie.
#[test]
fn a_sighting_that_does_not_tie_draws_nothing_in_later() {
    let linking = Linking::parse(LINKING).unwrap();
    let all = [
        detection(1, 627, &["host:a", "lineage:a/1", "hash:00ff"]),
        detection(2, 466, &["lineage:a/1", "hash:00ff", "process:cmd.exe"]),
        detection(3, 32, &["lineage:b/1", "hash:00ff"]),
    ];
    assert_eq!(placed(&linking, &all, 1).len(), 2);
    assert_eq!(placed(&linking, &all, 3), oracle(&linking, &all));
}

#[test]
fn a_full_case_takes_no_more_and_a_worked_one_is_not_merged() {
    let linking = Linking::parse(&LINKING.replace("\"detections_max\": 100000", "\"detections_max\": 3")).unwrap();
    let mut board = Board::new(TenantId::derive(&[b"own"]), &linking);
    let place = |board: &mut Board<'_>, number: u32, entities: &[&str]| {
        let one = detection(number, 100, entities);
        board.place(&one, || CaseId::derive(&[&number.to_be_bytes()])).unwrap()
    };
    let first = place(&mut board, 1, &["host:a"]);
    for number in 2..4 {
        assert_eq!(place(&mut board, number, &["host:a"]).case, first.case);
    }
    let next = place(&mut board, 4, &["host:a"]);
    assert!(next.opened);
    assert_eq!(next.related, [first.case]);

    let other = place(&mut board, 5, &["host:b"]);
    let mut worked = board.case(other.case).unwrap().clone();
    worked.worked = true;
    board.know(worked);
    let tie = place(&mut board, 6, &["host:b", "lineage:a/1"]);
    assert_eq!(tie.case, other.case);
    let (mine, theirs) = (place(&mut board, 7, &["lineage:c/9"]), place(&mut board, 8, &["lineage:c/8"]));
    let both = place(&mut board, 9, &["lineage:c/9", "lineage:c/8"]);
    assert_eq!(BTreeSet::from([both.case, both.absorbed[0]]), BTreeSet::from([mine.case, theirs.case]));
}
