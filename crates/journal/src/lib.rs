//! Crate `journal`: being built.
