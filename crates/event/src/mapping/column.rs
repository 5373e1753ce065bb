//! The typed columns that tables keep beside the raw text: about 20 per class group, each an OCSF path.

/// The type of a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// 64 signed bits.
    Int,
}

/// One typed column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Column {
    /// Its name in SQL: the OCSF path with `_` for `.`.
    pub name: &'static str,
    /// The OCSF path that fills it.
    pub path: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// The categories whose tables have it; empty for all.
    pub categories: &'static [u32],
}

const fn text(name: &'static str, path: &'static str, categories: &'static [u32]) -> Column {
    Column { name, path, kind: ColumnType::Text, categories }
}

const fn int(name: &'static str, path: &'static str, categories: &'static [u32]) -> Column {
    Column { name, path, kind: ColumnType::Int, categories }
}

/// System, network: what a host or a wire says. IAM, application: what an account did.
const HOST: &[u32] = &[1];
const WIRE: &[u32] = &[4];
const ACCOUNT: &[u32] = &[3, 6];
const FINDING: &[u32] = &[2];
const REMEDY: &[u32] = &[7];
const NOT_FINDING: &[u32] = &[0, 1, 3, 4, 5, 6, 7];

/// Every column beyond class, activity, time and severity. Their order is fixed: new ones go to the end.
pub const COLUMNS: &[Column] = &[
    text("message", "message", &[]),
    int("status_id", "status_id", &[]),
    text("status_detail", "status_detail", NOT_FINDING),
    text("device_hostname", "device.hostname", &[]),
    text("device_ip", "device.ip", NOT_FINDING),
    text("actor_user_name", "actor.user.name", &[]),
    text("actor_user_uid", "actor.user.uid", NOT_FINDING),
    text("actor_process_path", "actor.process.file.path", HOST),
    int("actor_process_pid", "actor.process.pid", HOST),
    text("actor_process_uid", "actor.process.uid", HOST),
    text("process_path", "process.file.path", HOST),
    text("process_name", "process.name", HOST),
    text("process_cmd_line", "process.cmd_line", HOST),
    int("process_pid", "process.pid", HOST),
    text("process_uid", "process.uid", HOST),
    text("process_user_name", "process.user.name", HOST),
    text("parent_path", "process.parent_process.file.path", HOST),
    text("parent_cmd_line", "process.parent_process.cmd_line", HOST),
    text("parent_uid", "process.parent_process.uid", HOST),
    text("file_path", "file.path", &[1, 4]),
    text("file_name", "file.name", &[1, 4]),
    text("module_path", "module.file.path", HOST),
    text("reg_key_path", "reg_key.path", HOST),
    text("reg_value_name", "reg_value.name", HOST),
    text("reg_value_data", "reg_value.data", HOST),
    text("script_content", "script.script_content.value", HOST),
    text("src_ip", "src_endpoint.ip", &[1, 3, 4, 6]),
    int("src_port", "src_endpoint.port", &[1, 3, 4, 6]),
    text("src_hostname", "src_endpoint.hostname", &[1, 3, 4, 6]),
    text("dst_ip", "dst_endpoint.ip", &[1, 3, 4, 6]),
    int("dst_port", "dst_endpoint.port", &[1, 3, 4, 6]),
    text("dst_hostname", "dst_endpoint.hostname", &[1, 3, 4, 6]),
    text("protocol_name", "connection_info.protocol_name", WIRE),
    int("bytes_in", "traffic.bytes_in", WIRE),
    int("bytes_out", "traffic.bytes_out", WIRE),
    text("query_hostname", "query.hostname", WIRE),
    text("url", "http_request.url.url_string", &[4, 6]),
    text("user_agent", "http_request.user_agent", &[3, 4, 6]),
    text("ja3", "tls.ja3_hash.value", WIRE),
    text("user_name", "user.name", ACCOUNT),
    text("user_uid", "user.uid", ACCOUNT),
    text("user_email", "user.email_addr", ACCOUNT),
    text("group_name", "group.name", ACCOUNT),
    text("logon_type", "logon_type", ACCOUNT),
    text("api_operation", "api.operation", ACCOUNT),
    text("api_service", "api.service.name", ACCOUNT),
    text("resource_uid", "resources.0.uid", &[2, 3, 6]),
    text("cloud_account", "cloud.account.uid", &[2, 3, 6]),
    text("cloud_region", "cloud.region", &[2, 3, 6]),
    text("finding_title", "finding_info.title", FINDING),
    text("finding_uid", "finding_info.uid", FINDING),
    text("rule_uid", "finding_info.analytic.uid", FINDING),
    text("command_uid", "command_uid", REMEDY),
];

impl Column {
    /// Whether the table of a class has this column.
    #[must_use]
    pub fn belongs_to(&self, class_uid: u32) -> bool {
        // Classes of extensions carry the extension's number above 100,000.
        let category = class_uid.checked_rem(100_000).and_then(|uid| uid.checked_div(1000)).unwrap_or(0);
        self.categories.is_empty() || self.categories.contains(&category)
    }
}

/// The columns that a class's table has.
pub fn columns_of(class_uid: u32) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.belongs_to(class_uid))
}
