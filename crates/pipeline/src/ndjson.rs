//! NDJSON: one record a line, or one JSON array of records. Lines are not parsed here: bytes are parsed once, later,
//! and a line that is no JSON becomes a dead letter there. One bad line never hides the next.

use crate::records::{lines, range_in};
use crate::{Form, Limits, Records, Reject};
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::ops::Range;
use thiserror::Error;

/// Why a body is refused whole.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NdjsonError {
    /// The array is not JSON.
    #[error("the body begins as a JSON array and is none; send valid JSON, or one object a line")]
    Array(#[source] serde_json::Error),
    /// No line holds anything.
    #[error("the body holds no record; send one JSON object a line")]
    Empty,
    /// Over [`Limits::records_max`].
    #[error("more than {0} records; send smaller batches")]
    TooMany(usize),
}

/// The records of an unpacked body.
///
/// # Errors
/// [`NdjsonError`]; nothing of the body is taken then.
pub fn parse(body: Vec<u8>, limits: &Limits) -> Result<Records, NdjsonError> {
    let mut records = Records::over(body);
    let ranges = if records.buffer().trim_ascii_start().first() == Some(&b'[') {
        elements(records.buffer(), limits)?
    } else {
        lines(records.buffer()).take(limits.records_max.saturating_add(1)).collect()
    };
    if ranges.is_empty() {
        return Err(NdjsonError::Empty);
    }
    if ranges.len() > limits.records_max {
        return Err(NdjsonError::TooMany(limits.records_max));
    }
    for (index, range) in ranges.iter().enumerate() {
        if range.len() > limits.record_bytes_max {
            records.reject(index, Reject::TooLarge);
        } else {
            records.take(range, None, Form::Json);
        }
    }
    Ok(records)
}

/// The elements of an array; at most one more than allowed.
fn elements(body: &[u8], limits: &Limits) -> Result<Vec<Range<usize>>, NdjsonError> {
    let mut ranges = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let elements = Elements { body, ranges: &mut ranges, max: limits.records_max };
    let read = serde::Deserializer::deserialize_seq(&mut deserializer, elements).and_then(|()| deserializer.end());
    // Past the bound the walk stops with an error of its own; that it is over the bound is what counts.
    if ranges.len() <= limits.records_max {
        read.map_err(NdjsonError::Array)?;
    }
    Ok(ranges)
}

struct Elements<'a, 'r> {
    body: &'a [u8],
    ranges: &'r mut Vec<Range<usize>>,
    max: usize,
}

impl<'a> Visitor<'a> for Elements<'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&'a RawValue>()? {
            self.ranges.extend(range_in(self.body, element.get().as_bytes()));
            if self.ranges.len() > self.max {
                return Err(serde::de::Error::custom("too many records"));
            }
        }
        Ok(())
    }
}
