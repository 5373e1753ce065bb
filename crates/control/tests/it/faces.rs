//! The same gate behind MCP: each role is shown what `me.permissions` says, and what it calls there is decided, done and
//! recorded as over REST.

use crate::golden;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use testkit::{Answer, Cast, Dump, Place, Platform, Request};

const VERSION: &str = "2026-07-28";

async fn rpc(platform: &Platform, token: &str, method: &str, mut params: Value) -> Answer {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Request::new("POST", "/mcp")
        .json(&message)
        .bearer(token)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    if let Some(name) = message["params"]["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    platform.send(request).await
}

async fn tool(platform: &Platform, token: &str, name: &str, arguments: &Value) -> Value {
    let answer = rpc(platform, token, "tools/call", json!({ "name": name, "arguments": arguments })).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    answer.body["result"].clone()
}

#[tokio::test]
async fn each_role_is_shown_what_it_may_call() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let mut text = "# The tools that each role's MCP client is shown, in order; at most 40.\n".to_owned();
    for member in &cast.members {
        let listed = rpc(&platform, &member.token, "tools/list", json!({})).await;
        let tools = listed.body["result"]["tools"].as_array().unwrap_or_else(|| panic!("{}", listed.body));
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        let said = platform.done(&member.token, "me.permissions", &json!({})).await;
        let may: BTreeSet<String> = said["permissions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["operation"].as_str().unwrap().replace('.', "_"))
            .collect();
        let beyond: Vec<&&str> = names.iter().filter(|name| !may.contains(**name)).collect();
        assert!(beyond.is_empty(), "{} is shown {beyond:?}", member.name);
        assert!(names.len() <= 40, "{}", names.len());
        writeln!(text, "\n[{}]\n{}", member.name, names.join("\n")).unwrap();
    }
    golden::check("spec/gate/mcp-tools-by-role.txt", &text);
}

#[tokio::test]
async fn a_tool_is_the_operation() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let own = tool(&platform, &cast.member("viewer").token, "agent_list", &json!({})).await;
    let rest = platform.done(&cast.member("viewer").token, "agent.list", &json!({})).await;
    assert_eq!(own["structuredContent"]["items"], rest["items"]);
    let before = Dump::of(platform.control.store()).await;
    let victim = json!({ "user": cast.things[&Place::Own]["user"] });
    for (member, name, arguments) in [
        ("viewer", "user_deactivate", &victim),
        ("investigator", "user_deactivate", &victim),
        ("tenant_admin", "user_deactivate", &json!({ "user": cast.things[&Place::Other]["user"] })),
    ] {
        let direct = tool(&platform, &cast.member(member).token, name, arguments).await;
        assert_eq!(direct["isError"], true, "{member}: {direct}");
        let through = json!({ "operation": "user.deactivate", "input": arguments });
        let through = tool(&platform, &cast.member(member).token, "operation_call", &through).await;
        assert_eq!(through["isError"], true, "{member}: {through}");
    }
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    let owner = ids::Owner::Tenant(cast.own.parse().unwrap());
    let log = testkit::dump::records(platform.control.store(), owner).await;
    let tried = |name: &str| {
        let own = |one: &&Value| {
            one["principal"] == cast.member(name).principal.as_str()
                && one["operation"] == "user.deactivate"
                && one["origin"]["face"] == "mcp"
        };
        log.iter().filter(own).count()
    };
    assert_eq!(["viewer", "investigator", "tenant_admin"].map(tried), [2, 2, 2]);
    let release = json!({ "kill_switch": cast.things[&Place::Own]["kill_switch"], "reason": "over" });
    let waits = tool(&platform, &cast.member("key-tenant-admin").token, "kill_switch_release", &release).await;
    assert_eq!(waits["structuredContent"]["status"], "pending_approval", "{waits}");
}
