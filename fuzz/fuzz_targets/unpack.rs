//! Packed bodies stay within their bound.
#![no_main]

use pipeline::{Encoding, Limits, unpack};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { body_bytes_max: 1 << 20, ..Limits::default() };
    if let Ok(body) = unpack(bytes.to_vec(), Encoding::Identity, &limits) {
        assert!(body.len() <= limits.body_bytes_max);
    }
});
