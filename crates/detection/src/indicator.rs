//! Indicator matching: addresses, networks, domains with their subdomains, file hashes and URLs, millions at once.
//!
//! Each indicator is kept as 120 bits of two hashes and 8 bits of label, 16 bytes in all, sorted; a blocked Bloom filter
//! of 12 bits each, over the cheap one of the hashes, answers nearly every question with one cache line. Two indicators
//! would have to agree in 64 bits of the cheap hash and 56 of the other to be taken for one another. Immutable: a changed
//! list is built anew and swapped.

use crate::fold::fold;
use crate::sigma::Cidr;
use event::{Item, Kind, Scalar, View};
use memchr::memmem::Finder;
use std::hash::{DefaultHasher, Hasher as _};
use std::net::IpAddr;
use thiserror::Error;

/// Values longer than this are not looked at as a whole, in bytes.
const VALUE_BYTES_MAX: usize = 2048;
/// The longest text of an address, in bytes.
const ADDRESS_BYTES_MAX: usize = 45;
/// The longest domain name, in bytes.
const DOMAIN_BYTES_MAX: usize = 253;
/// Most URLs of one value.
const URLS_MAX: usize = 16;
/// Bits of the filter for each indicator.
const FILTER_BITS: usize = 12;
/// Bits of a hash that choose its place in the directory.
const DIRECTORY_BITS: u32 = 20;

/// What an indicator names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndicatorKind {
    /// One address.
    Address,
    /// A network, `10.0.0.0/8`.
    Network,
    /// A domain and everything below it.
    Domain,
    /// An MD5, SHA-1 or SHA-256 in hexadecimal.
    FileHash,
    /// A URL; scheme and host without case, without fragment.
    Url,
}

/// An indicator is not of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{value}` is not {expected}")]
pub struct IndicatorError {
    value: String,
    expected: &'static str,
}

/// An indicator occurs in an event.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hit {
    /// Its kind.
    pub kind: IndicatorKind,
    /// The list that it came from, as given.
    pub label: u8,
    /// The text of the event in which it occurs.
    pub value: String,
}

/// Indicators while they are gathered.
#[derive(Debug, Default)]
pub struct IndicatorBuilder {
    keys: Vec<u128>,
    networks: Vec<(Cidr, u8)>,
}

/// Indicators, ready to match.
#[derive(Debug)]
pub struct Indicators {
    // INVARIANT: ascending; the low 8 bits are the label.
    keys: Box<[u128]>,
    /// Where the keys of each value of the upper bits begin.
    directory: Box<[u32]>,
    filter: Box<[[u64; 8]]>,
    networks: Box<[(Cidr, u8)]>,
    /// Finds `://`; prepared once, because every record is searched.
    scheme_end: Finder<'static>,
    /// How its characters may be written in JSON besides.
    escape: Finder<'static>,
}

impl IndicatorBuilder {
    /// With room for so many.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { keys: Vec::with_capacity(count), networks: Vec::new() }
    }

    /// Add one.
    ///
    /// # Errors
    /// [`IndicatorError`] where the text is not of the kind.
    pub fn add(&mut self, kind: IndicatorKind, value: &str, label: u8) -> Result<(), IndicatorError> {
        let text = value.trim();
        let wrong = |expected| IndicatorError { value: text.chars().take(128).collect(), expected };
        let (kind, canonical) = match kind {
            IndicatorKind::Address => {
                let address: IpAddr =
                    text.parse().map_err(|_| wrong("an address; write `192.0.2.1` or `2001:db8::1`"))?;
                self.push(IndicatorKind::Address, octets(&address).as_slice(), label);
                return Ok(());
            }
            IndicatorKind::Network => {
                let cidr = Cidr::parse(text).ok_or_else(|| wrong("a network; write `192.0.2.0/24`"))?;
                self.networks.push((cidr, label));
                return Ok(());
            }
            IndicatorKind::Domain => {
                let name = fold(text.trim_start_matches("*.").trim_matches('.'));
                if !domain(&name) {
                    return Err(wrong("a domain; write `example.org`"));
                }
                (kind, name)
            }
            IndicatorKind::FileHash => {
                if !hex_digest(text) {
                    return Err(wrong("a hash; write 32, 40 or 64 hexadecimal digits"));
                }
                (kind, text.to_ascii_lowercase())
            }
            IndicatorKind::Url => (kind, canonical_url(text).ok_or_else(|| wrong("a URL; write `https://host/path`"))?),
        };
        self.push(kind, canonical.as_bytes(), label);
        Ok(())
    }

    fn push(&mut self, kind: IndicatorKind, canonical: &[u8], label: u8) {
        self.keys.push(key(kind, canonical) | u128::from(label));
    }

    /// Sort, and build the filter.
    #[must_use]
    pub fn build(mut self) -> Indicators {
        self.keys.sort_unstable();
        self.keys.dedup_by_key(|key| *key >> 8);
        let blocks = (self.keys.len().saturating_mul(FILTER_BITS) / 512).saturating_add(1);
        let mut filter = vec![[0_u64; 8]; blocks].into_boxed_slice();
        for key in &self.keys {
            let (block, bits) = places(mark(*key), blocks);
            if let Some(words) = filter.get_mut(block) {
                words.iter_mut().zip(bits).for_each(|(word, bit)| *word |= bit);
            }
        }
        let mut directory = vec![0_u32; (1 << DIRECTORY_BITS) + 1].into_boxed_slice();
        for key in &self.keys {
            if let Some(count) = directory.get_mut(bucket(*key).saturating_add(1)) {
                *count = count.saturating_add(1);
            }
        }
        let mut sum = 0_u32;
        for count in &mut directory {
            sum = sum.saturating_add(*count);
            *count = sum;
        }
        Indicators {
            keys: self.keys.into_boxed_slice(),
            directory,
            filter,
            networks: self.networks.into_boxed_slice(),
            scheme_end: Finder::new("://"),
            escape: Finder::new("\\u00"),
        }
    }
}

