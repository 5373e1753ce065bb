//! Answers as files: Parquet, NDJSON, CSV, Arrow IPC.

use crate::ask::Batches;
use crate::rows_of;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};
use thiserror::Error;

/// The form of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Arrow IPC, streaming form.
    Arrow,
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Parquet, zstd.
    Parquet,
}

/// Why an export failed.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The rows do not fit the form.
    #[error("rows as Arrow")]
    Arrow(#[from] ArrowError),
    /// The rows do not fit the form.
    #[error("rows as Parquet")]
    Parquet(#[from] ParquetError),
}

/// A text that is not one of the forms.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is not a form; one of arrow, csv, ndjson, parquet")]
pub struct UnknownFormat(String);

impl std::str::FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Ok(match text {
            "arrow" => Self::Arrow,
            "csv" => Self::Csv,
            "ndjson" | "jsonl" => Self::Ndjson,
            "parquet" => Self::Parquet,
            _ => return Err(UnknownFormat(text.chars().take(32).collect())),
        })
    }
}

impl Format {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Rows in a form.
///
/// # Errors
/// A type of the rows that the form does not know.
pub fn export(found: &Batches, format: Format) -> Result<Vec<u8>, ExportError> {
    let mut bytes = Vec::new();
    match format {
        Format::Arrow => {
            let mut writer = StreamWriter::try_new(&mut bytes, &found.schema)?;
            found.batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
        }
        Format::Parquet => {
            let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
            let properties = WriterProperties::builder().set_compression(zstd).build();
            let mut writer = ArrowWriter::try_new(&mut bytes, found.schema.clone(), Some(properties))?;
            found.batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.close()?;
        }
        Format::Ndjson => {
            let names: Vec<&str> = found.schema.fields().iter().map(|field| field.name().as_str()).collect();
            for row in found.batches.iter().flat_map(rows) {
                let pairs = names.iter().zip(row).filter(|(_, value)| !value.is_null());
                let object: Map<String, Value> = pairs.map(|(name, value)| ((*name).to_owned(), value)).collect();
                bytes.extend(Value::Object(object).to_string().into_bytes());
                bytes.push(b'\n');
            }
        }
        Format::Csv => {
            let names = found.schema.fields().iter().map(|field| field.name().clone());
            line(&mut bytes, names);
            for row in found.batches.iter().flat_map(rows) {
                line(&mut bytes, row.into_iter().map(text));
            }
        }
    }
    Ok(bytes)
}

fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    rows_of(std::slice::from_ref(batch), usize::MAX)
}

fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn line(bytes: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            bytes.push(b',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            bytes.extend(format!("\"{}\"", cell.replace('"', "\"\"")).into_bytes());
        } else {
            bytes.extend(cell.into_bytes());
        }
    }
    bytes.extend(b"\r\n");
}
