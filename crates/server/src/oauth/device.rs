//! The device flow (RFC 8628): a terminal shows a short code, its person types it on this server's page and lends there. What
//! waits is held in memory, bounded, for minutes: after a restart a terminal asks anew.

use super::authorize::{audience_words, with_tenant, words};
use super::form::Form;
use super::page::{self, Consent};
use super::{CHOOSE, Desk, chosen, no_wider, oauth_error, profile};
use crate::response;
use api::{Audience, LentProfile, Problem};
use axum::body::Body;
use http::{Response, StatusCode};
use ids::{Entropy, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a code waits for its person.
const TTL: Duration = Duration::from_secs(600);
/// How often a terminal may ask, in seconds.
const INTERVAL_SECS: u64 = 5;
/// Terminals that wait at once.
const WAITING_MAX: usize = 1000;
/// Letters and digits that are not taken for one another (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

const GONE: &str = "No terminal waits with this code. It may have waited too long.";

/// A terminal that waits.
struct Waiting {
    device_code: String,
    client: String,
    profile: LentProfile,
    audience: Audience,
    expires_at: Timestamp,
    asked_at: Option<Timestamp>,
    answer: Option<Answer>,
}

/// What its person answered.
enum Answer {
    Lent(Value),
    Refused,
}

/// The terminals that wait, by user code.
#[derive(Default)]
pub(crate) struct Devices(Mutex<BTreeMap<String, Waiting>>);

impl Devices {
    fn with<T>(&self, now: Timestamp, work: impl FnOnce(&mut BTreeMap<String, Waiting>) -> T) -> T {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, one| one.expires_at > now);
        work(&mut waiting)
    }
}

fn user_code(entropy: &dyn Entropy) -> String {
    let mut code = String::new();
    while code.len() < 9 {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        // 240 is the greatest multiple of 20 below 256: no letter is likelier than another.
        for byte in bytes.into_iter().filter(|byte| *byte < 240) {
            if code.len() == 4 {
                code.push('-');
            }
            if code.len() < 9 {
                code.extend(LETTERS.get(usize::from(byte % 20)).map(|letter| char::from(*letter)));
            }
        }
    }
    code
}

/// A code as people type it.
fn typed(text: &str) -> String {
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    match letters.split_at_checked(4) {
        Some((first, rest)) => format!("{first}-{rest}"),
        None => letters,
    }
}

/// A terminal asks.
pub(super) fn begin(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    let client = form.text("client_id");
    if client.is_empty() || client.chars().count() > 300 || client.chars().any(char::is_control) {
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_client", "`client_id` says what the program is"));
    }
    let Some(profile) = profile(form.text("scope")) else {
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_scope", "scopes are read, work and respond"));
    };
    let resource = form.text("resource");
    let audience = if resource.is_empty() { Some(Audience::Api) } else { desk.audience(resource) };
    let Some(audience) = audience else {
        return Ok(oauth_error(StatusCode::BAD_REQUEST, "invalid_target", "the resource is not of this server"));
    };
    let (now, entropy) = (desk.shared.hooks.clock().now(), desk.shared.hooks.entropy());
    let user_code = user_code(entropy);
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    let device_code: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let waiting = Waiting {
        device_code: device_code.clone(),
        client: client.to_owned(),
        profile,
        audience,
        expires_at: now.plus(TTL),
        asked_at: None,
        answer: None,
    };
    let kept = desk.shared.devices.with(now, |all| {
        let room = all.len() < WAITING_MAX;
        if room {
            all.insert(user_code.clone(), waiting);
        }
        room
    });
    if !kept {
        let why = "too many terminals wait; try again in some minutes";
        return Ok(oauth_error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", why));
    }
    let page = format!("{}/oauth/device", desk.seen.base_url);
    Ok(response::json(
        StatusCode::OK,
        &json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "expires_in": TTL.as_secs(),
            "interval": INTERVAL_SECS,
        }),
    ))
}

/// The page on which the code is typed, or, with a code, what would be lent.
pub(super) fn show(desk: &Desk<'_>, form: &Form) -> Response<Body> {
    let code = typed(form.text("user_code"));
    if code.is_empty() {
        return page::ask_code(None);
    }
    match waiting(desk, &code) {
        Some(asked) => consent(form, &code, &asked, None, StatusCode::OK),
        None => page::ask_code(Some(GONE)),
    }
}

