//! A batch's form in the journal.
#![no_main]

use pipeline::Stored;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(stored) = Stored::decode(bytes) {
        assert_eq!(stored.records().count(), stored.len());
    }
});
