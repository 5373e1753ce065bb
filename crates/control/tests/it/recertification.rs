//! Recertification: what was used beside what is given, a narrower grant that holds up at the real gate, and who may say what.

use ids::Clock as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::cast::{Member, agent, login, program, run, sensor};
use testkit::{Cast, Place, Platform, Service};

const REFUSED: [u16; 2] = [403, 404];
const DAY: u64 = 24 * 3600;

async fn status(platform: &Platform, token: &str, operation: &str, input: &Value) -> u16 {
    platform.call(token, operation, input).await.status
}

async fn report(platform: &Platform, token: &str, principal: &str) -> Value {
    platform.done(token, "recertification.report", &json!({ "principal": principal, "days": 7 })).await
}

fn row<'a>(report: &'a Value, operation: &str) -> Option<&'a Value> {
    report["operations"].as_array().unwrap().iter().find(|row| row["operation"] == operation)
}

fn words(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// Do what a proposal says, as a person would.
async fn apply(platform: &Platform, token: &str, principal: &str, proposal: &Value) {
    for role in proposal["roles"].as_array().unwrap() {
        let made = platform.done(token, "role.create", &role["create"]).await;
        let given = json!({ "principal": principal, "role": made["role"], "tenant": role["tenant"] });
        platform.done(token, "role.assign", &given).await;
    }
    for ended in proposal["end"].as_array().unwrap() {
        platform.done(token, "role.unassign", &json!({ "assignment": ended })).await;
    }
}

#[tokio::test]
async fn what_was_used_still_passes_under_the_proposed_role_and_what_was_not_fails() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, own) = (cast.member("tenant_admin"), cast.own.as_str());
    let clerk = agent(&platform, admin, "clerk", own, &["investigator"]).await;
    let case = &cast.things[&Place::Own]["case"];
    let calls = [
        ("case.list", json!({ "tenant": own })),
        ("case.get", json!({ "case": case })),
        ("case.add_comment", json!({ "case": case, "text": "looked" })),
    ];
    for (operation, input) in &calls {
        platform.done(&clerk.token, operation, input).await;
    }
    platform.done(&clerk.token, "case.list", &json!({ "tenant": own })).await;
    platform.done(&clerk.token, "me.get", &json!({})).await;
    let unused = ("detection.list", json!({ "tenant": own }));
    let wrong = json!({ "tenant": own });
    assert!(REFUSED.contains(&status(&platform, &clerk.token, "user.list", &wrong).await));

    let told = report(&platform, &admin.token, &clerk.principal).await;
    let calls_of = |operation: &str| row(&told, operation).map(|row| row["calls"].as_u64().unwrap());
    assert_eq!(
        (calls_of("case.list"), calls_of("case.get"), calls_of("case.add_comment")),
        (Some(2), Some(1), Some(1))
    );
    assert_eq!((calls_of("detection.list"), calls_of("user.list")), (Some(0), None), "{told:#}");
    let own_identity = row(&told, "me.get").unwrap();
    assert_eq!((&own_identity["by_role"], &own_identity["calls"]), (&json!(false), &json!(1)), "everybody has it");
    assert_eq!((&told["complete"], told["last_seen_at"].is_string()), (&json!(true), true));
    let (granted, unused_count) = (told["granted"].as_u64().unwrap(), told["unused"].as_u64().unwrap());
    assert!(granted > 20 && unused_count == granted - 3, "{granted} {unused_count}");
    // What is told of rights is what the matrix says.
    let asked = json!({ "principal": clerk.principal, "tenants": [own] });
    let matrix = platform.done(&admin.token, "policy.matrix", &asked).await;
    for cell in matrix["cells"].as_array().unwrap() {
        if let Some(row) = row(&told, cell["operation"].as_str().unwrap()) {
            assert_eq!(row["authority"], cell["authority"], "{cell}");
        }
    }

    let proposal = &told["proposal"];
    let role = &proposal["roles"][0]["create"];
    assert_eq!(words(&role["operations"]), BTreeSet::from(["case.add_comment", "case.get", "case.list"]), "{told:#}");
    assert_eq!((&role["principals"], &proposal["keep"]), (&json!(["agent"]), &json!([])));
    assert_eq!(proposal["end"].as_array().unwrap().len(), 1);
    let takes = words(&proposal["takes"]);
    assert!(takes.contains("detection.list") && calls.iter().all(|(used, _)| !takes.contains(used)), "{takes:?}");
    assert_eq!(status(&platform, &clerk.token, unused.0, &unused.1).await, 200, "nothing was taken by asking");
    // That look is use too: a minute later it is among what would have to stay.
    let again = report(&platform, &admin.token, &clerk.principal).await;
    assert!(words(&again["proposal"]["roles"][0]["create"]["operations"]).contains("detection.list"), "{again:#}");

    apply(&platform, &admin.token, &clerk.principal, proposal).await;
    let token = run(&platform, admin, &clerk.principal, own).await;
    for (operation, input) in &calls {
        assert_eq!(status(&platform, &token, operation, input).await, 200, "{operation}");
    }
    assert!(REFUSED.contains(&status(&platform, &token, unused.0, &unused.1).await));
    assert!(REFUSED.contains(&status(&platform, &token, "case.open", &json!({ "tenant": own, "title": "x" })).await));
}

