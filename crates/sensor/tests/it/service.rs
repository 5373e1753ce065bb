//! The service against a platform in process: nothing lost, nothing doubled, tasks done once.

use crate::platform::{Book, Mood, Platform};
use crate::rig::{Wall, is_root, marker};
use ids::{Clock as _, SensorId, SensorTaskId, Timestamp};
use seal::{SeededEntropy, SigningKey};
use sensor::observation::{Connection, Observation};
use sensor::source::{Mode, Outlet, Source, SourceFault};
use sensor::wire::{Outcome, SignatureFault, SignedTask, Task, WIRE_VERSION, Work};
use sensor::{Config, Disbelief, PlatformError, RunError, StateError, TelemetryOptions, believe};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A source that sees connections to these ports, and says that it lost some.
#[derive(Clone)]
struct Injected {
    ports: std::ops::Range<u16>,
    lost: u64,
}

impl Source for Injected {
    fn mode(&self) -> Mode {
        Mode::Injected
    }

    fn run(self: Box<Self>, outlet: &Outlet) -> Result<(), SourceFault> {
        outlet.ready();
        let local = "192.0.2.1".parse().unwrap();
        for port in self.ports {
            outlet.send(Observation::Connection(Connection {
                at: outlet.clock().now(),
                key: None,
                uid: None,
                outgoing: true,
                established: true,
                local: (local, 1),
                remote: (local, port),
            }));
        }
        outlet.lost(self.lost);
        while !outlet.stopped() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }
}

fn config(state: &Path) -> Config {
    let telemetry = TelemetryOptions { files: None, ..TelemetryOptions::default() };
    Config { telemetry, heartbeat_every: Duration::from_millis(300), ..Config::new(state) }
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    fn start(config: Config, source: Injected) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            tokio::pin!(stopped);
            // One that was cut off may hold its spool for a moment; a process that died would not.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(10) {
                let (source, entropy) = (Box::new(source.clone()), Arc::new(SeededEntropy::new(3)));
                let run = sensor::run_with(config.clone(), Some(source), Arc::new(Wall), entropy, &mut stopped).await;
                if !matches!(run, Err(RunError::Spool(_))) {
                    return run;
                }
                tokio::task::yield_now().await;
            }
            panic!("the spool stays in use");
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// In the middle of whatever it does.
    async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }
}

fn ports(records: &[Value]) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    for port in records.iter().filter_map(|record| record["DestinationPort"].as_u64()) {
        *times.entry(port).or_default() += 1;
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_failures() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    platform.enrol(&state).await;
    // The platform takes nothing: all stays on disk.
    platform.book.lock().unwrap().mood = Mood::Busy;
    let running = Running::start(config(&state), Injected { ports: 1000..3000, lost: 7 });
    platform
        .until("2,000 records on disk", |book| {
            book.heartbeats.last().is_some_and(|beat| beat.health.spool.records >= 2_000)
        })
        .await;
    running.stop().await;
    assert!(platform.book.lock().unwrap().batches.is_empty());
    // It takes batches and hangs up before it answers; the sensor is cut off in the middle.
    platform.book.lock().unwrap().mood = Mood::Rude;
    let running = Running::start(config(&state), Injected { ports: 3000..3500, lost: 0 });
    platform.until("a batch taken and not answered, twice", |book| book.deliveries >= 2).await;
    running.abort().await;
    let delivered = platform.book.lock().unwrap().deliveries;
    platform.book.lock().unwrap().mood = Mood::Well;
    let running = Running::start(config(&state), Injected { ports: 4000..4500, lost: 0 });
    let whole = |book: &Book| {
        let times = ports(&book.records());
        (1000..3000).chain(4000..4500).all(|port| times.contains_key(&port))
    };
    platform.until("all records", whole).await;
    platform
        .until("a heartbeat with the acknowledgement", |book| {
            book.heartbeats.last().is_some_and(|beat| beat.health.uplink.acknowledged_at.is_some())
        })
        .await;
    running.stop().await;
    let book = platform.book.lock().unwrap();
    assert!(book.deliveries > delivered);
    let times = ports(&book.records());
    assert!(times.values().all(|times| *times == 1), "a record is there twice");
    let lost: u64 = book.records().iter().filter_map(|record| record["Lost"].as_u64()).sum();
    assert_eq!(lost, 7);
    assert_eq!(sensor::status(&state).unwrap().sensor, platform.sensor);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_counts_what_it_cannot_take() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    platform.enrol(&state).await;
    platform.book.lock().unwrap().mood = Mood::Busy;
    // A reserve of the whole bound: a file of that size stands in the spool's folder already.
    std::fs::create_dir_all(state.join("spool/journal")).unwrap();
    std::fs::write(state.join("spool/journal/ballast"), vec![0; 4 << 20]).unwrap();
    let config = Config { spool_bytes_max: 4 << 20, ..config(&state) };
    let running = Running::start(config, Injected { ports: 1000..1100, lost: 0 });
    platform
        .until("100 records counted as lost", |book| {
            book.heartbeats.last().is_some_and(|beat| beat.health.spool.records_lost == 100)
        })
        .await;
    running.stop().await;
}

