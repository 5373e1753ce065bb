//! Files that grow: what is added to them is sent, again and again, and how far that got is kept in a file. The stretch to be
//! sent is written down before it is sent, so that the same bytes are sent again after a crash and the server knows them.
//! Must never pass over a line, never send half of one, and never take a stretch for sent that was not acknowledged.

use crate::answer::Trouble;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Bytes of one stretch; a line that is longer is cut, and the server counts it as one that cannot be read.
const STRETCH_BYTES: u64 = 4 << 20;
const VERSION: u8 = 1;

/// How far one file was sent.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
struct Place {
    /// Its name when it was last seen, for people.
    path: PathBuf,
    /// Everything before this byte was acknowledged.
    offset: u64,
    /// The end of the stretch that was being sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending: Option<u64>,
}

/// How far every file was sent, by device and inode: a file that is renamed by a rotation stays the same file.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Places {
    v: u8,
    files: BTreeMap<String, Place>,
    #[serde(skip)]
    file: PathBuf,
}

/// Whole lines of one file.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Stretch {
    key: String,
    /// Where it ends.
    end: u64,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
}

impl Stretch {
    /// How many lines it has.
    pub(super) fn lines(&self) -> u64 {
        let breaks = self.bytes.iter().filter(|byte| **byte == b'\n').count();
        u64::try_from(breaks).unwrap_or(u64::MAX).max(1)
    }
}

impl Places {
    /// Read what an earlier run left in this file; nothing where there is none.
    pub(super) fn open(file: &Path) -> Result<Self, Trouble> {
        let failed =
            |reason: &dyn std::fmt::Display| Trouble::local(format!("cannot read `{}`", file.display()), reason);
        let read = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes).map_err(|error| failed(&error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self { v: VERSION, ..Self::default() },
            Err(error) => return Err(failed(&error)),
        };
        if read.v != VERSION {
            return Err(failed(&format!("it has version {}, this program reads {VERSION}", read.v)));
        }
        Ok(Self { file: file.to_owned(), ..read })
    }

    /// The next stretch of a file that was not acknowledged; none where there is no whole line. It is written down before.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Stretch>, Trouble> {
        let failed = |error: std::io::Error| Trouble::local(format!("cannot read `{}`", path.display()), error);
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        let key = format!("{}:{}", about.dev(), about.ino());
        let place = self.files.entry(key.clone()).or_default();
        path.clone_into(&mut place.path);
        if about.len() < place.offset {
            // It was emptied and begun anew.
            (place.offset, place.sending) = (0, None);
        }
        let length = about.len().saturating_sub(place.offset).min(STRETCH_BYTES);
        let length = place.sending.map_or(length, |end| end.saturating_sub(place.offset));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, place.offset).map_err(failed)?;
        if place.sending.is_none() && length < STRETCH_BYTES {
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
            bytes.truncate(whole);
        } else if place.sending.is_none()
            && let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n')
        {
            bytes.truncate(at.saturating_add(1));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let end = place.offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if place.sending.replace(end) != Some(end) {
            self.keep()?;
        }
        Ok(Some(Stretch { key, end, bytes }))
    }

    /// A stretch was acknowledged.
    pub(super) fn sent(&mut self, stretch: &Stretch) -> Result<(), Trouble> {
        if let Some(place) = self.files.get_mut(&stretch.key) {
            (place.offset, place.sending) = (stretch.end, None);
        }
        self.keep()
    }

    /// Write it down: the old state or the new one, whenever the process ends.
    fn keep(&self) -> Result<(), Trouble> {
        let fresh = self.file.with_extension("new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(self).unwrap_or_default())?;
            std::fs::rename(&fresh, &self.file)
        };
        write().map_err(|error| Trouble::local(format!("cannot write `{}`", self.file.display()), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bed(tempfile::TempDir);

    impl Bed {
        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
        fn places(&self) -> Places {
            Places::open(&self.path("cursor")).unwrap()
        }
        fn append(&self, name: &str, text: &str) {
            let mut file = File::options().append(true).create(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        fn next(&self, places: &mut Places, name: &str) -> Option<String> {
            let found = places.next(&self.path(name)).unwrap()?;
            places.sent(&found).unwrap();
            Some(String::from_utf8(found.bytes).unwrap())
        }
    }

    #[test]
    fn whole_lines_are_sent_once_over_restarts_and_rotations() {
        let bed = Bed(tempfile::tempdir().unwrap());
        bed.append("log", "a\nb\nhal");
        let mut places = bed.places();
        assert_eq!(bed.next(&mut places, "log").as_deref(), Some("a\nb\n"));
        assert_eq!(bed.next(&mut places, "log"), None);
        bed.append("log", "f\nc\n");
        let mut places = bed.places();
        assert_eq!(bed.next(&mut places, "log").as_deref(), Some("half\nc\n"));
        // Renamed and begun anew; a line came late into the old file.
        std::fs::rename(bed.path("log"), bed.path("log.1")).unwrap();
        bed.append("log.1", "late\n");
        bed.append("log", "new\n");
        assert_eq!(bed.next(&mut places, "log.1").as_deref(), Some("late\n"));
        assert_eq!(bed.next(&mut places, "log").as_deref(), Some("new\n"));
        // Emptied in place.
        File::options().write(true).open(bed.path("log")).unwrap().set_len(0).unwrap();
        assert_eq!(bed.next(&mut places, "log"), None);
        bed.append("log", "z\n");
        assert_eq!(bed.next(&mut places, "log").as_deref(), Some("z\n"));
    }

    #[test]
    fn what_was_being_sent_is_the_same_stretch_after_a_crash() {
        let bed = Bed(tempfile::tempdir().unwrap());
        bed.append("log", "a\n");
        let first = bed.places().next(&bed.path("log")).unwrap().unwrap();
        bed.append("log", "b\n");
        let mut places = bed.places();
        let again = places.next(&bed.path("log")).unwrap().unwrap();
        assert_eq!(again, first);
        places.sent(&again).unwrap();
        assert_eq!(bed.next(&mut bed.places(), "log").as_deref(), Some("b\n"));
    }

    #[test]
    fn a_line_without_end_does_not_stop_the_rest() {
        let bed = Bed(tempfile::tempdir().unwrap());
        bed.append("log", &"x".repeat(usize::try_from(STRETCH_BYTES).unwrap() + 5));
        bed.append("log", "\nb\n");
        let mut places = bed.places();
        assert_eq!(bed.next(&mut places, "log").map(|text| text.len()), usize::try_from(STRETCH_BYTES).ok());
        assert_eq!(bed.next(&mut places, "log").as_deref(), Some("xxxxx\nb\n"));
        std::fs::write(bed.path("cursor"), "{\"v\":9,\"files\":{}}").unwrap();
        assert!(Places::open(&bed.path("cursor")).is_err());
    }
}
