//! Windows event log files as nested JSON records, one per event, in the order of the file. Everything stays in memory.

use super::ReadFault;
use evtx::{EvtxParser, ParserSettings};
use std::ops::ControlFlow;

/// Hand on every event as `{"Event":{"System":{...},"EventData":{...}}}`.
pub(super) fn records(
    bytes: Vec<u8>,
    mut found: impl FnMut(Result<&[u8], ReadFault>) -> ControlFlow<()>,
) -> Result<(), ReadFault> {
    let settings = ParserSettings::default().num_threads(1).indent(false);
    let mut parser =
        EvtxParser::from_buffer(bytes).map_err(|fault| ReadFault::Evtx(chain(&fault)))?.with_configuration(settings);
    for record in parser.records_json() {
        let flow = match record {
            Ok(record) => found(Ok(record.data.as_bytes())),
            Err(fault) => found(Err(ReadFault::EvtxRecord(chain(&fault)))),
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// An error with its causes on one line.
fn chain(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
