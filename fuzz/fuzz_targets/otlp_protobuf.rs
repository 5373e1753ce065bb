//! OTLP logs in protobuf.
#![no_main]

use pipeline::{Limits, otlp};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = otlp::parse(bytes, otlp::Wire::Protobuf, &Limits::default());
});
