//! The binary and only composition root.

fn main() {}
