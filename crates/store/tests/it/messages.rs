//! The outbox: nothing leaves before its commit, lanes keep their order, guards stop, crashes end as uncertain.

use crate::fixture::{World, each_engine, tenant};
use ids::Owner;
use serde_json::json;
use std::time::Duration;
use store::{CommitError, MessagePage, MessageState, NewMessage, Outcome};

const LEASE: Duration = Duration::from_secs(30);

fn message(world: &World, id: &str, lane: &str, idempotent: bool) -> NewMessage {
    NewMessage {
        id: id.into(),
        call: world.call(),
        owner: Owner::Tenant(tenant("a")),
        principal: "agent_1".into(),
        channel: "edr".into(),
        lane: lane.into(),
        payload: json!({ "id": id }),
        idempotent,
        attempts_max: 2,
    }
}

async fn send(world: &World, messages: Vec<NewMessage>) {
    world
        .commit(|changes| {
            for message in messages {
                changes.send(message);
            }
            changes
        })
        .await
        .unwrap();
}

async fn claim(world: &World) -> Vec<store::Message> {
    world.store.outbox().claim("w", "edr", 10, LEASE, |_| true).await.unwrap()
}

#[tokio::test]
async fn lanes_keep_their_order() {
    each_engine(async |world| {
        let list = vec![
            message(world, "m1", "host1", true),
            message(world, "m2", "host1", true),
            message(world, "m3", "host2", true),
        ];
        send(world, list).await;
        let taken = claim(world).await;
        assert_eq!(taken.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["m1", "m3"]);
        assert!(claim(world).await.is_empty(), "m2 waits for m1");
        let stored = world.all().message("m1").await.unwrap().unwrap();
        assert_eq!((stored.state, stored.attempts), (MessageState::Sending, 1), "durable before anything is sent");

        // A retry keeps the lane waiting; it is tried again after a pause.
        world.commit(|c| c.settle(&taken[0], Outcome::Retry { detail: "refused".into() })).await.unwrap();
        assert!(claim(world).await.is_empty());
        world.clock.advance(Duration::from_secs(2));
        let again = claim(world).await;
        assert_eq!((again.len(), again[0].id.as_str(), again[0].attempts), (1, "m1", 2));
        // The last attempt that fails is final and frees the lane.
        world.commit(|c| c.settle(&again[0], Outcome::Retry { detail: "refused".into() })).await.unwrap();
        assert_eq!(world.all().message("m1").await.unwrap().unwrap().state, MessageState::Failed);
        let next = claim(world).await;
        assert_eq!(next[0].id, "m2");
        world.commit(|c| c.settle(&next[0], Outcome::Sent { detail: "ok".into() })).await.unwrap();
        let twice = world.commit(|c| c.settle(&next[0], Outcome::Sent { detail: "ok".into() })).await;
        assert!(matches!(twice, Err(CommitError::LeaseLost { .. })), "{twice:?}");
        let same = world.commit(|c| c.send(message(world, "m2", "host1", true))).await;
        assert!(matches!(same, Err(CommitError::Duplicate { kind: "message", .. })), "{same:?}");
    })
    .await;
}

#[tokio::test]
async fn a_guard_stops_what_was_not_sent_yet() {
    each_engine(async |world| {
        send(world, vec![message(world, "m1", "host1", false), message(world, "m2", "host2", false)]).await;
        let outbox = world.store.outbox();
        let taken = outbox.claim("w", "edr", 10, LEASE, |message| message.id != "m1").await.unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(world.all().message("m1").await.unwrap().unwrap().state, MessageState::Stopped);
        let stopped = MessagePage { state: Some(MessageState::Stopped), limit: 10, ..MessagePage::default() };
        assert_eq!(world.all().messages(&stopped).await.unwrap().len(), 1);
        let foreign = world.store.snapshot(ids::Scope::Tenant(tenant("b")));
        assert!(foreign.messages(&MessagePage { limit: 10, ..MessagePage::default() }).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_send_and_record_is_uncertain_where_it_cannot_be_repeated() {
    each_engine(async |world| {
        send(world, vec![message(world, "once", "host1", false), message(world, "twice", "host2", true)]).await;
        assert_eq!(claim(world).await.len(), 2);
        let outbox = world.store.outbox();
        assert_eq!(outbox.recover().await.unwrap(), store::Recovered::default(), "the lease still holds");
        world.clock.advance(LEASE + Duration::from_secs(1));
        let recovered = outbox.recover().await.unwrap();
        assert_eq!((recovered.pending, recovered.uncertain), (vec!["twice".to_owned()], vec!["once".to_owned()]));
        let again = claim(world).await;
        assert_eq!(again.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["twice"]);
    })
    .await;
}
