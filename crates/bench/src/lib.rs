//! Peers that are measured beside us in one run; never shipped. Each is a program of its own under `src/bin`, as plain
//! as a competent engineer would write it in an afternoon: what they leave out is what we are measured against.
