//! Content encodings and their bounds.

use pipeline::{BodyError, Encoding, Limits, unpack};
use std::io::Write;

const LIMITS: Limits = Limits { body_bytes_max: 10_000, record_bytes_max: 100, records_max: 10 };

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_bodies_come_out_and_bombs_do_not() {
    let (small, large) = (vec![b'a'; 9_999], vec![b'a'; 10_000_000]);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    for (packed, encoding) in [
        (gzip(&small), Encoding::Gzip),
        (zstd(&small), Encoding::Zstd),
        (small.clone(), Encoding::Identity),
        (gzip(&small), Encoding::Identity),
        ([gzip(&small[..5000]), gzip(&small[5000..])].concat(), Encoding::Gzip),
    ] {
        assert_eq!(unpack(packed, encoding, &LIMITS).unwrap(), small, "{encoding:?}");
    }
    for (packed, encoding) in
        [(gzip(&large), Encoding::Gzip), (zstd(&large), Encoding::Zstd), (large.clone(), Encoding::Identity)]
    {
        assert!(matches!(unpack(packed, encoding, &LIMITS), Err(BodyError::TooLarge(10_000))), "{encoding:?}");
    }
    let mut cut = gzip(&small);
    cut.truncate(20);
    assert!(matches!(unpack(cut, Encoding::Gzip, &LIMITS), Err(BodyError::Broken(_))));
    assert!(matches!(unpack(small, Encoding::Zstd, &LIMITS), Err(BodyError::Mismatch("zstd"))));
}

#[test]
fn encodings_by_name() {
    for (text, encoding) in [("gzip", Encoding::Gzip), (" ZSTD", Encoding::Zstd), ("", Encoding::Identity)] {
        assert_eq!(text.parse::<Encoding>().unwrap(), encoding);
    }
    assert!(matches!("br".parse::<Encoding>(), Err(BodyError::Unknown(text)) if text == "br"));
}
