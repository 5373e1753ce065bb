//! A real process on a real disk, killed with SIGKILL while it appends; what it printed as acknowledged is there,
//! once, in order. `POSSE_KILL_ROUNDS` sets the rounds (10 here, 200 in the long form).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The example program: cargo builds examples together with tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/acknowledge");
    assert!(path.is_file(), "the example `acknowledge` is not built; run `cargo build -p journal --examples`");
    path
}

#[test]
fn what_a_killed_process_acknowledged_is_there_once_and_in_order() {
    let rounds = std::env::var("POSSE_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10_u64);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for round in 0..rounds {
        let first = (round + 1) * 1_000_000;
        let mut child = Command::new(program())
            .arg(folder.path())
            .args(["append", &first.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Another number of acknowledgements each round, so that the kill falls elsewhere.
        let wanted = 20 + round * 97 % 400;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..wanted {
            note(&mut acknowledged, &lines.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was printed before the kill and not read yet counts too.
        while let Some(Ok(line)) = lines.next() {
            note(&mut acknowledged, &line);
        }
        // The tail that the kill tore is cut by the next opening.
        let opened = Command::new(program()).arg(folder.path()).args(["append", "1", "0"]).output().unwrap();
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        check(&acknowledged, &list(&folder.path().to_string_lossy()));
    }
    assert!(acknowledged.len() as u64 >= rounds * 20);
}

fn fields(line: &str) -> Vec<u64> {
    line.split(' ').skip(1).map(|field| field.parse().unwrap()).collect()
}

fn note(acknowledged: &mut BTreeMap<u64, (u64, u64)>, line: &str) {
    assert!(line.starts_with("ack "), "{line}");
    let fields = fields(line);
    acknowledged.insert(fields[0], (fields[1], fields[2]));
}

fn list(folder: &str) -> Vec<(u64, (u64, u64))> {
    let output = Command::new(program()).args([folder, "list"]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            assert!(line.starts_with("entry "), "{line}");
            let fields = fields(line);
            (fields[0], (fields[1], fields[2]))
        })
        .collect()
}

fn check(acknowledged: &BTreeMap<u64, (u64, u64)>, found: &[(u64, (u64, u64))]) {
    let by_number: BTreeMap<u64, (u64, u64)> = found.iter().copied().collect();
    assert_eq!(by_number.len(), found.len(), "an entry is doubled");
    assert!(found.iter().map(|(_, position)| position).is_sorted());
    for (number, position) in acknowledged {
        assert_eq!(by_number.get(number), Some(position), "acknowledged entry {number} is lost");
    }
}
