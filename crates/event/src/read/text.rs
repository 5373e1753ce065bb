//! Lines of text that Linux writes, as JSON records: auditd, and syslog by RFC 5424 and RFC 3164, with or without the
//! priority, as a socket or a file holds them. Never loses a character: what is not understood stays in `message`.

use crate::mapping::parse_time;
use ids::Timestamp;
use std::fmt::Write;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;
/// Keys whose value auditd writes in hexadecimal where it holds a blank, a quote or a control character.
const ENCODED: [&str; 8] = ["acct", "comm", "cwd", "data", "exe", "name", "path", "proctitle"];

/// A line as a JSON object: `{"auditd":{...}}` or `{"syslog":{...}}`; none where it is neither. `received` gives the
/// year that RFC 3164 leaves out.
#[must_use]
pub fn line_record(line: &str, received: Timestamp) -> Option<String> {
    let line = line.trim_end_matches(['\r', '\n', '\0']);
    audit(line).or_else(|| syslog(line, received))
}

/// Members of a JSON object under one key.
struct Record(String);

impl Record {
    fn new(kind: &str) -> Self {
        Self(format!("{{\"{kind}\":{{"))
    }

    fn add(&mut self, key: &str, value: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        text(key, &mut self.0);
        self.0.push(':');
        text(value, &mut self.0);
    }

    fn finish(mut self) -> String {
        self.0.push_str("}}");
        self.0
    }
}

fn text(value: &str, out: &mut String) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// `type=SYSCALL msg=audit(1364481363.243:24287): arch=c000003e ...`, with `node=` before it or not.
fn audit(line: &str) -> Option<String> {
    let (head, body) = line.split_once("msg=audit(")?;
    let (stamp, fields) = body.split_once("):")?;
    let (time, serial) = stamp.split_once(':')?;
    let mut record = Record::new("auditd");
    let mut kind = None;
    for (key, value) in head.split_whitespace().filter_map(|part| part.split_once('=')) {
        kind = kind.or_else(|| (key == "type").then_some(value));
        record.add(key, value);
    }
    let kind = kind?;
    record.add("time", time);
    record.add("serial", serial);
    let mut command = Vec::new();
    let mut seen = vec!["type", "node", "time", "serial"];
    // The part after the group separator repeats numbers by name; the numbers come first and win.
    for (key, value) in pairs(fields) {
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let argument = kind == "EXECVE" && key.strip_prefix('a').is_some_and(|rest| rest.parse::<u32>().is_ok());
        let decoded = if argument || ENCODED.contains(&key) { decode(value) } else { unquote(value).to_owned() };
        record.add(key, &decoded);
        if argument {
            command.push(decoded);
        }
    }
    if !command.is_empty() {
        record.add("command", &command.join(" "));
    }
    Some(record.finish())
}

/// `key=value` pairs; values may stand in double quotes, and those in single quotes hold pairs of their own.
fn pairs(fields: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = fields.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.rsplit([' ', '\x1d', ',']).next().unwrap_or(key);
        let (value, tail) = if let Some(inner) = after.strip_prefix('\'') {
            let (inner, tail) = inner.split_once('\'').unwrap_or((inner, ""));
            found.extend(pairs(inner));
            rest = tail.trim_start();
            continue;
        } else if let Some(inner) = after.strip_prefix('"') {
            let end = inner.find('"').unwrap_or(inner.len());
            let (value, tail) = after.split_at_checked(end.saturating_add(2)).unwrap_or((after, ""));
            (value, tail)
        } else {
            let end = after.find([' ', '\x1d']).unwrap_or(after.len());
            after.split_at_checked(end).unwrap_or((after, ""))
        };
        found.push((key, value));
        rest = tail.trim_start_matches([' ', '\x1d']);
    }
    found
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// A quoted value as it is, another one from hexadecimal where all of it is that; NUL between arguments is a blank.
fn decode(value: &str) -> String {
    let plain = unquote(value);
    let bytes: Option<Vec<u8>> = plain
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect();
    match bytes {
        Some(bytes) if plain.len() == value.len() && !bytes.is_empty() => {
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        }
        _ => plain.to_owned(),
    }
}

