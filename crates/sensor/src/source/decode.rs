//! The messages of the eBPF programs, byte by byte (the layouts of `bpf/posse.bpf.c`, pinned by a test). Never trusts a
//! length.

use super::BootClock;
use crate::identity::ProcessKey;
use crate::observation::{Connection, Exec, Exit, FileId, Fork, Observation};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

const FAMILY_IPV6: u32 = 10;

/// Reads a message from its start.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_ne_bytes)
    }

    fn counted(&mut self, count: u32) -> Option<&'a [u8]> {
        self.take(usize::try_from(count).ok()?)
    }
}

struct Head {
    kind: u32,
    pid: u32,
    start_ns: u64,
    at_ns: u64,
    uid: u32,
    euid: u32,
}

impl Head {
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            kind: cursor.u32()?,
            pid: cursor.u32()?,
            start_ns: cursor.u64()?,
            at_ns: cursor.u64()?,
            uid: cursor.u32()?,
            euid: cursor.u32()?,
        })
    }

    const fn key(&self) -> ProcessKey {
        ProcessKey::from_start_ns(self.pid, self.start_ns)
    }
}

/// The observation of a message; none where it is not one of ours.
pub(super) fn observation(message: &[u8], boot: BootClock) -> Option<Observation> {
    let mut cursor = Cursor(message);
    let head = Head::read(&mut cursor)?;
    match head.kind {
        1 => exec(&head, &mut cursor, boot).map(|exec| Observation::Exec(Box::new(exec))),
        2 => {
            let start_ns = cursor.u64()?;
            let parent = ProcessKey::from_start_ns(cursor.u32()?, start_ns);
            Some(Observation::Fork(Fork { at: boot.at(head.at_ns), key: head.key(), parent }))
        }
        3 => Some(Observation::Exit(Exit { at: boot.at(head.at_ns), key: head.key(), status: cursor.u32()? })),
        4 | 5 => connection(&head, &mut cursor, boot).map(Observation::Connection),
        _ => None,
    }
}

fn exec(head: &Head, cursor: &mut Cursor<'_>, boot: BootClock) -> Option<Exec> {
    let parent_start_ns = cursor.u64()?;
    let parent_pid = cursor.u32()?;
    let device = cursor.u32()?;
    let inode = cursor.u64()?;
    let size = cursor.u64()?;
    let modified_secs = cursor.i64()?;
    let cgroup = cursor.u64()?;
    let modified_nanos = cursor.u32()?;
    let arguments_total = cursor.u32()?;
    let image_bytes = cursor.u32()?;
    let folder_bytes = cursor.u32()?;
    let arguments_bytes = cursor.u32()?;
    cursor.u32()?;
    let image = path(cursor.counted(image_bytes)?);
    let folder = path(cursor.counted(folder_bytes)?);
    let arguments = cursor.counted(arguments_bytes)?;
    Some(Exec {
        at: boot.at(head.at_ns),
        key: head.key(),
        parent: (parent_pid != 0).then(|| ProcessKey::from_start_ns(parent_pid, parent_start_ns)),
        uid: head.uid,
        euid: head.euid,
        image: (image_bytes > 0).then_some(image),
        file: Some(FileId { device, inode, size, modified_secs, modified_nanos }),
        folder: Some(folder),
        arguments: (!arguments.is_empty()).then(|| texts(arguments)),
        truncated: arguments_total > arguments_bytes,
        cgroup: Some(cgroup),
    })
}

fn connection(head: &Head, cursor: &mut Cursor<'_>, boot: BootClock) -> Option<Connection> {
    let family = cursor.u32()?;
    let established = cursor.u32()? != 0;
    cursor.u32()?;
    let local_port = cursor.u16()?;
    // The kernel keeps the other's port as the wire has it.
    let remote_port = u16::from_be(cursor.u16()?);
    let local = address(family, cursor.array()?);
    let remote = address(family, cursor.array()?);
    let known = head.pid != 0;
    Some(Connection {
        at: boot.at(head.at_ns),
        key: known.then(|| head.key()),
        uid: known.then_some(head.uid),
        outgoing: head.kind == 4,
        established,
        local: (local, local_port),
        remote: (remote, remote_port),
    })
}

fn address(family: u32, bytes: [u8; 16]) -> IpAddr {
    if family == FAMILY_IPV6 {
        // An IPv4 connection on an IPv6 socket is an IPv4 connection.
        IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
    } else {
        let [a, b, c, d, ..] = bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}

/// Components from the leaf up, each ended by a zero, as a path.
fn path(components: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(components.len() + 1);
    for component in components.split(|byte| *byte == 0).rev().filter(|component| !component.is_empty()) {
        bytes.push(b'/');
        bytes.extend_from_slice(component);
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Arguments, each ended by a zero.
pub(crate) fn texts(arguments: &[u8]) -> Vec<String> {
    let arguments = arguments.strip_suffix(&[0]).unwrap_or(arguments);
    arguments.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_turned_round() {
        assert_eq!(path(b"ls\0bin\0usr\0"), PathBuf::from("/usr/bin/ls"));
        assert_eq!(path(b""), PathBuf::from("/"));
        assert_eq!(texts(b"ls\0-l\0\0"), ["ls", "-l", ""]);
    }

    #[test]
    fn a_torn_message_is_none() {
        let boot = BootClock { boot_micros: 0 };
        let mut message = Vec::new();
        for number in [3_u32, 7] {
            message.extend_from_slice(&number.to_ne_bytes());
        }
        message.extend_from_slice(&20_000_000_u64.to_ne_bytes());
        message.extend_from_slice(&5_000_u64.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&256_u32.to_ne_bytes());
        let expected =
            Exit { at: ids::Timestamp::from_micros(5), key: ProcessKey { pid: 7, start_ticks: 2 }, status: 256 };
        assert_eq!(observation(&message, boot), Some(Observation::Exit(expected)));
        for length in 0..message.len() {
            assert_eq!(observation(&message[..length], boot), None, "{length}");
        }
    }
}
