//! The pages: plain HTML without script, style or picture. Everything that comes from outside is escaped.

use super::form::Form;
use crate::response;
use api::LentProfile;
use axum::body::Body;
use http::{Response, StatusCode};

const HTML: &str = "text/html; charset=utf-8";

/// What a person is asked for.
pub(crate) struct Consent<'a> {
    /// Where the form goes to.
    pub(crate) action: &'a str,
    /// What the client calls itself.
    pub(crate) client: &'a str,
    /// Where the answer goes to, in words.
    pub(crate) goes_to: String,
    /// The profiles that the person can choose from: what was asked for, and less.
    pub(crate) profiles: &'a [LentProfile],
    /// What the credential is good through, in words.
    pub(crate) audience: &'a str,
    /// Fields that the form carries on.
    pub(crate) hidden: &'a [&'a str],
    /// Why the last try came to nothing.
    pub(crate) fault: Option<&'a str>,
}

/// A text inside HTML, also inside a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// What a profile lets an agent do.
const fn in_words(profile: LentProfile) -> &'static str {
    match profile {
        LentProfile::Read => "look at what you can look at, and change nothing",
        LentProfile::Respond => "look and work as far as you may, and ask for response actions",
        LentProfile::Work => {
            "look at what you can look at, and work on the platform's own records (cases, rules, comments) as far as you may"
        }
    }
}

/// What is lent, in full: said where there is only one profile, else to be chosen; none is chosen beforehand.
fn choice(profiles: &[LentProfile], chosen: &str) -> String {
    if let [only] = profiles {
        return format!("<p>It could {}. (profile <code>{}</code>)</p>\n", in_words(*only), only.as_str());
    }
    let mut out = "<fieldset>\n<legend>Choose what it could do</legend>\n".to_owned();
    for profile in profiles {
        let (name, words) = (profile.as_str(), in_words(*profile));
        let checked = if name == chosen { " checked" } else { "" };
        out.push_str(&format!(
            "<p><input type=\"radio\" id=\"{name}\" name=\"profile\" value=\"{name}\" required{checked}> \
             <label for=\"{name}\"><code>{name}</code>: {words}</label></p>\n"
        ));
    }
    out.push_str("</fieldset>\n");
    out
}

/// The consent page.
pub(crate) fn consent(status: StatusCode, asked: &Consent<'_>, form: &Form) -> Response<Body> {
    let mut body = String::new();
    if let Some(fault) = asked.fault {
        body.push_str(&format!("<p role=\"alert\"><strong>{}</strong></p>\n", escaped(fault)));
    }
    body.push_str(&format!(
        "<p>The program <strong>{}</strong> asks to act for you. Nobody has checked that name.</p>\n<p>{}</p>\n\
         <dl>\n<dt>Through</dt><dd>{}</dd>\n\
         <dt>It could never</dt><dd>do what you may not do yourself, change rights or policies, approve anything, or lend on</dd>\n\
         <dt>Ends</dt><dd>after 8 hours, or when you take it back: <code>posse grant revoke</code></dd>\n</dl>\n",
        escaped(asked.client),
        escaped(&asked.goes_to),
        escaped(asked.audience),
    ));
    body.push_str(&format!("<form method=\"post\" action=\"{}\" autocomplete=\"off\">\n", escaped(asked.action)));
    for name in asked.hidden {
        let value = escaped(form.text(name));
        body.push_str(&format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">\n"));
    }
    body.push_str(&choice(asked.profiles, form.text("profile")));
    let tenant = escaped(form.text("tenant"));
    let email = escaped(form.text("email"));
    body.push_str(&format!(
        "<p><label for=\"tenant\">Only in this tenant (its id; empty for all that you reach)</label><br>\n\
         <input id=\"tenant\" name=\"tenant\" value=\"{tenant}\"></p>\n\
         <p><label for=\"email\">Your e-mail address</label><br>\n<input id=\"email\" name=\"email\" type=\"email\" required value=\"{email}\"></p>\n\
         <p><label for=\"password\">Your password</label><br>\n<input id=\"password\" name=\"password\" type=\"password\" required></p>\n\
         <p><label for=\"totp\">The code of your authenticator, where you have one</label><br>\n<input id=\"totp\" name=\"totp\" inputmode=\"numeric\" maxlength=\"6\"></p>\n\
         <p><button name=\"answer\" value=\"lend\">Lend</button> <button name=\"answer\" value=\"refuse\" formnovalidate>Refuse</button></p>\n</form>\n"
    ));
    response::with_type(status, HTML, document("Lend your rights", &body))
}

/// The page on which the code of another terminal is typed.
pub(crate) fn ask_code(fault: Option<&str>) -> Response<Body> {
    let fault = fault.map(|fault| format!("<p role=\"alert\"><strong>{}</strong></p>\n", escaped(fault)));
    let body = format!(
        "{}<form method=\"get\" action=\"/oauth/device\">\n<p><label for=\"user_code\">The code that the other terminal \
         shows</label><br>\n<input id=\"user_code\" name=\"user_code\" required></p>\n<p><button>Go on</button></p>\n</form>\n",
        fault.unwrap_or_default()
    );
    response::with_type(StatusCode::OK, HTML, document("Lend to another terminal", &body))
}

/// A page that says one thing.
pub(crate) fn told(status: StatusCode, title: &str, text: &str) -> Response<Body> {
    response::with_type(status, HTML, document(title, &format!("<p>{}</p>\n", escaped(text))))
}
