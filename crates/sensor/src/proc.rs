//! What `/proc` says about processes and sockets, read as text. Everything may be gone between two reads: an answer is
//! there whole or not at all, and never of another process under the same number.

use crate::identity::ProcessKey;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The id of this boot.
///
/// # Errors
/// Where `/proc` is not mounted.
pub fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The line `/proc/PID/stat`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Stat {
    pub(crate) key: ProcessKey,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent_pid: u32,
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    // A name may hold blanks and parentheses; what follows its last parenthesis may not.
    let (head, tail) = line.rsplit_once(") ")?;
    let (pid, name) = head.split_once(" (")?;
    let fields: Vec<&str> = tail.split(' ').collect();
    let key = ProcessKey { pid: pid.parse().ok()?, start_ticks: fields.get(19)?.parse().ok()? };
    let state = fields.first()?.chars().next()?;
    Some(Stat { key, name: name.to_owned(), state, parent_pid: fields.get(1)?.parse().ok()? })
}

/// Every process.
pub(crate) fn processes() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).collect()
}

/// What is known of a living process.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) stat: Stat,
    pub(crate) uid: u32,
    pub(crate) euid: u32,
    pub(crate) image: Option<PathBuf>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) arguments: Vec<String>,
    pub(crate) cgroups: String,
}

/// Everything about a process, if it is the same at the end of reading as at its beginning.
pub(crate) fn details(pid: u32) -> Option<Details> {
    let stat = stat(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let mut uids = uids.split_whitespace().map(|uid| uid.parse::<u32>());
    let (uid, euid) = (uids.next()?.ok()?, uids.next()?.ok()?);
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let details = Details {
        uid,
        euid,
        image: fs::read_link(format!("/proc/{pid}/exe")).ok(),
        folder: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
        arguments: if arguments.is_empty() { Vec::new() } else { crate::source::texts(&arguments) },
        cgroups: fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default(),
        stat,
    };
    (self::stat(pid)?.key == details.stat.key).then_some(details)
}

/// The id of the container that a `/proc/PID/cgroup` names: 64 hexadecimal digits in a folder's name, as containerd,
/// CRI-O, Docker and Podman write it.
pub(crate) fn container(cgroups: &str) -> Option<String> {
    let folders = cgroups.lines().flat_map(|line| line.rsplit('/'));
    let mut words = folders.flat_map(|folder| folder.split(['-', '.', ':', '_']));
    let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    words.find(is_id).map(str::to_ascii_lowercase)
}

/// A socket as `/proc/net` lists it.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) protocol: &'static str,
    pub(crate) local: (IpAddr, u16),
    pub(crate) remote: (IpAddr, u16),
    pub(crate) state: u8,
    pub(crate) uid: u32,
    pub(crate) inode: u64,
}

/// TCP's state of a socket that listens.
const LISTENING: u8 = 10;

/// The sockets of this network namespace.
pub(crate) fn sockets() -> Vec<Socket> {
    let mut found = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let text = fs::read_to_string(format!("/proc/net/{protocol}")).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(|line| parse_socket(protocol, line)));
    }
    found
}

fn parse_socket(protocol: &'static str, line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(Socket {
        protocol,
        local: endpoint(fields.get(1)?)?,
        remote: endpoint(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// `0100007F:1F90`: an address as 32-bit words in the machine's order, and a port.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start.checked_add(8)?)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some((address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Which process holds a socket, by the socket's inode. Looks at every descriptor of every process.
pub(crate) fn socket_owners() -> HashMap<u64, ProcessKey> {
    let mut owners = HashMap::new();
    for stat in processes() {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", stat.key.pid)) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.entry(inode).or_insert(stat.key);
            }
        }
    }
    owners
}

/// A TCP socket that listens, and whose it is.
pub(crate) struct Listener {
    pub(crate) netns: u32,
    pub(crate) port: u16,
    pub(crate) uid: u32,
    pub(crate) owner: Option<ProcessKey>,
}

/// Who listens in this network namespace.
pub(crate) fn listening_sockets() -> Vec<Listener> {
    let netns = fs::read_link("/proc/self/ns/net").ok();
    let netns = netns.as_deref().and_then(|link| link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
    let Some(netns) = netns else { return Vec::new() };
    let owners = socket_owners();
    let listening = sockets().into_iter().filter(|one| one.protocol.starts_with("tcp") && one.state == LISTENING);
    listening
        .map(|one| Listener { netns, port: one.local.1, uid: one.uid, owner: owners.get(&one.inode).copied() })
        .collect()
}

/// The addresses of this host, without loopback: of its local routes (IPv4) and interfaces (IPv6).
pub(crate) fn addresses() -> Vec<IpAddr> {
    let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        if let Some(address) = line.trim_start().strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last.map(IpAddr::V4));
        }
    }
    let six = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let words = six.lines().filter_map(|line| u128::from_str_radix(line.split(' ').next()?, 16).ok());
    found.extend(words.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))));
    found.retain(|address| !address.is_loopback());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_read() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent_pid), ("a) b (c", 'S', 1));
        assert_eq!(stat.key, ProcessKey { pid: 42, start_ticks: 777 });
    }

    #[test]
    fn endpoints_are_read() {
        assert_eq!(endpoint("0100007F:1F90"), Some((IpAddr::from([127, 0, 0, 1]), 8080)));
        let six = endpoint("00000000000000000000000001000000:0016").unwrap();
        assert_eq!(six, ("::1".parse().unwrap(), 22));
        assert_eq!(endpoint("01:2"), None);
    }

    #[test]
    fn containers_are_named_by_their_cgroup() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for line in [
            format!("0::/system.slice/docker-{id}.scope"),
            format!("4:memory:/kubepods/burstable/pod12/{id}\n0::/"),
            format!("0::/machine.slice/libpod-{id}.scope/container"),
        ] {
            assert_eq!(container(&line).as_deref(), Some(id), "{line}");
        }
        assert_eq!(container("0::/user.slice/user-0.slice"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = details(std::process::id()).unwrap();
        assert_eq!(own.image, std::env::current_exe().ok());
        assert!(processes().iter().any(|stat| stat.key == own.stat.key));
    }
}
