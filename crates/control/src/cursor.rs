//! Cursors: where a list goes on, authenticated over principal, operation and filter, so that nobody can walk a list
//! with another's cursor or another filter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seal::Mac;

/// Bytes of the authentication tag that travel: 128 bits are plenty for something that only positions.
const TAG_BYTES: usize = 16;

/// What a cursor is bound to.
pub(crate) struct Binding<'a> {
    pub(crate) principal: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) filter: &'a [u8],
}

impl Binding<'_> {
    fn tag(&self, mac: &Mac, last: &str) -> [u8; 32] {
        mac.tag(&[b"cursor", self.principal.as_bytes(), self.operation.as_bytes(), self.filter, last.as_bytes()])
    }

    /// The cursor behind the item with this key.
    pub(crate) fn write(&self, mac: &Mac, last: &str) -> String {
        let mut bytes: Vec<u8> = self.tag(mac, last).into_iter().take(TAG_BYTES).collect();
        bytes.extend_from_slice(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key in a cursor, where it was made here, for this principal, operation and filter.
    pub(crate) fn read(&self, mac: &Mac, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, last) = bytes.split_at_checked(TAG_BYTES)?;
        let last = String::from_utf8(last.to_vec()).ok()?;
        let expected: Vec<u8> = self.tag(mac, &last).into_iter().take(TAG_BYTES).collect();
        // Compared through a second tag, so that the time tells nothing about where they differ.
        (mac.tag(&[b"compare", &expected]) == mac.tag(&[b"compare", tag])).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_only_where_it_was_made() {
        let mac = Mac::from_bytes([7; 32]);
        let mine = Binding { principal: "user_a", operation: "user.list", filter: b"{}" };
        let cursor = mine.write(&mac, "user_z");
        assert_eq!(mine.read(&mac, &cursor).as_deref(), Some("user_z"));
        assert_eq!(Binding { principal: "user_b", ..mine }.read(&mac, &cursor), None);
        let mine = Binding { principal: "user_a", operation: "user.list", filter: b"{}" };
        assert_eq!(Binding { filter: b"{\"tenant\":1}", ..mine }.read(&mac, &cursor), None);
        assert_eq!(Binding { principal: "user_a", operation: "user.list", filter: b"{}" }.read(&mac, "AAAA"), None);
    }
}
