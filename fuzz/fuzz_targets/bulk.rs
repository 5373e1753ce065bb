//! Elasticsearch bulk bodies and the answer to them.
#![no_main]

use pipeline::{Limits, bulk};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(bulk) = bulk::parse(bytes.to_vec(), None, &Limits::default()) {
        assert_eq!(bulk.records.iter().count(), bulk.records.len());
        assert!(bulk.answer(1, 1).body.ends_with("]}"));
    }
});