fn syslog(line: &str, received: Timestamp) -> Option<String> {
    let mut record = Record::new("syslog");
    let mut rest = line;
    if let Some((number, tail)) = line.strip_prefix('<').and_then(|line| line.split_once('>')) {
        let priority: u8 = number.parse().ok().filter(|number| *number <= 191)?;
        record.add("facility", &(priority >> 3).to_string());
        record.add("severity", &(priority & 7).to_string());
        rest = tail;
    }
    let modern = rest.strip_prefix("1 ").and_then(|rest| rfc_5424(rest, &mut record));
    if modern.is_none() {
        rfc_3164(rest, received, &mut record)?;
    }
    Some(record.finish())
}

/// `2003-10-11T22:14:15.003Z host app procid msgid [data] message`; a dash stands for nothing.
fn rfc_5424(rest: &str, record: &mut Record) -> Option<()> {
    let mut parts = rest.splitn(6, ' ');
    let (time, host, program) = (parts.next()?, parts.next()?, parts.next()?);
    let (pid, kind, tail) = (parts.next()?, parts.next()?, parts.next()?);
    let message = if tail.starts_with('[') {
        let end = structured_end(tail)?;
        let (data, message) = tail.split_at_checked(end)?;
        record.add("data", data);
        message
    } else {
        tail.strip_prefix('-')?
    };
    for (key, value) in [("time", time), ("host", host), ("program", program), ("pid", pid), ("msgid", kind)] {
        if value != "-" {
            record.add(key, value);
        }
    }
    record.add("message", message.trim_start().trim_start_matches('\u{feff}'));
    Some(())
}

/// Where the structured data ends; a bracket inside a quoted value does not end it.
fn structured_end(data: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    let mut characters = data.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted && characters.peek().is_none_or(|(_, next)| *next != '[') => return at.checked_add(1),
            _ => {}
        }
    }
    None
}

/// `Oct 11 22:14:15 host program[pid]: message`; also with an RFC 3339 time, as newer files have it.
fn rfc_3164(rest: &str, received: Timestamp, record: &mut Record) -> Option<()> {
    let (time, tail) = match rest.split_once(' ') {
        Some((first, tail)) if first.len() > 10 => (parse_time(first)?, tail),
        _ => {
            let (head, tail) = rest.split_at_checked(15)?;
            (short_time(head, received)?, tail.strip_prefix(' ')?)
        }
    };
    record.add("time", &time.to_string());
    let (host, tail) = tail.split_once(' ')?;
    record.add("host", host);
    let (tag, message) = tail.split_once(": ").filter(|(tag, _)| !tag.contains(' ')).unwrap_or(("", tail));
    let (program, pid) = match tag.split_once('[') {
        Some((program, pid)) => (program, pid.trim_end_matches(']')),
        None => (tag, ""),
    };
    for (key, value) in [("program", program), ("pid", pid)] {
        if !value.is_empty() {
            record.add(key, value);
        }
    }
    record.add("message", message);
    Some(())
}

/// `Oct 11 22:14:15` in the year in which it is not after `received` by more than a day.
fn short_time(text: &str, received: Timestamp) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|month| text.starts_with(month))?.saturating_add(1);
    let (day, clock) = (text.get(4..6)?.trim().parse::<u8>().ok()?, text.get(7..15)?);
    let year: i64 = received.to_string().get(..4)?.parse().ok()?;
    let in_year = |year: i64| parse_time(&format!("{year:04}-{month:02}-{day:02}T{clock}Z"));
    let limit = received.as_micros().saturating_add(DAY_MICROS);
    let this = in_year(year);
    this.filter(|time| time.as_micros() <= limit).or_else(|| in_year(year.saturating_sub(1)))
}