impl Indicators {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len().saturating_add(self.networks.len())
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every indicator that occurs in a value of the record. Values are looked at whole, as `name=value` lists (Sysmon
    /// writes hashes so), and for URLs inside them. Allocates only for hits.
    pub fn matches(&self, view: &View<'_>, out: &mut Vec<Hit>) {
        out.clear();
        if self.is_empty() {
            return;
        }
        // One look at the whole record saves one at each value: most records hold no URL.
        let urls = self.holds_scheme_end(view.raw());
        self.item(view.root(), urls, out);
    }

    /// `://` may stand in the JSON text, perhaps with escapes. Slashes are rare in records.
    fn holds_scheme_end(&self, raw: &[u8]) -> bool {
        let before = |at: usize, back: usize| at.checked_sub(back).and_then(|place| raw.get(place)).copied();
        let slash = |at: usize| match before(at, 1) {
            Some(b'/') => before(at, 2) == Some(b':'),
            other => other == Some(b'\\'),
        };
        let escape = |at: usize| {
            let digits = raw.get(at.saturating_add(4)..at.saturating_add(6)).unwrap_or_default();
            [&b"2f"[..], b"3a"].iter().any(|wanted| digits.eq_ignore_ascii_case(wanted))
        };
        memchr::memchr_iter(b'/', raw).any(slash) || self.escape.find_iter(raw).any(escape)
    }

    fn item(&self, item: Item<'_>, urls: bool, out: &mut Vec<Hit>) {
        match item.kind() {
            Kind::Scalar(Scalar::Str(text)) => self.text(text, urls, out),
            Kind::Scalar(_) => {}
            Kind::Array(elements) => elements.into_iter().for_each(|element| self.item(element, urls, out)),
            Kind::Object(members) => members.into_iter().for_each(|(_, item)| self.item(item, urls, out)),
        }
    }

    fn text(&self, text: &str, urls: bool, out: &mut Vec<Hit>) {
        let bare = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
        let text = if bare(text.as_bytes().first()) && bare(text.as_bytes().last()) { text } else { text.trim() };
        if text.len() < 4 {
            return;
        }
        if text.len() <= VALUE_BYTES_MAX {
            match shape(text.as_bytes()) {
                Shape::Other => {}
                Shape::Address => self.address(text, out),
                Shape::Name => self.domain(text, true, out),
                Shape::ForeignName => self.domain(text, false, out),
                Shape::Digest => self.ask(IndicatorKind::FileHash, text, out),
                Shape::List => text.split([',', ';', '|', ' ']).for_each(|part| {
                    let value = part.split_once('=').map_or(part, |(_, value)| value);
                    if hex_digest(value) {
                        self.ask(IndicatorKind::FileHash, value, out);
                    }
                }),
            }
        }
        if urls {
            for at in self.scheme_end.find_iter(text.as_bytes()).take(URLS_MAX) {
                self.url_around(text, at, out);
            }
        }
    }

    fn address(&self, text: &str, out: &mut Vec<Hit>) {
        let Ok(address) = text.parse::<IpAddr>() else { return };
        let octets = octets(&address);
        if let Some(label) = self.label(IndicatorKind::Address, octets.as_slice()) {
            out.push(Hit { kind: IndicatorKind::Address, label, value: text.to_owned() });
        }
        for (network, label) in &self.networks {
            if network.contains(address) {
                out.push(Hit { kind: IndicatorKind::Network, label: *label, value: text.to_owned() });
            }
        }
    }

    /// A domain and those above it. Hosts repeat in every record, so the filter is asked before the name is looked at.
    fn domain(&self, text: &str, ascii: bool, out: &mut Vec<Hit>) {
        let text = text.trim_end_matches('.');
        let mut rest = text;
        // The last label alone is a top-level domain and no indicator.
        while let Some(dot) = rest.bytes().position(|byte| byte == b'.') {
            if !ascii || self.filter_passes(IndicatorKind::Domain, rest.as_bytes()) {
                if !domain(text) {
                    return;
                }
                self.ask(IndicatorKind::Domain, rest, out);
            }
            rest = rest.get(dot.saturating_add(1)..).unwrap_or_default();
        }
    }

    fn url_around(&self, text: &str, at: usize, out: &mut Vec<Hit>) {
        let scheme_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let before = text.get(..at).unwrap_or_default();
        let scheme = before.bytes().rev().take_while(|b| scheme_byte(*b)).count();
        let Some(from) = text.get(at.saturating_sub(scheme)..) else { return };
        let end = from.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '\\'));
        let Some(url) = from.get(..end.unwrap_or(from.len()).min(VALUE_BYTES_MAX)) else { return };
        let Some(canonical) = canonical_url(url) else { return };
        self.ask(IndicatorKind::Url, &canonical, out);
        if let Some((_, rest)) = canonical.split_once("://") {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            let host = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
                Some((inner, _)) => inner,
                None => host.split(':').next().unwrap_or_default(),
            };
            if host.len() <= ADDRESS_BYTES_MAX && host.parse::<IpAddr>().is_ok() {
                self.address(host, out);
            } else {
                self.domain(host, host.is_ascii(), out);
            }
        }
    }

    fn ask(&self, kind: IndicatorKind, text: &str, out: &mut Vec<Hit>) {
        let found = if kind == IndicatorKind::Url || text.is_ascii() {
            // The print has no case; only what passes the filter is folded.
            self.filter_passes(kind, text.as_bytes()).then(|| self.exact(kind, text)).flatten()
        } else {
            self.label(kind, fold(text).as_bytes())
        };
        if let Some(label) = found {
            out.push(Hit { kind, label, value: text.to_owned() });
        }
    }

    #[inline(never)]
    fn exact(&self, kind: IndicatorKind, text: &str) -> Option<u8> {
        if kind == IndicatorKind::Url {
            return self.stored(key(kind, text.as_bytes()));
        }
        self.stored(key(kind, text.to_ascii_lowercase().as_bytes()))
    }

    fn label(&self, kind: IndicatorKind, canonical: &[u8]) -> Option<u8> {
        self.filter_passes(kind, canonical).then(|| self.stored(key(kind, canonical))).flatten()
    }

    #[inline]
    fn filter_passes(&self, kind: IndicatorKind, text: &[u8]) -> bool {
        let (block, bits) = places(print(kind, text), self.filter.len());
        self.filter.get(block).is_some_and(|words| words.iter().zip(bits).all(|(word, bit)| word & bit == bit))
    }

    fn stored(&self, key: u128) -> Option<u8> {
        let bucket = bucket(key);
        let range = *self.directory.get(bucket)? as usize..*self.directory.get(bucket.saturating_add(1))? as usize;
        let found = self.keys.get(range)?.iter().find(|other| **other >> 8 == key >> 8)?;
        Some(found.to_le_bytes()[0])
    }
}

