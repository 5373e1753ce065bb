//! Rules for elsewhere: as SigmaHQ writes them, and as SQL over the lake. Text in, text out.

mod sigma;
mod sql;

pub use sigma::{SigmaExport, SigmaExportError, sigma};
pub use sql::{SqlCaveat, SqlError, SqlExport, sql};
