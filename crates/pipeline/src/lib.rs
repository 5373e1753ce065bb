//! The data plane: what shippers send becomes batches of raw records in the durable log.
//!
//! The receivers' halves here are pure: bytes in, records and answers out. Sockets, headers and credentials are the
//! server's. Must never answer "accepted" before the journal says durable, never drop a record without counting it
//! under a reason, and never hold more than its stated bounds.
//!
//! - [`ndjson`], [`bulk`] (Elasticsearch), [`hec`] (Splunk), [`syslog`], [`otlp`]: one module per protocol.
//! - [`Records`], [`Batch`]: what all of them produce, and its form in the journal.
//! - [`Admission`]: quotas, and the counts of what came in.
//! - [`Receiver`]: a batch into the journal, and only then an acknowledgement.
//! - [`Plane`]: all of it running, from the journal on into the lake; the data plane that `control` holds.

mod admission;
mod batch;
mod body;
pub mod bulk;
pub mod hec;
pub mod ndjson;
pub mod otlp;
mod plane;
mod receiver;
mod records;
pub mod syslog;

pub use admission::{Admission, Health, Quota, Tally};
pub use batch::{Batch, BatchError, KIND_BATCH, Source, Stored};
pub use body::{BodyError, Encoding, unpack};
pub use plane::{Finding, FindingSink, Options, Pace, Plane, PlaneError};
pub use receiver::{Accepted, Pressure, Receiver, Refused};
pub use records::{Form, Limits, Record, Records, Reject, Rejected};
