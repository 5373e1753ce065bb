//! Crate `server`: being built.
