//! Leaves of one tree that were committed together, as one value: a row for each of them would be written, indexed and
//! logged by itself. Their places follow each other. The form is `1`, then for each leaf its part (1 byte), the time of its
//! commit (8 bytes, microseconds), its call's text (length in 1 byte) and its bytes (length in 4); numbers are big-endian.
//! Nothing here reads or writes the database.

use crate::audit::Leaf;
use crate::engine::Fault;
use ids::{CallId, Owner, Timestamp};

/// The form that is written.
const FORM: u8 = 1;
/// A bundle takes no further leaf past so many, or so many bytes: whoever wants one leaf reads all of its bundle.
const LEAVES_MAX: u64 = 256;
const BYTES_MAX: usize = 256 << 10;

/// A bundle in the making.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Place of its first leaf.
    pub(crate) first: u64,
    /// Leaves in it.
    pub(crate) count: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Bundle {
    pub(crate) fn new(first: u64) -> Self {
        Self { first, count: 0, bytes: vec![FORM] }
    }

    /// Whether the leaf at this place can join.
    pub(crate) fn takes(&self, index: u64) -> bool {
        self.count < LEAVES_MAX && self.bytes.len() < BYTES_MAX && self.first.saturating_add(self.count) == index
    }

    pub(crate) fn push(&mut self, call: &str, part: u8, at: Timestamp, leaf: &[u8]) -> Result<(), Fault> {
        let call_len = u8::try_from(call.len()).map_err(Fault::decode)?;
        let leaf_len = u32::try_from(leaf.len()).map_err(Fault::decode)?;
        self.bytes.push(part);
        self.bytes.extend(at.as_micros().to_be_bytes());
        self.bytes.push(call_len);
        self.bytes.extend(call.as_bytes());
        self.bytes.extend(leaf_len.to_be_bytes());
        self.bytes.extend(leaf);
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

/// The leaves of a stored bundle, in the order of their places.
pub(crate) fn read(tree: Owner, first: u64, bytes: &[u8]) -> Result<Vec<Leaf>, Fault> {
    let Some((&FORM, mut rest)) = bytes.split_first() else { return Err(Fault::decode("form of a bundle of leaves")) };
    let mut leaves = Vec::new();
    for index in first.. {
        if rest.is_empty() {
            break;
        }
        let [part, at @ ..] = *take::<9>(&mut rest)?;
        let [call_len] = *take::<1>(&mut rest)?;
        let call = slice(&mut rest, usize::from(call_len))?;
        let call: CallId = std::str::from_utf8(call).map_err(Fault::decode)?.parse().map_err(Fault::decode)?;
        let leaf_len = u32::from_be_bytes(*take::<4>(&mut rest)?);
        let leaf = slice(&mut rest, usize::try_from(leaf_len).map_err(Fault::decode)?)?.to_vec();
        leaves.push(Leaf {
            tree,
            index,
            call,
            part,
            leaf,
            recorded_at: Timestamp::from_micros(i64::from_be_bytes(at)),
        });
    }
    Ok(leaves)
}

fn take<'b, const N: usize>(rest: &mut &'b [u8]) -> Result<&'b [u8; N], Fault> {
    let (taken, after) = rest.split_first_chunk().ok_or_else(|| Fault::decode("a bundle of leaves ends early"))?;
    *rest = after;
    Ok(taken)
}

fn slice<'b>(rest: &mut &'b [u8], len: usize) -> Result<&'b [u8], Fault> {
    let (taken, after) = rest.split_at_checked(len).ok_or_else(|| Fault::decode("a bundle of leaves ends early"))?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(byte: u8) -> CallId {
        CallId::derive(&[&[byte]])
    }

    #[test]
    fn what_was_put_in_comes_out_and_a_cut_is_noticed() {
        let mut bundle = Bundle::new(7);
        let leaves: Vec<Leaf> = [(1_u8, &b"one"[..]), (2, b""), (3, &[0xff; 300])]
            .into_iter()
            .zip(7..)
            .map(|((byte, leaf), index)| Leaf {
                tree: Owner::Provider,
                index,
                call: call(byte),
                part: byte,
                leaf: leaf.to_vec(),
                recorded_at: Timestamp::from_micros(-i64::from(byte)),
            })
            .collect();
        for leaf in &leaves {
            assert!(bundle.takes(leaf.index) && !bundle.takes(leaf.index + 1));
            bundle.push(&leaf.call.to_string(), leaf.part, leaf.recorded_at, &leaf.leaf).unwrap();
        }
        assert_eq!(read(Owner::Provider, 7, &bundle.bytes).unwrap(), leaves);
        let whole: Vec<usize> = (0..bundle.bytes.len())
            .filter(|cut| read(Owner::Provider, 7, &bundle.bytes[..*cut]).is_ok_and(|read| read.len() < 3))
            .collect();
        // Cut between two leaves it is a shorter bundle, which the row's count gives away.
        assert_eq!(whole.len(), 3, "{whole:?}");
        assert!(read(Owner::Provider, 7, &[2]).is_err());
    }

    #[test]
    fn a_full_bundle_takes_no_more() {
        let mut bundle = Bundle::new(0);
        while bundle.takes(bundle.count) {
            bundle.push("x", 0, Timestamp::from_micros(0), &[0; 10]).unwrap();
        }
        assert_eq!(bundle.count, LEAVES_MAX);
        let mut bundle = Bundle::new(0);
        bundle.push("x", 0, Timestamp::from_micros(0), &vec![0; BYTES_MAX]).unwrap();
        assert!(!bundle.takes(1));
    }
}
