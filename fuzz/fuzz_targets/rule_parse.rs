//! Sigma documents of any shape: read or rejected with a place and a hint, linted and compiled, never a panic.
#![no_main]

use detection::engine::Engine;
use detection::profile::{Format, Profile};
use detection::sigma::Collection;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let collection = Collection::load([("fuzz.yml", text)], &|_| None);
    assert!(collection.rejections.iter().all(|rejection| rejection.line > 0 && !rejection.hint.is_empty()));
    detection::lint::lint(&collection, &|_| None);
    Engine::compile(&collection.rules, &Profile::new(Format::WindowsFlat));
});
