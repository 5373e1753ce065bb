//! Saved queries and external tables at the gate: as whom they run, what is kept, what is told, and to whom it is shown.

use crate::people::admin_of;
use api::TenantSetup;
use serde_json::{Map, Value, json};
use std::time::Duration;
use testkit::dump::records;
use testkit::{Cast, Platform, Reached};

fn row(name: &str) -> Map<String, Value> {
    Map::from_iter([("user_name".to_owned(), Value::from(name))])
}

fn told(platform: &Platform) -> Vec<(String, String)> {
    let wire = |reached| match reached {
        Reached::Told(told) if told.uid.starts_with("posse.saved_query") => {
            Some((told.uid.to_string(), told.title.to_string()))
        }
        _ => None,
    };
    platform.plane.take().into_iter().filter_map(wire).collect()
}

async fn last_run(platform: &Platform, cast: &Cast, due_after: &Value) -> Value {
    let get = json!({ "tenant": cast.own, "query": "admins" });
    platform
        .until("the query is asked", async || {
            let found = platform.done(&cast.chief.token, "saved_query.get", &get).await;
            (found["last_run"].is_object() && found["last_run"]["due_at"] != *due_after)
                .then(|| found["last_run"].clone())
        })
        .await
}

#[tokio::test]
async fn a_scheduled_query_runs_as_who_scheduled_it_and_tells_what_is_new() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let analyst = cast.member("analyst");
    let schedule = json!({ "every_minutes": 60, "finding": "New admins" });
    let made = json!({ "tenant": cast.own, "name": "admins", "sql": "SELECT 1", "schedule": schedule });
    let query = platform.done(&analyst.token, "saved_query.create", &made).await;
    assert_eq!(query["runs_as"], json!(analyst.principal));
    told(&platform);
    platform.plane.answer(vec![row("eve")]);
    platform.clock.advance(Duration::from_secs(3600));
    let first = last_run(&platform, &cast, &Value::Null).await;
    assert_eq!((&first["row_count"], &first["problem"]), (&json!(1), &Value::Null));
    assert_eq!(told(&platform), [("posse.saved_query.rows".to_owned(), "New admins".to_owned())]);
    let log = records(platform.control.store(), ids::Owner::Tenant(cast.own.parse().unwrap())).await;
    let run =
        log.iter().find(|record| record["operation"] == "saved_query.run" && record["origin"]["face"] == "schedule");
    assert_eq!(run.unwrap()["principal"], json!(analyst.principal));
    // The same answer is not told again; another one is.
    platform.clock.advance(Duration::from_secs(3600));
    let second = last_run(&platform, &cast, &first["due_at"]).await;
    assert_eq!(told(&platform), []);
    platform.plane.answer(vec![row("eve"), row("mallory")]);
    platform.clock.advance(Duration::from_secs(3600));
    let third = last_run(&platform, &cast, &second["due_at"]).await;
    assert_eq!(told(&platform).len(), 1);
    // Who may not act any more runs nothing any more, and that is told once.
    platform.done(&cast.chief.token, "user.deactivate", &json!({ "user": analyst.principal, "reason": "gone" })).await;
    platform.clock.advance(Duration::from_secs(3600));
    let fourth = last_run(&platform, &cast, &third["due_at"]).await;
    assert!(fourth["problem"].as_str().is_some_and(|why| why.contains("may not act any more")), "{fourth}");
    assert_eq!(told(&platform).first().map(|one| one.0.as_str()), Some("posse.saved_query.failed"));
}

