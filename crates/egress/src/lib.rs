//! Crate `egress`: being built.