/// What a whole value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Digits and dots; or hexadecimal digits and colons, perhaps with dots.
    Address,
    Digest,
    /// With a dot: a domain.
    Name,
    /// A domain with characters beyond ASCII.
    ForeignName,
    List,
    Other,
}

const DOT: u8 = 1 << 1;
const COLON: u8 = 1 << 2;
const LISTED: u8 = 1 << 3;
const LETTER: u8 = 1 << 4;
const HEX_LETTER: u8 = 1 << 5;
/// Characters beyond ASCII may stand in a domain.
const FOREIGN: u8 = 1 << 6;
/// Stands in no value that could be an indicator as a whole.
const ALIEN: u8 = 1 << 7;

/// What each byte says of the value that it stands in.
const CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "checked when compiled: a byte has 256 values"
)]
const fn classes() -> [u8; 256] {
    let mut all = [0; 256];
    let mut at = 0;
    while at < all.len() {
        all[at] = match at as u8 {
            b'.' => DOT,
            b':' => COLON,
            b'=' | b',' => LISTED,
            b'0'..=b'9' => 0,
            b'a'..=b'f' | b'A'..=b'F' => HEX_LETTER,
            b'g'..=b'z' | b'G'..=b'Z' | b'-' | b'_' => LETTER,
            128.. => FOREIGN,
            _ => ALIEN,
        };
        at += 1;
    }
    all
}

