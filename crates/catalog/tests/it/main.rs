//! The plans, over tables that proptest makes up: applied to a catalog they are accepted, lose nothing, and come to rest.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod plans;
