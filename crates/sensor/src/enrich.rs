//! From observations to records: who the process is, who made it, what it runs. Keeps what is known of each living
//! process and, for a while, of those that ended: an event of a file may be read after the process that caused it.

use crate::hash::Programs;
use crate::identity::{ProcessGuid, ProcessKey};
use crate::lineage::Lineage;
use crate::observation::{Connection, Exec, Exit, FileAction, FileChange, Fork, Observation};
use crate::proc;
use crate::record::{
    Body, ConnectionFields, CreationFields, FileFields, LossFields, ProcessFields, RECORD_VERSION, Record,
    TerminationFields,
};
use crate::source::Mode;
use crate::telemetry::TelemetryOptions;
use crate::users::Users;
use ids::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

/// Ended processes that are remembered.
const ENDED_MAX: usize = 20_000;

/// What is known of a process.
#[derive(Clone, Debug, Default)]
struct Process {
    image: Option<Arc<str>>,
    command_line: Option<Arc<str>>,
    uid: Option<u32>,
    container: Option<Arc<str>>,
    /// It is, or was made by, the process that alone is of interest; everything is where the whole host is.
    in_scope: bool,
}

/// The host, as records name it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) computer: Arc<str>,
    pub(crate) boot: Arc<str>,
}

/// Makes records.
pub(crate) struct Enricher {
    host: Host,
    known: HashMap<ProcessKey, Process>,
    latest: HashMap<u32, ProcessKey>,
    ended: VecDeque<ProcessKey>,
    programs: Programs,
    users: Users,
    sequence: u64,
    process_mode: Mode,
    lineage: Arc<Lineage>,
    below: Option<u32>,
}

fn text(path: &Path) -> Arc<str> {
    Arc::from(path.to_string_lossy())
}

impl Enricher {
    pub(crate) fn new(host: Host, options: &TelemetryOptions, process_mode: Mode, lineage: Arc<Lineage>) -> Self {
        let mut enricher = Self {
            host,
            known: HashMap::new(),
            latest: HashMap::new(),
            ended: VecDeque::new(),
            programs: Programs::new(options.hash_bytes_max),
            users: Users::default(),
            sequence: 0,
            process_mode,
            lineage,
            below: options.below,
        };
        for stat in proc::processes() {
            enricher.look_up(stat.key);
            if let Some(maker) = enricher.latest.get(&stat.parent_pid) {
                enricher.lineage.made(stat.key, *maker);
            }
        }
        enricher
    }

    /// The record of an observation; none for what only adds to what is known, or is not of interest.
    pub(crate) fn record(&mut self, observation: Observation) -> Option<Record> {
        let (key, sequence) = (self.actor(&observation), self.sequence);
        let of_file = matches!(observation, Observation::File(_));
        let record = match observation {
            Observation::Connection(connection) => self.connection(&connection),
            Observation::Exec(exec) => self.exec(*exec),
            Observation::Exit(exit) => self.exit(&exit),
            Observation::File(change) => self.file(&change),
            Observation::Fork(fork) => {
                self.fork(&fork);
                return None;
            }
        };
        let known = key.and_then(|key| self.known.get(&key));
        // Of a watched file whose process ended before it was seen: told rather than lost.
        let of_interest = self.below.is_none() || known.map_or(of_file, |process| process.in_scope);
        if !of_interest {
            // What nobody is told leaves no gap.
            self.sequence = sequence;
        }
        of_interest.then_some(record)
    }

    /// Whose doing an observation is.
    fn actor(&self, observation: &Observation) -> Option<ProcessKey> {
        match observation {
            Observation::Connection(connection) => connection.key,
            Observation::Exec(exec) => Some(exec.key),
            Observation::Exit(exit) => Some(exit.key),
            Observation::File(change) => self.latest.get(&change.pid).copied(),
            Observation::Fork(fork) => Some(fork.key),
        }
    }

    /// A record that says how much was lost.
    pub(crate) fn loss(&mut self, at: Timestamp, origin: Mode, lost: u64) -> Record {
        self.finish(at, origin, ProcessFields::default(), Body::SensorLoss(LossFields { lost }))
    }

    fn finish(&mut self, at: Timestamp, origin: Mode, process: ProcessFields, body: Body) -> Record {
        self.sequence = self.sequence.saturating_add(1);
        Record {
            record_version: RECORD_VERSION,
            utc_time: at,
            computer: Arc::clone(&self.host.computer),
            boot_id: Arc::clone(&self.host.boot),
            sequence: self.sequence,
            origin,
            process,
            body,
        }
    }

    fn guid(&self, key: ProcessKey) -> ProcessGuid {
        ProcessGuid { boot: self.host.boot.to_string(), key }
    }

    /// What is known of a process, from memory or from `/proc`.
    fn look_up(&mut self, key: ProcessKey) -> Process {
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let Some(details) = proc::details(key.pid).filter(|details| details.stat.key == key) else {
            return Process::default();
        };
        let line = if details.arguments.is_empty() {
            // A thread of the kernel has no arguments; its name stands in brackets, as `ps` writes it.
            format!("[{}]", details.stat.name)
        } else {
            details.arguments.join(" ")
        };
        let process = Process {
            image: details.image.as_deref().map(text),
            command_line: Some(Arc::from(line)),
            uid: Some(details.uid),
            container: proc::container(&details.cgroups).map(Arc::from),
            in_scope: self.below == Some(key.pid),
        };
        self.remember(key, process.clone());
        process
    }

    fn remember(&mut self, key: ProcessKey, process: Process) {
        self.latest.insert(key.pid, key);
        self.known.insert(key, process);
    }

