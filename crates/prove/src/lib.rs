//! Proves things about a policy set for all calls there can be, or finds a call that refutes them.
//!
//! Sole owner of the symbolic compiler and of the solver's process. The policies come from `policy` as text, sort by sort;
//! each counterexample goes back to `policy`'s engine and counts only if the engine itself allows it. Where the solver is
//! not there, does not finish or says something that cannot be read, the answer is `unknown` with the reason, never
//! `proved`. Never decides a call.

mod check;
mod facts;
mod shorten;
mod solver;

pub use check::{Answer, Counterexample, Proof, never, nothing_new};
pub use solver::{Solver, SolverError};
