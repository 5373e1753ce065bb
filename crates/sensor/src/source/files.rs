//! Changes of watched files by fanotify: marks on folders, so that the rest of the host pays nothing, and closing a file
//! that was open for writing is seen even where a process simply ends. An event names the folder by a file handle; which
//! folder that is, is read from our own `fdinfo`, where the kernel shows the handle of each mark.
//!
//! Why not system call tracepoints: their price is on every call of every process, and a path in a call says little
//! (links, working folders); here the kernel has resolved it.

use super::{Mode, Outlet, Source, SourceFault};
use crate::observation::{FileAction, FileChange, Observation};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Report folder handles and names (`FAN_REPORT_DIR_FID | FAN_REPORT_NAME`).
const REPORT_FOLDER_AND_NAME: u32 = 0xc00;
/// Kinds of information records (`linux/fanotify.h`).
const FOLDER_AND_NAME: u8 = 2;
const OLD_FOLDER_AND_NAME: u8 = 10;
const NEW_FOLDER_AND_NAME: u8 = 12;
/// `O_PATH | O_NOFOLLOW`: a descriptor that only names.
const NAME_ONLY: i32 = 0o10_000_000 | 0o400_000;
/// Bytes of an event's fixed part.
const METADATA: usize = 24;

/// Which folders are watched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchList {
    /// A folder and how many levels below it are watched too (0: the folder alone). Other file systems mounted below
    /// are not entered.
    pub folders: Vec<(PathBuf, u8)>,
    /// Folders at most, all together.
    pub folders_max: usize,
}

impl Default for WatchList {
    /// Where persistence, credentials and dropped programs lie.
    fn default() -> Self {
        let list = [
            ("/etc", 4),
            ("/root", 1),
            ("/home", 2),
            ("/usr/local/bin", 0),
            ("/usr/local/sbin", 0),
            ("/usr/lib/systemd/system", 1),
            ("/var/spool/cron", 1),
            ("/tmp", 0),
            ("/var/tmp", 0),
            ("/dev/shm", 0),
        ];
        Self { folders: list.map(|(path, levels)| (PathBuf::from(path), levels)).into(), folders_max: 4096 }
    }
}

/// Telemetry of files.
#[derive(Debug)]
pub struct FileWatch {
    list: WatchList,
}

impl FileWatch {
    /// Watch these.
    #[must_use]
    pub const fn new(list: WatchList) -> Self {
        Self { list }
    }
}

/// A folder under watch: a descriptor that follows it when it is renamed.
#[derive(Debug)]
struct Folder {
    name: File,
    levels: u8,
}

/// Type and bytes of a file handle.
type Handle = (i32, Vec<u8>);

struct Watch<'a> {
    group: Fanotify,
    mask: MaskFlags,
    folders: HashMap<Handle, Folder>,
    folders_max: usize,
    outlet: &'a Outlet,
}

impl Source for FileWatch {
    fn mode(&self) -> Mode {
        Mode::Fanotify
    }

    fn run(self: Box<Self>, outlet: &Outlet) -> Result<(), SourceFault> {
        let fault = |error: nix::Error| {
            let hint = "it takes root and Linux 5.17 or later";
            SourceFault::new("watching of files", error, hint)
        };
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::from_bits_retain(REPORT_FOLDER_AND_NAME);
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC).map_err(fault)?;
        let mask = MaskFlags::FAN_CREATE
            | MaskFlags::FAN_CLOSE_WRITE
            | MaskFlags::FAN_DELETE
            | MaskFlags::FAN_RENAME
            | MaskFlags::FAN_ONDIR
            | MaskFlags::FAN_EVENT_ON_CHILD;
        raise_descriptors();
        let folders_max = self.list.folders_max;
        let mut watch = Watch { group, mask, folders: HashMap::new(), folders_max, outlet };
        watch.enter(self.list.folders.clone());
        outlet.ready();
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let mut buffer = vec![0; 64 << 10];
        while !outlet.stopped() {
            let ready = poll(&mut [PollFd::new(&watch.group, PollFlags::IN)], Some(&wait));
            if !matches!(ready, Ok(1)) {
                continue;
            }
            if let Ok(bytes) = rustix::io::read(watch.group.as_fd(), &mut *buffer) {
                watch.events(buffer.get(..bytes).unwrap_or_default());
            }
        }
        Ok(())
    }
}

