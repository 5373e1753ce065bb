//! Crate `detection`: being built.
