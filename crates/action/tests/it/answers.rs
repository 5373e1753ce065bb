//! Answers: read, judged and mapped; XML as AWS answers with it, and XML that means harm.

use crate::{shipped, values};
use action::{Answer, Judgement, Reads, Unreadable, XmlError, read_xml};
use serde_json::{Value, json};

fn response(status: u16, body: &str) -> http::Response<bytes::Bytes> {
    http::Response::builder().status(status).body(bytes::Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

const KEYS: &str =
    "<?xml version=\"1.0\"?><!-- two -->\n<ListAccessKeysResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">
  <ListAccessKeysResult><IsTruncated>false</IsTruncated><AccessKeyMetadata>
    <member><UserName>a&amp;b</UserName><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId><Status>Active</Status></member>
  </AccessKeyMetadata></ListAccessKeysResult><ResponseMetadata/></ListAccessKeysResponse>";

#[test]
fn an_aws_answer_is_judged_by_the_item_that_is_meant() {
    let aws = shipped("aws-iam-access-key");
    let check = aws.step("deactivate").unwrap().precondition.as_ref().unwrap();
    let answer = Answer::read(&response(200, KEYS), Reads::Xml).unwrap();
    assert_eq!(
        answer.body["ListAccessKeysResponse"]["ListAccessKeysResult"]["AccessKeyMetadata"]["member"][0]["UserName"],
        "a&b"
    );
    let of = |key: &str| values(json!({ "user_name": "a", "access_key_id": key }), &[], &[]);
    assert_eq!(answer.judge(&check.success, &of("AKIAIOSFODNN7EXAMPLE")), Ok(Judgement::Holds));
    assert!(matches!(answer.judge(&check.success, &of("AKIAIOSFODNN7OTHER00")), Ok(Judgement::Not(_))));
    let refused = Answer::read(&response(403, "<html>no</html"), Reads::Xml).unwrap();
    assert!(matches!(refused.judge(&check.success, &of("A")), Ok(Judgement::Not(why)) if why.contains("403")));
}

#[test]
fn outputs_are_typed_and_hold_no_secret() {
    let slack = shipped("slack-message");
    let execute = &slack.step("post").unwrap().execute;
    let with = values(json!({}), &[], &[("bot_token", "xoxb-1-secret")]);
    let told = json!({ "ok": true, "channel": "C0123456789", "ts": "1440938160.000100", "echo": "xoxb-1-secret" });
    let answer = Answer::read(&response(200, &told.to_string()), Reads::Json).unwrap();
    assert_eq!(answer.judge(&execute.success, &with), Ok(Judgement::Holds));
    let outputs = answer.outputs(&execute.outputs, &with).unwrap();
    assert_eq!(Value::Object(outputs), json!({ "channel": "C0123456789", "ts": "1440938160.000100" }));
    assert_eq!(with.blank_all(told)["echo"], "[secret]");
    let no = Answer::read(&response(200, "{\"ok\":false,\"error\":\"not_in_channel\"}"), Reads::Json).unwrap();
    assert!(matches!(no.judge(&execute.success, &with), Ok(Judgement::Not(_))));
    assert!(matches!(no.outputs(&execute.outputs, &with), Err(Unreadable::Output { .. })));
    assert!(matches!(Answer::read(&response(200, "<html>"), Reads::Json), Err(Unreadable::Body { status: 200, .. })));
}

#[test]
fn xml_that_means_harm_is_not_read() {
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let wide = format!("<r>{}</r>", "<a/>".repeat(60_000));
    for (text, error) in [
        ("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>", XmlError::Refused),
        ("<x>&lol;</x>", XmlError::Refused),
        ("<x>&#xD800;</x>", XmlError::Form),
        ("<x>&amp</x>", XmlError::Form),
        ("<x><y></x></y>", XmlError::Form),
        ("<x>", XmlError::Form),
        ("</x>", XmlError::Form),
        ("<x/><y/>", XmlError::Form),
        ("text", XmlError::Form),
        ("", XmlError::Form),
        ("< x></ x>", XmlError::Form),
        ("<x a=\"", XmlError::Form),
        (&deep, XmlError::TooLarge),
        (&wide, XmlError::TooLarge),
    ] {
        assert_eq!(read_xml(text).err(), Some(error), "{}", text.chars().take(60).collect::<String>());
    }
    let good = "<x a='>' b=\"/\"><![CDATA[<&>]]><y>1</y><y/><z>&#65;&lt;</z></x>";
    assert_eq!(read_xml(good).unwrap(), json!({ "x": { "y": ["1", ""], "z": "A<" } }));
}

proptest::proptest! {
    #[test]
    fn no_text_stops_the_reader(text in "[<>/a!?\\[\\]& ;#x\"'=-]{0,200}") {
        let _ = read_xml(&text);
    }
}
