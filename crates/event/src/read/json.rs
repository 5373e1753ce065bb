//! Where one JSON record ends and the next begins, found by brackets and quotes alone: lines, arrays, values after
//! one another, and wrappers such as `CloudTrail`'s `{"Records":[...]}`. Never judges the JSON inside a record.

use std::ops::ControlFlow;

/// Members that wrap a list of records and say nothing else worth an event, by source: `CloudTrail` files, Azure
/// diagnostic exports, Kubernetes audit batches.
const WRAPPERS: [&[u8]; 3] = [b"\"Records\"", b"\"records\"", b"\"items\""];

/// Hand on the bytes of every record.
pub(super) fn records(bytes: &[u8], found: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut rest = bytes.trim_ascii_start();
    let mut torn = false;
    while !rest.is_empty() {
        let (record, tail) = next(rest, &mut torn);
        rest = tail.trim_ascii_start();
        if record.first() == Some(&b'[') {
            elements(record, found)?;
        } else if let Some(list) = wrapped(record) {
            elements(list, found)?;
        } else if !record.is_empty() {
            found(record)?;
        }
    }
    ControlFlow::Continue(())
}

/// The records of `[...]`.
fn elements(list: &[u8], found: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let inner = list.strip_prefix(b"[").unwrap_or(list);
    let mut rest = inner.strip_suffix(b"]").unwrap_or(inner).trim_ascii_start();
    while !rest.is_empty() {
        let (record, tail) = match extent(rest) {
            // A bracket that closes nothing is no value: step over it, or this would never end.
            Some(end) => rest.split_at_checked(end.max(1)).unwrap_or((rest, &[])),
            None => (rest, [].as_slice()),
        };
        if !record.trim_ascii().is_empty() {
            found(record.trim_ascii_end())?;
        }
        rest = tail.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    }
    ControlFlow::Continue(())
}

/// The first record and what follows. A record that never ends is cut at its line's end, so that one torn line does
/// not swallow the rest of the file; from then on records are looked for within their lines only, so that a file of
/// torn lines is not searched to its end for each of them.
fn next<'b>(bytes: &'b [u8], torn: &mut bool) -> (&'b [u8], &'b [u8]) {
    let line = line_end(bytes);
    let window = if *torn { bytes.get(..line).unwrap_or(bytes) } else { bytes };
    let end = extent(window).unwrap_or_else(|| {
        *torn = true;
        line
    });
    let end = end.max(1);
    let (record, tail) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    // What follows on the same line belongs to a broken record, except another JSON text or a separator.
    match tail.trim_ascii_start().first() {
        None | Some(b'{' | b'[') => (record, tail),
        Some(b',') if !bytes.starts_with(b"[") => (record, tail.trim_ascii_start().strip_prefix(b",").unwrap_or(tail)),
        Some(_) if tail.trim_ascii_start().len() < tail.len() && on_next_line(tail) => (record, tail),
        Some(_) => bytes.split_at_checked(line_end(tail).saturating_add(end)).unwrap_or((bytes, &[])),
    }
}

fn on_next_line(tail: &[u8]) -> bool {
    tail.iter().take_while(|byte| byte.is_ascii_whitespace()).any(|byte| *byte == b'\n')
}

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

/// Length of the JSON value at the start of `bytes`; none where it does not end.
fn extent(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at)?;
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => {
                if depth <= 1 {
                    return Some(at.saturating_add(depth));
                }
                depth = depth.saturating_sub(1);
            }
            b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return Some(at),
            _ => {}
        }
        at = at.saturating_add(1);
    }
    (depth == 0).then_some(at)
}

/// Where the string that opens at `at` is closed: the place after the quote. Strings hold no raw line break, so a
/// torn line ends the search.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at.saturating_add(1);
    loop {
        at = at.saturating_add(memchr::memchr3(b'"', b'\\', b'\n', bytes.get(at..)?)?);
        match bytes.get(at)? {
            b'"' => return Some(at.saturating_add(1)),
            b'\\' => at = at.saturating_add(2),
            _ => return None,
        }
    }
}

/// The list of a wrapper object, where this is one: its list member comes first or after plain members only.
fn wrapped(record: &[u8]) -> Option<&[u8]> {
    let mut rest = record.strip_prefix(b"{")?.trim_ascii_start();
    // A wrapper says little besides its list: look at the first members only.
    for _ in 0..4 {
        let (key, tail) = rest.split_at_checked(extent(rest)?)?;
        let tail = tail.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, tail) = tail.split_at_checked(extent(tail)?)?;
        if WRAPPERS.contains(&key) && value.first() == Some(&b'[') {
            let inside = value.get(1..)?.trim_ascii_start();
            return matches!(inside.first(), Some(b'{' | b']')).then_some(value);
        }
        rest = tail.trim_ascii_start().strip_prefix(b",")?.trim_ascii_start();
    }
    None
}