/// One look at the bytes, eight at a time: most values of an event are paths or sentences and end in the first eight.
#[inline]
fn shape(text: &[u8]) -> Shape {
    let class = |byte: &u8| CLASSES.get(usize::from(*byte)).copied().unwrap_or(ALIEN);
    let (chunks, rest) = text.as_chunks::<8>();
    let mut seen = 0_u8;
    for chunk in chunks {
        seen |= chunk.iter().fold(0, |all, byte| all | class(byte));
        if seen & ALIEN != 0 {
            return Shape::Other;
        }
    }
    seen |= rest.iter().fold(0, |all, byte| all | class(byte));
    let (dot, letter, hex) = (seen & DOT != 0, seen & (LETTER | FOREIGN) != 0, seen & HEX_LETTER != 0);
    match (seen & (ALIEN | LISTED | COLON), dot) {
        (LISTED, _) if seen & FOREIGN == 0 => Shape::List,
        (both, _) if both == LISTED | COLON && seen & FOREIGN == 0 => Shape::List,
        (COLON, _) if !letter && text.len() <= ADDRESS_BYTES_MAX => Shape::Address,
        (0, true) if seen & FOREIGN != 0 => Shape::ForeignName,
        (0, true) if letter || hex => Shape::Name,
        (0, true) if text.len() <= ADDRESS_BYTES_MAX => Shape::Address,
        (0, false) if matches!(text.len(), 32 | 40 | 64) && !letter => Shape::Digest,
        _ => Shape::Other,
    }
}

fn hex_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn domain(text: &str) -> bool {
    text.len() <= DOMAIN_BYTES_MAX
        && text.rsplit_once('.').is_some_and(|(_, last)| !last.bytes().all(|b| b.is_ascii_digit()))
        && text.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') || !b.is_ascii())
}

/// Scheme and authority in lower case, no fragment, `/` as the least path.
fn canonical_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").filter(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())?;
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{}://{}{slash}{path}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

/// The bytes of an address: four or sixteen.
struct Octets([u8; 16], usize);

impl Octets {
    fn as_slice(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}

fn octets(address: &IpAddr) -> Octets {
    match address {
        IpAddr::V4(v4) => {
            let mut all = [0; 16];
            all.iter_mut().zip(v4.octets()).for_each(|(to, from)| *to = from);
            Octets(all, 4)
        }
        IpAddr::V6(v6) => Octets(v6.octets(), 16),
    }
}

/// A cheap hash for the filter, without case: it may only say no too seldom.
#[inline]
fn print(kind: IndicatorKind, text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    // Text has its case bit set, so that letters of either case agree; addresses are bytes and keep theirs.
    let case = if kind == IndicatorKind::Address { 0 } else { 0x2020_2020_2020_2020 };
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(FACTOR);
        let (low, high) = (u64::try_from(product & u128::from(u64::MAX)), u64::try_from(product >> 64));
        low.unwrap_or(0) ^ high.unwrap_or(0)
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut state = (u64::from(kind as u8) << 56) ^ u64::try_from(text.len()).unwrap_or(0) ^ FACTOR;
    for word in words {
        state = mix(state.rotate_left(29), u64::from_le_bytes(*word) | case);
    }
    let mut tail = [0_u8; 8];
    tail.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    mix(state.rotate_left(29), u64::from_le_bytes(tail) | case)
}

/// The cheap hash, and another, the low 8 bits left free for the label.
fn key(kind: IndicatorKind, text: &[u8]) -> u128 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(kind as u8);
    hasher.write(text);
    (u128::from(print(kind, text)) << 64 | u128::from(hasher.finish())) & !0xff
}

