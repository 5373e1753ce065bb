//! Commits: all or nothing, idempotency, guards, counters, generations, and many at once.

use crate::fixture::{Gadget, each_engine, gadget};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use store::{CommitError, IdempotencyRecord, Page, Sweep};

fn remember(world: &crate::fixture::World, key: &str, response: &str) -> IdempotencyRecord {
    IdempotencyRecord {
        principal: "user_1".into(),
        key: key.into(),
        owner: ids::Owner::Provider,
        input_digest: b"digest".to_vec(),
        response: response.as_bytes().to_vec(),
        expires_at: world.now().plus(Duration::from_secs(60)),
    }
}

#[tokio::test]
async fn an_idempotency_key_counts_once_until_it_expires() {
    each_engine(async |world| {
        let store = &world.store;
        let once = |response: &str| world.commit_of(|c| c).idempotency(remember(world, "k", response));
        store.commit(once("first")).await.unwrap();
        let again = store.commit(once("second")).await;
        assert!(matches!(again, Err(CommitError::IdempotencyRace)), "{again:?}");
        let remembered = store.remembered("user_1", "k").await.unwrap().unwrap();
        assert_eq!(
            (remembered.response.as_slice(), remembered.input_digest.as_slice()),
            (&b"first"[..], &b"digest"[..])
        );
        assert!(store.remembered("user_2", "k").await.unwrap().is_none(), "keys are each principal's own");

        world.clock.advance(Duration::from_secs(61));
        assert!(store.remembered("user_1", "k").await.unwrap().is_none());
        store.commit(once("third")).await.unwrap();
        assert_eq!(store.remembered("user_1", "k").await.unwrap().unwrap().response, b"third");
        world.clock.advance(Duration::from_secs(61));
        let sweep = Sweep { expired_before: world.now(), counters_before: 0, decisions_before: world.now() };
        let swept = store.sweep(sweep).await.unwrap();
        assert_eq!((swept.rows, swept.more), (1, false));
    })
    .await;
}

#[tokio::test]
async fn of_concurrent_commits_one_wins_and_the_others_learn_why() {
    each_engine(async |world| {
        world.commit(|c| c.create(&gadget("g", None, "n", "red"))).await.unwrap();
        let racing =
            |colour: &str| world.store.commit(world.commit_of(|c| c.replace(&gadget("g", None, "n", colour), 1)));
        let outcomes = futures::future::join_all((0..40).map(|number| racing(&format!("c{number}")))).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1);
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(CommitError::Conflict { .. }))).count();
        assert_eq!(lost, 39);

        let keyed =
            (0..40).map(|_| world.store.commit(world.commit_of(|c| c).idempotency(remember(world, "race", "x"))));
        let outcomes = futures::future::join_all(keyed).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        // Leaves of refused commits leave no gap.
        let leaves = world.all().leaves(ids::Owner::Provider, 0, 100).await.unwrap();
        assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [0, 1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_guard_is_asked_before_and_at_the_last_moment() {
    each_engine(async |world| {
        for yes_times in 0..3 {
            let asked = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&asked);
            let name = format!("g{yes_times}");
            let guarded = world
                .commit_of(|c| c.create(&gadget(&name, None, &name, "red")))
                .guard(move || count.fetch_add(1, Ordering::SeqCst) < yes_times);
            let bystander =
                world.commit_of(|c| c.create(&gadget(&format!("b{yes_times}"), None, &format!("b{yes_times}"), "red")));
            let (guarded, bystander) = tokio::join!(world.store.commit(guarded), world.store.commit(bystander));
            assert!(bystander.is_ok(), "{bystander:?}");
            let stored = world.all().read::<Gadget>(&name).await.unwrap().is_some();
            if yes_times < 2 {
                assert!(matches!(guarded, Err(CommitError::Guarded)), "{guarded:?}");
                assert!(!stored);
            } else {
                assert!(guarded.is_ok() && stored);
            }
            assert!(asked.load(Ordering::SeqCst) > yes_times.min(1));
        }
    })
    .await;
}

#[tokio::test]
async fn counters_add_up_over_their_buckets() {
    each_engine(async |world| {
        let counted = |bucket| world.store.commit(world.commit_of(|c| c).count("user_1/host.isolate", bucket));
        futures::future::try_join_all([7, 8, 8, 8, 9].map(counted)).await.unwrap();
        for (since, sum) in [(0, 5), (8, 4), (9, 1), (10, 0)] {
            assert_eq!(world.store.recent_count("user_1/host.isolate", since).await.unwrap(), sum);
        }
        assert_eq!(world.store.recent_count("user_2/host.isolate", 0).await.unwrap(), 0);
        let before = Sweep { expired_before: world.now(), counters_before: 8, decisions_before: world.now() };
        assert_eq!(world.store.sweep(before).await.unwrap().rows, 1);
        assert_eq!(world.store.recent_count("user_1/host.isolate", 0).await.unwrap(), 4);
    })
    .await;
}

#[tokio::test]
async fn generations_grow_with_their_kinds_only() {
    each_engine(async |world| {
        let mut changes = world.store.changes();
        let (gadgets, jobs) = (world.store.generation(&["gadget"]), world.store.generation(&["job"]));
        world.commit(|c| c).await.unwrap();
        assert_eq!(world.store.generation(&["gadget"]), gadgets);
        world.commit(|c| c.create(&gadget("g", None, "n", "red"))).await.unwrap();
        assert!(world.store.generation(&["gadget", "job"]) > gadgets + jobs);
        assert_eq!(world.store.generation(&["job"]), jobs);
        assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() >= 2);
    })
    .await;
}

#[tokio::test]
async fn many_writers_share_transactions_that_stay_short() {
    each_engine(async |world| {
        let create = |number: usize| {
            let commit = world.commit_of(|changes| {
                for part in 0..4 {
                    let id = format!("g{number:04}_{part}");
                    changes.create(&gadget(&id, None, &id, "red"));
                }
                changes
            });
            world.store.commit(commit)
        };
        futures::future::try_join_all((0..600).map(create)).await.unwrap();
        let stats = world.store.stats();
        // 15 rows each: at most 2048 rows go into one transaction, and at least one sync was shared.
        assert!(stats.batch_calls_max <= 2048 / 15, "{stats:?}");
        assert!(stats.batches < 600, "{stats:?}");
        let page = Page { limit: 1000, ..Page::default() };
        assert_eq!(world.all().list::<Gadget>(&page).await.unwrap().len(), 1000);
        let mut seen = std::collections::BTreeSet::new();
        for from in [0, 300] {
            seen.extend(
                world.all().leaves(ids::Owner::Provider, from, 300).await.unwrap().into_iter().map(|leaf| leaf.index),
            );
        }
        assert_eq!(seen.len(), 600);
    })
    .await;
}

#[tokio::test]
async fn a_record_given_twice_is_refused_and_harms_nobody_else() {
    each_engine(async |world| {
        let entry = world.entry();
        let first = store::Commit::new(world.now(), entry.clone());
        world.store.commit(first).await.unwrap();
        let twice = store::Commit::new(world.now(), entry);
        let other = world.commit_of(|c| c.create(&gadget("g", None, "n", "red")));
        let (twice, other) = tokio::join!(world.store.commit(twice), world.store.commit(other));
        assert!(matches!(twice, Err(CommitError::Duplicate { kind: "audit", .. })), "{twice:?}");
        other.unwrap();
        assert_eq!(world.store.health(), store::Health::Ready);
    })
    .await;
}
