//! Syslog framing: the same messages however the stream is cut.
#![no_main]

use pipeline::syslog::{Decoder, Framed};

fn messages(parts: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let mut take = |framed: Framed<'_>| {
        found.push(if let Framed::Message(message) = framed { Some(message.to_vec()) } else { None });
    };
    let mut decoder = Decoder::new(256);
    for part in parts {
        decoder.push(part, &mut take);
    }
    decoder.finish(&mut take);
    found
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let cut = usize::from(*cut).min(stream.len());
    let (first, second) = stream.split_at(cut);
    assert_eq!(messages(&[stream]), messages(&[first, second]));
});
