//! Writes a corpus into a lake in a folder and asks it the questions of `lake-queries.md`: bytes an event, processor
//! time of writing and of each question. `cargo run --release -p lake --example measure -- FOLDER EVENTS`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails should stop")]

use event::mapping::{COLUMNS, ColumnValue, Normalised, Observable, ObservableKind};
use ids::{Clock, Scope, TenantId, Timestamp};
use lake::{Ask, Lake, Limits, Options, Row};
use std::collections::BTreeMap;
use std::sync::Arc;

const DAYS: u64 = 30;
const END_SECS: u64 = 1_795_132_800;
const TENANTS: u64 = 200;

struct Still;
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

/// Processor time of this process, all threads, in seconds.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// splitmix64.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
    /// About zipf: the square of a uniform number.
    fn skewed(&mut self, most: u64) -> u64 {
        let (left, right) = (self.below(most), self.below(most));
        left * right / most
    }
}

struct Made {
    event: Normalised,
    raw: String,
    tenant: u64,
}

fn make(random: &mut Random, number: u64, events: u64) -> Made {
    let tenant = random.skewed(TENANTS);
    let host = format!("ws{:04}.t{tenant:03}.example.com", random.skewed(300));
    let secs = END_SECS - DAYS * 86_400 + number * DAYS * 86_400 / events;
    let micros = i64::try_from(secs * 1_000_000 + random.below(1_000_000)).unwrap();
    let (class_uid, columns): (u32, Vec<(&str, ColumnValue)>) = match random.below(10) {
        0..=3 => {
            let image = format!("C:\\Program Files\\Vendor{}\\app{}.exe", random.skewed(40), random.skewed(30));
            let enc = if random.below(events / 300 + 1) == 0 { "powershell.exe -enc " } else { "" };
            let command = format!("{enc}{image} --id {:016x} /session:{:08x}", random.next(), random.below(1 << 32));
            let parent = format!("C:\\Windows\\System32\\parent{}.exe", random.skewed(60));
            let columns: Vec<(&str, ColumnValue)> = vec![
                ("process_path", ColumnValue::Text(image)),
                ("process_cmd_line", ColumnValue::Text(command)),
                ("parent_path", ColumnValue::Text(parent)),
                ("process_pid", ColumnValue::Int(i64::try_from(random.below(60_000)).unwrap())),
                ("process_user_name", ColumnValue::Text(format!("user{}", random.skewed(200)))),
            ];
            (1007, columns)
        }
        4..=6 => {
            let dst =
                format!("{}.{}.{}.{}", 20 + random.skewed(60), random.below(250), random.below(250), random.below(250));
            let columns = vec![
                (
                    "src_ip",
                    ColumnValue::Text(format!("10.{}.{}.{}", tenant % 250, random.below(250), random.below(250))),
                ),
                ("dst_ip", ColumnValue::Text(dst)),
                ("src_port", ColumnValue::Int(i64::try_from(1024 + random.below(60_000)).unwrap())),
                ("dst_port", ColumnValue::Int([443, 80, 53, 22][usize::try_from(random.below(4)).unwrap()])),
            ];
            (4001, columns)
        }
        7 | 8 => (
            4003,
            vec![(
                "query_hostname",
                ColumnValue::Text(format!("h{}.domain{}.example", random.skewed(5000), random.skewed(900))),
            )],
        ),
        _ => (6003, vec![("api_operation", ColumnValue::Text(format!("Operation{}", random.skewed(80))))]),
    };
    let mut event = Normalised {
        class_uid,
        activity_id: 1,
        severity_id: i64::try_from(1 + random.skewed(5)).unwrap(),
        time: Timestamp::from_micros(micros),
        ..Normalised::default()
    };
    let mut raw = format!(
        "{{\"EventID\":{},\"Computer\":\"{host}\",\"UtcTime\":\"{}\",\"Guid\":\"{:016x}{:016x}\"",
        class_uid % 97,
        event.time,
        random.next(),
        random.next()
    );
    for (name, value) in columns.into_iter().chain([("device_hostname", ColumnValue::Text(host))]) {
        let text = match &value {
            ColumnValue::Text(text) => serde_json::to_string(text).unwrap(),
            ColumnValue::Int(number) => number.to_string(),
        };
        raw.push_str(&format!(",\"{name}\":{text}"));
        event.columns.push((COLUMNS.iter().position(|column| column.name == name).unwrap(), value));
    }
    let hash = format!("{:016x}{:016x}", random.below(3_000), 0x5eed_u64);
    raw.push_str(&format!(
        ",\"Hashes\":\"SHA256={hash}\",\"requestParameters\":{{\"bucketName\":\"logs-{}\"}}",
        random.below(50_000)
    ));
    for filler in 0..8 {
        raw.push_str(&format!(
            ",\"FieldNumber{filler}\":\"value of the field {} {:06x}\"",
            random.skewed(50),
            random.below(1 << 24)
        ));
    }
    raw.push('}');
    event.observables.push(Observable { kind: ObservableKind::Hash, type_id: 8, path: String::new(), value: hash });
    Made { event, raw, tenant }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = std::path::PathBuf::from(arguments.next().unwrap());
    let events: u64 = arguments.next().unwrap().parse().unwrap();
    let catalog = Arc::new(catalog::Memory::new(lake::table().unwrap(), Arc::new(Still)));
    let options = Options {
        folder: folder.clone(),
        sync: Arc::new(|_| Ok(())),
        catalog: Arc::clone(&catalog) as Arc<dyn catalog::Catalog>,
        clock: Arc::new(Still),
        limits: Limits { time_max: std::time::Duration::from_secs(300), ..Limits::default() },
    };
    let (lake, mut writer) = Lake::open(options).await.unwrap();
    let mut random = Random(42);
    let mut writing = 0.0;
    let mut raw_bytes = 0;
    for number in 0..events {
        let made = make(&mut random, number, events);
        raw_bytes += made.raw.len();
        let row = Row {
            tenant: TenantId::derive(&[&made.tenant.to_be_bytes()]),
            source: "measure",
            received: made.event.time,
            segment: number >> 20,
            offset: number & 0xf_ffff,
            index: 0,
            part: 0,
            event: &made.event,
            raw: &made.raw,
        };
        writer.append(&row);
        if number % 8_192 == 0 {
            writer.seal();
        }
        if number % 200_000 == 199_999 || number + 1 == events {
            let before = cpu_secs();
            writer.start_flush(vec![]).unwrap().run().await.unwrap();
            writing += cpu_secs() - before;
        }
    }
    println!(
        "raw {} bytes an event; flush {:.2} s of processor a million",
        raw_bytes / usize::try_from(events).unwrap(),
        writing * 1e6 / f64_of(events)
    );
    println!(
        "flushed: {:.1} bytes an event in {} files",
        f64_of(lake.size().file_bytes) / f64_of(events),
        lake.size().files
    );
    let before = cpu_secs();
    let state = catalog::Catalog::load(&*catalog).await.unwrap();
    let mut keyed: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in state.files.values() {
        keyed.entry((file.class_uid, file.day)).or_default().push(file.id);
    }
    for files in keyed.values() {
        lake.compact(files, catalog::LEVEL_DAY).await.unwrap();
    }
    println!(
        "compacted: {:.1} bytes an event in {} files, {:.2} s of processor a million",
        f64_of(lake.size().file_bytes) / f64_of(events),
        lake.size().files,
        (cpu_secs() - before) * 1e6 / f64_of(events)
    );
    ask_all(&lake).await;
}