#[tokio::test]
async fn what_needs_approval_stays_with_the_role_that_asks_for_it() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, own) = (cast.member("tenant_admin"), cast.own.as_str());
    let (host, _) = sensor(&platform, &cast.chief.token, "laptop", own, &[]).await;
    let medic = agent(&platform, admin, "medic", own, &["investigator", "responder_with_approval"]).await;
    let isolate = json!({ "sensor": host, "reason": "ransomware", "ttl_secs": 600 });
    let looks = json!({ "tenant": own });
    platform.pending(&medic.token, "action.isolate_host", &isolate).await;
    platform.done(&medic.token, "case.list", &looks).await;
    let told = report(&platform, &admin.token, &medic.principal).await;
    let asked = row(&told, "action.isolate_host").unwrap();
    assert_eq!(
        (&asked["authority"], &asked["asked"], &asked["calls"]),
        (&json!("with_approval"), &json!(1), &json!(0)),
        "{asked}"
    );
    // A role that is made cannot say `only after approval`: the one that does has to stay, and covers the rest.
    let proposal = &told["proposal"];
    assert_eq!(proposal["keep"][0]["role"], "responder_with_approval", "{told:#}");
    assert_eq!(proposal["keep"][0]["operations"], json!(["action.isolate_host"]));
    assert_eq!((&proposal["roles"], proposal["end"].as_array().unwrap().len()), (&json!([]), 1));
    apply(&platform, &admin.token, &medic.principal, proposal).await;
    let token = run(&platform, admin, &medic.principal, own).await;
    let (other, _) = sensor(&platform, &cast.chief.token, "desk", own, &[]).await;
    let isolate = json!({ "sensor": other, "reason": "ransomware", "ttl_secs": 600 });
    assert_eq!(status(&platform, &token, "action.isolate_host", &isolate).await, 202, "still asked about");
    assert_eq!(status(&platform, &token, "case.list", &looks).await, 200);
    let query = json!({ "tenant": own, "name": "mine", "sql": "SELECT 1" });
    assert!(REFUSED.contains(&status(&platform, &token, "saved_query.create", &query).await));
    let told = report(&platform, &admin.token, &medic.principal).await;
    assert!(told.get("proposal").is_none() && told["coverage"].to_string().contains("no narrower"), "{told:#}");
}

#[tokio::test]
async fn a_key_of_the_provider_keeps_what_it_used_where_it_holds_it() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, own, other) = (&cast.chief.token, cast.own.as_str(), cast.other.as_str());
    let key = program(&platform, &platform.bootstrap, "exporter", None, &[]).await;
    for (role, tenant) in [("viewer", own), ("analyst", other)] {
        let given = json!({ "principal": key.principal, "role": role, "tenant": tenant });
        platform.done(chief, "role.assign", &given).await;
    }
    platform.done(&key.token, "case.list", &json!({ "tenant": own })).await;
    platform.done(&key.token, "case.open", &json!({ "tenant": other, "title": "one" })).await;
    let told = report(&platform, chief, &key.principal).await;
    let roles = told["proposal"]["roles"].as_array().unwrap();
    let of = |tenant: &str| {
        let role = roles.iter().find(|role| role["tenant"] == tenant).unwrap_or_else(|| panic!("{told:#}"));
        words(&role["create"]["operations"])
    };
    assert_eq!((of(own), of(other)), (BTreeSet::from(["case.list"]), BTreeSet::from(["case.open"])));
    let names: BTreeSet<&str> = roles.iter().map(|role| role["create"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2, "both can be made");
    apply(&platform, chief, &key.principal, &told["proposal"]).await;
    assert_eq!(status(&platform, &key.token, "case.list", &json!({ "tenant": own })).await, 200);
    assert_eq!(status(&platform, &key.token, "case.open", &json!({ "tenant": other, "title": "two" })).await, 200);
    assert!(REFUSED.contains(&status(&platform, &key.token, "case.list", &json!({ "tenant": other })).await));
    assert!(
        REFUSED.contains(&status(&platform, &key.token, "case.open", &json!({ "tenant": own, "title": "no" })).await)
    );
}

