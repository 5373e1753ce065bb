//! Splunk event streams.
#![no_main]

use pipeline::{Limits, hec};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = hec::parse_events(bytes.to_vec(), &Limits::default()) {
        assert_eq!(records.iter().count(), records.len());
    }
});
