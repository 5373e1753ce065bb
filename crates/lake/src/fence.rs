//! A number in the catalog that every flush raises by one and expects where the last one left it: of two flushes that
//! expect the same number one is committed at most, whenever each arrives. Must never be lowered.

/// The fence's name among the cursors.
pub(crate) const CURSOR: &str = "lake-writer";

/// A cursor's name and where it must stand.
type Expected = (String, Option<Vec<u8>>);
/// A cursor's name and where it stands from now on.
type Set = (String, Vec<u8>);

/// What the catalog holds, as a number; 0 where it holds none.
pub(crate) fn number(stored: Option<&Vec<u8>>) -> u64 {
    stored.and_then(|bytes| bytes.first_chunk::<8>()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Where the fence must stand, and where it stands after the change.
pub(crate) fn raise(number: u64) -> (Expected, Set) {
    let was = (number > 0).then(|| number.to_be_bytes().to_vec());
    ((CURSOR.to_owned(), was), (CURSOR.to_owned(), (number + 1).to_be_bytes().to_vec()))
}
