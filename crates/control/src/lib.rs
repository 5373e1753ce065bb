//! Crate `control`: being built.