fn task(sensor: SensorId, name: &str, work: Work) -> Task {
    let now = Wall.now();
    let expires_at = Timestamp::from_micros(now.as_micros() + 60_000_000);
    Task {
        version: WIRE_VERSION,
        id: SensorTaskId::derive(&[name.as_bytes()]),
        sensor,
        issued_at: now,
        expires_at,
        work,
    }
}

#[test]
fn only_a_task_of_the_platform_for_this_sensor_and_this_time_is_believed() {
    let key = SigningKey::generate(&SeededEntropy::new(1));
    let (own, other) = (SensorId::derive(&[b"own"]), SensorId::derive(&[b"other"]));
    let judge = |signed: &SignedTask, now| believe(signed, &key.verifying_key(), own, now).map(|task| task.id);
    let good = task(own, "one", Work::ProcessList {});
    let signed = SignedTask::sign(&good, &key).unwrap();
    assert_eq!(judge(&signed, good.issued_at), Ok(good.id));
    assert_eq!(judge(&signed, good.expires_at), Err(Disbelief::Expired));
    let early = Timestamp::from_micros(good.issued_at.as_micros() - 301_000_000);
    assert_eq!(judge(&signed, early), Err(Disbelief::Future));
    let stranger = SignedTask::sign(&task(other, "one", Work::ProcessList {}), &key).unwrap();
    assert_eq!(judge(&stranger, good.issued_at), Err(Disbelief::Stranger));
    let forged = SignedTask::sign(&good, &SigningKey::generate(&SeededEntropy::new(2))).unwrap();
    assert_eq!(judge(&forged, good.issued_at), Err(Disbelief::Signature(SignatureFault::Signature)));
    // Every field is under the signature.
    for (pointer, value) in [
        ("/expires_at", serde_json::json!("2099-01-01T00:00:00Z")),
        ("/work/kind", serde_json::json!("socket_list")),
        ("/sensor", serde_json::json!(other)),
        ("/id", serde_json::json!(SensorTaskId::derive(&[b"two"]))),
    ] {
        let mut changed = signed.clone();
        *changed.task.pointer_mut(pointer).unwrap() = value;
        assert_eq!(judge(&changed, good.issued_at), Err(Disbelief::Signature(SignatureFault::Signature)), "{pointer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_done_once_and_answered_over_restarts() {
    if !is_root("a_task_is_done_once_and_answered_over_restarts") {
        return;
    }
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    platform.enrol(&state).await;
    let secret = folder.path().join("evidence");
    let content: Vec<u8> = (0..2_500_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    std::fs::write(&secret, &content).unwrap();
    let path = secret.to_str().unwrap().to_owned();
    let collect = |name: &str, path: &str, bytes_max| {
        let work = Work::FileCollect { path: path.to_owned(), bytes_max };
        SignedTask::sign(&task(platform.sensor, name, work), &platform.key).unwrap()
    };
    let forged = SignedTask::sign(
        &task(platform.sensor, "forged", Work::ProcessList {}),
        &SigningKey::generate(&SeededEntropy::new(5)),
    );
    let list = |name: &str, work| SignedTask::sign(&task(platform.sensor, name, work), &platform.key).unwrap();
    platform.book.lock().unwrap().tasks = vec![
        collect("whole", &path, 10_000_000),
        collect("large", &path, 1_000),
        collect("device", "/dev/zero", 1_000),
        forged.unwrap(),
        list("processes", Work::ProcessList {}),
        list("sockets", Work::SocketList {}),
    ];
    let running = Running::start(config(&state), Injected { ports: 0..0, lost: 0 });
    // The platform hands them out again and again, as after a crash of its own.
    platform.until("each task answered twice", |book| book.results.len() >= 10).await;
    running.stop().await;
    std::fs::write(&secret, "changed since").unwrap();
    let answered = platform.book.lock().unwrap().results.len();
    let running = Running::start(config(&state), Injected { ports: 0..0, lost: 0 });
    platform.until("answers after the restart", |book| book.results.len() >= answered + 5).await;
    running.stop().await;
    let book = platform.book.lock().unwrap();
    let of = |name: &str| -> Vec<_> {
        let id = SensorTaskId::derive(&[name.as_bytes()]);
        book.results.iter().filter(|result| result.task == id).collect()
    };
    for name in ["whole", "large", "device", "processes", "sockets"] {
        let results = of(name);
        assert!(results.len() >= 2 && results.iter().all(|result| *result == results[0]), "{name} was done twice");
    }
    assert!(of("forged").is_empty());
    let Outcome::Done { details, .. } = &of("whole")[0].outcome else { panic!("{:?}", of("whole")[0]) };
    assert_eq!(details["sha256"], seal::Digest::of(&content).to_hex());
    assert_eq!(details["chunks"], 10);
    assert_eq!(book.chunks.values().flatten().copied().collect::<Vec<u8>>(), content);
    for name in ["large", "device"] {
        assert!(matches!(&of(name)[0].outcome, Outcome::Refused { .. }), "{name}");
    }
    let Outcome::Done { details, .. } = &of("processes")[0].outcome else { panic!("no list") };
    let own =
        |entry: &Value| entry["process"].as_str().unwrap().split(':').nth(1) == Some(&std::process::id().to_string());
    assert!(details["processes"].as_array().unwrap().iter().any(own));
    let left = std::fs::read_dir(&state).unwrap().flatten();
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_str().unwrap().starts_with("collected-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_killed_by_task_and_reported() {
    if !is_root("a_process_is_killed_by_task_and_reported") {
        return;
    }
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    platform.enrol(&state).await;
    let mut child =
        Command::new("/bin/sh").args(["-c", &format!(": {}; sleep 300", marker("victim"))]).spawn().unwrap();
    let process = crate::response::guid(child.id());
    let work = Work::ProcessKill { process, tree: true };
    let signed = SignedTask::sign(&task(platform.sensor, "kill", work), &platform.key).unwrap();
    platform.book.lock().unwrap().tasks = vec![signed];
    let running = Running::start(config(&state), Injected { ports: 0..0, lost: 0 });
    platform.until("an answer", |book| !book.results.is_empty()).await;
    running.stop().await;
    assert!(!child.wait().unwrap().success());
    let book = platform.book.lock().unwrap();
    let Outcome::Done { already: false, details } = &book.results[0].outcome else { panic!("{:?}", book.results[0]) };
    assert_eq!(details["killed"].as_array().unwrap().len(), 2);
}

/// The sensor of [`a_sensor_that_is_killed_at_any_time_resumes`], in a process of its own; no test by itself.
#[tokio::test(flavor = "multi_thread")]
async fn sensor_process() {
    let Ok(round) = std::env::var("POSSE_SENSOR_ROUND") else { return };
    let state = std::env::var("POSSE_SENSOR_STATE").unwrap();
    let first = 1000 * round.parse::<u16>().unwrap();
    let running = Running::start(config(Path::new(&state)), Injected { ports: first..first + 900, lost: 0 });
    running.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_is_killed_at_any_time_resumes() {
    const ROUNDS: u16 = 12;
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    platform.enrol(&state).await;
    let evidence = folder.path().join("evidence");
    std::fs::write(&evidence, vec![7; 3 << 20]).unwrap();
    let spawn = |round: u16| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "service::sensor_process", "--nocapture"]).stdout(Stdio::null());
        command.env("POSSE_SENSOR_ROUND", round.to_string()).env("POSSE_SENSOR_STATE", &state);
        command.spawn().unwrap()
    };
    let signed = |name: &str, work| SignedTask::sign(&task(platform.sensor, name, work), &platform.key).unwrap();
    for round in 1..ROUNDS {
        platform.book.lock().unwrap().mood = if round % 3 == 0 { Mood::Rude } else { Mood::Well };
        let path = evidence.to_str().unwrap().to_owned();
        let name = format!("collect {round}");
        let collect = signed(&name, Work::FileCollect { path, bytes_max: 10 << 20 });
        platform.book.lock().unwrap().tasks.push(collect);
        let mut child = spawn(round);
        // From "just started" to "in the middle of sending".
        if round % 2 == 0 {
            let before = platform.book.lock().unwrap().deliveries;
            platform.until("a batch", |book| book.deliveries > before).await;
        }
        platform.requests(round % 7).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    platform.book.lock().unwrap().mood = Mood::Well;
    let mut child = spawn(ROUNDS);
    let last = u64::from(ROUNDS) * 1000 + 899;
    platform
        .until("the last round whole, and an answer to each task", |book| {
            let answered: BTreeSet<_> = book.results.iter().map(|result| result.task).collect();
            answered.len() == usize::from(ROUNDS - 1) && ports(&book.records()).contains_key(&last)
        })
        .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let book = platform.book.lock().unwrap();
    let times = ports(&book.records());
    assert!(times.values().all(|times| *times == 1), "a record is there twice");
    let mut rounds = 0;
    for round in 1..=u64::from(ROUNDS) {
        // What had come onto the disk is there, and nothing is missing in its middle.
        let came = (round * 1000..round * 1000 + 900).filter(|port| times.contains_key(port));
        let came: Vec<u64> = came.collect();
        assert!(came.iter().zip(round * 1000..).all(|(port, expected)| *port == expected), "round {round}: {came:?}");
        rounds += u64::from(!came.is_empty());
    }
    println!("{rounds} of {ROUNDS} rounds came onto the disk before they were killed");
    assert!(rounds > 1);
    for result in &book.results {
        let same = book.results.iter().filter(|other| other.task == result.task);
        assert!(same.into_iter().all(|other| other == result), "two answers to one task");
        assert!(matches!(result.outcome, Outcome::Done { .. }), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_once_and_keeps_its_key_to_itself() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let enrol = async |token| sensor::enrol(&state, &platform.address, token, &SeededEntropy::new(9)).await;
    assert!(matches!(sensor::status(&state), Err(RunError::State(StateError::NotEnrolled))));
    assert!(matches!(enrol("guessed").await, Err(RunError::Enrol(PlatformError::Refused { .. }))));
    assert!(matches!(sensor::status(&state), Err(RunError::State(StateError::NotEnrolled))));
    platform.enrol(&state).await;
    assert!(matches!(enrol("one-time").await, Err(RunError::State(StateError::Enrolled(..)))));
    for (path, expected) in [(state.clone(), 0o700), (state.join("identity.json"), 0o600)] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected, "{}", path.display());
    }
    // A folder that others can enter is no place for a key.
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(sensor::status(&state), Err(RunError::State(StateError::Open(_)))));
}
