//! Loads the eBPF programs, attaches them to raw tracepoints and reads their ring.

use super::{BootClock, Mode, Outlet, Source, SourceFault, decode};
use crate::identity::ProcessKey;
use crate::observation::Observation;
use crate::proc;
use libbpf_rs::{MapCore as _, MapFlags, ObjectBuilder, RingBufferBuilder};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/posse.bpf.o"));
/// How long one wait for events is: how soon a stop is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// How often lost events are read from the kernel and the clocks are compared again.
const UPKEEP: Duration = Duration::from_millis(500);
/// Kinds of messages, and so counters of lost ones.
const KINDS: u32 = 6;

/// Telemetry by eBPF: exec, fork, exit, TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ebpf;

impl Source for Ebpf {
    fn mode(&self) -> Mode {
        Mode::Ebpf
    }

    fn run(self: Box<Self>, outlet: &Outlet) -> Result<(), SourceFault> {
        let fault = |step, error: &libbpf_rs::Error| {
            let hint = "it takes root (or CAP_BPF and CAP_PERFMON), Linux 5.8 or later and /sys/kernel/btf/vmlinux";
            SourceFault::new(step, format!("{error:#}"), hint)
        };
        // The library prints to standard error by default; its words come back in the error.
        libbpf_rs::set_print(None);
        let open = ObjectBuilder::default().open_memory(OBJECT).map_err(|error| fault("opening of eBPF", &error))?;
        let object = open.load().map_err(|error| fault("loading of eBPF", &error))?;
        let missing = |name: &'static str| SourceFault::new("reading of the eBPF object", name, "build it again");
        let map = |name: &'static str| object.maps().find(|map| map.name() == name).ok_or_else(|| missing(name));
        let (ring, lost, listening) = (map("ring")?, map("lost")?, map("listening")?);
        for (key, value) in listeners() {
            // A listener that is not entered costs the name of who accepts, not the event.
            drop(listening.update(&key, &value, MapFlags::NO_EXIST));
        }
        let boot = Cell::new(BootClock::now(outlet.clock()));
        let read: RefCell<Vec<Observation>> = RefCell::default();
        let mut builder = RingBufferBuilder::new();
        let take = |message: &[u8]| {
            read.borrow_mut().extend(decode::observation(message, boot.get()));
            0
        };
        builder.add(&ring, take).map_err(|error| fault("opening of the ring", &error))?;
        let events = builder.build().map_err(|error| fault("opening of the ring", &error))?;
        let mut links = Vec::new();
        for program in object.progs_mut() {
            links.push(program.attach().map_err(|error| fault("attaching of eBPF", &error))?);
        }
        outlet.ready();
        let mut counted = 0;
        let mut upkeep = Instant::now();
        while !outlet.stopped() {
            // An interrupted wait is a short wait.
            drop(events.poll(WAIT));
            read.take().into_iter().for_each(|observation| outlet.send(observation));
            if upkeep.elapsed() >= UPKEEP {
                upkeep = Instant::now();
                boot.set(BootClock::now(outlet.clock()));
                let total = lost_total(&lost);
                outlet.lost(total.saturating_sub(counted));
                counted = total;
            }
        }
        drop(links);
        drop(events.consume());
        read.take().into_iter().for_each(|observation| outlet.send(observation));
        outlet.lost(lost_total(&lost).saturating_sub(counted));
        Ok(())
    }
}

fn lost_total(map: &dyn libbpf_rs::MapCore) -> u64 {
    let of_kind = |kind: u32| {
        let counts = map.lookup_percpu(&kind.to_ne_bytes(), MapFlags::ANY).ok().flatten().unwrap_or_default();
        let numbers = counts.iter().filter_map(|bytes| bytes.first_chunk().copied().map(u64::from_ne_bytes));
        numbers.fold(0, u64::saturating_add)
    };
    (0..KINDS).map(of_kind).fold(0, u64::saturating_add)
}

/// Who listens already, in the words of the map `listening`: namespace and port; process, user and start.
fn listeners() -> Vec<([u8; 8], [u8; 16])> {
    let mut found = Vec::new();
    for socket in proc::listening_sockets() {
        let Some(ProcessKey { pid, start_ticks }) = socket.owner else { continue };
        let mut key = [0; 8];
        let mut value = [0; 16];
        let parts = [socket.netns.to_ne_bytes(), u32::from(socket.port).to_ne_bytes()];
        key.iter_mut().zip(parts.iter().flatten()).for_each(|(to, from)| *to = *from);
        let start_ns = start_ticks.saturating_mul(10_000_000).to_ne_bytes();
        let head = [pid.to_ne_bytes(), socket.uid.to_ne_bytes()];
        let bytes = head.iter().flatten().chain(&start_ns);
        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        found.push((key, value));
    }
    found
}
