//! Checksums of the table's files. Each block of a file's data has one in the file's own metadata; everything behind the data
//! (indexes, footer) has one in the file's name, which the catalog keeps. So what the disk changed is noticed wherever it is
//! read. Must never let a byte of a file of ours through that does not fit its sum; files written before there were sums
//! have none.

use bytes::{Buf as _, Bytes};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{KeyValue, ParquetMetaData};
use datafusion::parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use twox_hash::XxHash64;

/// Bytes of one block: small, because a reader of less reads all of it.
const BLOCK: u64 = 32 << 10;
/// The key in the file's metadata.
const KEY: &str = "posse.sums";
/// Digits of a sum in text.
const DIGITS: usize = 8;

/// The lower half of xxHash64: one change in four thousand million goes by.
fn sum(bytes: &[u8]) -> u32 {
    u32::try_from(XxHash64::oneshot(0, bytes) & u64::from(u32::MAX)).unwrap_or(0)
}

fn damaged(path: &Path, what: &str) -> ParquetError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ParquetError::General(format!("the data file `{name}` is damaged in its {what}; restore it from a backup"))
}

/// The sums of a file's data.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums {
    /// Where the data ends.
    pub(crate) end: u64,
    blocks: Vec<u32>,
}

impl Sums {
    /// For the file's metadata: block, end and sums.
    pub(crate) fn key_value(&self) -> KeyValue {
        use std::fmt::Write as _;
        let mut text = format!("{BLOCK} {} ", self.end);
        for sum in &self.blocks {
            // Writing to a string cannot fail.
            let _ = write!(text, "{sum:08x}");
        }
        KeyValue::new(KEY.to_owned(), text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (block, end, sums) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let (digits, rest) = sums.as_bytes().as_chunks::<DIGITS>();
        let one = |digits: &[u8; DIGITS]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let blocks: Vec<u32> = digits.iter().map(one).collect::<Option<_>>()?;
        let whole = block.parse() == Ok(BLOCK) && rest.is_empty() && u64::try_from(blocks.len()) == Ok(blocks_of(end));
        whole.then_some(Self { end, blocks })
    }

    /// Whole blocks around a range of the data; none where it reaches behind.
    fn around(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let start = range.start / BLOCK * BLOCK;
        (range.end <= self.end).then(|| start..range.end.div_ceil(BLOCK).saturating_mul(BLOCK).min(self.end))
    }

    /// Whether bytes that begin with a block are what was written.
    fn hold(&self, start: u64, bytes: &[u8]) -> bool {
        let first = usize::try_from(start / BLOCK).unwrap_or(usize::MAX);
        let blocks = bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX));
        blocks.enumerate().all(|(at, block)| self.blocks.get(first.saturating_add(at)) == Some(&sum(block)))
    }
}

fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK)
}

/// A file that is being written, summed block by block.
pub(crate) struct Summing {
    file: File,
    block: Vec<u8>,
    sums: Sums,
}

impl Summing {
    pub(crate) fn new(file: File) -> Self {
        Self { file, block: Vec::new(), sums: Sums::default() }
    }

    /// The sums of all that was written up to now.
    pub(crate) fn sums(&self) -> Sums {
        let mut blocks = self.sums.blocks.clone();
        blocks.extend((!self.block.is_empty()).then(|| sum(&self.block)));
        Sums { end: self.sums.end, blocks }
    }
}

impl Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        let mut rest = bytes.get(..written).unwrap_or_default();
        self.sums.end = self.sums.end.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        let size = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(size.saturating_sub(self.block.len())));
            self.block.extend_from_slice(head);
            rest = tail;
            if self.block.len() == size {
                self.sums.blocks.push(sum(&self.block));
                self.block.clear();
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// The sum of everything behind the data.
pub(crate) fn tail(file: &File, end: u64) -> std::io::Result<u32> {
    let length = file.metadata()?.len().saturating_sub(end);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, end)?;
    Ok(sum(&bytes))
}

/// `1-2.parquet` with the sum of its tail.
pub(crate) fn name(path: &str, tail: u32) -> String {
    path.strip_suffix(".parquet").map_or_else(|| path.to_owned(), |stem| format!("{stem}-{tail:08x}.parquet"))
}

/// The sum in a name; none where it has none.
fn named(path: &Path) -> Option<u32> {
    let mut parts = path.file_stem()?.to_str()?.split('-');
    let (_, _, sum) = (parts.next()?, parts.next()?, parts.next()?);
    u32::from_str_radix(sum, 16).ok()
}

