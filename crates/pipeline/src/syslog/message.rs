//! One syslog message: header, structured data, text. Borrowed from the line; only escapes are copied.

use super::time::{Context, leading, split};
use ids::Timestamp;
use std::borrow::Cow;

/// Which standard a message follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Neither: all of it is text.
    Bare,
    /// BSD syslog.
    Rfc3164,
    /// The syslog protocol.
    Rfc5424,
}

/// An element of structured data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Element<'a> {
    /// SD-ID.
    pub id: &'a str,
    /// Names and values, in order; a name may come twice.
    pub parameters: Vec<(&'a str, Cow<'a, str>)>,
}

/// A message, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// What it follows.
    pub format: Format,
    /// 0 to 23.
    pub facility: Option<u8>,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Its own time.
    pub time: Option<Timestamp>,
    /// HOSTNAME.
    pub host: Option<&'a str>,
    /// APP-NAME, or the tag.
    pub app: Option<&'a str>,
    /// PROCID, or what stands in brackets after the tag.
    pub process: Option<&'a str>,
    /// MSGID.
    pub id: Option<&'a str>,
    /// STRUCTURED-DATA.
    pub structured: Vec<Element<'a>>,
    /// What is left.
    pub text: &'a str,
}

/// Read a message. Never fails.
#[must_use]
pub fn parse<'a>(line: &'a str, context: &Context) -> Message<'a> {
    let line = line.trim_end_matches(['\n', '\r', '\0']);
    let (priority, rest) = match priority(line) {
        Some((priority, rest)) => (Some(priority), rest),
        None => (None, line),
    };
    let mut message = Message {
        format: Format::Bare,
        facility: priority.map(|priority| priority / 8),
        severity: priority.map(|priority| priority % 8),
        time: None,
        host: None,
        app: None,
        process: None,
        id: None,
        structured: Vec::new(),
        text: rest,
    };
    if priority.is_none() || !rfc5424(rest, context, &mut message) {
        rfc3164(rest, context, &mut message);
    }
    message
}

fn priority(line: &str) -> Option<(u8, &str)> {
    let (digits, rest) = line.strip_prefix('<')?.split_once('>')?;
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|priority| *priority <= 191).map(|priority| (priority, rest))
}

/// RFC 5424, section 6. Whether it was that.
fn rfc5424<'a>(rest: &'a str, context: &Context, message: &mut Message<'a>) -> bool {
    let Some(rest) = rest.strip_prefix("1 ") else { return false };
    let (time, rest) = split(rest);
    let time = match time {
        "-" => None,
        _ => match leading(time, context) {
            Some((time, _)) => Some(time),
            None => return false,
        },
    };
    let (host, rest) = split(rest);
    let (app, rest) = split(rest);
    let (process, rest) = split(rest);
    let (id, rest) = split(rest);
    let Some((structured, text)) = structured(rest) else { return false };
    let some = |text: &'a str| (text != "-" && !text.is_empty()).then_some(text);
    message.format = Format::Rfc5424;
    message.time = time;
    message.host = some(host);
    message.app = some(app);
    message.process = some(process);
    message.id = some(id);
    message.structured = structured;
    message.text = text.strip_prefix('\u{feff}').unwrap_or(text);
    true
}

/// STRUCTURED-DATA and the text behind it.
fn structured(text: &str) -> Option<(Vec<Element<'_>>, &str)> {
    if let Some(rest) = text.strip_prefix('-') {
        return rest.strip_prefix(' ').or(rest.is_empty().then_some("")).map(|rest| (Vec::new(), rest));
    }
    let mut elements = Vec::new();
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']'])?;
        let (id, mut inside) = inside.split_at_checked(end)?;
        let mut parameters = Vec::new();
        while let Some(parameter) = inside.strip_prefix(' ') {
            let (name, value) = parameter.trim_start_matches(' ').split_once("=\"")?;
            let (value, after) = quoted(value)?;
            parameters.push((name, value));
            inside = after;
        }
        rest = inside.strip_prefix(']')?;
        elements.push(Element { id, parameters });
    }
    if elements.is_empty() {
        return None;
    }
    Some((elements, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// A value up to its closing quote; `\"`, `\\` and `\]` are escapes, a lone backslash is itself.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    let (value, rest) = text.split_at_checked(end)?;
    let rest = rest.strip_prefix('"')?;
    if !value.contains('\\') {
        return Some((Cow::Borrowed(value), rest));
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let escapes = character == '\\' && matches!(characters.peek(), Some('"' | '\\' | ']'));
        plain.extend(if escapes { characters.next() } else { Some(character) });
    }
    Some((Cow::Owned(plain), rest))
}

/// RFC 3164, section 4, and what devices make of it: time, host and tag may each be missing.
fn rfc3164<'a>(rest: &'a str, context: &Context, message: &mut Message<'a>) {
    // Some devices count their messages: `<189>45: *Mar ...`.
    let counted = rest
        .split_once(": ")
        .filter(|(count, _)| !count.is_empty() && count.len() <= 10 && count.bytes().all(|byte| byte.is_ascii_digit()));
    let body = counted.map_or(rest, |(_, body)| body);
    let Some((time, body)) = leading(body.trim_start_matches(' '), context) else {
        if message.severity.is_some() {
            message.format = Format::Rfc3164;
            take_tag(rest, message);
        }
        return;
    };
    message.format = Format::Rfc3164;
    message.time = Some(time);
    let body = body.trim_start_matches(' ');
    let (first, after) = split(body);
    // A first word that looks like a tag means that the host was left out.
    if first.ends_with(':') || first.contains('[') || after.is_empty() {
        take_tag(body, message);
    } else {
        message.host = Some(first);
        take_tag(after, message);
    }
}

/// `app[process]: text`, `app: text`, or text alone.
fn take_tag<'a>(body: &'a str, message: &mut Message<'a>) {
    message.text = body;
    let end = body.find([':', '[', ' ']);
    let Some((tag, rest)) = end.and_then(|end| body.split_at_checked(end)) else { return };
    if tag.is_empty() || tag.len() > 64 {
        return;
    }
    let (process, rest) = match rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((process, rest)) if process.len() <= 64 => (Some(process), rest),
        _ => (None, rest),
    };
    if let Some(text) = rest.strip_prefix(':') {
        message.app = Some(tag);
        message.process = process;
        message.text = text.strip_prefix(' ').unwrap_or(text);
    }
}
