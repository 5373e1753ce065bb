//! Crate `seal`: being built.
