//! The search grammar: `field:value`, quoted text, wildcards, ranges, AND, OR, NOT, parentheses, bare words.
//!
//! For people, and for agents that should not write SQL. Text becomes a tree ([`parse`]), a tree becomes a condition
//! ([`lower`]); nothing ever becomes SQL text. Pure. Cases stand in `spec/lake/search/`.

mod lower;
mod parse;
mod token;

pub(crate) use lower::{instant, lower};
pub(crate) use parse::{Bound, Node, Test, parse};