/// What a terminal asks for that waits under a code.
fn waiting(desk: &Desk<'_>, code: &str) -> Option<(String, LentProfile, Audience)> {
    let now = desk.shared.hooks.clock().now();
    desk.shared.devices.with(now, |all| {
        all.get(code).filter(|one| one.answer.is_none()).map(|one| (one.client.clone(), one.profile, one.audience))
    })
}

fn consent(
    form: &Form,
    code: &str,
    (client, profile, audience): &(String, LentProfile, Audience),
    fault: Option<&str>,
    status: StatusCode,
) -> Response<Body> {
    let consent = Consent {
        action: "/oauth/device",
        client,
        goes_to: format!("Lend only if you started it yourself in another terminal, and it shows the code {code}."),
        profiles: no_wider(*profile),
        audience: audience_words(*audience),
        hidden: &["user_code"],
        fault,
    };
    page::consent(status, &consent, form)
}

/// The answer of a person.
pub(super) async fn submit(desk: &Desk<'_>, form: &Form) -> Result<Response<Body>, Problem> {
    let code = typed(form.text("user_code"));
    let now = desk.shared.hooks.clock().now();
    let Some(asked) = waiting(desk, &code) else { return Ok(page::ask_code(Some(GONE))) };
    if form.text("answer") != "lend" {
        desk.shared.devices.with(now, |all| {
            if let Some(one) = all.get_mut(&code) {
                one.answer = Some(Answer::Refused);
            }
        });
        return Ok(page::told(StatusCode::OK, "Nothing was lent", "The other terminal was told."));
    }
    let (client, profile, audience) = &asked;
    let Some(profile) = chosen(form, *profile) else {
        return Ok(consent(form, &code, &asked, Some(CHOOSE), StatusCode::UNPROCESSABLE_ENTITY));
    };
    let mut input = json!({ "client": client, "profile": profile, "audience": audience });
    with_tenant(&mut input, form);
    match desk.lend(form, input).await {
        Ok(lent) => {
            desk.shared.devices.with(now, |all| {
                if let Some(one) = all.get_mut(&code) {
                    one.answer = Some(Answer::Lent(lent));
                }
            });
            Ok(page::told(StatusCode::OK, "Lent", "The other terminal can go on. You can close this page."))
        }
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(consent(form, &code, &asked, Some(&words(&problem)), status))
        }
    }
}

/// A terminal looks whether its person has answered.
pub(super) fn poll(desk: &Desk<'_>, form: &Form) -> Response<Body> {
    let now = desk.shared.hooks.clock().now();
    let (device_code, client) = (form.text("device_code"), form.text("client_id"));
    let error = |name: &str, why: &str| oauth_error(StatusCode::BAD_REQUEST, name, why);
    desk.shared.devices.with(now, |all| {
        let found = all.iter_mut().find(|(_, one)| one.device_code == device_code && one.client == client);
        let Some((code, one)) = found else {
            return error("expired_token", "no such code waits for this client");
        };
        let soon = one.asked_at.is_some_and(|at| now.since(at) < Duration::from_secs(INTERVAL_SECS));
        one.asked_at = Some(now);
        match &one.answer {
            None if soon => error("slow_down", "ask every 5 seconds"),
            None => error("authorization_pending", "the person has not answered yet"),
            Some(Answer::Refused) => {
                let code = code.clone();
                all.remove(&code);
                error("access_denied", "the person refused")
            }
            Some(Answer::Lent(lent)) => {
                let tokens = lent.get("tokens").cloned().unwrap_or_default();
                let profile = lent.pointer("/grant/profile").and_then(Value::as_str).unwrap_or_default().to_owned();
                let code = code.clone();
                all.remove(&code);
                super::token::granted(desk, &tokens, &profile)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for byte in buffer {
                *byte = self.0.fetch_add(37, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_code_is_eight_plain_letters_and_is_read_as_people_type_it() {
        let code = user_code(&Counting(std::sync::atomic::AtomicU8::new(250)));
        assert_eq!(code.len(), 9);
        assert!(code.bytes().all(|byte| byte == b'-' || LETTERS.contains(&byte)), "{code}");
        assert_eq!(typed(&code.to_lowercase().replace('-', " ")), code);
        assert_eq!(typed("bc"), "BC");
    }
}
