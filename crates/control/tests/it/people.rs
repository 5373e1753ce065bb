//! Small things that several tests ask of the cast.

use serde_json::json;
use testkit::cast::Member;
use testkit::{Cast, Platform};

/// The person who administers the own tenant.
pub(crate) fn admin_of(cast: &Cast) -> &Member {
    cast.member("tenant_admin")
}

/// A draft of a policy document with one policy of this text; its id.
pub(crate) async fn policy_draft(platform: &Platform, cast: &Cast, name: &str, text: &str) -> String {
    let made = json!({ "name": name, "text": format!("@id(\"{name}\")\n{text}") });
    platform.done(&cast.chief.token, "policy.create", &made).await["id"].as_str().unwrap().to_owned()
}
