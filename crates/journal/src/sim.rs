//! A disk that behaves as badly as real ones may: at a power cut it forgets unsynced bytes, all, some or torn at
//! sectors; names that were not synced come or go; after a failed sync its pages look clean and are not on disk;
//! writes are short; a chosen operation fails. Everything follows from a seed. For tests, here and downstream.

use crate::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR_BYTES: usize = 512;

/// What befalls an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The power is cut before it; nothing works until [`SimDisk::power_cut`].
    Crash,
    /// It fails with an I/O error; a write may have happened in part, a sync too.
    Io,
    /// It fails for lack of space; a write may have happened in part.
    NoSpace,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    random: Random,
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    next_node: u64,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    dead: bool,
    /// Handles from before a restart are stale.
    epoch: u64,
    locked: bool,
    short_writes: bool,
    capacity_bytes: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, u64),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct Node {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

/// A small seeded generator (splitmix64), public so that tests draw from the same kind of seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    fn below_usize(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }
}

fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(target) = content.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

impl Node {
    fn apply_some(&mut self, random: &mut Random) {
        // Nothing, everything, or each sector by a coin: the extremes find other bugs than the middle.
        let mode = random.below(4);
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Resize(bytes) => {
                    if mode == 1 || (mode > 1 && random.coin()) {
                        self.durable.resize(bytes, 0);
                    }
                }
                Change::Write(offset, bytes) => {
                    let mut at = offset;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let (sector, more) = rest.split_at((SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len()));
                        if mode == 1 || (mode > 1 && random.coin()) {
                            overwrite(&mut self.durable, at, sector);
                        }
                        at = at.saturating_add(sector.len());
                        rest = more;
                    }
                }
            }
        }
    }

    fn apply_all(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Resize(bytes) => self.durable.resize(bytes, 0),
                Change::Write(offset, bytes) => overwrite(&mut self.durable, offset, &bytes),
            }
        }
    }
}

impl World {
    /// Count an operation that changes something; the fault that it meets.
    fn operate(&mut self) -> io::Result<Option<Fault>> {
        self.alive()?;
        self.operations += 1;
        match self.faults.get(&self.operations).copied() {
            Some(Fault::Crash) => {
                self.dead = true;
                Err(io::Error::other("the power is cut"))
            }
            other => Ok(other),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is cut")) } else { Ok(()) }
    }

    fn used_bytes(&self) -> u64 {
        let used: usize = self.names.values().filter_map(|node| self.nodes.get(node)).map(|node| node.seen.len()).sum();
        u64::try_from(used).unwrap_or(u64::MAX)
    }

    fn set_name(&mut self, name: &str, node: u64) {
        self.names.insert(name.to_owned(), node);
        self.pending_names.push(NameChange::Set(name.to_owned(), node));
    }

    fn remove_name(&mut self, name: &str) -> io::Result<u64> {
        let node = self.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.pending_names.push(NameChange::Remove(name.to_owned()));
        Ok(node)
    }

    fn sync_names(&mut self, mut keep: impl FnMut() -> bool) {
        for change in std::mem::take(&mut self.pending_names) {
            if keep() {
                match change {
                    NameChange::Set(name, node) => drop(self.durable_names.insert(name, node)),
                    NameChange::Remove(name) => drop(self.durable_names.remove(&name)),
                }
            }
        }
    }

    fn restart(&mut self) {
        self.dead = false;
        self.epoch += 1;
        self.locked = false;
        self.faults.clear();
        self.operations = 0;
    }
}

fn fault_error(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
        Fault::Io | Fault::Crash => io::Error::other("input/output error"),
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            random: Random::new(seed),
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            next_node: 1,
            operations: 0,
            faults: BTreeMap::new(),
            dead: false,
            epoch: 0,
            locked: false,
            short_writes: false,
            capacity_bytes: u64::MAX,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Let the `number`-th operation that changes something meet a fault; they count from 1 and anew after each
    /// restart or power cut. Creating, writing, resizing, renaming, removing and syncing count.
    pub fn fault_at(&self, number: u64, fault: Fault) {
        self.world().faults.insert(number, fault);
    }

    /// Operations since the last restart.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Whether writes may be short.
    pub fn short_writes(&self, on: bool) {
        self.world().short_writes = on;
    }

    /// How much fits.
    pub fn capacity_bytes(&self, bytes: u64) {
        self.world().capacity_bytes = bytes;
    }

    /// The process is gone and comes back; what the system holds in memory stays. Open handles are stale.
    pub fn restart(&self) {
        self.world().restart();
    }

    /// The power goes and comes back: of what was not synced, chance decides.
    pub fn power_cut(&self) {
        let mut world = self.world();
        let mut random = world.random.clone();
        world.sync_names(|| random.coin());
        for node in world.nodes.values_mut() {
            node.apply_some(&mut random);
            node.seen = node.durable.clone();
        }
        world.random = random;
        world.names = world.durable_names.clone();
        world.restart();
    }

    /// Flip one bit of a file, counted from its start, on disk and in memory. Whether there was such a bit.
    pub fn flip(&self, name: &str, bit: u64) -> bool {
        let mut world = self.world();
        let Some(node) = world.names.get(name).copied().and_then(|node| world.nodes.get_mut(&node)) else {
            return false;
        };
        let (Ok(byte), mask) = (usize::try_from(bit / 8), 1_u8 << (bit % 8)) else { return false };
        let mut flipped = false;
        for content in [&mut node.seen, &mut node.durable] {
            if let Some(byte) = content.get_mut(byte) {
                *byte ^= mask;
                flipped = true;
            }
        }
        flipped
    }

    /// What a reader of the file would see.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).and_then(|node| world.nodes.get(node)).map(|node| node.seen.clone())
    }
}

