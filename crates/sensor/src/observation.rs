//! What a source of telemetry saw, before anything is looked up: the one form in which eBPF, the proc connector,
//! fanotify and tests hand events over. Holds no state.

use crate::identity::ProcessKey;
use ids::Timestamp;
use std::net::IpAddr;
use std::path::PathBuf;

/// One thing that was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Observation {
    /// A TCP connection was made, failed, or was accepted.
    Connection(Connection),
    /// A process runs another program.
    Exec(Box<Exec>),
    /// A process ended.
    Exit(Exit),
    /// A watched file changed.
    File(FileChange),
    /// A process was made.
    Fork(Fork),
}

/// A process runs another program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exec {
    /// When.
    pub at: Timestamp,
    /// Which process.
    pub key: ProcessKey,
    /// Who made it.
    pub parent: Option<ProcessKey>,
    /// The user it runs for.
    pub uid: u32,
    /// The user whose rights it has.
    pub euid: u32,
    /// The program's file, where the source knows it.
    pub image: Option<PathBuf>,
    /// Which file that is.
    pub file: Option<FileId>,
    /// The folder it works in.
    pub folder: Option<PathBuf>,
    /// Its arguments, none where they could not be read in the kernel.
    pub arguments: Option<Vec<String>>,
    /// Whether the arguments were cut.
    pub truncated: bool,
    /// The number of its cgroup (version 2).
    pub cgroup: Option<u64>,
}

/// A process was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fork {
    /// When.
    pub at: Timestamp,
    /// The new one.
    pub key: ProcessKey,
    /// Its maker.
    pub parent: ProcessKey,
}

/// A process ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exit {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub key: ProcessKey,
    /// As `wait` reports it: the code times 256, or the signal.
    pub status: u32,
}

/// A TCP connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connection {
    /// When.
    pub at: Timestamp,
    /// Whose it is; none where the kernel could not say.
    pub key: Option<ProcessKey>,
    /// The user, where the owner is known.
    pub uid: Option<u32>,
    /// Whether this host asked for it.
    pub outgoing: bool,
    /// Whether it came about.
    pub established: bool,
    /// This host's address and port.
    pub local: (IpAddr, u16),
    /// The other's.
    pub remote: (IpAddr, u16),
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileAction {
    /// It is new.
    Created,
    /// It is gone.
    Deleted,
    /// It has another name or folder.
    Renamed,
    /// It was open for writing and has been closed.
    Written,
}

/// A watched file changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileChange {
    /// When it was read from the kernel.
    pub at: Timestamp,
    /// Which process did it (only its number is known).
    pub pid: u32,
    /// What.
    pub action: FileAction,
    /// Its path, after the change.
    pub path: PathBuf,
    /// Before a rename.
    pub before: Option<PathBuf>,
    /// Whether it is a folder.
    pub folder: bool,
}

/// Which file, and which state of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct FileId {
    /// Number of the file system's device, as the kernel packs it (major in the upper 12 bits).
    pub device: u32,
    /// Number of the file there.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content changed: seconds since 1970.
    pub modified_secs: i64,
    /// And nanoseconds.
    pub modified_nanos: u32,
}
