//! Folders of Parquet as tables: whose they are, under which names, what is read of them, and what is refused.

use crate::bed::{Bed, scope, tenant};
use ids::Scope;
use lake::{
    Answer, Ask, AskError, ExternalColumn, ExternalFault, ExternalFolder, ExternalKind, ExternalTable, Format,
    LakeError, export,
};
use serde_json::{Value, json};
use std::path::Path;

struct Ground {
    bed: Bed,
    folder: tempfile::TempDir,
}

impl Ground {
    /// A lake with a folder `logs` in which two days lie, seven rows each, six of them of workstations.
    async fn new() -> Self {
        let bed = Bed::hot().await;
        let folder = tempfile::tempdir().unwrap();
        let ground = Self { bed, folder };
        for day in ["2026-11-01", "2026-11-02"] {
            ground
                .put(&format!("logs/day={day}/x.parquet"), "device_hostname AS host, severity_id AS level, time")
                .await;
        }
        let allowed = ExternalFolder { folder: ground.path("").to_string_lossy().into_owned(), tenants: None };
        ground.bed.lake.allow_external_folders(vec![allowed]);
        ground
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        let root = self.folder.path().canonicalize().unwrap();
        if below.is_empty() { root } else { root.join(below) }
    }

    async fn put(&self, below: &str, columns: &str) {
        let sql = format!("SELECT {columns} FROM events WHERE device_hostname IS NOT NULL");
        let found = self.bed.lake.ask_batches(scope("a"), sql, 100, 0).await.unwrap();
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, export(&found, Format::Parquet).unwrap()).unwrap();
    }

    fn table(&self, columns: &[(&str, &str, Option<ExternalKind>)]) -> ExternalTable {
        let column = |(from, name, kind): &(&str, &str, Option<ExternalKind>)| ExternalColumn {
            from: (*from).to_owned(),
            name: (*name).to_owned(),
            kind: *kind,
        };
        let columns = columns.iter().map(column).collect();
        ExternalTable { name: "inventory".to_owned(), folder: self.path("logs"), columns }
    }

    async fn ask(&self, who: Scope, sql: &str) -> Result<Answer, AskError> {
        self.bed.lake.ask(Ask { scope: who, sql: sql.to_owned(), rows_max: 100, offset: 0 }).await
    }

    async fn fault(&self, table: ExternalTable) -> ExternalFault {
        match self.bed.lake.look_at_external(tenant("a"), table).await {
            Err(LakeError::External(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_table_is_its_tenants_alone() {
    let ground = Ground::new().await;
    ground.bed.lake.set_external_tables(tenant("a"), vec![ground.table(&[])]);
    let sql = "SELECT day, count(*), max(level) FROM inventory WHERE host LIKE 'WS%' GROUP BY day ORDER BY day";
    let rows = ground.ask(scope("a"), sql).await.unwrap().rows;
    assert_eq!(rows, [["2026-11-01", "2026-11-02"].map(|day| vec![json!(day), json!(6), json!(4)])].concat());
    let listed = "SELECT table_name FROM information_schema.tables WHERE table_name = 'inventory'";
    let described = "SELECT column_name FROM information_schema.columns WHERE table_name = 'inventory'";
    assert_eq!(ground.ask(scope("a"), listed).await.unwrap().rows.len(), 1);
    assert_eq!(ground.ask(scope("a"), described).await.unwrap().rows.len(), 4);
    let both = Scope::Tenants([tenant("a"), tenant("b")].into());
    for other in [scope("b"), both, Scope::Provider] {
        assert!(matches!(ground.ask(other.clone(), sql).await, Err(AskError::Plan(_))), "{other:?}");
        for question in [listed, described] {
            assert_eq!(ground.ask(other.clone(), question).await.unwrap().rows, Vec::<Vec<Value>>::new());
        }
    }
    ground.bed.lake.set_external_tables(tenant("a"), Vec::new());
    assert!(ground.ask(scope("a"), sql).await.is_err());
}

#[tokio::test]
async fn columns_have_the_names_and_types_of_the_mapping() {
    let ground = Ground::new().await;
    let mapping = [
        ("host", "device_hostname", None),
        ("level", "severity_id", Some(ExternalKind::Text)),
        ("level", "level_number", Some(ExternalKind::Float)),
        ("day", "day", Some(ExternalKind::Time)),
        ("time", "happened", None),
    ];
    let table = ground.table(&mapping);
    let seen = ground.bed.lake.look_at_external(tenant("a"), table.clone()).await.unwrap();
    let told: Vec<(&str, &str)> = seen.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    let wanted = [
        ("device_hostname", "text"),
        ("severity_id", "text"),
        ("level_number", "number"),
        ("happened", "time"),
        ("day", "time"),
    ];
    assert_eq!(told, wanted);
    assert_eq!((seen.files, seen.partitions), (2, vec!["day".to_owned()]));
    ground.bed.lake.set_external_tables(tenant("a"), vec![table]);
    let sql = "SELECT i.severity_id, i.level_number, i.day FROM inventory i JOIN events e ON e.device_hostname = i.device_hostname
               WHERE i.day > timestamp '2026-11-01T12:00:00Z' AND i.severity_id = '4' LIMIT 1";
    let rows = ground.ask(scope("a"), sql).await.unwrap().rows;
    assert_eq!(rows, [[json!("4"), json!(4.0), json!("2026-11-02T00:00:00Z")]]);
    let missing = ground.fault(ground.table(&[("hosst", "x", None)])).await;
    assert_eq!(missing, ExternalFault::NoColumn { name: "hosst".to_owned(), near: vec!["host".to_owned()] });
    let twice = ground.fault(ground.table(&[("host", "level", None)])).await;
    assert_eq!(twice, ExternalFault::ColumnTwice("level".to_owned()));
    for name in ["events", "actions", "detections", "process_activity", "information_schema"] {
        let table = ExternalTable { name: name.to_owned(), ..ground.table(&[]) };
        assert_eq!(ground.fault(table).await, ExternalFault::Reserved(name.to_owned()));
    }
}

#[tokio::test]
async fn partitions_that_are_not_asked_for_are_not_read_and_new_files_are_seen() {
    let ground = Ground::new().await;
    ground.bed.lake.set_external_tables(tenant("a"), vec![ground.table(&[])]);
    let one = "SELECT count(*) FROM inventory WHERE day = '2026-11-02'";
    let found = ground.ask(scope("a"), one).await.unwrap();
    assert_eq!((found.rows, found.provenance.files), (vec![vec![json!(7)]], 1));
    let told = ground.bed.lake.estimate_sql(scope("a"), one.to_owned()).await.unwrap();
    assert_eq!((told.files, told.files_skipped), (1, 1));
    let none = ground.ask(scope("a"), "SELECT host FROM inventory WHERE day > '2027'").await.unwrap();
    assert_eq!((none.rows.len(), none.provenance.files), (0, 0));
    // A column that only the newer file has.
    ground.put("logs/day=2026-11-03/y.parquet", "device_hostname AS host, class_uid AS kind").await;
    let all = "SELECT count(*), count(kind), count(level) FROM inventory";
    assert_eq!(ground.ask(scope("a"), all).await.unwrap().rows, [[json!(21), json!(7), json!(14)]]);
    // A file that is written anew is read anew, though its footer was kept.
    ground
        .put("logs/day=2026-11-03/y.parquet", "device_hostname AS host, class_uid AS kind, severity_id AS level")
        .await;
    assert_eq!(ground.ask(scope("a"), all).await.unwrap().rows, [[json!(21), json!(7), json!(21)]]);
}

#[tokio::test]
async fn what_lies_elsewhere_is_refused_at_each_question() {
    let ground = Ground::new().await;
    ground.bed.lake.set_external_tables(tenant("a"), vec![ground.table(&[])]);
    let sql = "SELECT count(*) FROM inventory";
    assert!(ground.ask(scope("a"), sql).await.is_ok());
    let refused = async |text: &str| {
        let error = ground.ask(scope("a"), sql).await.unwrap_err().to_string();
        assert!(error.contains(text) && !error.contains(&*ground.path("").to_string_lossy()), "{error}");
    };
    let away = tempfile::tempdir().unwrap();
    std::fs::rename(ground.path("logs"), away.path().join("logs")).unwrap();
    refused("cannot be read").await;
    link(&away.path().join("logs"), &ground.path("logs"));
    refused("symbolic link").await;
    std::fs::remove_file(ground.path("logs")).unwrap();
    std::fs::rename(away.path().join("logs"), ground.path("logs")).unwrap();
    link(&ground.path("logs/day=2026-11-01/x.parquet"), &ground.path("logs/day=2026-11-01/z.parquet"));
    refused("symbolic link `day=2026-11-01/z.parquet`").await;
    std::fs::remove_file(ground.path("logs/day=2026-11-01/z.parquet")).unwrap();
    std::fs::write(ground.path("logs/day=2026-11-01/a.parquet"), b"no parquet").unwrap();
    refused("cannot be read as Parquet").await;
    std::fs::remove_file(ground.path("logs/day=2026-11-01/a.parquet")).unwrap();
    assert!(ground.ask(scope("a"), sql).await.is_ok());
    ground.bed.lake.allow_external_folders(Vec::new());
    refused("external_folders").await;
}

fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[tokio::test]
async fn an_estimate_of_sql_knows_tables_and_conditions() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    let told = async |sql: &str| bed.lake.estimate_sql(scope("a"), sql.to_owned()).await;
    let all = told("SELECT count(*) FROM events").await.unwrap();
    assert!(all.files > 1 && all.files_skipped == 0 && all.bytes_max > 0, "{all:?}");
    let class = told("SELECT count(*) FROM dns_activity").await.unwrap();
    assert_eq!((class.files, class.rows), (2, 2), "{class:?}");
    assert_eq!(class.files + class.files_skipped, all.files);
    let twice = told("SELECT * FROM dns_activity UNION ALL SELECT * FROM dns_activity").await.unwrap();
    assert_eq!(twice.rows, 2 * class.rows);
    let none = told("SELECT * FROM events WHERE time > timestamp '2090-01-01T00:00:00Z'").await.unwrap();
    assert_eq!((none.files, none.rows), (0, 0));
    assert!(matches!(told("SELECT nothing FROM events").await, Err(AskError::UnknownColumn { .. })));
    assert!(matches!(told("DELETE FROM events").await, Err(AskError::Forbidden { .. })));
}
