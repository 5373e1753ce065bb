//! Tests of crate `event`: one binary, a module per subject.

#[cfg(test)]
mod mapping;
#[cfg(test)]
mod ocsf;
#[cfg(test)]
mod read;
#[cfg(test)]
mod view;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::path::PathBuf;

/// Counts what tests allocate.
#[global_allocator]
static ALLOCATIONS: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A folder or file of the test data; none, and a visible line, where it is absent.
fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("POSSE_TEST_DATA").map_or_else(|| PathBuf::from("../../../shared/data"), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no test data at {name}; set POSSE_TEST_DATA");
    None
}