fn f64_of(number: u64) -> f64 {
    u32::try_from(number / 1000).map_or(f64::MAX, |thousands| f64::from(thousands) * 1000.0)
}

async fn ask_all(lake: &Lake) {
    let largest = TenantId::derive(&[&0_u64.to_be_bytes()]);
    let all = Scope::Tenants((0..TENANTS).map(|tenant| TenantId::derive(&[&tenant.to_be_bytes()])).collect());
    let at = |back: u64| format!("to_timestamp_seconds({})", END_SECS - back);
    let (week, day, hour) = (at(7 * 86_400), at(86_400), (at(36 * 3_600), at(35 * 3_600)));
    let hash = format!("{:016x}{:016x}", 17, 0x5eed_u64);
    let questions: Vec<(&str, Scope, String)> = vec![
        ("q1", Scope::Tenant(largest), format!("SELECT severity_id, count(*) AS n FROM events WHERE time >= {day} GROUP BY 1")),
        ("q2b", all.clone(), format!("SELECT tenant, time, device_hostname, process_path FROM events WHERE has_observable('hash', '{hash}')")),
        ("q2n", all.clone(), "SELECT tenant, time, device_hostname FROM events WHERE src_ip = '198.51.100.99' OR dst_ip = '198.51.100.99'".to_owned()),
        ("q3", all.clone(), format!("SELECT tenant, time, device_hostname, process_cmd_line FROM process_activity WHERE time >= {week} AND process_cmd_line LIKE '%-enc %'")),
        ("q4", all.clone(), "SELECT * FROM (SELECT tenant, parent_path, process_path, n, row_number() OVER (PARTITION BY tenant ORDER BY n, parent_path, process_path) AS place FROM (SELECT tenant, parent_path, process_path, count(*) AS n FROM process_activity GROUP BY 1, 2, 3) AS pairs) AS ranked WHERE place <= 10".to_owned()),
        ("q5", Scope::Tenant(largest), format!("SELECT time, class_uid, process_path, dst_ip, raw FROM events WHERE device_hostname = 'ws0001.t000.example.com' AND time >= {} AND time < {} ORDER BY time DESC LIMIT 100", hour.0, hour.1)),
        ("q6", all.clone(), format!("WITH found AS (SELECT tenant, device_hostname, time FROM process_activity WHERE time >= {week} AND process_cmd_line LIKE '%-enc %') SELECT found.tenant, found.device_hostname, events.class_uid, count(*) AS n FROM found JOIN events ON events.tenant = found.tenant AND events.device_hostname = found.device_hostname AND events.time BETWEEN found.time - interval '5 minutes' AND found.time + interval '5 minutes' WHERE events.time >= {week} - interval '5 minutes' GROUP BY 1, 2, 3")),
        ("q7", all.clone(), format!("SELECT tenant, count(*) AS n FROM api_activity WHERE time >= {week} AND field(raw, 'requestParameters.bucketName') = 'logs-4711' GROUP BY 1")),
        ("q8", all.clone(), "SELECT date_trunc('hour', time) AS hour, class_uid, count(*) AS n FROM events GROUP BY 1, 2".to_owned()),
        ("q9", all, format!("SELECT count(*) AS n FROM events WHERE time >= {week} AND raw LIKE '%AIDAFFFF%'")),
    ];
    for (name, scope, sql) in questions {
        let mut times = Vec::new();
        for _ in 0..4 {
            let before = cpu_secs();
            let found =
                lake.ask(Ask { scope: scope.clone(), sql: sql.clone(), rows_max: 10_000, offset: 0 }).await.unwrap();
            times.push(((cpu_secs() - before) * 1000.0, found));
        }
        let cold = times.remove(0).0;
        times.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (warm, found) = &times[1];
        println!(
            "{name}: cold {cold:.0} ms, warm {warm:.0} ms, {} rows, {} files, {} MB",
            found.rows.len(),
            found.provenance.files,
            found.provenance.bytes >> 20
        );
    }
}
