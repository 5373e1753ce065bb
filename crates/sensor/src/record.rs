//! The sensor's record: one JSON object per line. Field names are those of Sysmon for Linux and of Sigma where these have
//! one, so that rules written for them match as they are; `content/mappings/sensor.toml` makes OCSF events of them.
//! Names are stable: new ones may come, none changes its meaning without a new [`RECORD_VERSION`].
//!
//! | field | in | meaning |
//! |---|---|---|
//! | `RecordVersion` | all | [`RECORD_VERSION`] |
//! | `Category` | all | what happened, in Sigma's words: `process_creation`, `process_termination`, `network_connection`, `file_event`, `file_change`, `file_delete`, `file_rename`, and our own `sensor_loss` |
//! | `UtcTime` | all | when, RFC 3339 with microseconds |
//! | `Computer` | all | the host's name |
//! | `BootId` | all | which boot of it |
//! | `Sequence` | all | number of the record since the sensor started, from 1; a gap is a loss |
//! | `Origin` | all | `ebpf`, `fanotify`, `proc_connector` or `injected` |
//! | `ProcessId`, `ProcessGuid` | all but loss | the process that acts; the GUID is `BOOT:PID:START` and never reused |
//! | `Image`, `CommandLine`, `CurrentDirectory` | process, else as far as known | its file, its arguments joined by blanks, the folder it works in |
//! | `CommandLineTruncated` | process | whether arguments were cut at 8,190 bytes |
//! | `User`, `UserId`, `EffectiveUserId` | process, else as far as known | whom it runs for, whose rights it has |
//! | `ParentProcessId`, `ParentProcessGuid`, `ParentImage`, `ParentCommandLine`, `ParentUser` | process | who made it (not who the kernel made its parent later) |
//! | `Hashes` | process | `SHA256=` and 64 hexadecimal digits; absent where the file was gone or too large |
//! | `CgroupId`, `ContainerId` | process | cgroup version 2's number; the container's 64 digits |
//! | `ExitCode`, `ExitSignal` | termination | one of them |
//! | `Protocol`, `Initiated`, `Established` | connection | `tcp`; whether this host asked; whether it came about |
//! | `SourceIp`, `SourcePort`, `DestinationIp`, `DestinationPort` | connection | who asked, who was asked |
//! | `TargetFilename`, `SourceFilename` | file | the path, and before a rename |
//! | `FileType` | file | `file` or `folder` |
//! | `Lost` | loss | how many observations were lost since the last such record |

use crate::identity::ProcessGuid;
use ids::Timestamp;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Version of the format.
pub const RECORD_VERSION: u32 = 1;

/// One record.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub record_version: u32,
    /// When.
    pub utc_time: Timestamp,
    /// The host's name.
    pub computer: Arc<str>,
    /// The boot.
    pub boot_id: Arc<str>,
    /// Number since start.
    pub sequence: u64,
    /// Which source saw it.
    pub origin: crate::source::Mode,
    /// The process that acts.
    #[serde(flatten)]
    pub process: ProcessFields,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

impl Record {
    /// The record as one line of JSON with its line end.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The process that acts.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessFields {
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<u32>,
    /// Its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_guid: Option<ProcessGuid>,
    /// Its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Arc<str>>,
    /// Its arguments, joined by blanks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Arc<str>>,
    /// Whom it runs for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The number of that user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u32>,
    /// Its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Arc<str>>,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "Category", rename_all = "snake_case")]
pub enum Body {
    /// A file was made.
    FileEvent(FileFields),
    /// A file was open for writing and has been closed.
    FileChange(FileFields),
    /// A file is gone.
    FileDelete(FileFields),
    /// A file has another name.
    FileRename(FileFields),
    /// A TCP connection.
    NetworkConnection(ConnectionFields),
    /// A program was started.
    ProcessCreation(Box<CreationFields>),
    /// A process ended.
    ProcessTermination(TerminationFields),
    /// Observations were lost.
    SensorLoss(LossFields),
}

/// A program was started.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreationFields {
    /// The folder it works in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_directory: Option<String>,
    /// Whether arguments were cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub command_line_truncated: bool,
    /// Whose rights it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_user_id: Option<u32>,
    /// Its maker's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_process_id: Option<u32>,
    /// Its maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_process_guid: Option<ProcessGuid>,
    /// Its maker's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_image: Option<Arc<str>>,
    /// Its maker's arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_command_line: Option<Arc<str>>,
    /// Whom its maker runs for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_user: Option<Arc<str>>,
    /// `SHA256=...` of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashes: Option<String>,
    /// Its cgroup's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
}

/// A process ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminationFields {
    /// The code it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<u32>,
}

/// A TCP connection.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectionFields {
    /// `tcp`.
    pub protocol: &'static str,
    /// Whether this host asked.
    pub initiated: bool,
    /// Whether it came about.
    pub established: bool,
    /// Who asked.
    pub source_ip: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// Who was asked.
    pub destination_ip: IpAddr,
    /// At which port.
    pub destination_port: u16,
}

/// A file changed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FileFields {
    /// Its path, after the change.
    pub target_filename: String,
    /// Before a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_filename: Option<String>,
    /// `file` or `folder`.
    pub file_type: &'static str,
}

/// Observations were lost.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LossFields {
    /// How many since the last such record.
    pub lost: u64,
}
