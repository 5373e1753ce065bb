//! Response actions that are an HTTP request to somebody else's service, described by a document: how to authenticate, what
//! must hold before, what is kept first, what is sent, how the answer is read, how the effect is looked for, what undoes it.
//!
//! Everything but [`Wire`] is pure. A value from outside reaches a request only through a reference that the document
//! declares, escaped for the place where it stands. Must never put a secret where it can be read back, never send to a host
//! that the document does not name, and never decide whether something may be sent twice: that is the caller's.

mod answer;
mod auth;
mod bucket;
mod document;
mod fault;
mod input;
mod outgoing;
mod read;
mod shipped;
mod sigv4;
mod template;
mod webhook;
mod wire;
mod xml;

pub use answer::{Answer, Judgement, Unreadable};
pub use auth::Auth;
pub use bucket::{Bucket, BucketError, Listed, Object};
pub use document::{
    Aim, Check, Condition, Declared, Document, Evidence, Execute, Input, InputKind, Inverse, OpenC2, Output,
    OutputKind, Reads, Request, Step, Success, Verb, Verify,
};
pub use fault::Fault;
pub use outgoing::{Shown, Unfit};
pub use read::Connector;
pub use shipped::{Shipped, shipped};
pub use sigv4::{Credentials, Signable, sign};
pub use template::{Facts, JsonTemplate, Secrets, Template, Values};
pub use webhook::{standard_webhooks_key, standard_webhooks_signature};
pub use wire::{NoAnswer, Wire};
pub use xml::{XmlError, read as read_xml};
