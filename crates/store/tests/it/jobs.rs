//! Jobs: enqueued with a commit, claimed in fair turns, ended with a commit, put back when their worker dies.

use crate::fixture::{World, each_engine, tenant};
use ids::{JobId, Owner, Scope};
use serde_json::json;
use std::time::Duration;
use store::{CommitError, JobPage, JobState, NewJob};

const LEASE: Duration = Duration::from_secs(30);

fn job(world: &World, name: &str, owner: Option<&str>) -> NewJob {
    NewJob {
        id: JobId::derive(&[name.as_bytes()]),
        kind: "scan".into(),
        owner: owner.map(tenant).into(),
        payload: json!({ "name": name }),
        run_at: world.now(),
        attempts_max: 3,
        dedupe: None,
    }
}

async fn enqueue(world: &World, jobs: Vec<NewJob>) {
    world
        .commit(|changes| {
            for job in jobs {
                changes.enqueue(job);
            }
            changes
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_job_runs_once_and_ends_with_its_record() {
    each_engine(async |world| {
        enqueue(world, vec![job(world, "j", Some("a"))]).await;
        let jobs = world.store.jobs();
        let leases = jobs.claim("w1", "scan", 5, LEASE).await.unwrap();
        assert_eq!(leases.len(), 1);
        let lease = &leases[0];
        assert_eq!(
            (lease.attempt, lease.job.payload.clone(), lease.job.state),
            (1, json!({"name": "j"}), JobState::Leased)
        );
        assert!(jobs.claim("w2", "scan", 5, LEASE).await.unwrap().is_empty());
        assert!(jobs.claim("w2", "other", 5, LEASE).await.unwrap().is_empty());

        world.clock.advance(Duration::from_secs(20));
        let until = jobs.heartbeat(lease, LEASE, Some((500, "half"))).await.unwrap();
        assert_eq!(until, world.now().plus(LEASE));
        let seen = world.all().job(lease.job.id).await.unwrap().unwrap();
        assert_eq!((seen.progress_permille, seen.progress_text.as_str()), (500, "half"));
        assert!(world.store.snapshot(Scope::Tenant(tenant("b"))).job(lease.job.id).await.unwrap().is_none());

        let result = json!({"hosts": 3});
        world.commit(|c| c.finish_job(lease, Some(&result))).await.unwrap();
        let done = world.all().job(lease.job.id).await.unwrap().unwrap();
        assert_eq!((done.state, done.result), (JobState::Done, Some(result)));
        let twice = world.commit(|c| c.finish_job(lease, None)).await;
        assert!(matches!(twice, Err(CommitError::LeaseLost { .. })), "{twice:?}");
    })
    .await;
}

#[tokio::test]
async fn failures_wait_longer_and_die_at_last() {
    each_engine(async |world| {
        enqueue(world, vec![job(world, "j", None)]).await;
        let jobs = world.store.jobs();
        let mut waits = Vec::new();
        for attempt in 1..=3 {
            let lease = jobs.claim("w", "scan", 1, LEASE).await.unwrap().pop().unwrap();
            assert_eq!(lease.attempt, attempt);
            world.commit(|c| c.fail_job(&lease, "no route")).await.unwrap();
            let failed = world.all().job(lease.job.id).await.unwrap().unwrap();
            assert_eq!(failed.error.as_deref(), Some("no route"));
            if attempt < 3 {
                assert_eq!(failed.state, JobState::Queued);
                assert!(jobs.claim("w", "scan", 1, LEASE).await.unwrap().is_empty(), "it waits");
                waits.push(failed.run_at.since(world.now()));
                world.clock.advance(failed.run_at.since(world.now()));
            } else {
                assert_eq!(failed.state, JobState::Dead);
            }
        }
        assert!(
            (500..=1000).contains(&waits[0].as_millis()) && (1000..=2000).contains(&waits[1].as_millis()),
            "{waits:?}"
        );
        world.clock.advance(Duration::from_secs(9999));
        assert!(jobs.claim("w", "scan", 1, LEASE).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_dead_workers_job_goes_to_another_and_the_first_cannot_end_it() {
    each_engine(async |world| {
        enqueue(world, vec![job(world, "j", None)]).await;
        let jobs = world.store.jobs();
        let first = jobs.claim("w1", "scan", 1, LEASE).await.unwrap().pop().unwrap();
        world.clock.advance(LEASE + Duration::from_secs(1));
        assert!(jobs.claim("w2", "scan", 1, LEASE).await.unwrap().is_empty(), "put back with a pause");
        world.clock.advance(Duration::from_secs(2));
        let second = jobs.claim("w2", "scan", 1, LEASE).await.unwrap().pop().unwrap();
        assert_eq!(second.attempt, 2);
        let late = world.commit(|c| c.finish_job(&first, None)).await;
        assert!(matches!(late, Err(CommitError::LeaseLost { .. })), "{late:?}");
        let late = jobs.heartbeat(&first, LEASE, None).await;
        assert!(matches!(late, Err(CommitError::LeaseLost { .. })), "{late:?}");

        world.commit(|c| c.cancel_job(second.job.id, Owner::Provider)).await.unwrap();
        let cancelled = jobs.heartbeat(&second, LEASE, None).await;
        assert!(matches!(cancelled, Err(CommitError::LeaseLost { .. })), "{cancelled:?}");
        let again = world.commit(|c| c.cancel_job(second.job.id, Owner::Provider)).await;
        assert!(matches!(again, Err(CommitError::Conflict { kind: "job", .. })), "{again:?}");
        assert_eq!(world.all().job(second.job.id).await.unwrap().unwrap().state, JobState::Cancelled);
    })
    .await;
}

#[tokio::test]
async fn a_job_given_back_is_taken_up_at_once_and_counts_no_attempt() {
    each_engine(async |world| {
        enqueue(world, vec![job(world, "j", None)]).await;
        let jobs = world.store.jobs();
        let first = jobs.claim("w1", "scan", 1, LEASE).await.unwrap().pop().unwrap();
        jobs.give_back(&first).await.unwrap();
        let twice = jobs.give_back(&first).await;
        assert!(matches!(twice, Err(CommitError::LeaseLost { .. })), "{twice:?}");
        let second = jobs.claim("w2", "scan", 1, LEASE).await.unwrap().pop().unwrap();
        assert_eq!((second.job.id, second.attempt), (first.job.id, 1));
        let late = jobs.give_back(&first).await;
        assert!(matches!(late, Err(CommitError::LeaseLost { .. })), "another worker has it: {late:?}");
    })
    .await;
}

#[tokio::test]
async fn a_busy_tenant_does_not_starve_the_others() {
    each_engine(async |world| {
        let mut list: Vec<NewJob> = (0..50).map(|number| job(world, &format!("a{number}"), Some("a"))).collect();
        list.push(job(world, "b", Some("b")));
        list.push(job(world, "p", None));
        list.push(job(world, "c", Some("c")));
        enqueue(world, list).await;
        let jobs = world.store.jobs();
        let mut order = Vec::new();
        for _ in 0..5 {
            order.extend(jobs.claim("w", "scan", 1, LEASE).await.unwrap().into_iter().map(|lease| lease.job.owner));
        }
        let first: std::collections::BTreeSet<Owner> = order.iter().take(4).copied().collect();
        assert_eq!(first.len(), 4, "everybody once before anybody twice: {order:?}");
        assert_eq!(order.len(), 5);
        // One claim of many takes turns as well.
        enqueue(world, vec![job(world, "b2", Some("b")), job(world, "c2", Some("c"))]).await;
        let owners: Vec<Owner> =
            jobs.claim("w", "scan", 3, LEASE).await.unwrap().iter().map(|lease| lease.job.owner).collect();
        assert_eq!(owners.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{owners:?}");
    })
    .await;
}

#[tokio::test]
async fn a_dedupe_key_enqueues_once_and_lists_page() {
    each_engine(async |world| {
        for name in ["x", "y"] {
            let keyed = NewJob { dedupe: Some("nightly".into()), ..job(world, name, Some("a")) };
            enqueue(world, vec![keyed]).await;
        }
        let other = NewJob { dedupe: Some("nightly".into()), ..job(world, "z", Some("b")) };
        enqueue(world, vec![other]).await;
        let page = JobPage { limit: 10, ..JobPage::default() };
        assert_eq!(world.all().jobs(&page).await.unwrap().len(), 2);
        let snapshot = world.store.snapshot(Scope::Tenant(tenant("a")));
        assert_eq!(snapshot.jobs(&page).await.unwrap().len(), 1);
        let done = JobPage { state: Some(JobState::Done), limit: 10, ..JobPage::default() };
        assert!(snapshot.jobs(&done).await.unwrap().is_empty());
        let all = world.all().jobs(&JobPage { limit: 1, ..JobPage::default() }).await.unwrap();
        let rest = JobPage { after: Some(all[0].id), limit: 10, ..JobPage::default() };
        assert_eq!(world.all().jobs(&rest).await.unwrap().len(), 1);
    })
    .await;
}
