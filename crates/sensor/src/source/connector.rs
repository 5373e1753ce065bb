//! Processes by the kernel's process connector (`CONFIG_PROC_EVENTS`), where eBPF does not work. A message holds numbers
//! only; all else is read from `/proc` at once, and missing for processes that were faster. What the socket had no room
//! for is counted by the gaps in the message numbers of each processor.

use super::{Mode, Outlet, Source, SourceFault};
use crate::identity::ProcessKey;
use crate::observation::{Exec, Exit, Fork, Observation};
use crate::proc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{CONNECTOR, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};
use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// Index and value of the process connector (`linux/connector.h`).
const PROCESS: u32 = 1;
/// "Begin to tell."
const LISTEN: u32 = 1;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const EXIT: u32 = 0x8000_0000;
/// Bytes that the socket keeps while we read `/proc`.
const BUFFER_BYTES: usize = 16 << 20;
/// Bytes of a netlink header and a connector header before an event.
const HEADERS: usize = 36;

/// Telemetry of processes without eBPF.
#[derive(Debug, Default)]
pub struct ProcConnector {
    /// Numbers in use and their starts, so that a process that is gone can still be named.
    known: HashMap<u32, ProcessKey>,
    /// The number of the next message of each processor.
    expected: HashMap<u32, u32>,
}

impl Source for ProcConnector {
    fn mode(&self) -> Mode {
        Mode::ProcConnector
    }

    fn run(mut self: Box<Self>, outlet: &Outlet) -> Result<(), SourceFault> {
        let socket = open()?;
        self.known = proc::processes().into_iter().map(|stat| (stat.key.pid, stat.key)).collect();
        outlet.ready();
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let mut buffer = vec![0; 8192];
        while !outlet.stopped() {
            let ready = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&wait));
            if !matches!(ready, Ok(1)) {
                continue;
            }
            // An error here is the kernel's word that it dropped messages; the gap in their numbers says how many.
            if let Ok((bytes, _)) = recv(&socket, &mut *buffer, RecvFlags::DONTWAIT) {
                let message = buffer.get(..bytes).unwrap_or_default();
                let seen = self.read(message, outlet);
                seen.into_iter().for_each(|observation| outlet.send(observation));
            }
        }
        Ok(())
    }
}

fn open() -> Result<OwnedFd, SourceFault> {
    let fault = |error: rustix::io::Errno| {
        let hint = "it takes root, the host's network namespace and a kernel with CONFIG_PROC_EVENTS";
        SourceFault::new("listening to the process connector", error, hint)
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(CONNECTOR)).map_err(fault)?;
    // More than the system's usual bound needs CAP_NET_ADMIN; less room only means that loss comes earlier.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES);
    bind(&socket, &SocketAddrNetlink::new(0, PROCESS)).map_err(fault)?;
    let mut request = Vec::with_capacity(40);
    // Netlink: length, type "done", no flags, number, port.
    request.extend_from_slice(&40_u32.to_ne_bytes());
    request.extend_from_slice(&3_u16.to_ne_bytes());
    request.extend_from_slice(&[0; 10]);
    // Connector: index, value, number, acknowledgement, length, flags.
    for number in [PROCESS, PROCESS, 0, 0] {
        request.extend_from_slice(&number.to_ne_bytes());
    }
    request.extend_from_slice(&4_u16.to_ne_bytes());
    request.extend_from_slice(&[0; 2]);
    request.extend_from_slice(&LISTEN.to_ne_bytes());
    send(&socket, &request, SendFlags::empty()).map_err(fault)?;
    Ok(socket)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl ProcConnector {
    fn read(&mut self, message: &[u8], outlet: &Outlet) -> Option<Observation> {
        let sequence = number(message, 24)?;
        let event = message.get(HEADERS..)?;
        let (what, processor) = (number(event, 0)?, number(event, 4)?);
        if what == 0 {
            // The answer to our own request has no number.
            return None;
        }
        if let Some(expected) = self.expected.insert(processor, sequence.wrapping_add(1)) {
            outlet.lost(u64::from(sequence.wrapping_sub(expected)));
        }
        let at = outlet.clock().now();
        let boot_ns = u64::from_ne_bytes(*event.get(8..)?.first_chunk()?);
        // Process and thread of the event; of a fork, the maker's.
        let (thread, pid) = (number(event, 16)?, number(event, 20)?);
        match what {
            FORK => {
                let (child_thread, child) = (number(event, 24)?, number(event, 28)?);
                if child_thread != child {
                    return None;
                }
                let parent = self.key(pid, boot_ns);
                self.known.remove(&child);
                let key = self.key(child, boot_ns);
                Some(Observation::Fork(Fork { at, key, parent }))
            }
            EXEC => {
                let key = self.key(pid, boot_ns);
                Some(Observation::Exec(Box::new(exec(at, key))))
            }
            EXIT if thread == pid => {
                let key = self.key(pid, boot_ns);
                self.known.remove(&pid);
                Some(Observation::Exit(Exit { at, key, status: number(event, 24)? }))
            }
            _ => None,
        }
    }

    /// The key of a number: known, or as `/proc` has it, or by the time of the event where it is gone already.
    fn key(&mut self, pid: u32, boot_ns: u64) -> ProcessKey {
        let read = || proc::stat(pid).map_or_else(|| ProcessKey::from_start_ns(pid, boot_ns), |stat| stat.key);
        *self.known.entry(pid).or_insert_with(read)
    }
}

fn exec(at: ids::Timestamp, key: ProcessKey) -> Exec {
    let details = proc::details(key.pid).filter(|details| details.stat.key == key);
    let parent = details.as_ref().and_then(|details| proc::stat(details.stat.parent_pid)).map(|stat| stat.key);
    Exec {
        at,
        key,
        parent,
        uid: details.as_ref().map_or(u32::MAX, |details| details.uid),
        euid: details.as_ref().map_or(u32::MAX, |details| details.euid),
        image: details.as_ref().and_then(|details| details.image.clone()),
        file: None,
        folder: details.as_ref().and_then(|details| details.folder.clone()),
        arguments: details.map(|details| details.arguments).filter(|arguments| !arguments.is_empty()),
        truncated: false,
        cgroup: None,
    }
}
