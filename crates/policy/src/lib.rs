//! Crate `policy`: being built.
