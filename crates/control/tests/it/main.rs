//! The gate from outside: real calls over HTTP to a server in process, judged by what was answered, by what the state
//! holds afterwards, and by what is on the record.

mod adversary;
mod approvals;
mod faces;
mod golden;
mod kill_switch;
mod leaks;
mod limits;
mod matrix;
mod people;
mod record;
mod replay;
mod standing;
