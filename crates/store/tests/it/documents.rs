//! Documents: versions, keys, lists, and that a scope hides what it does not cover.

use crate::fixture::{Gadget, World, each_engine, gadget, tenant};
use ids::{Owner, Scope};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{CommitError, Order, Page};

#[tokio::test]
async fn versions_guard_every_change() {
    each_engine(async |world| {
        let first = gadget("g1", None, "one", "red");
        let receipt = world.commit(|c| c.create(&first)).await.unwrap();
        assert_eq!(receipt.versions, [("gadget", "g1".to_owned(), 1)]);
        let created = world.all().read::<Gadget>("g1").await.unwrap().unwrap();
        assert_eq!((created.value.clone(), created.version, created.created_at), (first.clone(), 1, world.now()));

        world.clock.advance(Duration::from_secs(1));
        let second = gadget("g1", None, "uno", "red");
        world.commit(|c| c.replace(&second, 1)).await.unwrap();
        let replaced = world.all().read::<Gadget>("g1").await.unwrap().unwrap();
        assert_eq!((replaced.version, replaced.created_at, replaced.updated_at), (2, created.created_at, world.now()));

        let other_owner = gadget("g1", Some("a"), "uno", "red");
        for stale in [
            world.commit(|c| c.create(&first)).await,
            world.commit(|c| c.replace(&first, 1)).await,
            world.commit(|c| c.replace(&other_owner, 2)).await,
            world.commit(|c| c.replace(&gadget("g9", None, "n", "red"), 1)).await,
            world.commit(|c| c.delete::<Gadget>("g1", Owner::Provider, 1)).await,
            world.commit(|c| c.delete::<Gadget>("g1", Owner::Tenant(tenant("a")), 2)).await,
            world.commit(|c| c.expect::<Gadget>("g1", 1)).await,
            world.commit(|c| c.expect::<Gadget>("g9", 1)).await,
        ] {
            assert!(matches!(stale, Err(CommitError::Conflict { kind: "gadget", .. })), "{stale:?}");
        }
        assert_eq!(world.all().read::<Gadget>("g1").await.unwrap().unwrap().value, second);

        world.commit(|c| c.expect::<Gadget>("g1", 2).delete::<Gadget>("g1", Owner::Provider, 2)).await.unwrap();
        assert!(world.all().read::<Gadget>("g1").await.unwrap().is_none());
        assert!(world.all().find::<Gadget>("colour", "red").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn unique_keys_are_unique_and_move() {
    each_engine(async |world| {
        world.commit(|c| c.create(&gadget("a", None, "one", "red"))).await.unwrap();
        let taken = world.commit(|c| c.create(&gadget("b", None, "one", "red"))).await;
        assert!(matches!(taken, Err(CommitError::Duplicate { kind: "gadget", key: "name" })), "{taken:?}");
        // Two new ones of one commit collide as well.
        let twins =
            world.commit(|c| c.create(&gadget("c", None, "two", "red")).create(&gadget("d", None, "two", "red"))).await;
        assert!(matches!(twins, Err(CommitError::Duplicate { .. })), "{twins:?}");
        assert!(world.all().read::<Gadget>("c").await.unwrap().is_none(), "nothing of a refused commit is applied");
        // Swap through a rename in one commit: the name is free once its holder has let go.
        world
            .commit(|c| c.replace(&gadget("a", None, "other", "blue"), 1).create(&gadget("b", None, "one", "red")))
            .await
            .unwrap();
        let holder = world.all().find_one::<Gadget>("name", "one").await.unwrap().unwrap();
        assert_eq!((holder.value.id.as_str(), holder.version), ("b", 1));
        let red = world.all().find::<Gadget>("colour", "red").await.unwrap();
        assert_eq!(red.len(), 1);
        // Deleted and made anew in one commit: a new life, not an old one continued.
        world.clock.advance(Duration::from_secs(5));
        world
            .commit(|c| c.delete::<Gadget>("b", Owner::Provider, 1).create(&gadget("b", None, "one", "red")))
            .await
            .unwrap();
        let anew = world.all().find_one::<Gadget>("name", "one").await.unwrap().unwrap();
        assert_eq!((anew.version, anew.created_at), (1, world.now()));
    })
    .await;
}

async fn fill(world: &World) {
    for (id, owner) in [("g1", None), ("g2", Some("a")), ("g3", Some("b")), ("g4", Some("a")), ("g5", Some("c"))] {
        let colour = if id == "g4" { "blue" } else { "red" };
        world.commit(|c| c.create(&gadget(id, owner, &format!("n{id}"), colour))).await.unwrap();
    }
}

#[tokio::test]
async fn a_scope_hides_what_it_does_not_cover() {
    each_engine(async |world| {
        fill(world).await;
        let set = |names: &[&str]| Scope::Tenants(names.iter().map(|name| tenant(name)).collect::<BTreeSet<_>>());
        let cases: [(Scope, &[&str]); 5] = [
            (Scope::Provider, &["g1", "g2", "g3", "g4", "g5"]),
            (Scope::Tenant(tenant("a")), &["g2", "g4"]),
            (set(&["a", "b"]), &["g2", "g3", "g4"]),
            (set(&[]), &[]),
            (Scope::Tenant(tenant("nobody")), &[]),
        ];
        for (scope, seen) in cases {
            let snapshot = world.store.snapshot(scope.clone());
            let listed = snapshot.list::<Gadget>(&Page::default()).await.unwrap();
            let ids: Vec<&str> = listed.iter().map(|stored| stored.value.id.as_str()).collect();
            assert_eq!(ids, seen, "list in {scope:?}");
            let mut reads = Vec::new();
            for id in ["g1", "g2", "g3", "g4", "g5"] {
                if snapshot.read::<Gadget>(id).await.unwrap().is_some() {
                    reads.push(id);
                }
            }
            assert_eq!(reads, seen, "read in {scope:?}");
            let red = snapshot.find::<Gadget>("colour", "red").await.unwrap();
            let wanted = seen.iter().filter(|id| **id != "g4").count();
            assert_eq!(red.len(), wanted, "find in {scope:?}");
            let ranged = snapshot.range::<Gadget>("name", "ng2", "ng5", 100).await.unwrap();
            let wanted = seen.iter().filter(|id| ("g2".."g5").contains(*id)).count();
            assert_eq!(ranged.len(), wanted, "range in {scope:?}");
        }
        let foreign = Page { owner: Some(Owner::Tenant(tenant("b"))), ..Page::default() };
        let snapshot = world.store.snapshot(Scope::Tenant(tenant("a")));
        assert!(snapshot.list::<Gadget>(&foreign).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn pages_go_both_ways_and_over_many_tenants() {
    each_engine(async |world| {
        let names: Vec<String> = (0..130).map(|number| format!("t{number}")).collect();
        let commit = world.commit_of(|changes| {
            for (number, name) in names.iter().enumerate() {
                changes.create(&gadget(&format!("g{number:03}"), Some(name), name, "red"));
            }
            changes
        });
        world.store.commit(commit).await.unwrap();
        let scope = Scope::Tenants(names.iter().map(|name| tenant(name)).collect());
        for (scope, key) in [
            (Scope::Provider, None),
            (Scope::Provider, Some(("colour", "red".to_owned()))),
            (scope.clone(), None),
            (scope, Some(("colour", "red".to_owned()))),
        ] {
            let snapshot = world.store.snapshot(scope);
            for order in [Order::Ascending, Order::Descending] {
                let (mut seen, mut after) = (Vec::new(), None);
                loop {
                    let page = Page { after: after.clone(), limit: 50, key: key.clone(), order, owner: None };
                    let items = snapshot.list::<Gadget>(&page).await.unwrap();
                    seen.extend(items.iter().map(|stored| stored.value.id.clone()));
                    match items.last() {
                        Some(last) => after = Some(last.value.id.clone()),
                        None => break,
                    }
                }
                let mut wanted: Vec<String> = (0..130).map(|number| format!("g{number:03}")).collect();
                if order == Order::Descending {
                    wanted.reverse();
                }
                assert_eq!(seen, wanted);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_no_engine_could_store_is_refused_alone() {
    each_engine(async |world| {
        let long = "x".repeat(2000);
        for bad in [
            gadget("a\0b", None, "n", "red"),
            gadget(&long, None, "n", "red"),
            gadget("a", None, &long, "red"),
            gadget("a", None, "n\0", "red"),
        ] {
            let refused = world.commit(|c| c.create(&bad)).await;
            assert!(matches!(refused, Err(CommitError::Invalid { .. })), "{refused:?}");
        }
        assert!(world.all().read::<Gadget>("a\0b").await.unwrap().is_none());
        let many = world
            .commit(|changes| {
                for number in 0..600 {
                    changes.create(&gadget(&format!("m{number}"), None, &format!("n{number}"), "red"));
                }
                changes
            })
            .await;
        assert!(matches!(many, Err(CommitError::Invalid { .. })), "{many:?}");
    })
    .await;
}
