//! The lake as its users see it: a folder, a catalog in memory, events from `spec/lake`.

mod attack;
mod bed;
mod crash;
mod equal;
mod explore;
mod isolation;
mod search;
mod sql;
