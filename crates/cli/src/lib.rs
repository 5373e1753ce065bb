//! Crate `cli`: being built.
