//! Sources in an object store, against a server on this machine that speaks S3: each object once, over a restart too, what is
//! refused holds up nothing else, and the key's secret stays where it is.

use crate::people::admin_of;
use ids::Clock as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::dump::records;
use testkit::{Cast, Heard, Platform, Reached, Service};

const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

/// Objects by key: entity tag, and the body, or the status with which it is refused.
type Objects = Arc<Mutex<BTreeMap<String, (String, Result<String, u16>)>>>;

/// Two objects a page, keys with escapes, as S3 lists them.
fn listing(objects: &Objects, target: &str) -> String {
    let all = objects.lock().unwrap().clone();
    let after: usize = target
        .split('&')
        .find_map(|part| part.split_once("continuation-token=t%2F"))
        .map_or(0, |(_, place)| place.parse().unwrap());
    let mut page = String::from("<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType>");
    for (key, (etag, body)) in all.iter().skip(after).take(2) {
        let (key, size) = (key.replace(' ', "+").replace('ä', "%C3%A4"), body.as_ref().map_or(1, String::len));
        page += &format!("<Contents><Key>{key}</Key><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>");
    }
    if after + 2 < all.len() {
        let next = after + 2;
        page += &format!("<IsTruncated>true</IsTruncated><NextContinuationToken>t/{next}</NextContinuationToken>");
    }
    page + "</ListBucketResult>"
}

