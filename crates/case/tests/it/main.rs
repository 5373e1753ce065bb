//! Tests of the rules of cases from outside.

#[cfg(test)]
mod grouping;
