//! Appends from several threads and prints a line for each acknowledgement, so that a test can kill it at any
//! moment and hold it to its word. `acknowledge FOLDER append FIRST` prints `ack NUMBER SEGMENT POSITION NEXT`;
//! `acknowledge FOLDER list` prints `entry NUMBER SEGMENT POSITION` for all that is there, and `damaged ...`.

use journal::{BatchId, Entry, Item, Journal, Options, Position, Reader};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: u64 = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match arguments.as_slice() {
        [folder, "append", first] => append(Path::new(folder), first.parse().unwrap_or(1), u64::MAX),
        [folder, "append", first, count] => {
            append(Path::new(folder), first.parse().unwrap_or(1), count.parse().unwrap_or(1))
        }
        [folder, "list"] => list(Path::new(folder)),
        _ => {
            eprintln!("usage: acknowledge FOLDER append FIRST [COUNT] | acknowledge FOLDER list");
            2
        }
    };
    std::process::exit(code);
}

/// The number, and some bytes that follow from it.
fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend((0..number % 3000).map(|at| (at.wrapping_mul(31) ^ number).to_le_bytes()[0]));
    payload
}

fn append(folder: &Path, first: u64, count: u64) -> i32 {
    let options = Options { segment_bytes: 256 << 10, reserve_bytes: 0, salt: 0x5a17, ..Options::default() };
    let (journal, recovery) = match Journal::open(folder, options) {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("open: {error}");
            return 1;
        }
    };
    eprintln!("{recovery:?}");
    let number = Arc::new(AtomicU64::new(first));
    let end = first.saturating_add(count);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (journal, number) = (journal.clone(), Arc::clone(&number));
            std::thread::spawn(move || work(&journal, &number, end))
        })
        .collect();
    let failed = threads.into_iter().map(std::thread::JoinHandle::join).any(|worked| worked.is_err());
    i32::from(failed) * 3
}

fn work(journal: &Journal, number: &AtomicU64, end: u64) {
    loop {
        let number = number.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return;
        }
        let mut batch = [0; 16];
        batch[..8].copy_from_slice(&number.to_le_bytes());
        let payload = payload(number);
        let bytes = payload.len() as u64;
        let entry = Entry { kind: 1, batch: Some(BatchId::new(batch)), payload };
        match journal.append(entry).and_then(journal::Ticket::wait) {
            Ok(receipt) => {
                let Position { segment, offset } = receipt.position;
                // 24 bytes of head and 16 of batch id go before the payload.
                let line = format!("ack {number} {segment} {offset} {}\n", offset + 40 + bytes);
                // One write for each line: a kill cannot tear it.
                if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
            Err(error) => {
                eprintln!("refused {number}: {error}");
                std::process::exit(3);
            }
        }
    }
}

fn list(folder: &Path) -> i32 {
    let disk = match journal::Folder::open(folder) {
        Ok(disk) => Arc::new(disk),
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let mut reader = match Reader::offline(disk, Position::START) {
        Ok(reader) => reader,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    loop {
        match reader.next() {
            Ok(None) => return 0,
            Ok(Some(Item::Damaged(damage))) => println!("damaged {damage}"),
            Ok(Some(Item::Frame(frame))) => {
                let number = frame.payload.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                let right = if frame.payload == payload(number) { "entry" } else { "wrong" };
                println!("{right} {number} {} {}", frame.position.segment, frame.position.offset);
            }
            Err(error) => {
                eprintln!("{error}");
                return 1;
            }
        }
    }
}