/// The cheap hash of a key.
fn mark(key: u128) -> u64 {
    u64::try_from(key >> 64).unwrap_or(0)
}

fn bucket(key: u128) -> usize {
    usize::try_from(key >> (128 - DIRECTORY_BITS)).unwrap_or(0)
}

/// The block of a print, and one bit in each of its words.
#[inline]
fn places(mark: u64, blocks: usize) -> (usize, [u64; 8]) {
    let blocks = u64::try_from(blocks).unwrap_or(u64::MAX) & u64::from(u32::MAX);
    let block = usize::try_from(((mark >> 32) * blocks) >> 32).unwrap_or(0);
    let low = mark.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut bits = [0_u64; 8];
    for (bit, shift) in bits.iter_mut().zip((16..64_u32).step_by(6)) {
        *bit = 1 << (low >> shift & 63);
    }
    (block, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(indicators: &Indicators, record: &str) -> Vec<(IndicatorKind, u8, String)> {
        let (mut parser, mut out) = (event::Parser::new(), Vec::new());
        indicators.matches(&parser.parse(record.as_bytes()).unwrap(), &mut out);
        out.into_iter().map(|hit| (hit.kind, hit.label, hit.value)).collect()
    }

    #[test]
    fn every_kind_is_found_and_neighbours_are_not() {
        use IndicatorKind::{Address, Domain, FileHash, Network, Url};
        let mut builder = IndicatorBuilder::default();
        for (kind, value, label) in [
            (Address, "192.0.2.7", 1),
            (Address, "2001:DB8::1", 1),
            (Network, "198.51.100.0/24", 2),
            (Domain, "Evil.example.org", 3),
            (FileHash, "D41D8CD98F00B204E9800998ECF8427E", 4),
            (Url, "HTTP://Bad.example/Path?q=1#frag", 5),
        ] {
            builder.add(kind, value, label).unwrap();
        }
        assert!(builder.add(Domain, "localhost", 0).is_err());
        assert!(builder.add(FileHash, "xyz", 0).is_err());
        let indicators = builder.build();
        assert_eq!(indicators.len(), 6);
        let one = |record: &str| hits(&indicators, record);
        assert_eq!(one(r#"{"a":{"ip":["192.0.2.7"]}}"#), [(Address, 1, "192.0.2.7".into())]);
        assert_eq!(one(r#"{"ip":"2001:0db8:0::1"}"#), [(Address, 1, "2001:0db8:0::1".into())]);
        assert_eq!(one(r#"{"ip":"198.51.100.9"}"#), [(Network, 2, "198.51.100.9".into())]);
        assert_eq!(one(r#"{"q":"a.b.EVIL.example.org."}"#), [(Domain, 3, "EVIL.example.org".into())]);
        assert_eq!(one(r#"{"Hashes":"SHA1=00,MD5=d41d8cd98f00b204e9800998ecf8427e"}"#).len(), 1);
        assert_eq!(one(r#"{"c":"curl \"http://bad.example/Path?q=1#x\" -o y"}"#)[0].0, Url);
        assert_eq!(one(r#"{"c":"get https:\/\/x.evil.example.org"}"#)[0].0, Domain);
        assert_eq!(one(r#"{"c":"get https:\u002f/x.evil.example.org"}"#)[0].0, Domain);
        assert_eq!(one(r#"{"c":"get https://x.evil.example.org:8443/y"}"#)[0].0, Domain);
        for record in [
            r#"{"ip":"192.0.2.8"}"#,
            r#"{"ip":"198.51.101.9"}"#,
            r#"{"q":"notevil.example.org"}"#,
            r#"{"q":"example.org"}"#,
            r#"{"c":"http://bad.example/path?q=1"}"#,
            r#"{"h":"d41d8cd98f00b204e9800998ecf8427f"}"#,
        ] {
            assert_eq!(one(record), [], "{record}");
        }
    }

    #[test]
    fn many_are_all_found() {
        let mut builder = IndicatorBuilder::default();
        let name = |n: u32| format!("host{n}.example{}.org", n % 97);
        for n in 0..20_000 {
            builder.add(IndicatorKind::Domain, &name(n), 7).unwrap();
        }
        let indicators = builder.build();
        for n in (0..40_000).step_by(7) {
            let found = !hits(&indicators, &format!(r#"{{"q":"{}"}}"#, name(n))).is_empty();
            assert_eq!(found, n < 20_000, "{n}");
        }
    }
}
