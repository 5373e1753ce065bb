//! Power cuts, failed operations and process restarts by seed: nothing acknowledged is lost, nothing is doubled,
//! order is kept. `POSSE_DISK_SEEDS` sets how many seeds (100 here, 1,000 in the long form).

use crate::world::{entry, numbers, options, read_all};
use journal::sim::{Fault, Random, SimDisk};
use journal::{AppendError, Position, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;

fn seeds() -> u64 {
    std::env::var("POSSE_DISK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100)
}

/// One life of the process: open, resend what was not acknowledged, append new, until something fails.
struct Sender {
    next: u64,
    unacknowledged: Vec<u64>,
    acknowledged: BTreeMap<u64, Position>,
}

impl Sender {
    fn live(&mut self, disk: &SimDisk, random: &mut Random) -> Result<(), String> {
        let (mut writer, recovery) = match Writer::open(Arc::new(disk.clone()), options()) {
            Ok(opened) => opened,
            // A fault during recovery: the next life tries again.
            Err(error) => return Err(error.to_string()),
        };
        assert_eq!(recovery.damage, [], "nothing was damaged, only torn");
        for _ in 0..random.below(30) {
            let mut group = std::mem::take(&mut self.unacknowledged);
            for _ in 0..random.below(4) {
                group.push(self.next);
                self.next += 1;
            }
            let entries: Vec<_> = group.iter().map(|number| entry(*number)).collect();
            match writer.commit(&entries) {
                Ok(receipts) => {
                    for (number, receipt) in group.into_iter().zip(receipts) {
                        assert_eq!(self.acknowledged.insert(number, receipt.position), None);
                    }
                }
                Err(error) => {
                    self.unacknowledged = group;
                    assert!(matches!(error, AppendError::Poisoned(_)), "{error}");
                    assert_eq!(writer.commit(&[entry(self.next)]), Err(error), "nothing is taken after a failure");
                    return Err("poisoned".to_owned());
                }
            }
            if random.below(3) == 0 {
                writer.mark().map_err(|error| error.to_string())?;
            }
        }
        if random.below(2) == 0 { writer.close().map_err(|error| error.to_string()) } else { Ok(()) }
    }

    fn check(&self, disk: &SimDisk) {
        let (entries, damage) = read_all(disk);
        assert_eq!(damage, []);
        let found: BTreeMap<u64, Position> = entries.iter().copied().collect();
        assert_eq!(found.len(), entries.len(), "an entry is doubled: {:?}", numbers(&entries));
        for (number, position) in &self.acknowledged {
            assert_eq!(found.get(number), Some(position), "acknowledged entry {number} is lost or moved");
        }
        // Resent entries may follow later ones only where they were not acknowledged in between.
        let positions: Vec<Position> = entries.iter().map(|(_, position)| *position).collect();
        assert!(positions.is_sorted(), "order is not kept");
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed ^ 0x00c0_ffee);
    let disk = SimDisk::new(seed);
    disk.short_writes(seed.is_multiple_of(2));
    let mut sender = Sender { next: 1, unacknowledged: Vec::new(), acknowledged: BTreeMap::new() };
    for _ in 0..4 + random.below(6) {
        let fault = match random.below(4) {
            0 => Fault::Io,
            1 => Fault::NoSpace,
            _ => Fault::Crash,
        };
        disk.fault_at(1 + random.below(60), fault);
        let lived = sender.live(&disk, &mut random);
        // After a failed operation the process may go on with what the system holds in memory, or lose power.
        if lived.is_err() && random.below(2) == 0 { disk.restart() } else { disk.power_cut() }
    }
    // A last quiet life: everything is sent, and must survive a last cut.
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
    let rest: Vec<_> = sender.unacknowledged.drain(..).collect();
    let entries: Vec<_> = rest.iter().map(|number| entry(*number)).collect();
    for (number, receipt) in rest.into_iter().zip(writer.commit(&entries).unwrap()) {
        sender.acknowledged.insert(number, receipt.position);
    }
    drop(writer);
    disk.power_cut();
    drop(Writer::open(Arc::new(disk.clone()), options()).unwrap());
    sender.check(&disk);
    assert_eq!(sender.acknowledged.len(), read_all(&disk).0.len(), "seed {seed}");
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_over_power_cuts() {
    for seed in 0..seeds() {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The system calls pages clean after a failed sync; a reopened journal must not believe it.
#[test]
fn a_failed_sync_is_not_believed_after_a_restart() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let (mut writer, _) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
        writer.commit(&[entry(1)]).unwrap();
        // The next write succeeds, its sync fails.
        disk.fault_at(disk.operations() + 2, Fault::Io);
        assert!(writer.commit(&[entry(2)]).is_err());
        drop(writer);
        disk.restart();
        let (mut writer, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
        assert!(recovery.rewritten_bytes > 0, "seed {seed}");
        let receipts = writer.commit(&[entry(2)]).unwrap();
        assert!(receipts[0].duplicate, "what the system holds was taken over");
        disk.power_cut();
        drop(Writer::open(Arc::new(disk.clone()), options()).unwrap());
        assert_eq!(numbers(&read_all(&disk).0), [1, 2], "seed {seed}");
    }
}

#[test]
fn every_operation_may_fail_once() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Crash] {
        for number in 1..=200 {
            let disk = SimDisk::new(number);
            disk.fault_at(number, fault);
            let mut acknowledged = Vec::new();
            if let Ok((mut writer, _)) = Writer::open(Arc::new(disk.clone()), options()) {
                for value in 1..90 {
                    if writer.commit(&[entry(value)]).is_err() {
                        break;
                    }
                    acknowledged.push(value);
                }
            }
            disk.power_cut();
            let (mut writer, recovery) = Writer::open(Arc::new(disk.clone()), options()).unwrap();
            assert_eq!(recovery.damage, []);
            writer.commit(&[entry(1000)]).unwrap();
            let found = numbers(&read_all(&disk).0);
            let (last, before) = found.split_last().unwrap();
            assert_eq!(*last, 1000);
            assert!(before.starts_with(&acknowledged), "{fault:?} at {number}: {acknowledged:?} but {found:?}");
            assert!(before.is_sorted() && before.len() <= acknowledged.len() + 1);
        }
    }
}

#[test]
fn a_reserve_refuses_cleanly_and_recovers_when_space_returns() {
    let disk = SimDisk::new(1);
    let reserve = journal::Options { reserve_bytes: 4096, ..options() };
    let (mut writer, _) = Writer::open(Arc::new(disk.clone()), reserve).unwrap();
    disk.capacity_bytes(8192);
    let mut taken = 0;
    let refused = loop {
        match writer.commit(&[entry(taken + 1)]) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::NoSpace { reserve_bytes: 4096, .. }), "{refused}");
    assert!(taken > 0);
    disk.capacity_bytes(1 << 20);
    writer.commit(&[entry(taken + 1)]).unwrap();
    assert_eq!(numbers(&read_all(&disk).0), (1..=taken + 1).collect::<Vec<_>>());
}

#[test]
fn a_file_written_whole_is_old_or_new_and_new_once_told() {
    for seed in 0..40 {
        for number in 1..=8 {
            let disk = SimDisk::new(seed);
            disk.short_writes(true);
            journal::write_whole(&disk, "key", &[b'a'; 700]).unwrap();
            disk.fault_at(disk.operations() + number, if seed % 3 == 0 { Fault::Io } else { Fault::Crash });
            let told = journal::write_whole(&disk, "key", &[b'b'; 900]).is_ok();
            disk.power_cut();
            let found = disk.content("key").unwrap();
            assert!(found == [b'b'; 900] || (!told && found == [b'a'; 700]), "seed {seed}, fault at {number}");
            journal::write_whole(&disk, "key", b"c").unwrap();
        }
    }
}
