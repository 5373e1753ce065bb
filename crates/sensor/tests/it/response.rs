//! What response does to real processes and real networks.

use crate::rig::{Seen, Wall, has_ebpf, is_root, marker, text};
use ids::{Clock as _, Timestamp};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sensor::wire::Outcome;
use sensor::{Firewall, Isolation, KillRefusal, ProcessGuid, ProcessKey, TelemetryOptions, boot_id, kill, kill_line};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The identity of a living process.
pub(crate) fn guid(pid: u32) -> ProcessGuid {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    ProcessGuid { boot: boot_id().unwrap(), key: ProcessKey { pid, start_ticks } }
}

/// The processes that carry a word in their arguments.
fn carrying(word: &str) -> Vec<u32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let carries = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    pids.filter(carries).collect()
}

#[test]
fn a_tree_is_killed_whole_and_nothing_else() {
    if !is_root("a_tree_is_killed_whole_and_nothing_else") {
        return;
    }
    let word = marker("tree");
    let shell = |script: String| Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    let leaf = format!("while : {word}; do sleep 1; done");
    let mut root = shell(format!("sh -c '{leaf}' & sh -c 'sh -c \"{leaf}\" & {leaf}' & {leaf}"));
    let mut bystander = shell(leaf);
    let begun = Instant::now();
    while carrying(&word).len() < 5 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", carrying(&word));
        std::thread::yield_now();
    }
    // The same number with another start is another process.
    let target = guid(root.id());
    let mut other = target.clone();
    other.key.start_ticks += 1;
    assert!(kill(&other, true).unwrap().killed.is_empty());
    assert!(root.try_wait().unwrap().is_none());
    let report = kill(&target, true).unwrap();
    assert!(report.remaining.is_empty(), "{report:?}");
    assert!(report.killed.len() >= 4, "{report:?}");
    assert!(report.killed[0].command_line.contains(&word));
    assert!(!root.wait().unwrap().success());
    assert_eq!(carrying(&word), [bystander.id()]);
    // Again: it is gone already, and that is no error.
    assert!(kill(&target, true).unwrap().killed.is_empty());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn an_orphan_of_a_process_that_ended_is_killed_with_its_line() {
    if !has_ebpf("an_orphan_of_a_process_that_ended_is_killed_with_its_line") {
        return;
    }
    let seen = Seen::start(&TelemetryOptions { files: None, ..TelemetryOptions::default() });
    let word = marker("line");
    // Away from its parent, its group and its session, as one would who wants to stay.
    let script = format!("setsid sh -c '(while : {word}; do sleep 1; done) & exit 0' </dev/null >/dev/null 2>&1");
    let mut root = Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap();
    let target = guid(root.id());
    root.wait().unwrap();
    let made = |record: &Value| record["Category"] == "process_creation" && text(record, "CommandLine") == "sleep 1";
    let orphan = |record: &Value| made(record) && text(record, "ParentCommandLine").contains(&word);
    assert!(!seen.wait(1, orphan).is_empty());
    assert!(!carrying(&word).is_empty());
    assert!(kill(&target, true).unwrap().killed.is_empty(), "the kernel knows no line to it");
    let report = kill_line(&target, true, &seen.local.lineage()).unwrap();
    assert!(!report.killed.is_empty() && report.remaining.is_empty(), "{report:?}");
    assert!(carrying(&word).is_empty(), "{:?}", carrying(&word));
}

#[test]
fn what_must_live_is_not_killed() {
    for pid in [1, std::process::id()] {
        assert!(matches!(kill(&guid(pid), true), Err(KillRefusal::Protected(refused, _)) if refused == pid));
    }
    let elsewhere = ProcessGuid { boot: "another".to_owned(), ..guid(std::process::id()) };
    assert_eq!(kill(&elsewhere, true).unwrap_err(), KillRefusal::Boot);
}

/// Four network namespaces: a switch, and host, platform and third party at its ports.
struct Net {
    name: String,
    echo: Vec<Child>,
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Net {
    fn new() -> Self {
        let name = format!("posse{}", std::process::id());
        ip(&format!("netns add {name}s"));
        ip(&format!("-n {name}s link add name posse0 type bridge"));
        ip(&format!("-n {name}s link set posse0 up"));
        for (index, place) in [(1, "h"), (2, "p"), (3, "t")] {
            ip(&format!("netns add {name}{place}"));
            ip(&format!("-n {name}s link add v{place} type veth peer name e0 netns {name}{place}"));
            ip(&format!("-n {name}s link set v{place} master posse0 up"));
            ip(&format!("-n {name}{place} addr add 10.77.0.{index}/24 dev e0"));
            ip(&format!("-n {name}{place} addr add fd77::{index}/64 dev e0 nodad"));
            ip(&format!("-n {name}{place} link set e0 up"));
            ip(&format!("-n {name}{place} link set lo up"));
        }
        Self { name, echo: Vec::new() }
    }

    /// Do something inside one of them, on a thread of its own.
    fn within<T: Send>(&self, place: &str, act: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}{place}", self.name);
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let file = File::open(path).unwrap();
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.echo {
            drop(child.kill());
        }
        for place in ["h", "p", "t", "s"] {
            drop(Command::new("ip").args(["netns", "del", &format!("{}{place}", self.name)]).status());
        }
    }
}

/// Answers whatever is sent, for as long as the test runs.
fn echo_tcp(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut stream, mut bytes) = (stream, [0; 64]);
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    drop(stream.write_all(&bytes[..count]));
                }
            });
        }
    });
}

