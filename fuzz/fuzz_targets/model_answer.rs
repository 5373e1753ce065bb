//! An answer of a language model, streamed or whole, in either wire format, cut into parts of any size.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let anthropic = first & 1 == 1;
    let kept = model::fuzzing::read(anthropic, body, usize::from(first >> 1));
    // Text, arguments and names are bounded whatever comes; JSON that is written again may grow by escapes.
    assert!(kept <= 8 << 20, "{kept} bytes were kept");
    assert_eq!(kept, model::fuzzing::read(anthropic, body, body.len()), "parts make a difference");
});
