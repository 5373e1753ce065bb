//! The receivers against recorded requests, split and hostile bytes; batches against the journal.

#[cfg(test)]
mod backtest;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod bed;
#[cfg(test)]
mod body;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod narrowed;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod splunk;
#[cfg(test)]
mod upkeep;
