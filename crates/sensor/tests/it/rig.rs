//! What the tests share: a clock, a collector of records, and whether this machine can run them.

use ids::{Clock, Timestamp};
use sensor::{Local, TelemetryOptions};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The machine's clock.
pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

/// Whether this process is root; says why a test is passed over.
pub(crate) fn is_root(test: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = status.lines().any(|line| line.starts_with("Uid:\t0\t0"));
    if !root {
        println!("SKIPPED {test}: it takes root");
    }
    root
}

/// Whether eBPF can be tried here.
pub(crate) fn has_ebpf(test: &str) -> bool {
    let btf = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    if !btf {
        println!("SKIPPED {test}: the kernel has no BTF");
    }
    btf && is_root(test)
}

/// Records as they came.
pub(crate) struct Seen {
    records: Arc<Mutex<Vec<Value>>>,
    pub(crate) local: Local,
}

impl Seen {
    pub(crate) fn start(options: &TelemetryOptions) -> Self {
        let records = Arc::<Mutex<Vec<Value>>>::default();
        let sink = Arc::clone(&records);
        let take = move |record: sensor::Record| {
            sink.lock().unwrap().push(serde_json::from_slice(&record.line()).unwrap());
        };
        Self { local: Local::start(options, Arc::new(Wall), take).unwrap(), records }
    }

    /// The records that pass, as soon as there are `count` of them; what there is after 20 s otherwise.
    pub(crate) fn wait(&self, count: usize, pass: impl Fn(&Value) -> bool) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let found: Vec<Value> =
                self.records.lock().unwrap().iter().filter(|record| pass(record)).cloned().collect();
            if found.len() >= count || begun.elapsed() > Duration::from_secs(20) {
                return found;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(self) -> Vec<Value> {
        self.local.stop();
        Arc::try_unwrap(self.records).unwrap().into_inner().unwrap()
    }
}

/// A word that no other process of this machine uses.
pub(crate) fn marker(name: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{}-{nanos}", std::process::id())
}

pub(crate) fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}
