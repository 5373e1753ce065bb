//! Server-sent events as they arrive in parts (WHATWG HTML, section 9.2), within bounds. Must never hold more than one event.

use thiserror::Error;

/// The longest event, in bytes of its lines.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// An event is longer than any that a provider sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[error("an event of the stream is over {EVENT_BYTES_MAX} bytes")]
pub(crate) struct TooLong;

/// Puts events together.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Option<String>,
    bytes: usize,
    after_return: bool,
    begun: bool,
}

impl Events {
    /// Take a part of the stream; the data of each event that it ends.
    pub(crate) fn take(&mut self, part: &[u8], found: &mut Vec<String>) -> Result<(), TooLong> {
        for byte in part {
            // A line ends with LF, CR or both.
            let follows = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if follows => {}
                b'\n' | b'\r' => self.end_line(found),
                other => {
                    self.bytes += 1;
                    if self.bytes > EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                    self.line.push(*other);
                }
            }
        }
        Ok(())
    }

    /// The stream ended. What it did not end itself is taken all the same: some servers leave out the last empty line.
    pub(crate) fn finish(&mut self, found: &mut Vec<String>) {
        self.end_line(found);
        self.end_line(found);
    }

    fn end_line(&mut self, found: &mut Vec<String>) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.bytes = 0;
            found.extend(self.data.take());
            return;
        }
        // Types of events and comments say nothing that the data does not say again.
        let Some(value) = line.strip_prefix(b"data") else {
            if self.data.is_none() {
                self.bytes = 0;
            }
            return;
        };
        let value = match value.split_first() {
            None => value,
            Some((b':', rest)) => rest.strip_prefix(b" ").unwrap_or(rest),
            Some(_) => return,
        };
        let value = String::from_utf8_lossy(value);
        match &mut self.data {
            None => self.data = Some(value.into_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(&value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(parts: &[&[u8]]) -> Vec<String> {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for part in parts {
            events.take(part, &mut found).unwrap();
        }
        events.finish(&mut found);
        found
    }

    #[test]
    fn events_are_told_apart_however_lines_end() {
        for (stream, wanted) in [
            ("data: a\n\ndata: b\n\n", vec!["a", "b"]),
            ("data:a\r\n\r\ndata: b\r\rdata: c", vec!["a", "b", "c"]),
            ("\u{feff}event: x\nid: 1\ndata: a\ndata: b\n\n", vec!["a\nb"]),
            (": ping\n\n: ping\n\ndata: [DONE]\n\n", vec!["[DONE]"]),
            ("datum: a\n\ndatax\n\ndata\n\n", vec![""]),
            ("", vec![]),
        ] {
            assert_eq!(events(&[stream.as_bytes()]), wanted, "{stream:?}");
        }
    }

    #[test]
    fn an_endless_line_ends_the_reading() {
        let (mut events, mut found) = (Events::default(), Vec::new());
        assert_eq!(events.take(&vec![b'x'; EVENT_BYTES_MAX + 1], &mut found), Err(TooLong));
    }

    proptest! {
        #[test]
        fn parts_change_nothing(stream in "(data: [a-z]{0,4}|: x|\r|\n|\r\n){0,20}", cut in 0_usize..40) {
            let bytes = stream.as_bytes();
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(events(&[bytes]), events(&[left, right]));
        }
    }
}
