//! Crate `audit`: being built.
