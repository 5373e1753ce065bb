//! Chores of the project: tidy, generation, dist.

fn main() {}
