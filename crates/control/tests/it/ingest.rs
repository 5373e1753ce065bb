//! Shippers at the gate: what an ingest key opens and what it does not, what is counted, and that a question over
//! several tenants is decided and recorded in each.

use crate::people::admin_of;
use api::Protocol;
use ids::{Owner, Scope};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::time::Duration;
use testkit::dump::records;
use testkit::{Answer, Cast, Place, Platform, Reached, Request, SyslogProtocol};

/// A source with a key, in a place of the cast.
async fn shipper(platform: &Platform, cast: &Cast, place: Place, name: &str) -> (String, String) {
    let (tenant, chief) = (cast.tenant(place).unwrap(), &cast.chief.token);
    platform.done(chief, "source.create", &json!({ "tenant": tenant, "name": name })).await;
    let made = platform.done(chief, "source.create_key", &json!({ "tenant": tenant, "source": name })).await;
    let secret = made["credential"]["secret"].as_str().unwrap().to_owned();
    (secret, made["key"]["id"].as_str().unwrap().to_owned())
}

async fn send(platform: &Platform, key: &str, target: &str) -> Answer {
    let request = Request::new("POST", target).header("authorization", key).body(b"{\"a\":1}\n{\"a\":2}\n");
    platform.send(request).await
}

fn deliveries(platform: &Platform) -> Vec<(Protocol, String, String)> {
    let wire = |reached| match reached {
        Reached::Delivery(one) => Some((one.protocol, one.source.to_string(), one.path)),
        _ => None,
    };
    platform.plane.take().into_iter().filter_map(wire).collect()
}

#[tokio::test]
async fn a_key_opens_its_source_and_nothing_else() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (key, id) = shipper(&platform, &cast, Place::Own, "web").await;
    shipper(&platform, &cast, Place::Own, "mail").await;
    shipper(&platform, &cast, Place::Other, "theirs").await;
    deliveries(&platform);
    let bearer = format!("Bearer {key}");
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 200);
    assert_eq!(send(&platform, &format!("Splunk {key}"), "/services/collector/event").await.status, 200);
    assert_eq!(send(&platform, &format!("ApiKey {key}"), "/_bulk").await.status, 200);
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web/logs/_bulk").await.status, 200);
    assert_eq!(send(&platform, &bearer, "/v1/logs").await.status, 200);
    let taken = deliveries(&platform);
    let wanted = [
        (Protocol::Ndjson, ""),
        (Protocol::HecEvents, ""),
        (Protocol::Bulk, "/_bulk"),
        (Protocol::Bulk, "/logs/_bulk"),
        (Protocol::OtlpLogs, ""),
    ];
    assert_eq!(taken, wanted.map(|(protocol, path)| (protocol, "web".to_owned(), path.to_owned())));
    // Another source of its tenant, one of another tenant and one of nobody are answered alike.
    let mut refused = Vec::new();
    for source in ["mail", "theirs", "nothing"] {
        let answer = send(&platform, &bearer, &format!("/v1/ingest/{source}")).await;
        refused.push((answer.status, answer.body.to_string()));
    }
    assert!(refused.iter().all(|one| *one == refused[0] && one.0 == 403), "{refused:?}");
    // A key is no credential of the API, and no credential of the API is a key.
    assert_eq!(platform.call(&key, "me.get", &json!({})).await.status, 401);
    for stranger in [cast.chief.token.as_str(), "posse_ingest_x", ""] {
        assert_eq!(send(&platform, &format!("Bearer {stranger}"), "/v1/ingest/web").await.status, 401);
    }
    assert_eq!(deliveries(&platform), []);
    let admin = &admin_of(&cast).token;
    let (tenant, source) = (&cast.own, "web");
    platform.done(admin, "source.update", &json!({ "tenant": tenant, "source": source, "enabled": false })).await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 403, "a source that is switched off");
    platform.done(admin, "source.update", &json!({ "tenant": tenant, "source": source, "enabled": true })).await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 200);
    platform.done(&cast.chief.token, "tenant.suspend", &json!({ "tenant": tenant, "reason": "a test" })).await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 401, "a tenant that is suspended");
    platform.done(&cast.chief.token, "tenant.resume", &json!({ "tenant": tenant })).await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 200);
    let admin = &cast.chief.token;
    platform.done(admin, "source.revoke_key", &json!({ "tenant": tenant, "source": source, "key": id })).await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 401, "a key that is revoked");
}