struct SimFile {
    disk: SimDisk,
    node: u64,
    epoch: u64,
}

impl SimFile {
    /// The world, where this handle is still good.
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.world();
        world.alive()?;
        if world.epoch == self.epoch { Ok(world) } else { Err(io::Error::other("a handle from before the restart")) }
    }
}

fn node_of(world: &mut World, node: u64) -> io::Result<&mut Node> {
    world.nodes.get_mut(&node).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.world();
        world.alive()?;
        Ok(world.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let world = self.world();
        world.alive()?;
        let node = *world.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), node, epoch: world.epoch }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        if let Some(fault) = world.operate()? {
            return Err(fault_error(fault));
        }
        if world.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = world.next_node;
        world.next_node += 1;
        world.nodes.insert(node, Node::default());
        world.set_name(name, node);
        Ok(Box::new(SimFile { disk: self.clone(), node, epoch: world.epoch }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        if let Some(fault) = world.operate()? {
            return Err(fault_error(fault));
        }
        world.remove_name(name).map(drop)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        if let Some(fault) = world.operate()? {
            return Err(fault_error(fault));
        }
        let node = world.remove_name(from)?;
        world.set_name(to, node);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut world = self.world();
        if let Some(fault) = world.operate()? {
            return Err(fault_error(fault));
        }
        world.sync_names(|| true);
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut world = self.world();
        if std::mem::replace(&mut world.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), epoch: world.epoch }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let world = self.world();
        world.alive()?;
        Ok(world.capacity_bytes.saturating_sub(world.used_bytes()))
    }
}

struct SimLock {
    disk: SimDisk,
    epoch: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.epoch == self.epoch {
            world.locked = false;
        }
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let mut world = self.world()?;
        Ok(u64::try_from(node_of(&mut world, self.node)?.seen.len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        let node = node_of(&mut world, self.node)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| node.seen.get(offset..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        for (target, source) in buffer.iter_mut().zip(rest) {
            *target = *source;
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let room = world.capacity_bytes.saturating_sub(world.used_bytes());
        let mut fault = world.operate()?;
        let held = node_of(&mut world, self.node)?.seen.len();
        let grows = offset.saturating_add(bytes.len()).saturating_sub(held);
        if u64::try_from(grows).unwrap_or(u64::MAX) > room {
            fault = fault.or(Some(Fault::NoSpace));
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let taken = match fault {
            // What was written before the failure had room.
            Some(_) => world
                .random
                .below_usize(bytes.len())
                .min(bytes.len().saturating_sub(grows).saturating_add(grows.min(room))),
            None if world.short_writes && !bytes.is_empty() && world.random.coin() => {
                world.random.below_usize(bytes.len()) + 1
            }
            None => bytes.len(),
        };
        let written = bytes.get(..taken).unwrap_or_default();
        let node = node_of(&mut world, self.node)?;
        overwrite(&mut node.seen, offset, written);
        node.pending.push(Change::Write(offset, written.to_vec()));
        fault.map_or(Ok(taken), |fault| Err(fault_error(fault)))
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.world()?;
        if let Some(fault) = world.operate()? {
            return Err(fault_error(fault));
        }
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let node = node_of(&mut world, self.node)?;
        node.seen.resize(bytes, 0);
        node.pending.push(Change::Resize(bytes));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world()?;
        let fault = world.operate()?;
        let mut random = world.random.clone();
        let node = node_of(&mut world, self.node)?;
        match fault {
            None => node.apply_all(),
            // The pages are clean from now on, whether they reached the disk or not.
            Some(_) => node.apply_some(&mut random),
        }
        world.random = random;
        fault.map_or(Ok(()), |fault| Err(fault_error(fault)))
    }
}