/// The sums of a file of ours whose metadata was read; its tail is held to the sum in its name here. None for a file that
/// was written without.
///
/// # Errors
/// The file is damaged, or cannot be read.
pub(crate) fn of(path: &Path, file: &File, metadata: &ParquetMetaData) -> Result<Option<Arc<Sums>>, ParquetError> {
    let Some(wanted) = named(path) else { return Ok(None) };
    let sums = listed(metadata).ok_or_else(|| damaged(path, "metadata"))?;
    if sums.end > file.metadata()?.len() || tail(file, sums.end)? != wanted {
        return Err(damaged(path, "footer"));
    }
    Ok(Some(Arc::new(sums)))
}

/// The sums as the metadata have them; the tail was held to its sum when these were read.
pub(crate) fn listed(metadata: &ParquetMetaData) -> Option<Sums> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    Sums::parse(pairs.iter().find(|pair| pair.key == KEY)?.value.as_deref()?)
}

/// Read a range, held to its sums where there are some.
pub(crate) fn read(path: &Path, file: &File, sums: Option<&Sums>, range: &Range<u64>) -> Result<Bytes, ParquetError> {
    let around = sums.and_then(|sums| sums.around(range)).unwrap_or_else(|| range.clone());
    let mut buffer = vec![0_u8; usize::try_from(around.end.saturating_sub(around.start))?];
    file.read_exact_at(&mut buffer, around.start)?;
    if let Some(sums) = sums
        && range.end <= sums.end
        && !sums.hold(around.start, &buffer)
    {
        return Err(damaged(path, "data"));
    }
    let bytes = Bytes::from(buffer);
    let (from, length) = (range.start.saturating_sub(around.start), range.end.saturating_sub(range.start));
    let (from, to) = (usize::try_from(from)?, usize::try_from(from.saturating_add(length))?);
    if to > bytes.len() {
        return Err(ParquetError::EOF("the range ends behind the file".to_owned()));
    }
    Ok(bytes.slice(from..to))
}

/// A file for readers that want to seek by themselves.
#[derive(Clone)]
pub(crate) struct Checked {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) sums: Option<Arc<Sums>>,
}

/// A stretch of a [`Checked`] file, read block by block.
pub(crate) struct Stretch {
    of: Checked,
    at: u64,
    held: Bytes,
}

impl Length for Checked {
    fn len(&self) -> u64 {
        Length::len(&*self.file)
    }
}

impl ChunkReader for Checked {
    type T = Stretch;

    fn get_read(&self, start: u64) -> Result<Stretch, ParquetError> {
        Ok(Stretch { of: self.clone(), at: start, held: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.saturating_add(u64::try_from(length)?);
        read(&self.path, &self.file, self.sums.as_deref(), &(start..end))
    }
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.held.is_empty() {
            let data_end = self.of.sums.as_ref().map(|sums| sums.end).filter(|end| self.at < *end);
            let block_end = (self.at / BLOCK).saturating_add(1).saturating_mul(BLOCK);
            let range = self.at..block_end.min(data_end.unwrap_or_else(|| self.of.len()));
            if range.is_empty() {
                return Ok(0);
            }
            let bytes = read(&self.of.path, &self.of.file, self.of.sums.as_deref(), &range);
            self.held = bytes.map_err(std::io::Error::other)?;
            self.at = range.end;
        }
        let length = buffer.len().min(self.held.len());
        let Some(into) = buffer.get_mut(..length) else { return Ok(0) };
        self.held.copy_to_slice(into);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_the_data_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-2.parquet");
        let bytes: Vec<u8> =
            (0_u32..100_000).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let mut writing = Summing::new(File::create(&path).unwrap());
        for part in bytes.chunks(777) {
            writing.write_all(part).unwrap();
        }
        let sums = writing.sums();
        assert_eq!(Sums::parse(sums.key_value().value.as_deref().unwrap()), Some(writing.sums()));
        let file = File::open(&path).unwrap();
        for range in [0..10, 40_000..70_000, 99_999..100_000, 0..100_000, 5..5] {
            let got = read(&path, &file, Some(&sums), &range).unwrap();
            assert_eq!(got, bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]);
        }
        let checked = |path: &Path| Checked {
            path: path.to_owned(),
            file: Arc::new(File::open(path).unwrap()),
            sums: Some(Arc::new(writing.sums())),
        };
        let mut all = Vec::new();
        checked(&path).get_read(5).unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, bytes[5..]);
        for at in (0..bytes.len()).step_by(997) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            let (file, at) = (File::open(&path).unwrap(), u64::try_from(at).unwrap());
            assert!(read(&path, &file, Some(&sums), &(at..at + 1)).is_err(), "{at}");
            assert!(checked(&path).get_read(0).unwrap().read_to_end(&mut Vec::new()).is_err(), "{at}");
        }
        assert_eq!(Sums::parse("32768 5 "), None);
        assert_eq!(named(Path::new(&name("7/2026-01-01/a-b.parquet", 0xdead_beef))), Some(0xdead_beef));
        assert_eq!(named(&path), None);
    }
}