#[tokio::test]
async fn a_key_ends_and_its_source_takes_it_along() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (key, _) = shipper(&platform, &cast, Place::Own, "web").await;
    let bearer = format!("Bearer {key}");
    let chief = &cast.chief.token;
    platform.done(chief, "source.delete", &json!({ "tenant": cast.own, "source": "web" })).await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 401);
    // Made again under the same name, it does not let the old key in.
    let (again, _) = shipper(&platform, &cast, Place::Own, "web").await;
    assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 401);
    assert_eq!(send(&platform, &format!("Bearer {again}"), "/v1/ingest/web").await.status, 200);
    platform.clock.advance(Duration::from_secs(366 * 24 * 3600));
    assert_eq!(send(&platform, &format!("Bearer {again}"), "/v1/ingest/web").await.status, 401);
}

#[tokio::test]
async fn batches_are_counted_and_not_recorded_one_by_one() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (key, _) = shipper(&platform, &cast, Place::Own, "web").await;
    let bearer = format!("Bearer {key}");
    for _ in 0..5 {
        assert_eq!(send(&platform, &bearer, "/v1/ingest/web").await.status, 200);
    }
    assert_eq!(send(&platform, &bearer, "/v1/ingest/mail").await.status, 403);
    platform.clock.advance(Duration::from_secs(61));
    let owner = Owner::Tenant(cast.own.parse().unwrap());
    let leaf = platform
        .until("the counts are on the record", async || {
            let log = records(platform.control.store(), owner).await;
            let mut counted = log.into_iter().filter(|record| record["operation"] == "source.receive");
            let first = counted.next();
            assert!(counted.next().is_none(), "one record for a source and minute");
            first
        })
        .await;
    assert_eq!(leaf["aggregate"]["count"], 6);
    let call = json!({ "tenant": cast.own, "call": leaf["call"] });
    let detail = platform.done(&cast.chief.token, "audit.get", &call).await;
    let wanted = json!({
        "source": "web", "batches": 5, "records": 10, "bytes": 80, "rejected": 0, "refused": { "forbidden": 1 },
    });
    assert_eq!(detail["input"], wanted);
}

#[tokio::test]
async fn a_question_over_tenants_is_decided_and_recorded_in_each() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    platform.plane.take();
    let sql = "SELECT 1";
    let both = json!({ "tenants": [cast.own, cast.other], "sql": sql });
    let tenants = [&cast.own, &cast.other].map(|tenant| tenant.parse().unwrap());
    let answer = platform.done(&cast.chief.token, "event.query", &both).await;
    let asked = |platform: &Platform| -> Vec<Scope> {
        let scope = |reached| match reached {
            Reached::Question(_, scope, _) => Some(scope),
            _ => None,
        };
        platform.plane.take().into_iter().filter_map(scope).collect()
    };
    assert_eq!(asked(&platform), [Scope::Tenants(tenants.into())]);
    for tenant in tenants {
        let log = records(platform.control.store(), Owner::Tenant(tenant)).await;
        let query = |record: &&Value| record["operation"] == "event.query";
        assert_eq!(log.iter().filter(query).count(), 1, "{tenant}");
    }
    // The cursor is this caller's and this question's.
    let cursor = &answer["next_cursor"];
    let on = json!({ "tenants": both["tenants"], "sql": sql, "cursor": cursor });
    platform.done(&cast.chief.token, "event.query", &on).await;
    let other = json!({ "tenants": both["tenants"], "sql": "SELECT 2", "cursor": cursor });
    assert_eq!(platform.call(&cast.chief.token, "event.query", &other).await.pointers(), ["/cursor"]);
    platform.plane.take();
    // Whoever holds one of them gets neither, and learns nothing of the other.
    let analyst = &cast.member("analyst").token;
    assert_eq!(platform.call(analyst, "event.query", &both).await.status, 404);
    assert_eq!(asked(&platform), []);
    platform.done(analyst, "event.query", &json!({ "sql": sql })).await;
    assert_eq!(asked(&platform), [Scope::Tenant(tenants[0])]);
    // A provider's person who names none asks every tenant.
    platform.done(&cast.chief.token, "event.search", &json!({ "query": "" })).await;
    assert_eq!(asked(&platform), [Scope::Tenants(tenants.into())]);
}

