//! What sources see of real processes, connections and files.

use crate::rig::{Seen, has_ebpf, is_root, marker, text};
use sensor::source::{Mode, WatchList};
use sensor::{Choice, TelemetryOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

fn options(choice: Choice) -> TelemetryOptions {
    TelemetryOptions { choice, files: None, computer: Some("host.test".to_owned()), ..TelemetryOptions::default() }
}

fn creation(record: &Value, word: &str) -> bool {
    record["Category"] == "process_creation" && text(record, "CommandLine").contains(word)
}

#[test]
fn a_process_is_recorded_with_all_that_is_known() {
    if !has_ebpf("a_process_is_recorded_with_all_that_is_known") {
        return;
    }
    let seen = Seen::start(&options(Choice::Ebpf));
    let word = marker("exec");
    let script = format!(": {word}; /bin/cat /dev/null; exit 3");
    let mut child = Command::new("/bin/sh").args(["-c", &script]).current_dir("/usr/share").spawn().unwrap();
    let pid = child.id();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let shell = &seen.wait(1, |record| creation(record, &word))[0];
    let guid = text(shell, "ProcessGuid").to_owned();
    let ended =
        seen.wait(1, |record| record["Category"] == "process_termination" && text(record, "ProcessGuid") == guid);
    assert_eq!(ended[0]["ExitCode"], 3, "{}", ended[0]);
    assert_eq!(shell["ProcessId"], pid);
    assert!(guid.starts_with(&sensor::boot_id().unwrap()));
    assert_eq!(text(shell, "CommandLine"), format!("/bin/sh -c : {word}; /bin/cat /dev/null; exit 3"));
    assert_eq!(text(shell, "CurrentDirectory"), "/usr/share");
    assert_eq!(shell["UserId"], 0);
    assert_eq!(text(shell, "User"), "root");
    assert_eq!(text(shell, "Computer"), "host.test");
    assert_eq!(shell["ParentProcessId"], std::process::id());
    assert_eq!(text(shell, "ParentImage"), std::env::current_exe().unwrap().to_str().unwrap());
    let image = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(text(shell, "Image"), image.to_str().unwrap());
    let digest = seal::Digest::of(&std::fs::read(image).unwrap()).to_hex();
    assert_eq!(text(shell, "Hashes"), format!("SHA256={digest}"));
    let cat = seen.wait(1, |record| record["Category"] == "process_creation" && record["ParentProcessGuid"] == *guid);
    assert_eq!(text(&cat[0], "CommandLine"), "/bin/cat /dev/null");
    assert!(text(&cat[0], "ParentCommandLine").contains(&word));
}

#[test]
fn only_what_one_process_makes_is_told_where_that_is_asked_for() {
    if !has_ebpf("only_what_one_process_makes_is_told_where_that_is_asked_for") {
        return;
    }
    let shell = |line: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).stdin(Stdio::piped()).spawn().unwrap()
    };
    let word = marker("below");
    // Both wait for a line before they do anything.
    let script = format!("read line; (/bin/cat /dev/null; : {word}; exec sh -c 'true {word}')");
    let (mut inside, mut beside) = (shell(&script), shell(&script));
    let seen = Seen::start(&TelemetryOptions { below: Some(inside.id()), ..options(Choice::Ebpf) });
    for child in [&mut beside, &mut inside] {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
    let own = inside.id();
    seen.wait(1, |record| record["Category"] == "process_termination" && record["ProcessId"] == own);
    let records = seen.stop();
    assert_eq!(records.iter().filter(|record| creation(record, &word)).count(), 1, "{records:#?}");
    assert_eq!(records.iter().filter(|record| creation(record, "/bin/cat /dev/null")).count(), 1, "{records:#?}");
    let numbers: Vec<u64> = records.iter().map(|record| record["Sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "what is not told leaves no gap");
}

#[test]
fn every_process_of_a_burst_is_recorded_once_or_counted() {
    if !has_ebpf("every_process_of_a_burst_is_recorded_once_or_counted") {
        return;
    }
    // The long form is also checked against the kernel's own accounting, which is one for the whole machine.
    let asked = std::env::var("POSSE_SENSOR_BURST").ok();
    let count: usize = asked.as_deref().map_or(2_000, |text| text.parse().unwrap());
    let accounts = asked.is_some().then(|| tempfile::NamedTempFile::new().unwrap());
    if let Some(accounts) = &accounts {
        nix::unistd::acct::enable(accounts.path()).unwrap();
    }
    let seen = Seen::start(&options(Choice::Ebpf));
    let word = marker("burst");
    let script = format!("i=0; while [ $i -lt {count} ]; do /bin/true {word} $i; i=$((i+1)); done");
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    let one =
        |record: &Value| creation(record, &format!("true {word} ")) && !text(record, "CommandLine").contains("while");
    seen.wait(count, one);
    let counted = accounts.map(|accounts| {
        nix::unistd::acct::disable().unwrap();
        accounted(&std::fs::read(accounts.path()).unwrap())
    });
    let lost: u64 = seen.local.health().iter().map(|source| source.lost).sum();
    let records = seen.stop();
    let maker =
        records.iter().find(|record| creation(record, &word) && text(record, "CommandLine").contains("while")).unwrap();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records.iter().filter(|record| one(record)) {
        *times.entry(text(record, "CommandLine")).or_default() += 1;
        assert_eq!(record["ParentProcessGuid"], maker["ProcessGuid"], "{record}");
        assert!(record["Hashes"].is_string(), "{record}");
    }
    assert!(times.values().all(|times| *times == 1), "recorded twice: {times:?}");
    let missing = count - times.len();
    println!("burst of {count}: {} recorded, {missing} missing, {lost} counted as lost", times.len());
    assert!(u64::try_from(missing).unwrap() <= lost, "{missing} of {count} missing, {lost} counted as lost");
    if let Some(counted) = counted {
        let shell = u32::try_from(maker["ProcessId"].as_u64().unwrap()).unwrap();
        let by_kernel = counted.iter().filter(|(parent, name)| *parent == shell && name == "true").count();
        println!("the kernel accounts for {by_kernel} processes of this shell");
        assert_eq!(by_kernel, count);
    }
    let sequences: Vec<u64> = records.iter().filter_map(|record| record["Sequence"].as_u64()).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

/// Parent and name of each process in a file of the kernel's accounting, version 3 (`linux/acct.h`).
fn accounted(bytes: &[u8]) -> Vec<(u32, String)> {
    let one = |record: &[u8]| {
        assert_eq!(record[1] & 0xf, 3, "version");
        let name = record[48..64].split(|byte| *byte == 0).next().unwrap();
        (u32::from_ne_bytes(record[20..24].try_into().unwrap()), String::from_utf8_lossy(name).into_owned())
    };
    bytes.chunks_exact(64).map(one).collect()
}

#[test]
fn who_makes_a_process_stays_its_parent() {
    if !has_ebpf("who_makes_a_process_stays_its_parent") {
        return;
    }
    let seen = Seen::start(&options(Choice::Ebpf));
    let word = marker("orphan");
    // The inner shell ends at once; by the time of its exec the kernel has given the sleeper to another parent.
    let script = format!("sh -c '(/bin/sleep 0.2; exec /bin/echo {word}) & exit 0' >/dev/null; sleep 0.5");
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    let echo = seen.wait(1, |record| text(record, "CommandLine") == format!("/bin/echo {word}")).remove(0);
    let maker =
        seen.wait(1, |record| creation(record, &word) && text(record, "CommandLine").starts_with("sh -c (/bin/sleep"));
    assert_eq!(echo["ParentProcessGuid"], maker[0]["ProcessGuid"], "{echo}");
}

#[test]
fn connections_are_recorded_at_both_ends() {
    if !has_ebpf("connections_are_recorded_at_both_ends") {
        return;
    }
    // Listens before the sensor starts, so that listeners that are there already are known too.
    let four = TcpListener::bind("127.0.0.1:0").unwrap();
    let seen = Seen::start(&options(Choice::Ebpf));
    let six = TcpListener::bind("[::1]:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(TcpStream::connect(closed).is_err());
    for listener in [&four, &six] {
        let address = listener.local_addr().unwrap();
        let from = TcpStream::connect(address).unwrap().local_addr().unwrap();
        let both = |record: &Value| {
            record["Category"] == "network_connection"
                && record["DestinationPort"] == address.port()
                && record["SourcePort"] == from.port()
                && record["SourceIp"] == from.ip().to_string()
                && record["DestinationIp"] == address.ip().to_string()
                && record["Established"] == true
                && record["ProcessId"] == std::process::id()
                && text(record, "Image").contains("it-")
        };
        let found = seen.wait(2, both);
        let near = seen.wait(0, |record| record["DestinationPort"] == address.port());
        assert_eq!(found.len(), 2, "{address}: {near:#?}");
        assert_ne!(found[0]["Initiated"], found[1]["Initiated"]);
    }
    let refused = |record: &Value| record["DestinationPort"] == closed.port() && record["Established"] == false;
    assert_eq!(seen.wait(1, refused).len(), 1);
}

#[test]
fn changes_of_watched_files_are_recorded() {
    if !has_ebpf("changes_of_watched_files_are_recorded") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("deep")).unwrap();
    let list = WatchList { folders: vec![(root.clone(), 2)], folders_max: 100 };
    let seen = Seen::start(&TelemetryOptions { files: Some(list), ..options(Choice::Ebpf) });
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let script = format!(
        "echo one > {0}/deep/a; mv {0}/deep/a {0}/b; echo two >> {0}/b; rm {0}/b; mkdir {0}/new; sleep 0.4; echo > {0}/new/c",
        root.display()
    );
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    let of = |category: &str, name: &str| {
        let target = path(name);
        let found = seen.wait(1, |record| record["Category"] == category && record["TargetFilename"] == *target);
        assert!(!found.is_empty(), "{category} {name}");
        found[0].clone()
    };
    let made = of("file_event", "deep/a");
    assert_eq!(made["User"], "root");
    assert!(text(&made, "CommandLine").contains("echo one"), "{made}");
    of("file_change", "deep/a");
    assert_eq!(of("file_rename", "b")["SourceFilename"], *path("deep/a"));
    assert!(text(&of("file_rename", "b"), "CommandLine").starts_with("mv "));
    of("file_change", "b");
    assert!(text(&of("file_delete", "b"), "CommandLine").starts_with("rm "));
    assert_eq!(of("file_event", "new")["FileType"], "folder");
    of("file_change", "new/c");
}

#[test]
fn more_folders_are_watched_than_the_usual_bound_of_descriptors() {
    if !has_ebpf("more_folders_are_watched_than_the_usual_bound_of_descriptors") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let below = |number: usize| root.join(number.to_string());
    (0..1500).for_each(|number| std::fs::create_dir(below(number)).unwrap());
    let list = WatchList { folders: vec![(root.clone(), 1)], folders_max: 2000 };
    let seen = Seen::start(&TelemetryOptions { files: Some(list), ..options(Choice::Ebpf) });
    (0..1500).step_by(100).for_each(|number| std::fs::write(below(number).join("file"), "x").unwrap());
    let made = |record: &Value| record["Category"] == "file_event" && text(record, "TargetFilename").ends_with("/file");
    assert_eq!(seen.wait(15, made).len(), 15);
}

#[test]
fn without_ebpf_processes_are_still_recorded() {
    if !is_root("without_ebpf_processes_are_still_recorded") {
        return;
    }
    let seen = Seen::start(&options(Choice::ProcConnector));
    let word = marker("fallback");
    assert!(Command::new("/bin/sh").args(["-c", &format!(": {word}; sleep 0.3")]).status().unwrap().success());
    let shell = &seen.wait(1, |record| creation(record, &word))[0];
    assert_eq!(shell["Origin"], "proc_connector");
    assert_eq!(shell["ParentProcessId"], std::process::id());
    assert!(shell["Hashes"].is_string());
    let guid = text(shell, "ProcessGuid").to_owned();
    let ended =
        seen.wait(1, |record| record["Category"] == "process_termination" && text(record, "ProcessGuid") == guid);
    assert_eq!(ended[0]["ExitCode"], 0);
    assert_eq!(seen.local.health()[0].mode, Mode::ProcConnector);
}

#[test]
fn without_ebpf_a_burst_is_recorded_by_identity_or_counted() {
    const COUNT: usize = 1_000;
    if !is_root("without_ebpf_a_burst_is_recorded_by_identity_or_counted") {
        return;
    }
    let seen = Seen::start(&options(Choice::ProcConnector));
    let word = marker("crowd");
    let script = format!(": {word}; i=0; while [ $i -lt {COUNT} ]; do /bin/true; i=$((i+1)); done; sleep 0.5");
    let mut shell = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let maker = crate::response::guid(shell.id()).to_string();
    assert!(shell.wait().unwrap().success());
    let made = |record: &Value| record["Category"] == "process_creation" && record["ParentProcessGuid"] == *maker;
    let found = seen.wait(COUNT + 1, made);
    let lost: u64 = seen.local.health().iter().map(|source| source.lost).sum();
    let known: std::collections::BTreeSet<&str> = found.iter().map(|record| text(record, "ProcessGuid")).collect();
    let named = found.iter().filter(|record| record["CommandLine"].is_string()).count();
    println!("{} of {} recorded, {named} with arguments, {lost} messages lost", known.len(), COUNT + 1);
    assert_eq!(known.len(), found.len(), "recorded twice");
    assert!(u64::try_from(COUNT + 1 - known.len()).unwrap() <= lost, "{} recorded, {lost} lost", known.len());
}

/// A sensor that may not use eBPF, in a process of its own; no test by itself.
#[test]
fn sensor_without_rights() {
    if std::env::var_os("POSSE_SENSOR_WITHOUT_RIGHTS").is_none() {
        return;
    }
    let seen = Seen::start(&options(Choice::Auto));
    let word = marker("powerless");
    assert!(Command::new("/bin/sh").args(["-c", &format!(": {word}; sleep 0.3")]).status().unwrap().success());
    assert_eq!(seen.wait(1, |record| creation(record, &word))[0]["Origin"], "proc_connector");
    let health = seen.local.health();
    assert_eq!(health[0].mode, Mode::ProcConnector);
    let refused = health.iter().find(|source| source.mode == Mode::Ebpf).unwrap();
    assert!(refused.fault.as_ref().unwrap().contains("CAP_BPF"), "{refused:?}");
}

#[test]
fn a_refused_ebpf_is_said_and_replaced() {
    if !is_root("a_refused_ebpf_is_said_and_replaced") {
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin,-bpf,-perfmon"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "telemetry::sensor_without_rights", "--nocapture"]);
    let Ok(done) = command.env("POSSE_SENSOR_WITHOUT_RIGHTS", "1").output() else {
        println!("SKIPPED a_refused_ebpf_is_said_and_replaced: setpriv (util-linux) is not installed");
        return;
    };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
}
