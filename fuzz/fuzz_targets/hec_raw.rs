//! Splunk raw bodies.
#![no_main]

use pipeline::{Limits, hec};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let meta = hec::RawMeta { host: Some("h".to_owned()), ..hec::RawMeta::default() };
    if let Ok(records) = hec::parse_raw(bytes.to_vec(), &meta, &Limits::default()) {
        assert_eq!(records.iter().count(), records.len());
    }
});
