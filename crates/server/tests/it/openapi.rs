//! The document against the declarations.

use crate::door::specs;
use serde_json::json;

#[test]
fn each_field_of_an_input_has_its_one_place() {
    let document = api::openapi::document(&specs());
    let make = &document["paths"]["/v1/boxes/{box}/things"]["post"];
    let named: Vec<_> = make["parameters"].as_array().unwrap().iter().map(|one| (&one["name"], &one["in"])).collect();
    assert_eq!(named[0], (&json!("box"), &json!("path")));
    assert_eq!(named[1], (&json!("If-Match"), &json!("header")));
    assert_eq!(make["parameters"][2]["$ref"], "#/components/parameters/IdempotencyKey");
    let body = &make["requestBody"]["content"]["application/json"];
    assert_eq!(body["schema"]["required"], json!(["colour"]));
    assert_eq!(body["example"], json!({ "colour": "red", "count": 2 }));
    assert!(
        body["schema"]["properties"].get("box").is_none() && body["schema"]["properties"].get("if_match").is_none()
    );

    let list = &document["paths"]["/v1/boxes/{box}/things"]["get"];
    let colours = list["parameters"].as_array().unwrap().iter().find(|one| one["name"] == "colours").unwrap();
    assert_eq!((&colours["in"], &colours["explode"]), (&json!("query"), &json!(true)));
    let mood = list["parameters"].as_array().unwrap().iter().find(|one| one["name"] == "mood").unwrap();
    assert!(!mood.to_string().contains("null"), "{mood}");
    assert!(list.get("requestBody").is_none());
    assert_eq!(list["x-obligations"], json!(["max_rows"]));
    assert!(list["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["obligations"].is_object());

    let login = &document["paths"]["/v1/me/login"]["post"];
    assert_eq!(login["security"], json!([{}]));
    let secret = &login["requestBody"]["content"]["application/json"]["schema"]["properties"]["password"];
    assert_eq!(secret["x-secret"], json!(true));
}

#[test]
fn the_text_is_the_same_each_time() {
    assert_eq!(api::openapi::text(&specs()), api::openapi::text(&specs()));
    assert!(api::openapi::text(&[]).ends_with("}\n"));
}
