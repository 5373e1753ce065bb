//! Integration tests of crate `detection`: corpora as data, one module per boundary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod agreement;
mod baseline;
mod corpus;
mod correlation;
mod export;
mod micro;
mod robust;
mod sigmahq;

use std::path::PathBuf;

/// The folder of public test data, where it is present.
fn test_data() -> Option<PathBuf> {
    let root = PathBuf::from(std::env::var_os("POSSE_TEST_DATA")?);
    root.is_dir().then_some(root)
}