#[tokio::test]
async fn only_another_person_says_that_it_is_still_needed() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, chief) = (cast.member("tenant_admin"), &cast.chief);
    let clerk = agent(&platform, admin, "clerk", &cast.own, &["investigator"]).await;
    let asked = json!({ "principal": clerk.principal, "reason": "reads the night's alerts" });
    let none = [&clerk, cast.member("key-tenant-admin"), cast.member("auditor"), cast.member("viewer")];
    for who in none {
        let answer = platform.call(&who.token, "recertification.certify", &asked).await;
        assert!(REFUSED.contains(&answer.status), "{}: {}", who.name, answer.body);
    }
    let elsewhere = agent(&platform, chief, "foreign", &cast.other, &["investigator"]).await;
    for operation in ["recertification.certify", "recertification.revoke"] {
        let input = json!({ "principal": elsewhere.principal, "reason": "not mine" });
        assert_eq!(status(&platform, &admin.token, operation, &input).await, 404, "{operation}");
    }
    let person = json!({ "principal": chief.principal, "reason": "a person" });
    assert_eq!(status(&platform, &chief.token, "recertification.certify", &person).await, 404, "no agent and no key");
    let mut long = asked.clone();
    long["until"] = json!("2999-01-01T00:00:00Z");
    assert_eq!(platform.call(&chief.token, "recertification.certify", &long).await.pointers(), ["/until"]);

    // Its owner only with another administrator; and what that one said yes to is what it held then.
    let stale = platform.pending(&admin.token, "recertification.certify", &asked).await;
    let given = json!({ "principal": clerk.principal, "role": "detection_author", "tenant": cast.own });
    platform.done(&chief.token, "role.assign", &given).await;
    platform.done(&chief.token, "approval.approve", &json!({ "approval": stale })).await;
    assert_ne!(platform.settled(&chief.token, &stale).await["state"], "executed");
    let approval = platform.pending(&admin.token, "recertification.certify", &asked).await;
    platform.done(&chief.token, "approval.approve", &json!({ "approval": approval })).await;
    assert_eq!(platform.settled(&chief.token, &approval).await["state"], "executed");
    let told = report(&platform, &cast.member("auditor").token, &clerk.principal).await["holder"].clone();
    assert_eq!((&told["statement"]["decision"], &told["statement"]["by"]), (&json!("kept"), &json!(admin.principal)));
    assert_eq!((&told["due_at"], &told["given_since"]), (&told["statement"]["until"], &json!(false)));
    // Somebody else at once; what is given afterwards shows.
    platform.done(&chief.token, "recertification.certify", &asked).await;
    let given = json!({ "principal": clerk.principal, "role": "viewer", "tenant": cast.own });
    platform.done(&chief.token, "role.assign", &given).await;
    assert_eq!(report(&platform, &chief.token, &clerk.principal).await["holder"]["given_since"], true);

    // A key: whoever saw its secret answers for it.
    let key = program(&platform, &chief.token, "shipper", Some(&cast.own), &["viewer"]).await;
    let asked = json!({ "principal": key.principal, "reason": "ships" });
    assert_eq!(status(&platform, &chief.token, "recertification.certify", &asked).await, 202);
    assert_eq!(status(&platform, &admin.token, "recertification.certify", &asked).await, 200);
    platform.done(&admin.token, "service_key.rotate", &json!({ "service_key": key.principal })).await;
    assert_eq!(status(&platform, &admin.token, "recertification.certify", &asked).await, 202, "saw the new secret");
}

#[tokio::test]
async fn what_is_not_needed_is_dead_at_once() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = cast.member("tenant_admin");
    let clerk = agent(&platform, admin, "clerk", &cast.own, &["investigator"]).await;
    let key = program(&platform, &cast.chief.token, "shipper", Some(&cast.own), &["viewer"]).await;
    for (who, state) in [(&clerk, "suspended"), (&key, "revoked")] {
        assert_eq!(status(&platform, &who.token, "me.get", &json!({})).await, 200);
        let asked = json!({ "principal": who.principal, "reason": "nobody uses it" });
        let told = platform.done(&admin.token, "recertification.revoke", &asked).await;
        assert_eq!((&told["state"], &told["statement"]["decision"]), (&json!(state), &json!("revoked")), "{told:#}");
        assert_eq!((told.get("due_at"), &told["overdue"]), (None, &json!(false)));
        assert_eq!(status(&platform, &who.token, "me.get", &json!({})).await, 401);
    }
    let asked = json!({ "principal": key.principal, "reason": "after all" });
    assert_eq!(status(&platform, &admin.token, "recertification.certify", &asked).await, 409);
    // What is given back was not looked at since.
    platform.done(&admin.token, "agent.activate", &json!({ "agent": clerk.principal })).await;
    assert_eq!(report(&platform, &admin.token, &clerk.principal).await["holder"]["overdue"], true);
}

