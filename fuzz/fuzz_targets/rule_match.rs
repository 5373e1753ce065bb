//! Rules and a record, engine beside plain evaluator: they must agree on every rule that loads. The text before the first
//! NUL is YAML, the rest a JSON record.
#![no_main]

use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::reference;
use detection::sigma::Collection;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let Some((text, record)) = input.split_once('\0') else { return };
    let collection = Collection::load([("fuzz.yml", text)], &|_| None);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(record) else { return };
    let mut parser = event::Parser::new();
    let Ok(view) = parser.parse(record.as_bytes()) else { return };
    for format in [Format::Generic, Format::WindowsFlat, Format::WindowsEvtx] {
        let profile = Profile::new(format);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        Engine::compile(&collection.rules, &profile).matches(&view, &mut scratch, &mut found);
        let plain = collection.rules.iter().zip(0_u32..).filter(|(rule, _)| reference::matches(rule, &value, &profile));
        let plain: Vec<u32> = plain.map(|(_, place)| place).collect();
        assert_eq!(found, plain, "{:?}", profile.format());
    }
});
