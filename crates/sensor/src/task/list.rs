//! Lists of what is there now. Bounded: a host with more says that it has more.

use crate::identity::ProcessGuid;
use crate::proc;
use crate::wire::Outcome;
use serde_json::{Value, json};

/// Entries of a list at most.
const ENTRIES_MAX: usize = 5_000;

fn listed(name: &str, entries: Vec<Value>) -> Outcome {
    let total = entries.len();
    let entries: Vec<Value> = entries.into_iter().take(ENTRIES_MAX).collect();
    Outcome::Done { already: false, details: json!({ "total": total, (name): entries }) }
}

pub(super) fn processes() -> Outcome {
    let Ok(boot) = proc::boot_id() else { return Outcome::Refused { reason: "`/proc` is not mounted".to_owned() } };
    let entry = |details: proc::Details| {
        json!({
            "process": ProcessGuid { boot: boot.clone(), key: details.stat.key },
            "parent_pid": details.stat.parent_pid,
            "name": details.stat.name,
            "state": details.stat.state.to_string(),
            "image": details.image,
            "command_line": details.arguments.join(" "),
            "folder": details.folder,
            "user_id": details.uid,
            "container": proc::container(&details.cgroups),
        })
    };
    let all = proc::processes().into_iter().filter_map(|stat| proc::details(stat.key.pid));
    listed("processes", all.map(entry).collect())
}

pub(super) fn sockets() -> Outcome {
    let Ok(boot) = proc::boot_id() else { return Outcome::Refused { reason: "`/proc` is not mounted".to_owned() } };
    let owners = proc::socket_owners();
    let entry = |socket: proc::Socket| {
        let owner = owners.get(&socket.inode).map(|key| ProcessGuid { boot: boot.clone(), key: *key });
        json!({
            "protocol": socket.protocol,
            "local_ip": socket.local.0,
            "local_port": socket.local.1,
            "remote_ip": socket.remote.0,
            "remote_port": socket.remote.1,
            "state": state(socket.state),
            "user_id": socket.uid,
            "process": owner,
        })
    };
    listed("sockets", proc::sockets().into_iter().map(entry).collect())
}

/// The name of a state (`include/net/tcp_states.h`).
fn state(number: u8) -> &'static str {
    let names = [
        "established",
        "syn_sent",
        "syn_received",
        "fin_wait_1",
        "fin_wait_2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
    ];
    usize::from(number).checked_sub(1).and_then(|index| names.get(index)).copied().unwrap_or("unknown")
}