impl Watch<'_> {
    /// Mark folders and those below them, then learn the handles of all new marks at once.
    fn enter(&mut self, mut waiting: Vec<(PathBuf, u8)>) {
        let mut entered: HashMap<(u64, u64), Folder> = HashMap::new();
        while let Some((path, levels)) = waiting.pop() {
            if self.folders.len().saturating_add(entered.len()) >= self.folders_max {
                tracing::warn!(folders_max = self.folders_max, "not all watched folders can be watched");
                break;
            }
            let name = match File::options().read(true).custom_flags(NAME_ONLY).open(&path) {
                Ok(name) => name,
                Err(error) => {
                    if error.kind() != ErrorKind::NotFound {
                        tracing::warn!(path = %path.display(), %error, "a folder cannot be watched");
                    }
                    continue;
                }
            };
            let Ok(meta) = name.metadata() else { continue };
            let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_ONLYDIR | MarkFlags::FAN_MARK_DONT_FOLLOW;
            if !meta.is_dir() || self.group.mark(flags, self.mask, rustix::fs::CWD, Some(&path)).is_err() {
                continue;
            }
            if levels > 0 {
                waiting.extend(folders_below(&path, meta.dev()).into_iter().map(|below| (below, levels - 1)));
            }
            entered.insert((meta.ino(), kernel_device(meta.dev())), Folder { name, levels });
        }
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.group.as_fd().as_raw_fd()));
        for (inode, device, handle) in text.unwrap_or_default().lines().filter_map(marked) {
            if let Some(folder) = entered.remove(&(inode, device)) {
                self.folders.insert(handle, folder);
            }
        }
    }

    fn events(&mut self, mut bytes: &[u8]) {
        let mut new = Vec::new();
        let mut gone = false;
        while let Some(length) = field::<4>(bytes, 0).map(u32::from_ne_bytes) {
            let Some((event, rest)) = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length))
            else {
                break;
            };
            if event.len() < METADATA {
                break;
            }
            bytes = rest;
            let Some(seen) = Seen::read(event) else { continue };
            if seen.mask.contains(MaskFlags::FAN_Q_OVERFLOW) {
                // The kernel does not say how many; one at least.
                self.outlet.lost(1);
                continue;
            }
            gone |= seen.mask.contains(MaskFlags::FAN_ONDIR | MaskFlags::FAN_DELETE);
            self.tell(&seen, &mut new);
        }
        if gone {
            self.folders.retain(|_, folder| path_of(folder).is_some());
        }
        if !new.is_empty() {
            self.enter(new);
        }
    }

    /// Hand over what an event says; folders that are new go to `new`.
    fn tell(&self, seen: &Seen, new: &mut Vec<(PathBuf, u8)>) {
        let folder = seen.mask.contains(MaskFlags::FAN_ONDIR);
        let place = |entry: &Option<(Handle, Vec<u8>)>| {
            let (handle, name) = entry.as_ref()?;
            let parent = self.folders.get(handle)?;
            Some((path_of(parent)?.join(OsStr::from_bytes(name)), parent.levels))
        };
        let (here, before, after) = (place(&seen.here), place(&seen.before), place(&seen.after));
        let arrived = if seen.mask.contains(MaskFlags::FAN_CREATE) { &here } else { &after };
        if let (true, Some((path, levels @ 1..))) = (folder, arrived) {
            new.push((path.clone(), levels - 1));
        }
        let send = |action, path: PathBuf, before| {
            let at = self.outlet.clock().now();
            let change = FileChange { at, pid: seen.pid, action, path, before, folder };
            self.outlet.send(Observation::File(change));
        };
        // One event may stand for several things that happened to one name, in this order.
        let kinds = [
            (MaskFlags::FAN_CREATE, FileAction::Created),
            (MaskFlags::FAN_CLOSE_WRITE, FileAction::Written),
            (MaskFlags::FAN_DELETE, FileAction::Deleted),
        ];
        if let Some((path, _)) = here {
            for (_, action) in kinds.into_iter().filter(|(flag, _)| seen.mask.contains(*flag)) {
                send(action, path.clone(), None);
            }
        }
        match (before, after) {
            (before, Some((path, _))) => send(FileAction::Renamed, path, before.map(|(path, _)| path)),
            // It went to where nothing is watched.
            (Some((path, _)), None) => send(FileAction::Deleted, path, None),
            (None, None) => {}
        }
    }
}

