//! `posse borrow`: what a terminal asks, in the server's words, and what it keeps. A real server and a browser: script/delegation.

use crate::Line;
use crate::peer::{Answer, Peer};
use cli::Exit;
use serde_json::{Value, json};
use std::path::Path;

fn begun(url: &str) -> Answer {
    let waiting = json!({ "device_code": "d-1", "user_code": "BCDF-GHJK\u{1b}[31m", "verification_uri": format!("{url}/oauth/device"),
        "expires_in": 600, "interval": 0 });
    Answer::json(200, &waiting)
}

fn not(error: &str) -> Answer {
    Answer::json(400, &json!({ "error": error, "error_description": "why" }))
}

fn lent(access: &str, refresh: &str) -> Answer {
    Answer::json(
        200,
        &json!({ "access_token": access, "token_type": "Bearer", "expires_in": 900, "refresh_token": refresh, "scope": "read" }),
    )
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[test]
fn a_terminal_shows_its_code_waits_and_keeps_what_it_was_lent() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("token");
    std::fs::write(&into, "older").unwrap();
    let peer = Peer::script(vec![begun("http://there"), not("authorization_pending"), lent("a-1", "r-1")]);
    let words = ["borrow", "--client", "claude code", "--profile", "work", "--into", into.to_str().unwrap()];
    let ran = Line::at(&peer.url).run(&words);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
    assert!(ran.errors.contains("BCDF-GHJK\\u{1b}[31m there, within 10 minutes"), "{}", ran.errors);
    assert!(ran.errors.contains("claude code asks for `work`"), "{}", ran.errors);
    let said: Value = serde_json::from_str(&ran.output).unwrap();
    assert_eq!((&said["profile"], &said["expires_in_secs"]), (&json!("read"), &json!(900)), "what was lent, not asked");
    assert!(!ran.output.contains("a-1") && !ran.output.contains("r-1"), "{}", ran.output);
    let seen = peer.seen();
    assert_eq!(seen[0].line, "POST /oauth/device_authorization");
    assert_eq!(seen[0].body, "client_id=claude%20code&scope=work");
    let poll =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d-1&client_id=claude%20code";
    assert_eq!((seen[1].body.as_str(), seen[2].body.as_str()), (poll, poll));
    assert!(seen.iter().all(|request| request.header("authorization").is_none()), "no other credential is presented");
    assert_eq!((std::fs::read_to_string(&into).unwrap().as_str(), mode(&into)), ("a-1", 0o600));
    assert_eq!(mode(&folder.path().join("token.renew")), 0o600);

    let peer = Peer::script(vec![lent("a-2", "r-2")]);
    let ran = Line::at(&peer.url).run(&["borrow", "--renew", "--into", into.to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
    assert_eq!(peer.only().body, "grant_type=refresh_token&refresh_token=r-1&client_id=claude%20code");
    assert_eq!(std::fs::read_to_string(&into).unwrap(), "a-2");
    assert!(std::fs::read_to_string(folder.path().join("token.renew")).unwrap().contains("r-2"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
}

#[test]
fn where_nothing_was_lent_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("token");
    let words = ["borrow", "--client", "c", "--into", into.to_str().unwrap()];
    for (answer, exit, said) in [
        (not("access_denied"), Exit::Denied, "the person refused"),
        (not("expired_token"), Exit::Failed, "nobody answered in time"),
        (not("invalid_grant"), Exit::Failed, "the server refuses: why"),
        (Answer::json(200, &json!({ "access_token": "a" })), Exit::Failed, "not OAuth's"),
        (Answer(502, "text/html", Vec::new(), "<html>".to_owned()), Exit::Failed, "no JSON"),
    ] {
        let peer = Peer::script(vec![begun("http://there"), answer]);
        let ran = Line::at(&peer.url).run(&words);
        assert_eq!(ran.exit, exit, "{said}: {}", ran.errors);
        assert!(ran.errors.contains(said), "{said}: {}", ran.errors);
    }
    let peer = Peer::script(vec![not("invalid_scope")]);
    assert_eq!(Line::at(&peer.url).run(&words).exit, Exit::Failed);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // A renewal of what was never lent, and one that comes too late.
    let renew = ["borrow", "--renew", "--into", into.to_str().unwrap()];
    assert_eq!(Line::at("http://127.0.0.1:9").run(&renew).exit, Exit::Failed);
    std::fs::write(folder.path().join("token.renew"), "{\"client\":\"c\",\"refresh_token\":\"r\"}").unwrap();
    let peer = Peer::script(vec![not("invalid_grant")]);
    let ran = Line::at(&peer.url).run(&renew);
    assert!(ran.exit == Exit::Failed && ran.errors.contains("the loan is over"), "{}", ran.errors);
    for wrong in
        [&["borrow", "--client", "c"][..], &["borrow", "--into", "x"], &[&words[..], &["--profile", "all"]].concat()]
    {
        assert_eq!(Line::at("http://127.0.0.1:9").run(wrong).exit, Exit::Usage);
    }
}

/// A credential for MCP names the face by the server's own name for it (RFC 8707, RFC 9728).
#[test]
fn for_mcp_the_server_is_asked_what_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("token");
    let named = Answer::json(200, &json!({ "resource": "https://posse.example/mcp" }));
    let peer = Peer::script(vec![named, begun("http://there"), lent("a", "r")]);
    let ran = Line::at(&peer.url).run(&["borrow", "--client", "c", "--for", "mcp", "--into", into.to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
    let seen = peer.seen();
    assert_eq!(seen[0].line, "GET /.well-known/oauth-protected-resource/mcp");
    assert_eq!(seen[1].body, "client_id=c&scope=read&resource=https%3A%2F%2Fposse.example%2Fmcp");
}
