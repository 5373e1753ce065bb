//! Bytes from anyone: no panic, no work beyond the bounds; framing that does not depend on how the stream is cut.

use pipeline::syslog::{self, Context, Decoder, Framed};
use pipeline::{Limits, Records, Stored, bulk, hec, ndjson, otlp};
use proptest::prelude::*;

const LIMITS: Limits = Limits { body_bytes_max: 1 << 16, record_bytes_max: 200, records_max: 50 };

fn messages(stream: &[u8], cuts: &[usize]) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let mut take = |framed: Framed<'_>| {
        found.push(match framed {
            Framed::Message(message) => Some(message.to_vec()),
            Framed::TooLong | Framed::Truncated => None,
        });
    };
    let mut decoder = Decoder::new(64);
    let mut from = 0;
    for cut in cuts.iter().chain([&stream.len()]) {
        decoder.push(&stream[from..*cut], &mut take);
        assert!(decoder.held_bytes() <= 64 + 10, "{} bytes held", decoder.held_bytes());
        from = *cut;
    }
    decoder.finish(&mut take);
    found
}

fn bounded(records: &Records) {
    assert!(records.len() + records.rejected().len() <= LIMITS.records_max);
    assert!(records.iter().all(|record| record.raw.len() <= LIMITS.record_bytes_max));
    assert_eq!(records.iter().count(), records.len());
}

/// Bytes that look like what the parsers look for.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        "\n",
        "\r\n",
        ":",
        ",",
        " ",
        "1",
        "12 <34>",
        "<13>",
        "<191>1 ",
        "-",
        "null",
        "{}",
        "{\"index\":{}}\n",
        "{\"create\":{\"_id\":\"a\"}}\n",
        "{\"delete\":{}}\n",
        "{\"event\":",
        "\"x\\n\"",
        "{\"a\":1}\n",
        "{\"event\":\"a\"}",
        "\"fields\":",
        "\"time\":1",
        "Nov 22 11:59:58 ",
        "2026-11-22T11:59:58Z ",
        "[a b=\"c\"]",
        "app[1]: ",
        "\u{feff}",
        "é",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"a\"}}]}]}]}",
        "\u{0}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn parsers_hold_their_bounds(bytes in prop_oneof![likely(), prop::collection::vec(any::<u8>(), 0..600)]) {
        if let Ok(records) = ndjson::parse(bytes.clone(), &LIMITS) { bounded(&records); }
        if let Ok(bulk) = bulk::parse(bytes.clone(), Some("i"), &LIMITS) {
            bounded(&bulk.records);
            let answer: serde_json::Value = serde_json::from_str(&bulk.answer(1, 1).body).unwrap();
            prop_assert_eq!(answer["items"].as_array().unwrap().len() >= bulk.records.len(), true);
        }
        match hec::parse_events(bytes.clone(), &LIMITS) {
            Ok(records) => bounded(&records),
            Err(error) => { serde_json::from_str::<serde_json::Value>(&error.body()).unwrap(); }
        }
        let meta = hec::RawMeta { host: Some("h\"".to_owned()), ..hec::RawMeta::default() };
        if let Ok(records) = hec::parse_raw(bytes.clone(), &meta, &LIMITS) { bounded(&records); }
        for wire in [otlp::Wire::Json, otlp::Wire::Protobuf] {
            if let Ok(records) = otlp::parse(&bytes, wire, &LIMITS) { bounded(&records); }
        }
        let json = syslog::to_json(&bytes, &Context::default());
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).unwrap().is_object());
        let _ = Stored::decode(&bytes);
    }

    #[test]
    fn framing_is_the_same_however_the_stream_is_cut(stream in likely(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = messages(&stream, &(1..stream.len()).collect::<Vec<_>>());
        prop_assert_eq!(messages(&stream, &cuts), whole);
    }
}

#[test]
fn framing_survives_a_cut_at_every_byte() {
    let stream =
        b"5 <13>a<13>one\n70 <13>".iter().copied().chain([b'x'; 66]).chain(*b"9 <13>tail\n12345 plain\n<13>end");
    let stream: Vec<u8> = stream.collect();
    let expected = messages(&stream, &[]);
    let texts: Vec<_> =
        expected.iter().map(|one| one.as_ref().map(|text| String::from_utf8_lossy(text).into_owned())).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(texts, [some("<13>a"), some("<13>one"), None, some("<13>tail"), some("12345 plain"), some("<13>end")]);
    for cut in 0..=stream.len() {
        assert_eq!(messages(&stream, &[cut]), expected, "cut at {cut}");
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
    let limits = Limits { record_bytes_max: 10 << 20, ..Limits::default() };
    let mut event = b"{\"event\":".to_vec();
    event.extend(deep("[", "]"));
    event.push(b'}');
    assert_eq!(
        hec::parse_events(event, &limits).map(|records| records.len()),
        Ok(1),
        "kept as it is, read by nobody here"
    );
    let body = format!("{{\"event\":1,\"fields\":{}}}", String::from_utf8(deep("{\"a\":", "}")).unwrap());
    assert_eq!(hec::parse_events(body.into_bytes(), &limits).unwrap_err().code, hec::Code::IndexedFields);
    let value = format!("{}{{\"intValue\":1}}{}", "{\"arrayValue\":{\"values\":[".repeat(50_000), "]}}".repeat(50_000));
    let body = format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{value}}}]}}]}}]}}");
    assert!(matches!(otlp::parse(body.as_bytes(), otlp::Wire::Json, &limits), Err(otlp::OtlpError::Json(_))));
    // Nested array values in protobuf: each level is field 5 of AnyValue around field 1 of ArrayValue.
    let mut value = vec![0x08, 1];
    for _ in 0..300 {
        for tag in [0x0a, 0x2a] {
            let mut outer = vec![tag];
            let mut length = value.len();
            while length >= 0x80 {
                outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            outer.push(u8::try_from(length).unwrap());
            outer.extend(&value);
            value = outer;
        }
    }
    let wrap = |tag: u8, inside: Vec<u8>| {
        let length = inside.len();
        let mut outer = vec![tag, u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()];
        outer.extend(inside);
        outer
    };
    let body = wrap(0x0a, wrap(0x12, wrap(0x12, wrap(0x2a, value))));
    assert!(matches!(otlp::parse(&body, otlp::Wire::Protobuf, &limits), Err(otlp::OtlpError::Protobuf(_))));
}
