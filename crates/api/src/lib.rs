//! Crate `api`: being built.
