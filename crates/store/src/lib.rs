//! Crate `store`: being built.