#[tokio::test]
async fn kept_answers_are_frozen_and_shown_to_whom_could_ask() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let analyst = &cast.member("analyst").token;
    let made = json!({ "tenant": cast.own, "name": "admins", "sql": "SELECT 1" });
    platform.done(analyst, "saved_query.create", &made).await;
    platform.plane.answer(vec![row("eve")]);
    let ask = json!({ "tenant": cast.own, "query": "admins" });
    let first = platform.done(analyst, "saved_query.run", &ask).await;
    let digest = seal::Digest::of(br#"[{"user_name":"eve"}]"#).to_hex();
    assert_eq!((&first["digest"], &first["rows"]), (&json!(digest), &json!([{ "user_name": "eve" }])));
    platform.plane.answer(Vec::new());
    for _ in 0..22 {
        platform.clock.advance(Duration::from_secs(1));
        platform.done(analyst, "saved_query.run", &ask).await;
    }
    let kept = platform.done(analyst, "saved_query.results", &ask).await;
    let items = kept["items"].as_array().unwrap();
    assert_eq!(items.len(), 20);
    assert!(items.iter().all(|item| item["rows"].is_null() && item["id"] != first["id"]), "the oldest went");
    let look = json!({ "tenant": cast.own, "query": "admins", "result": items[0]["id"] });
    let viewer = &cast.member("viewer").token;
    assert_eq!(platform.done(viewer, "saved_query.result", &look).await["rows"], json!([]));
    assert_eq!(platform.call(&cast.member("no_role").token, "saved_query.result", &look).await.status, 404);
    let other = json!({ "tenant": cast.other, "query": "admins" });
    assert_eq!(platform.call(analyst, "saved_query.get", &other).await.status, 404);
}

#[tokio::test]
async fn only_who_stands_for_themselves_schedules_and_a_change_runs_as_who_made_it() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let schedule = json!({ "every_minutes": 60 });
    let made = json!({ "tenant": cast.own, "name": "admins", "sql": "SELECT 1", "schedule": schedule });
    let analyst = cast.member("analyst");
    platform.done(&analyst.token, "saved_query.create", &made).await;
    let admin = admin_of(&cast);
    let changed = json!({ "tenant": cast.own, "query": "admins", "sql": "SELECT 2" });
    let changed = platform.done(&admin.token, "saved_query.update", &changed).await;
    assert_eq!(changed["runs_as"], json!(admin.principal));
    let described = json!({ "tenant": cast.own, "query": "admins", "description": "who" });
    let described = platform.done(&analyst.token, "saved_query.update", &described).await;
    assert_eq!(described["runs_as"], json!(admin.principal));
    let wrong = json!({ "tenant": cast.own, "name": "b", "sql": "SELECT 1", "schedule": { "every_minutes": 5, "offset_minutes": 5 } });
    let refused = platform.call(&analyst.token, "saved_query.create", &wrong).await;
    assert_eq!(refused.pointers(), ["/schedule/offset_minutes"]);
    let agent = json!({ "tenant": cast.own, "name": "c", "sql": "SELECT 1", "schedule": { "every_minutes": 5 } });
    let refused = platform.call(&cast.member("investigator").token, "saved_query.create", &agent).await;
    assert_eq!(refused.pointers(), ["/schedule"], "{}", refused.body);
    let off = json!({ "tenant": cast.own, "query": "admins", "unschedule": true });
    let off = platform.done(&analyst.token, "saved_query.update", &off).await;
    assert_eq!((&off["schedule"], &off["next_run_at"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn an_external_table_reaches_the_plane_of_its_tenant() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    platform.plane.take();
    let setups = |platform: &Platform| -> Vec<TenantSetup> {
        let wire = |reached| match reached {
            Reached::SetUp(setup) => Some(setup),
            _ => None,
        };
        platform.plane.take().into_iter().filter_map(wire).collect()
    };
    let made = |name: &str, folder: &str| json!({ "tenant": cast.own, "name": name, "folder": folder });
    let refused = platform.call(admin, "external_table.create", &made("logs", "/outside")).await;
    assert_eq!(refused.pointers(), ["/folder"]);
    assert_eq!(setups(&platform), []);
    platform.done(admin, "external_table.create", &made("logs", "/srv/logs")).await;
    let told = setups(&platform);
    let names: Vec<&str> = told[0].externals.iter().map(|table| table.name.as_str()).collect();
    assert!(told.len() == 1 && told[0].tenant.to_string() == cast.own && names.contains(&"logs"), "{told:?}");
    assert_eq!(platform.call(admin, "external_table.create", &made("logs", "/srv/logs")).await.status, 409);
    let analyst = &cast.member("analyst").token;
    assert_eq!(platform.call(analyst, "external_table.create", &made("more", "/srv/logs")).await.status, 403);
    let delete = json!({ "tenant": cast.own, "table": "logs" });
    platform.done(admin, "external_table.delete", &delete).await;
    assert!(setups(&platform)[0].externals.iter().all(|table| table.name.as_str() != "logs"));
    assert_eq!(platform.call(admin, "external_table.get", &delete).await.status, 404);
}
