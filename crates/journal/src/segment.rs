//! Segment files: their names, listing, creation and header. A name is the number in 20 digits, so that names
//! sort as numbers do.

use crate::cause::{Cause, Step};
use crate::disk::{Disk, DiskFile, read_full, write_all};
use crate::header::{HEADER_BYTES, Header, HeaderRead, VERSION};

const SUFFIX: &str = ".journal";

pub(crate) fn name(segment: u64) -> String {
    format!("{segment:020}{SUFFIX}")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|segment| *segment > 0)
}

/// The numbers of all segments, ascending. Files with other names are not ours.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<u64>, Cause> {
    let mut segments: Vec<u64> =
        disk.list().step(|| "listing of segments".to_owned())?.iter().filter_map(|name| number(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

pub(crate) fn open(disk: &dyn Disk, segment: u64) -> Result<Box<dyn DiskFile>, Cause> {
    disk.open(&name(segment)).step(|| format!("opening of segment {segment}"))
}

/// A new segment whose header and name are durable.
pub(crate) fn create(disk: &dyn Disk, segment: u64, salt: u64) -> Result<Box<dyn DiskFile>, Cause> {
    let file = disk.create(&name(segment)).step(|| format!("creation of segment {segment}"))?;
    let header = Header { version: VERSION, segment, salt };
    write_all(&*file, &header.encode(), 0).step(|| format!("write of the header of segment {segment}"))?;
    file.sync().step(|| format!("sync of the header of segment {segment}"))?;
    disk.sync_folder().step(|| format!("sync of the folder after creation of segment {segment}"))?;
    Ok(file)
}

pub(crate) fn remove(disk: &dyn Disk, segment: u64) -> Result<(), Cause> {
    disk.remove(&name(segment)).step(|| format!("removal of segment {segment}"))?;
    disk.sync_folder().step(|| format!("sync of the folder after removal of segment {segment}"))
}

pub(crate) fn read_header(file: &dyn DiskFile, segment: u64) -> Result<HeaderRead, Cause> {
    let mut bytes = [0; HEADER_BYTES];
    let read = read_full(file, &mut bytes, 0).step(|| format!("read of the header of segment {segment}"))?;
    let header = Header::decode(bytes.get(..read).unwrap_or_default());
    Ok(match header {
        // A file under another's number would pass every check but order.
        HeaderRead::Whole(header) | HeaderRead::OneCopy(header) if header.segment != segment => HeaderRead::Broken,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_segments() {
        assert_eq!(number(&name(12)), Some(12));
        for other in ["lock", "12.journal", "00000000000000000000.journal", "+0000000000000000001.journal", ""] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