/// One event, its names still as handles.
struct Seen {
    mask: MaskFlags,
    pid: u32,
    here: Option<(Handle, Vec<u8>)>,
    before: Option<(Handle, Vec<u8>)>,
    after: Option<(Handle, Vec<u8>)>,
}

impl Seen {
    fn read(event: &[u8]) -> Option<Self> {
        let mask = MaskFlags::from_bits_retain(u64::from_ne_bytes(field(event, 8)?));
        let pid = u32::try_from(i32::from_ne_bytes(field(event, 20)?)).unwrap_or(0);
        let mut seen = Self { mask, pid, here: None, before: None, after: None };
        let mut rest = event.get(METADATA..)?;
        while let Some(length) = field::<2>(rest, 2).map(u16::from_ne_bytes) {
            let (record, after) = rest.split_at_checked(usize::from(length))?;
            match *record.first()? {
                FOLDER_AND_NAME => seen.here = place(record),
                OLD_FOLDER_AND_NAME => seen.before = place(record),
                NEW_FOLDER_AND_NAME => seen.after = place(record),
                _ => {}
            }
            rest = after;
        }
        Some(seen)
    }
}

/// Handle and name of an information record: header (4), file system (8), handle's length and type, handle, name, zero.
fn place(record: &[u8]) -> Option<(Handle, Vec<u8>)> {
    let length = usize::try_from(u32::from_ne_bytes(field(record, 12)?)).ok()?;
    let kind = i32::from_ne_bytes(field(record, 16)?);
    let (handle, name) = record.get(20..)?.split_at_checked(length)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(((kind, handle.to_vec()), name.to_vec()))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Where a folder is now; none where it is gone.
fn path_of(folder: &Folder) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/self/fd/{}", folder.name.as_raw_fd())).ok()?;
    (!path.as_os_str().as_bytes().ends_with(b" (deleted)")).then_some(path)
}

/// Each watched folder holds a descriptor; the usual soft bound of 1,024 is made for programs that use `select`.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the bound on open files stays as it is");
    }
}

/// The folders in a folder, of the same file system.
fn folders_below(path: &Path, device: u64) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.metadata().is_ok_and(|meta| meta.dev() == device)
    });
    folders.map(|entry| entry.path()).collect()
}

/// A device's number as the kernel packs it.
fn kernel_device(device: u64) -> u64 {
    u64::from(rustix::fs::major(device)) << 20 | u64::from(rustix::fs::minor(device))
}

/// Inode, device and handle of a line like `fanotify ino:4f sdev:80 ... fhandle-type:1 f_handle:69f9`.
fn marked(line: &str) -> Option<(u64, u64, Handle)> {
    let line = line.strip_prefix("fanotify ino:")?;
    let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let inode = number(line.split(' ').next()?)?;
    let kind = i32::from_str_radix(value("fhandle-type")?, 16).ok()?;
    let digits = value("f_handle")?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at.checked_add(2)?)?, 16).ok();
    let handle: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    Some((inode, number(value("sdev")?)?, (kind, handle?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read() {
        let line = "fanotify ino:4f969 sdev:fd00000 mflags:0 mask:3b ignored_mask:0 fhandle-bytes:4 fhandle-type:1 f_handle:69f90400";
        assert_eq!(marked(line), Some((0x4f969, 0xfd0_0000, (1, vec![0x69, 0xf9, 4, 0]))));
        assert_eq!(marked("fanotify flags:0 event-flags:0"), None);
    }
}
