//! Bounded gzip and zstd decompression in memory. Never trusts the size that a stream announces.

use super::ReadFault;
use std::borrow::Cow;
use std::io::Read;

/// The bytes themselves, or what the gzip or zstd stream holds that they begin; several members or frames in a row
/// are read as one.
///
/// # Errors
/// [`ReadFault`] for a broken stream or more than `bytes_max` bytes.
pub fn unpack(bytes: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, ReadFault> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return bounded(flate2::read::MultiGzDecoder::new(bytes), "gzip", bytes_max).map(Cow::Owned);
    }
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(|fault| broken("zstd", &fault))?;
        // A frame may ask for any window; 128 MiB is what `zstd --long=27` writes.
        decoder.window_log_max(27).map_err(|fault| broken("zstd", &fault))?;
        return bounded(decoder, "zstd", bytes_max).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(bytes))
}

fn bounded(reader: impl Read, format: &'static str, bytes_max: usize) -> Result<Vec<u8>, ReadFault> {
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut out).map_err(|fault| broken(format, &fault))?;
    if out.len() > bytes_max { Err(ReadFault::TooLarge(bytes_max)) } else { Ok(out) }
}

fn broken(format: &'static str, fault: &std::io::Error) -> ReadFault {
    ReadFault::Broken { format, reason: fault.to_string() }
}
