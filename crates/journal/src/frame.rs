//! One frame: a 24-byte head and a body. The checksum covers head, body, salt, segment and offset, so a frame is
//! valid only where it was written. The head has a short check of its own: where it holds, the length is known
//! even of a broken body. Each head also says how far the segment was durable when the frame was written; by
//! that a reader tells a torn tail (never acknowledged) from damage (acknowledged once).

use crate::entry::BatchId;

/// Kinds from here on are the log's own.
pub(crate) const KIND_OWN: u8 = 240;
/// All batch ids in the window, at the start of a segment.
pub(crate) const KIND_WINDOW: u8 = 253;
/// Says only how far the segment is durable.
pub(crate) const KIND_MARK: u8 = 254;
/// The segment's last frame: another segment follows.
pub(crate) const KIND_SEAL: u8 = 255;

pub(crate) const HEAD_BYTES: usize = 24;
pub(crate) const BEGIN: [u8; 4] = [0xA7, 0x4A, 0x4E, 0x4C];
const FLAG_BATCH: u8 = 1;

/// In which segment of which journal a frame stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) salt: u64,
}

impl Place {
    fn seed(self, offset: u64) -> u32 {
        let checksum = crc32c::crc32c(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c_append(checksum, &self.segment.to_le_bytes());
        crc32c::crc32c_append(checksum, &offset.to_le_bytes())
    }
}

/// A frame's head, checked against its own short check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    flags: u8,
    /// Bytes of the body that follows.
    pub(crate) body_bytes: u32,
    /// Bytes of the segment that were durable when this was written.
    pub(crate) durable: u64,
    checksum: u32,
}

/// What the body holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Body<'a> {
    pub(crate) batch: Option<BatchId>,
    pub(crate) payload: &'a [u8],
}

impl Head {
    fn fields(self) -> [u8; 18] {
        let mut fields = [0; 18];
        let parts = BEGIN
            .into_iter()
            .chain(self.body_bytes.to_le_bytes())
            .chain([self.kind, self.flags])
            .chain(self.durable.to_le_bytes());
        for (target, source) in fields.iter_mut().zip(parts) {
            *target = source;
        }
        fields
    }

    fn short_check(self, seed: u32) -> u16 {
        let full = crc32c::crc32c_append(crc32c::crc32c_append(seed, &self.fields()), &self.checksum.to_le_bytes());
        let [a, b, c, d] = full.to_le_bytes();
        u16::from_le_bytes([a ^ c, b ^ d])
    }

    /// Read a head from the first 24 of `bytes`; none where its check does not hold at this place.
    pub(crate) fn decode(bytes: &[u8], place: Place, offset: u64) -> Option<Self> {
        let (begin, rest) = bytes.split_first_chunk::<4>()?;
        let (body_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let ([kind, flags], rest) = rest.split_first_chunk::<2>()?;
        let (check, rest) = rest.split_first_chunk::<2>()?;
        let (durable, _) = rest.split_first_chunk::<8>()?;
        let head = Self {
            kind: *kind,
            flags: *flags,
            body_bytes: u32::from_le_bytes(*body_bytes),
            durable: u64::from_le_bytes(*durable),
            checksum: u32::from_le_bytes(*checksum),
        };
        (*begin == BEGIN && head.short_check(place.seed(offset)) == u16::from_le_bytes(*check)).then_some(head)
    }

    /// The body, where its checksum holds.
    pub(crate) fn body<'a>(&self, body: &'a [u8], place: Place, offset: u64) -> Option<Body<'a>> {
        let checksum = crc32c::crc32c_append(crc32c::crc32c_append(place.seed(offset), &self.fields()), body);
        if checksum != self.checksum || u32::try_from(body.len()) != Ok(self.body_bytes) {
            return None;
        }
        if self.flags & FLAG_BATCH == 0 {
            return Some(Body { batch: None, payload: body });
        }
        let (batch, payload) = body.split_first_chunk::<16>()?;
        Some(Body { batch: Some(BatchId::new(*batch)), payload })
    }
}

/// Append a whole frame to `buffer`. `offset` is where it will stand in its segment.
/// Nothing is written where the body is longer than a `u32` can say; callers bound it before.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    place: Place,
    offset: u64,
    durable: u64,
    kind: u8,
    body: &Body<'_>,
) -> Option<u64> {
    let batch = body.batch.map(BatchId::bytes);
    let batch_bytes: &[u8] = batch.as_ref().map_or(&[], |bytes| bytes.as_slice());
    let body_bytes = u32::try_from(batch_bytes.len().checked_add(body.payload.len())?).ok()?;
    let flags = if batch.is_some() { FLAG_BATCH } else { 0 };
    let mut head = Head { kind, flags, body_bytes, durable, checksum: 0 };
    let seed = place.seed(offset);
    let checksum = crc32c::crc32c_append(seed, &head.fields());
    let checksum = crc32c::crc32c_append(checksum, batch_bytes);
    head.checksum = crc32c::crc32c_append(checksum, body.payload);
    let check = head.short_check(seed);
    buffer.extend_from_slice(&BEGIN);
    buffer.extend_from_slice(&body_bytes.to_le_bytes());
    buffer.extend_from_slice(&head.checksum.to_le_bytes());
    buffer.extend_from_slice(&[kind, flags]);
    buffer.extend_from_slice(&check.to_le_bytes());
    buffer.extend_from_slice(&durable.to_le_bytes());
    buffer.extend_from_slice(batch_bytes);
    buffer.extend_from_slice(body.payload);
    Some(frame_bytes(body_bytes))
}

/// Bytes of a whole frame with a body of this many.
pub(crate) fn frame_bytes(body_bytes: u32) -> u64 {
    // 24 is HEAD_BYTES.
    24 + u64::from(body_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 3, salt: 99 };

    fn whole(bytes: &[u8], place: Place, offset: u64) -> Option<(Head, Vec<u8>)> {
        let head = Head::decode(bytes, place, offset)?;
        let body = head.body(&bytes[HEAD_BYTES..], place, offset)?;
        Some((head, body.payload.to_vec()))
    }

    #[test]
    fn any_one_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        let body = Body { batch: Some(BatchId::new([9; 16])), payload: b"payload" };
        assert_eq!(encode(&mut bytes, PLACE, 64, 64, 1, &body), Some(24 + 16 + 7));
        let (head, payload) = whole(&bytes, PLACE, 64).unwrap();
        assert_eq!((head.kind, head.durable, payload.as_slice()), (1, 64, b"payload".as_slice()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(whole(&flipped, PLACE, 64), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_is_valid_only_where_it_was_written() {
        let mut bytes = Vec::new();
        encode(&mut bytes, PLACE, 64, 64, 1, &Body { batch: None, payload: b"x" });
        assert!(whole(&bytes, PLACE, 64).is_some());
        assert!(whole(&bytes, PLACE, 65).is_none());
        assert!(whole(&bytes, Place { segment: 4, ..PLACE }, 64).is_none());
        assert!(whole(&bytes, Place { salt: 98, ..PLACE }, 64).is_none());
    }
}
