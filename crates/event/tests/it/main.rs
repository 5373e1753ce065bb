//! Tests of crate `event`: one binary, a module per subject.

mod view;