    fn fields(&mut self, key: ProcessKey) -> ProcessFields {
        let process = self.look_up(key);
        ProcessFields {
            process_id: Some(key.pid),
            process_guid: Some(self.guid(key)),
            image: process.image,
            command_line: process.command_line,
            user: process.uid.map(|uid| self.users.name(uid)),
            user_id: process.uid,
            container_id: process.container,
        }
    }

    fn fork(&mut self, fork: &Fork) {
        // Until it runs another program, a process is its maker's copy.
        let process = self.look_up(fork.parent);
        self.lineage.made(fork.key, fork.parent);
        self.remember(fork.key, process);
    }

    fn exec(&mut self, exec: Exec) -> Record {
        let before = self.known.get(&exec.key).cloned();
        // A source that asks `/proc` may come too late, or find another parent by then.
        let maker = self.lineage.maker(exec.key).or(exec.parent);
        let parent = maker.map(|parent| (parent, self.look_up(parent)));
        let cgroups = || std::fs::read_to_string(format!("/proc/{}/cgroup", exec.key.pid)).ok();
        // Whoever made it was in the same container, but for the process that begins one.
        let inherited = before.as_ref().or(parent.as_ref().map(|(_, parent)| parent));
        let inherited = inherited.and_then(|process| process.container.clone());
        let container = cgroups().map_or(inherited, |cgroups| proc::container(&cgroups).map(Arc::from));
        let hashes = self.programs.digest(exec.key, exec.file, exec.image.as_deref());
        let arguments = exec.arguments.or_else(|| {
            let details = proc::details(exec.key.pid).filter(|details| details.stat.key == exec.key)?;
            Some(details.arguments)
        });
        let process = Process {
            image: exec.image.as_deref().map(text),
            command_line: arguments.map(|arguments| Arc::from(arguments.join(" "))),
            uid: (exec.uid != u32::MAX).then_some(exec.uid).or(before.as_ref().and_then(|process| process.uid)),
            container,
            in_scope: self.below == Some(exec.key.pid)
                || before.is_some_and(|process| process.in_scope)
                || parent.as_ref().is_some_and(|(_, parent)| parent.in_scope),
        };
        self.remember(exec.key, process);
        let parent_user = parent.as_ref().and_then(|(_, parent)| parent.uid).map(|uid| self.users.name(uid));
        let body = CreationFields {
            current_directory: exec.folder.map(|folder| folder.to_string_lossy().into_owned()),
            command_line_truncated: exec.truncated,
            effective_user_id: (exec.euid != u32::MAX).then_some(exec.euid),
            parent_process_id: parent.as_ref().map(|(key, _)| key.pid),
            parent_process_guid: parent.as_ref().map(|(key, _)| self.guid(*key)),
            parent_image: parent.as_ref().and_then(|(_, parent)| parent.image.clone()),
            parent_command_line: parent.as_ref().and_then(|(_, parent)| parent.command_line.clone()),
            parent_user,
            hashes: hashes.map(|digest| format!("SHA256={}", digest.to_hex())),
            cgroup_id: exec.cgroup,
        };
        let fields = self.fields(exec.key);
        self.finish(exec.at, self.process_mode, fields, Body::ProcessCreation(Box::new(body)))
    }

    fn exit(&mut self, exit: &Exit) -> Record {
        let fields = self.fields(exit.key);
        if self.known.contains_key(&exit.key) {
            self.ended.push_back(exit.key);
        }
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.known.remove(&oldest);
            self.lineage.forget(oldest);
            if self.latest.get(&oldest.pid) == Some(&oldest) {
                self.latest.remove(&oldest.pid);
            }
        }
        let (code, signal) = (exit.status >> 8 & 0xff, exit.status & 0x7f);
        let by_signal = signal != 0;
        let body =
            TerminationFields { exit_code: (!by_signal).then_some(code), exit_signal: by_signal.then_some(signal) };
        self.finish(exit.at, self.process_mode, fields, Body::ProcessTermination(body))
    }

    fn connection(&mut self, connection: &Connection) -> Record {
        let mut fields = connection.key.map_or_else(ProcessFields::default, |key| self.fields(key));
        if fields.user_id.is_none() && connection.uid.is_some() {
            fields.user_id = connection.uid;
            fields.user = connection.uid.map(|uid| self.users.name(uid));
        }
        let (source, destination) = if connection.outgoing {
            (connection.local, connection.remote)
        } else {
            (connection.remote, connection.local)
        };
        let body = ConnectionFields {
            protocol: "tcp",
            initiated: connection.outgoing,
            established: connection.established,
            source_ip: source.0,
            source_port: source.1,
            destination_ip: destination.0,
            destination_port: destination.1,
        };
        self.finish(connection.at, self.process_mode, fields, Body::NetworkConnection(body))
    }

    fn file(&mut self, change: &FileChange) -> Record {
        let living = || proc::stat(change.pid).map(|stat| stat.key);
        let key = self.latest.get(&change.pid).copied().or_else(living);
        let mut fields = key.map_or_else(ProcessFields::default, |key| self.fields(key));
        fields.process_id = Some(change.pid).filter(|pid| *pid != 0);
        let body = FileFields {
            target_filename: change.path.to_string_lossy().into_owned(),
            source_filename: change.before.as_deref().map(|path| path.to_string_lossy().into_owned()),
            file_type: if change.folder { "folder" } else { "file" },
        };
        let body = match change.action {
            FileAction::Created => Body::FileEvent(body),
            FileAction::Deleted => Body::FileDelete(body),
            FileAction::Renamed => Body::FileRename(body),
            FileAction::Written => Body::FileChange(body),
        };
        self.finish(change.at, Mode::Fanotify, fields, body)
    }
}