fn echo_udp(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((count, from)) = socket.recv_from(&mut bytes) {
            drop(socket.send_to(&bytes[..count], from));
        }
    });
}

fn answers(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    stream.write_all(b"ping").is_ok() && stream.read(&mut [0; 16]).is_ok_and(|count| count > 0)
}

fn tcp(address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_millis(700)).is_ok_and(|mut stream| answers(&mut stream))
}

fn udp(address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    socket.send_to(b"ping", address).is_ok() && socket.recv(&mut [0; 16]).is_ok()
}

/// All ways between the host and others, by name.
fn ways(net: &Net) -> Vec<(&'static str, bool)> {
    let mut ways = net.within("h", || {
        vec![
            ("platform", tcp("10.77.0.2:8443")),
            ("platform over IPv6", tcp("[fd77::2]:8443")),
            ("another port of the platform", tcp("10.77.0.2:22")),
            ("third party", tcp("10.77.0.3:80")),
            ("third party over IPv6", tcp("[fd77::3]:80")),
            ("third party over UDP", udp("10.77.0.3:53")),
            ("third party over UDP and IPv6", udp("[fd77::3]:53")),
            ("itself", tcp("127.0.0.1:80")),
        ]
    });
    ways.extend(
        net.within("t", || {
            vec![("from the third party", tcp("10.77.0.1:80")), ("from it by UDP", udp("10.77.0.1:53"))]
        }),
    );
    ways
}

fn open(ways: &[(&'static str, bool)]) -> Vec<&'static str> {
    ways.iter().filter(|(_, open)| *open).map(|(name, _)| *name).collect()
}

#[test]
fn an_isolated_host_reaches_its_platform_and_nobody_else() {
    if !is_root("an_isolated_host_reaches_its_platform_and_nobody_else") {
        return;
    }
    if Command::new("nft").arg("--version").output().is_err() {
        println!("SKIPPED an_isolated_host_reaches_its_platform_and_nobody_else: nft is not installed");
        return;
    }
    let net = Net::new();
    for (place, port) in [("h", 80), ("p", 8443), ("p", 22), ("t", 80)] {
        echo_tcp(net.within(place, || TcpListener::bind(("::", port)).unwrap()));
    }
    for place in ["h", "t"] {
        echo_udp(net.within(place, || UdpSocket::bind("[::]:53").unwrap()));
    }
    let all = ways(&net);
    assert_eq!(open(&all).len(), all.len(), "before: {all:?}");
    let mut old = net.within("h", || TcpStream::connect("10.77.0.3:80").unwrap());
    assert!(answers(&mut old));

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let command = ["ip", "netns", "exec", &format!("{}h", net.name), "nft"].map(str::to_owned).to_vec();
    let firewall = Firewall { command };
    let platform: BTreeSet<SocketAddr> =
        ["10.77.0.2:8443", "[fd77::2]:8443"].iter().map(|text| text.parse().unwrap()).collect();
    let make = || Isolation::standing_alone(&state, firewall.clone(), platform.clone()).unwrap();
    let isolation = make();
    let now = Wall.now();
    let outcome = isolation.isolate(3600, now);
    assert!(matches!(outcome, Outcome::Done { already: false, .. }), "{outcome:?}");
    let reached = ["platform", "platform over IPv6", "itself"];
    assert_eq!(open(&ways(&net)), reached);
    assert!(!answers(&mut old), "an existing connection still carries data");
    assert!(matches!(isolation.isolate(3600, now), Outcome::Done { already: true, .. }));
    assert!(!isolation.keep(now).unwrap());

    let nft = |words: &str| {
        let words = format!("netns exec {}h nft {words}", net.name);
        ip(&words);
    };
    // Somebody makes a hole; somebody removes it all; the sensor starts anew.
    nft("insert rule inet posse_isolation output ip daddr 10.77.0.3 accept");
    assert!(make().keep(now).unwrap());
    nft("delete table inet posse_isolation");
    assert!(make().keep(now).unwrap());
    assert_eq!(open(&ways(&net)), reached);

    // The time is over, with nobody to say so.
    let later = Timestamp::from_micros(now.as_micros() + 3_600_000_000);
    assert!(make().keep(later).unwrap());
    assert_eq!(open(&ways(&net)).len(), all.len(), "after");
    assert!(!make().keep(later).unwrap());
    assert!(matches!(isolation.release(), Outcome::Done { already: true, .. }));
}

#[test]
fn an_isolation_that_cannot_be_is_no_isolation() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let platform = BTreeSet::from(["192.0.2.1:443".parse().unwrap()]);
    let firewall = Firewall { command: vec!["/nonexistent/nft".to_owned()] };
    let isolation = Isolation::standing_alone(&state, firewall.clone(), platform).unwrap();
    let now = Wall.now();
    let Outcome::Failed { reason, .. } = isolation.isolate(60, now) else { panic!("it did not fail") };
    assert!(reason.contains("install nftables"), "{reason}");
    assert!(!isolation.keep(now).unwrap(), "nothing is left to be done later");
    assert!(matches!(isolation.isolate(59, now), Outcome::Refused { .. }));
    let nowhere = Isolation::standing_alone(&state, firewall, BTreeSet::new()).unwrap();
    assert!(matches!(nowhere.isolate(60, now), Outcome::Refused { .. }));
}
