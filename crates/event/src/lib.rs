//! Crate `event`: being built.