#[tokio::test]
async fn the_overdue_are_listed_and_told_of_once_and_only_at_home() {
    let settings = control::Settings { connector_hosts_inside: vec!["127.0.0.1".to_owned()], ..testkit::settings() };
    let platform = Platform::start_with(settings).await;
    let cast = Cast::of(&platform).await;
    let (own, other) =
        (Service::start(|_| Some((200, String::new()))).await, Service::start(|_| Some((200, String::new()))).await);
    for (service, tenant) in [(&own, &cast.own), (&other, &cast.other)] {
        let url = format!("{}/told", service.origin());
        let made = json!({ "tenant": tenant, "name": "due", "url": url, "kinds": ["recertification_overdue"] });
        platform.done(&cast.chief.token, "webhook.create", &made).await;
    }
    let made = json!({ "tenant": cast.own, "name": "long", "ttl_secs": 365 * DAY });
    let key = platform.done(&cast.member("tenant_admin").token, "service_key.create", &made).await["key"]["id"].clone();
    let due = |service: &Service| -> Vec<Value> {
        let all = service.heard().into_iter().map(|one| serde_json::from_str::<Value>(&one.body).unwrap());
        all.filter(|one| one["data"]["principal"] == key).collect()
    };
    let overdue = async |token: &str, tenant: &str| -> Vec<Value> {
        let asked = json!({ "tenant": tenant, "overdue": true, "limit": 1000 });
        platform.done(token, "recertification.list", &asked).await["items"].as_array().unwrap().clone()
    };
    assert!(overdue(&cast.chief.token, &cast.own).await.iter().all(|one| one["principal"] != key), "it is new");
    for _ in 0..3 {
        platform.clock.advance(Duration::from_secs(31 * DAY));
    }
    platform.until("it is told", async || (!due(&own).is_empty()).then_some(())).await;
    let chief = login(&platform, "chief@example.com").await;
    let listed = overdue(&chief, &cast.own).await;
    assert!(listed.iter().any(|one| one["principal"] == key && one["overdue"] == true), "{listed:#?}");
    assert!(overdue(&chief, &cast.other).await.iter().all(|one| one["principal"] != key));
    // Rounds later: still once. Once somebody said so it is due again, and told of again, when that is over.
    platform.clock.advance(Duration::from_secs(2 * 3600));
    let until = platform.clock.now().plus(Duration::from_secs(2 * DAY));
    let chief = login(&platform, "chief@example.com").await;
    let asked = json!({ "principal": key, "reason": "ships", "until": until });
    let told = platform.done(&chief, "recertification.certify", &asked).await;
    assert_eq!((&told["overdue"], &told["due_at"]), (&json!(false), &json!(until)));
    platform.clock.advance(Duration::from_secs(3 * DAY));
    let all = platform.until("it is told again", async || Some(due(&own)).filter(|all| all.len() >= 2)).await;
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_ne!(all[0]["data"]["due_at"], all[1]["data"]["due_at"]);
    assert_eq!(due(&other), Vec::<Value>::new(), "another tenant's webhook hears nothing of it");
}

#[tokio::test]
async fn pages_hold_everybody_of_one_place_and_nobody_else() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin: &Member = cast.member("tenant_admin");
    let (mut seen, mut cursor): (Vec<String>, Option<Value>) = (Vec::new(), None);
    loop {
        let mut asked = json!({ "limit": 2 });
        if let Some(cursor) = cursor.take() {
            asked["cursor"] = cursor;
        }
        let page = platform.done(&admin.token, "recertification.list", &asked).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|one| one["principal"].as_str().unwrap().to_owned()));
        match page.get("next_cursor") {
            Some(next) => cursor = Some(next.clone()),
            None => break,
        }
    }
    let list = async |operation: &str| -> BTreeSet<String> {
        let all = platform.done(&admin.token, operation, &json!({ "limit": 1000 })).await;
        all["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut wanted = list("agent.list").await;
    wanted.extend(list("service_key.list").await);
    assert_eq!((seen.iter().cloned().collect::<BTreeSet<_>>(), seen.len()), (wanted.clone(), wanted.len()));
    assert!(wanted.len() > 4);
    let other = json!({ "tenant": cast.other });
    assert_eq!(status(&platform, &admin.token, "recertification.list", &other).await, 404);
    let foreign = json!({ "principal": cast.things[&Place::Other]["agent"] });
    assert_eq!(status(&platform, &admin.token, "recertification.report", &foreign).await, 404);
    let above = json!({ "principal": cast.member("key-provider-admin").principal });
    assert_eq!(status(&platform, &admin.token, "recertification.report", &above).await, 404);
}
