//! NDJSON and JSON array bodies.
#![no_main]

use pipeline::{Limits, ndjson};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = ndjson::parse(bytes.to_vec(), &Limits::default()) {
        assert_eq!(records.iter().count(), records.len());
    }
});