/// Say something over TCP and listen until the answer holds what is wanted.
async fn heard(address: std::net::SocketAddr, said: String, wanted: &'static str) -> String {
    let talk = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        let (mut heard, mut piece) = (String::new(), [0; 4096]);
        while !heard.contains(wanted) {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "ended before `{wanted}`: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        heard
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

#[tokio::test]
async fn events_are_followed_as_a_stream_for_those_who_may() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let ask = |token: &str| {
        format!(
            "GET /v1/events/tail HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
        )
    };
    let heard_all = heard(platform.address, ask(&cast.member("viewer").token), ": waiting").await;
    assert!(heard_all.contains("content-type: text/event-stream"), "{heard_all}");
    let first = heard_all.find("event: event\ndata: {\"event_id\":1}\n\n").unwrap();
    let last = heard_all.find("event: event\ndata: {\"event_id\":2}\n\n").unwrap();
    assert!(first < last && heard_all.get(first..last).is_some_and(|part| part.contains("id: ")), "{heard_all}");
    // Refused before the stream begins: a plain problem.
    let refused = heard(platform.address, ask(&cast.member("no_role").token), "urn:posse:problem:denied").await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    // Revoked while it goes on: the stream ends with the reason.
    let token = cast.member("viewer").token.clone();
    let stream = tokio::spawn(heard(platform.address, ask(&token), "event: problem"));
    let seen = |reached: &Reached| matches!(reached, Reached::Question("tail", ..));
    platform.plane.take();
    platform.until("the stream goes on", async || platform.plane.take().iter().any(seen).then_some(())).await;
    platform.done(&token, "me.logout", &json!({})).await;
    assert!(stream.await.unwrap().contains("urn:posse:problem:unauthenticated"));
}

#[tokio::test]
async fn syslog_goes_to_the_source_that_the_configuration_names() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    shipper(&platform, &cast, Place::Own, "hosts").await;
    let said = |platform: &Platform| -> Vec<(String, Vec<u8>)> {
        let wire = |reached| match reached {
            Reached::Syslog(tenant, source, bytes) => Some((format!("{tenant}/{source}"), bytes)),
            _ => None,
        };
        platform.plane.take().into_iter().filter_map(wire).collect()
    };
    let wanted = vec![(format!("{}/hosts", cast.own), b"<13>hello".to_vec())];
    let udp = platform.listen_for_syslog(SyslogProtocol::Udp, &cast.own, "hosts").await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    platform.plane.take();
    socket.send_to(b"<13>hello", udp).unwrap();
    let mut all = Vec::new();
    let got = platform
        .until("the datagram arrives", async || {
            all.extend(said(&platform));
            (!all.is_empty()).then(|| all.clone())
        })
        .await;
    assert_eq!(got, wanted);
    let tcp = platform.listen_for_syslog(SyslogProtocol::Tcp, &cast.own, "hosts").await;
    let mut stream = std::net::TcpStream::connect(tcp).unwrap();
    stream.write_all(b"<13>hello").unwrap();
    let mut all = Vec::new();
    let got = platform
        .until("the bytes arrive", async || {
            all.extend(said(&platform));
            (!all.is_empty()).then(|| all.clone())
        })
        .await;
    assert_eq!(got, wanted);
    // A source that is not there takes nothing: the connection is closed.
    let nowhere = platform.listen_for_syslog(SyslogProtocol::Tcp, &cast.own, "nothing").await;
    let closed = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(nowhere).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.read(&mut [0; 8])
    });
    assert!(matches!(closed.await.unwrap(), Ok(0)));
    assert_eq!(said(&platform), []);
}
