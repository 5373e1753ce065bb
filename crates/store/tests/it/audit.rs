//! Audit storage: indexes without gaps in each tree, hashing in steps, payloads that expire.

use crate::fixture::{World, each_engine, tenant};
use ids::{Owner, Scope};
use std::time::Duration;
use store::{Advance, AuditEntry, Checkpoint, Commit, CommitError, DecisionInput, Node, Payload, Store, Sweep};

fn entry(world: &World, tree: Owner, leaf: &str) -> AuditEntry {
    AuditEntry { tree, call: world.call(), part: 0, leaf: leaf.as_bytes().to_vec(), payload: None }
}

#[tokio::test]
async fn each_tree_counts_for_itself_and_goes_on_after_a_restart() {
    each_engine(async |world| {
        let (a, b) = (Owner::Tenant(tenant("a")), Owner::Tenant(tenant("b")));
        for (tree, index) in [(a, 0), (b, 0), (a, 1), (Owner::Provider, 0), (a, 2)] {
            let receipt = world.store.commit(Commit::new(world.now(), entry(world, tree, "x"))).await.unwrap();
            assert_eq!(
                receipt.leaves.iter().map(|place| (place.tree, place.index)).collect::<Vec<_>>(),
                [(tree, index)]
            );
        }
        world.store.close().await;
        assert!(matches!(world.commit(|c| c).await, Err(CommitError::Unavailable)), "closed");
        let entropy = std::sync::Arc::new(crate::fixture::Counting::default());
        let reopened = Store::open(world.config.clone(), world.clock.clone(), entropy).await.unwrap();
        let receipt = reopened.commit(Commit::new(world.now(), entry(world, a, "after"))).await.unwrap();
        assert_eq!(receipt.leaves[0].index, 3);
        let backlog = reopened.audit_backlog().await.unwrap();
        assert_eq!(backlog.iter().find(|state| state.tree == a).map(|state| (state.leaves, state.size)), Some((4, 0)));
        let own = reopened.snapshot(Scope::Tenant(tenant("a")));
        let leaves = own.leaves(a, 1, 2).await.unwrap();
        assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(own.leaves_down(a, 4, 2).await.unwrap().iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(own.leaves_of(leaves[0].call).await.unwrap(), [leaves[0].clone()]);
        assert!(own.leaves(b, 0, 9).await.unwrap().is_empty(), "another tenant's tree");
        assert!(own.tree(Owner::Provider).await.unwrap().is_none());
        reopened.close().await;
    })
    .await;
}

#[tokio::test]
async fn hashing_advances_in_whole_steps() {
    each_engine(async |world| {
        let tree = Owner::Tenant(tenant("a"));
        for _ in 0..3 {
            world.store.commit(Commit::new(world.now(), entry(world, tree, "x"))).await.unwrap();
        }
        let node = |index: u64| Node { level: 0, index, hash: vec![u8::try_from(index).unwrap(); 32] };
        let checkpoint = Checkpoint { size: 2, note: b"note".to_vec(), made_at: world.now() };
        let step = Advance {
            tree,
            base_size: 0,
            size: 2,
            nodes: vec![node(0), node(1)],
            frontier: b"f2".to_vec(),
            checkpoint: Some(checkpoint.clone()),
        };
        world.store.audit_advance(step.clone()).await.unwrap();
        for wrong in [
            step.clone(),
            Advance { base_size: 2, size: 4, ..step.clone() },
            Advance { base_size: 2, size: 1, ..step.clone() },
            Advance { tree: Owner::Tenant(tenant("none")), ..step.clone() },
        ] {
            let refused = world.store.audit_advance(wrong).await;
            assert!(matches!(refused, Err(CommitError::Conflict { kind: "audit", .. })), "{refused:?}");
        }
        let own = world.store.snapshot(Scope::Tenant(tenant("a")));
        let state = own.tree(tree).await.unwrap().unwrap();
        assert_eq!((state.leaves, state.size, state.frontier.as_slice()), (3, 2, &b"f2"[..]));
        assert_eq!(own.nodes(tree, 0, 1, 9).await.unwrap(), [node(1)]);
        assert_eq!(own.node(tree, 0, 0).await.unwrap(), Some(node(0).hash));
        assert_eq!(own.latest_checkpoint(tree).await.unwrap(), Some(checkpoint.clone()));
        assert_eq!(own.checkpoints(tree, 0, 9).await.unwrap(), [checkpoint]);
        let foreign = world.store.snapshot(Scope::Tenant(tenant("b")));
        assert!(foreign.latest_checkpoint(tree).await.unwrap().is_none());
        assert!(foreign.nodes(tree, 0, 0, 9).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn payloads_and_inputs_stay_within_their_tenant_and_expire() {
    each_engine(async |world| {
        let tree = Owner::Tenant(tenant("a"));
        let expires_at = Some(world.now().plus(Duration::from_secs(10)));
        let payload = Payload { salt: b"salt".to_vec(), body: b"{}".to_vec(), expires_at };
        let record = AuditEntry { payload: Some(payload.clone()), ..entry(world, tree, "x") };
        let call = record.call;
        let input = DecisionInput { call, owner: tree, body: b"input".to_vec() };
        let outcome = AuditEntry { part: 1, payload: None, ..record.clone() };
        let commit = Commit::new(world.now(), record).record(outcome).decision_input(input.clone());
        world.store.commit(commit).await.unwrap();
        let own = world.store.snapshot(Scope::Tenant(tenant("a")));
        let foreign = world.store.snapshot(Scope::Tenant(tenant("b")));
        assert_eq!(own.payload(call, 0).await.unwrap(), Some(payload));
        assert_eq!(own.leaves_of(call).await.unwrap().len(), 2);
        assert!(foreign.payload(call, 0).await.unwrap().is_none());
        assert_eq!(own.decision_input(call).await.unwrap(), Some(input.clone()));
        assert!(foreign.decision_input(call).await.unwrap().is_none());
        let (from, to) = (world.now(), world.now().plus(Duration::from_secs(1)));
        assert_eq!(own.decision_inputs(from, to, None, 10).await.unwrap(), (vec![input], None));
        let (seen, next) = foreign.decision_inputs(from, to, None, 1).await.unwrap();
        assert!(seen.is_empty() && next == Some((from, call)));
        assert!(foreign.decision_inputs(from, to, next, 1).await.unwrap().1.is_none());

        world.clock.advance(Duration::from_secs(11));
        let sweep = Sweep { expired_before: world.now(), counters_before: 0, decisions_before: world.now() };
        assert_eq!(world.store.sweep(sweep).await.unwrap().rows, 2);
        assert!(own.payload(call, 0).await.unwrap().is_none());
        assert_eq!(own.leaves_of(call).await.unwrap().len(), 2, "leaves stay");
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_wiped_and_scrubbed_and_its_leaves_stay() {
    each_engine(async |world| {
        let (gone, stays) = (Owner::Tenant(tenant("a")), Owner::Tenant(tenant("b")));
        let mut calls = Vec::new();
        for number in 0..600 {
            for (tree, mark) in [(gone, "xqgonexq"), (stays, "xqstaysxq")] {
                let body = format!("{mark}{number}{}", "z".repeat(200)).into_bytes();
                let payload = Payload { salt: b"salt".to_vec(), body: body.clone(), expires_at: None };
                let record = AuditEntry { payload: Some(payload), ..entry(world, tree, "x") };
                let input = DecisionInput { call: record.call, owner: tree, body };
                calls.push((tree, record.call));
                world.store.commit(Commit::new(world.now(), record).decision_input(input)).await.unwrap();
            }
        }
        let wiped = world.store.wipe(tenant("a")).await.unwrap();
        assert_eq!((wiped.payloads, wiped.decisions), (600, 600));
        assert_eq!(world.store.wipe(tenant("a")).await.unwrap().rows(), 0, "nothing is left to wipe");
        world.store.scrub().await.unwrap();
        let all = world.all();
        for (tree, call) in &calls {
            assert_eq!(all.payload(*call, 0).await.unwrap().is_some(), *tree == stays);
            assert_eq!(all.leaves_of(*call).await.unwrap().len(), 1, "leaves stay");
        }
        if let store::Target::Sqlite { dir } = &world.config.target {
            let holds = |mark: &str| {
                let files = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
                files.filter(|bytes| bytes.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
            };
            assert_eq!((holds("xqgonexq"), holds("xqstaysxq") > 0), (0, true));
        }
        // It goes on taking commits.
        world.store.commit(Commit::new(world.now(), entry(world, gone, "after"))).await.unwrap();
    })
    .await;
}