fn answered(objects: &Objects, heard: &Heard) -> Option<(u16, String)> {
    if heard.target.contains("list-type=2") {
        return Some((200, listing(objects, &heard.target)));
    }
    let key = heard.target.strip_prefix("/trail/")?.replace("%20", " ").replace("%C3%A4", "ä");
    let (etag, body) = objects.lock().unwrap().get(&key).cloned()?;
    if heard.header("if-match") != format!("\"{etag}\"") {
        return Some((412, String::new()));
    }
    Some(match body {
        Ok(body) => (200, body),
        Err(status) => (status, "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    })
}

struct Scene {
    platform: Platform,
    cast: Cast,
    service: Service,
    objects: Objects,
}

async fn scene(objects: &[(&str, Result<&str, u16>)]) -> Scene {
    let made =
        |(key, body): &(&str, Result<&str, u16>)| ((*key).to_owned(), ("e1".to_owned(), body.map(str::to_owned)));
    let objects: Objects = Arc::new(Mutex::new(objects.iter().map(made).collect()));
    let own = Arc::clone(&objects);
    let service = Service::start(move |heard| answered(&own, heard)).await;
    let settings = control::Settings { connector_hosts_inside: vec!["127.0.0.1".to_owned()], ..testkit::settings() };
    let platform = Platform::start_with(settings).await;
    let cast = Cast::of(&platform).await;
    let source = json!({ "tenant": cast.own, "name": "trail" });
    platform.done(&admin_of(&cast).token, "source.create", &source).await;
    Scene { platform, cast, service, objects }
}

impl Scene {
    fn input(&self) -> Value {
        json!({
            "tenant": self.cast.own, "source": "trail", "endpoint": self.service.origin(), "bucket": "trail",
            "prefix": "logs/", "access_key_id": "AKIA1", "secret_access_key": SECRET, "every_secs": 60
        })
    }

    async fn set(&self, input: &Value) -> Value {
        self.platform.done(&admin_of(&self.cast).token, "source.set_bucket", input).await
    }

    async fn state(&self) -> Value {
        let asked = json!({ "tenant": self.cast.own, "source": "trail" });
        self.platform.done(&self.cast.member("viewer").token, "source.bucket", &asked).await
    }

    /// How it fares after the look that begins now.
    async fn looked(&self) -> Value {
        self.platform.clock.advance(Duration::from_secs(61));
        let now = self.platform.clock.now().to_string();
        let look = async || {
            let state = self.state().await;
            (state["next_at"].as_str().unwrap() > now.as_str()).then_some(state)
        };
        self.platform.until("the bucket is looked at", look).await
    }

    /// What reached the log since the last time: batch and body.
    fn delivered(&self) -> Vec<(String, String)> {
        let ours = |reached| match reached {
            Reached::Delivery(delivery) if delivery.source.as_str() == "trail" => {
                assert_eq!(delivery.tenant.to_string(), self.cast.own);
                let name = delivery.headers.iter().find(|(name, _)| *name == "idempotency-key").unwrap().1.clone();
                Some((name, String::from_utf8(delivery.body).unwrap()))
            }
            _ => None,
        };
        self.platform.plane.take().into_iter().filter_map(ours).collect()
    }

    fn put(&self, key: &str, etag: &str, body: Result<&str, u16>) {
        let made = (etag.to_owned(), body.map(str::to_owned));
        self.objects.lock().unwrap().insert(key.to_owned(), made);
    }
}

#[tokio::test]
async fn each_object_is_taken_once_and_the_secret_is_never_told() {
    let objects =
        [("logs/a", Ok("{\"n\":1}\n{\"n\":2}\n")), ("logs/b ä", Ok("[{\"n\":3}]")), ("logs/c", Ok("{\"n\":4}"))];
    let mut scene = scene(&objects).await;
    let set = scene.set(&scene.input()).await;
    assert!(!set.to_string().contains(SECRET), "{set}");
    let look = async || Some(scene.state().await).filter(|state| state["listed_at"].is_string());
    let state = scene.platform.until("the prefix is listed", look).await;
    assert_eq!((&state["objects"], &state["records"], &state["problem"]), (&json!(3), &json!(4), &Value::Null));
    let (mut names, bodies): (Vec<String>, Vec<String>) = scene.delivered().into_iter().unzip();
    assert_eq!(bodies, ["{\"n\":1}\n{\"n\":2}\n", "{\"n\":3}\n", "{\"n\":4}\n"]);
    names.dedup();
    assert!(names.len() == 3 && names.iter().all(|name| name.ends_with("/0")), "{names:?}");
    for heard in scene.service.heard() {
        let signed = heard.header("authorization");
        assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIA1/") && signed.contains("/us-east-1/s3/"));
        assert!(!format!("{heard:?}").contains(SECRET));
    }
    let owner = ids::Owner::Tenant(scene.cast.own.parse().unwrap());
    let log = records(scene.platform.control.store(), owner).await;
    assert!(log.iter().any(|record| record["operation"] == "source.set_bucket"));
    assert!(log.iter().all(|record| !record.to_string().contains(SECRET)));
    // Set anew, looked at again, begun anew: nothing comes twice.
    let mut again = scene.input();
    again.as_object_mut().unwrap().remove("secret_access_key");
    scene.set(&again).await;
    assert_eq!(scene.looked().await["objects"], json!(3));
    assert_eq!(scene.delivered(), []);
    scene.platform = scene.platform.restart().await;
    assert_eq!(scene.looked().await["objects"], json!(3));
    assert_eq!(scene.delivered(), []);
    // Another content under a known key is another object, under a batch of its own.
    scene.put("logs/a", "e2", Ok("{\"n\":5}"));
    assert_eq!(scene.looked().await["objects"], json!(4));
    let later = scene.delivered();
    assert!(later.len() == 1 && later[0].1 == "{\"n\":5}\n" && !names.contains(&later[0].0), "{later:?}");
    let gone = json!({ "tenant": scene.cast.own, "source": "trail" });
    scene.platform.done(&admin_of(&scene.cast).token, "source.remove_bucket", &gone).await;
    assert_eq!(scene.platform.call(&scene.cast.member("viewer").token, "source.bucket", &gone).await.status, 404);
}

#[tokio::test]
async fn what_is_refused_or_broken_holds_up_nothing_else_and_is_told() {
    let scene = scene(&[("logs/a", Err(403)), ("logs/b", Ok("{\"n\":1}")), ("logs/c", Ok("\u{1f}"))]).await;
    scene.set(&scene.input()).await;
    let look = async || Some(scene.state().await).filter(|state| state["listed_at"].is_string());
    let state = scene.platform.until("the prefix is listed", look).await;
    assert!(state["problem"].as_str().is_some_and(|why| why.contains("`logs/a`") && why.contains("403")), "{state}");
    let reached = scene.platform.plane.take();
    let uids: Vec<String> = reached
        .iter()
        .filter_map(|one| match one {
            Reached::Told(told) => Some(told.uid.to_string()),
            _ => None,
        })
        .collect();
    assert!(uids.contains(&"posse.source.bucket".to_owned()), "{uids:?}");
    assert!(reached.iter().any(|one| matches!(one, Reached::Delivery(one) if one.body == b"{\"n\":1}\n")));
    // As soon as the key may read it, it is read.
    scene.put("logs/a", "e1", Ok("{\"n\":2}"));
    let state = scene.looked().await;
    assert_eq!((&state["problem"], &state["objects"]), (&Value::Null, &json!(3)));
    assert_eq!(scene.delivered().into_iter().map(|one| one.1).collect::<Vec<_>>(), ["{\"n\":2}\n"]);
}

#[tokio::test]
async fn an_endpoint_is_judged_and_a_secret_goes_to_no_other() {
    let scene = scene(&[]).await;
    let admin = &admin_of(&scene.cast).token;
    let refused = async |change: &[(&str, Value)]| {
        let mut input = scene.input();
        for (name, value) in change {
            input[*name] = value.clone();
        }
        let input =
            Value::Object(input.as_object().unwrap().clone().into_iter().filter(|(_, v)| !v.is_null()).collect());
        scene.platform.call(admin, "source.set_bucket", &input).await.pointers().join(" ")
    };
    assert_eq!(refused(&[("endpoint", json!("http://10.0.0.1"))]).await, "/endpoint");
    assert_eq!(refused(&[("endpoint", json!("https://s3.example.com/x"))]).await, "/endpoint");
    assert_eq!(refused(&[("secret_access_key", Value::Null)]).await, "/secret_access_key");
    assert_eq!(refused(&[("access_key_id", Value::Null)]).await, "/access_key_id");
    assert_eq!(scene.service.heard(), []);
    scene.set(&scene.input()).await;
    let moved = [("endpoint", json!("https://s3.example.com")), ("secret_access_key", Value::Null)];
    assert_eq!(refused(&moved).await, "/secret_access_key");
    let analyst = &scene.cast.member("analyst").token;
    assert_eq!(scene.platform.call(analyst, "source.set_bucket", &scene.input()).await.status, 403);
    let mut other = scene.input();
    other["tenant"] = scene.cast.other.clone().into();
    assert_eq!(scene.platform.call(admin, "source.set_bucket", &other).await.status, 404);
}
