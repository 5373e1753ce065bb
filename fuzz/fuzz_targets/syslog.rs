//! One syslog message of any standard or none.
#![no_main]

use pipeline::syslog::{Context, to_json};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let json = to_json(bytes, &Context::default());
    assert!(json.starts_with(b"{"));
});
