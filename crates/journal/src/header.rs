//! The 64 bytes at the start of a segment: two equal copies of magic, version, segment number and salt, each
//! with its own checksum, so that one flipped bit does not lose a segment.

/// Format version that this release writes. It reads every version up to it.
pub const VERSION: u16 = 1;

/// Bytes before the first frame.
pub(crate) const HEADER_BYTES: usize = 64;
const COPY_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"POSSEJNL";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) segment: u64,
    pub(crate) salt: u64,
}

/// What the first 64 bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HeaderRead {
    /// Both copies agree.
    Whole(Header),
    /// One copy is broken.
    OneCopy(Header),
    /// Neither copy holds.
    Broken,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let copy = self.encode_copy();
        let mut bytes = [0; HEADER_BYTES];
        for (target, source) in bytes.iter_mut().zip(copy.iter().chain(&copy)) {
            *target = *source;
        }
        bytes
    }

    fn encode_copy(self) -> [u8; COPY_BYTES] {
        let mut head = Vec::with_capacity(COPY_BYTES);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&self.version.to_le_bytes());
        head.extend_from_slice(&[0, 0]);
        head.extend_from_slice(&self.segment.to_le_bytes());
        head.extend_from_slice(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&head);
        head.extend_from_slice(&checksum.to_le_bytes());
        let mut copy = [0; COPY_BYTES];
        for (target, source) in copy.iter_mut().zip(head) {
            *target = source;
        }
        copy
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let (head, checksum) = copy.split_at_checked(COPY_BYTES - 4)?;
        if u32::from_le_bytes(checksum.try_into().ok()?) != crc32c::crc32c(head) {
            return None;
        }
        let (magic, rest) = head.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (_, rest) = rest.split_first_chunk::<2>()?;
        let (segment, rest) = rest.split_first_chunk::<8>()?;
        let (salt, _) = rest.split_first_chunk::<8>()?;
        (*magic == MAGIC).then(|| Self {
            version: u16::from_le_bytes(*version),
            segment: u64::from_le_bytes(*segment),
            salt: u64::from_le_bytes(*salt),
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> HeaderRead {
        let Some((first, second)) = bytes.get(..HEADER_BYTES).and_then(|bytes| bytes.split_at_checked(COPY_BYTES))
        else {
            return HeaderRead::Broken;
        };
        match (Self::decode_copy(first), Self::decode_copy(second)) {
            (Some(first), Some(second)) if first == second => HeaderRead::Whole(first),
            (Some(header), _) | (None, Some(header)) => HeaderRead::OneCopy(header),
            (None, None) => HeaderRead::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_flipped_bit_is_noticed_and_survived() {
        let header = Header { version: VERSION, segment: 7, salt: 0x1234_5678_9abc_def0 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), HeaderRead::Whole(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), HeaderRead::OneCopy(header), "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[..40]), HeaderRead::Broken);
    }
}
