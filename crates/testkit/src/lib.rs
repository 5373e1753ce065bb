//! Crate `testkit`: being built.
