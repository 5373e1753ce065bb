//! Cuts the host off: an nftables table of our own that drops everything but the platform's address and loopback, for
//! IPv4 and IPv6, in, out and through. It looks at each packet and at no connection, so existing connections are cut
//! too. What should be so is on disk before it is done; a keeper applies it again when somebody removed it or the sensor
//! was restarted, and releases the host when the time is over, with or without the platform.

use crate::state::{State, StateError};
use crate::wire::Outcome;
use ids::Timestamp;
use seal::Digest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

const FILE: &str = "isolation.json";
/// The table's name; nobody else's tables are touched.
const TABLE: &str = "posse_isolation";
/// The least and the longest isolation. Seconds.
const SECONDS: std::ops::RangeInclusive<u32> = 60..=2_592_000;

/// What should be so.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    since: Timestamp,
    until: Timestamp,
    platform: BTreeSet<SocketAddr>,
}

/// Why the firewall does not do what it is told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// It cannot be started.
    #[error("`{program}` cannot be started; install nftables")]
    Missing {
        /// What was called.
        program: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// It refuses.
    #[error("`{program}` refuses: {words}")]
    Refused {
        /// What was called.
        program: String,
        /// Its words, bounded.
        words: String,
    },
    /// The wish cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The firewall's command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Firewall {
    /// `nft`, or what runs it elsewhere: `ip netns exec NAME nft`.
    pub command: Vec<String>,
}

impl Default for Firewall {
    fn default() -> Self {
        Self { command: vec!["nft".to_owned()] }
    }
}

impl Firewall {
    fn run(&self, arguments: &[&str], input: &str) -> Result<String, IsolationError> {
        let program = self.command.join(" ");
        let missing = |source| IsolationError::Missing { program: program.clone(), source };
        let (name, rest) = self.command.split_first().map_or(("nft", &[][..]), |(name, rest)| (name.as_str(), rest));
        let mut command = Command::new(name);
        // Administrators' tools are not on every service's path.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"));
        command.args(rest).args(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(missing)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(missing)?;
        }
        let done = child.wait_with_output().map_err(missing)?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&done.stderr).chars().take(300).collect();
        Err(IsolationError::Refused { program, words })
    }

    fn apply(&self, platform: &BTreeSet<SocketAddr>) -> Result<(), IsolationError> {
        self.run(&["-f", "-"], &rules(platform)).map(drop)
    }

    fn remove(&self) -> Result<(), IsolationError> {
        // Adding first makes the removal of what is not there no error; both are one transaction.
        self.run(&["-f", "-"], &format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")).map(drop)
    }

    /// The table as the kernel has it; none where there is none.
    fn read(&self) -> Result<Option<String>, IsolationError> {
        let tables = self.run(&["list", "tables"], "")?;
        if !tables.lines().any(|line| line.trim() == format!("table inet {TABLE}")) {
            return Ok(None);
        }
        self.run(&["--stateless", "list", "table", "inet", TABLE], "").map(Some)
    }
}

/// The table that lets only these through: one transaction, old rules of ours replaced.
fn rules(platform: &BTreeSet<SocketAddr>) -> String {
    let mut text = format!("add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    // What IPv6 needs to find its neighbours; what keeps an address that was leased.
    let neighbours =
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, nd-router-solicit } accept";
    for (chain, own, other) in [("input", "iif", "s"), ("output", "oif", "d")] {
        let _ = writeln!(text, "  chain {chain} {{\n    type filter hook {chain} priority -400; policy drop;");
        let _ = writeln!(text, "    {own} lo accept\n    {neighbours}");
        for address in platform {
            let family = if address.is_ipv4() { "ip" } else { "ip6" };
            let _ =
                writeln!(text, "    {family} {other}addr {} tcp {other}port {} accept", address.ip(), address.port());
        }
        let (from, to) = if chain == "input" { (67, 68) } else { (68, 67) };
        let _ = writeln!(text, "    udp sport {from} udp dport {to} accept\n  }}");
    }
    text.push_str("  chain forward {\n    type filter hook forward priority -400; policy drop;\n  }\n}\n");
    text
}

/// Whether a table that was read back does what it should.
fn holds(table: &str, platform: &BTreeSet<SocketAddr>) -> bool {
    let drops = ["hook input", "hook output", "hook forward"]
        .iter()
        .all(|hook| table.lines().any(|line| line.contains(hook) && line.contains("policy drop")));
    let accepts = table.lines().filter(|line| line.contains("addr") && line.contains("accept")).count();
    let named = |address: &SocketAddr| {
        let place = address.ip().to_string();
        table.lines().filter(|line| line.split_whitespace().any(|word| word == place)).count() == 2
    };
    // Two rules for each address and no other address: a rule that somebody added would be one more.
    drops && accepts == platform.len().saturating_mul(2) && platform.iter().all(named)
}

/// The host's isolation.
pub struct Isolation {
    state: State,
    firewall: Firewall,
    /// Where the platform is, as it was last resolved.
    platform: Mutex<BTreeSet<SocketAddr>>,
    /// One change at a time.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Isolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Isolation").field("firewall", &self.firewall).finish_non_exhaustive()
    }
}

impl Isolation {
    pub(crate) fn new(state: State, firewall: Firewall) -> Self {
        Self { state, firewall, platform: Mutex::default(), turn: Mutex::default() }
    }

    /// Isolation with a state folder of its own: for whoever isolates without a running sensor.
    ///
    /// # Errors
    /// [`StateError`] where the folder cannot be used.
    pub fn standing_alone(
        folder: &std::path::Path,
        firewall: Firewall,
        platform: BTreeSet<SocketAddr>,
    ) -> Result<Self, StateError> {
        let isolation = Self::new(State::open(folder)?, firewall);
        isolation.platform_at(platform);
        Ok(isolation)
    }

    /// Remember where the platform is.
    pub(crate) fn platform_at(&self, addresses: BTreeSet<SocketAddr>) {
        if !addresses.is_empty() {
            *self.platform.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        }
    }

    /// Where the platform was when the host was isolated.
    pub(crate) fn remembered(&self) -> Vec<IpAddr> {
        let wanted = self.wanted().ok().flatten();
        wanted.map(|wanted| wanted.platform.iter().map(SocketAddr::ip).collect()).unwrap_or_default()
    }

    fn wanted(&self) -> Result<Option<Wanted>, StateError> {
        Ok(self.state.read::<Option<Wanted>>(FILE)?.flatten())
    }

    /// Until when the host is isolated.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.wanted().ok().flatten().map(|wanted| wanted.until)
    }

    /// Isolate the host for so many seconds from now; isolating anew sets the time anew.
    #[must_use]
    pub fn isolate(&self, for_secs: u32, now: Timestamp) -> Outcome {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !SECONDS.contains(&for_secs) {
            let reason = format!("{for_secs} seconds are not {} to {}", SECONDS.start(), SECONDS.end());
            return Outcome::Refused { reason };
        }
        let platform = self.platform.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if platform.is_empty() {
            return Outcome::Refused { reason: "the platform's address is not known; nobody could release".to_owned() };
        }
        let until = Timestamp::from_micros(now.as_micros().saturating_add(i64::from(for_secs) * 1_000_000));
        let tried = || {
            // A firewall that cannot be read cannot be trusted to be set.
            let already = self.firewall.read()?.is_some_and(|table| holds(&table, &platform));
            self.state.write(FILE, &Some(Wanted { since: now, until, platform: platform.clone() }))?;
            if !already {
                self.firewall.apply(&platform)?;
            }
            let table = self.firewall.read()?.unwrap_or_default();
            Ok::<_, IsolationError>((already, table))
        };
        match tried() {
            Ok((already, table)) if holds(&table, &platform) => Outcome::Done {
                already,
                details: json!({ "until": until, "platform": platform, "ruleset": Digest::of(table.as_bytes()), "table": table }),
            },
            Ok((_, table)) => self.undone("the rules read back are not those that were set", &table),
            Err(error) => self.undone(&chain(&error), ""),
        }
    }

    /// A failed isolation must not come back by itself later.
    fn undone(&self, reason: &str, table: &str) -> Outcome {
        drop(self.state.write(FILE, &None::<Wanted>));
        drop(self.firewall.remove());
        Outcome::Failed { reason: reason.to_owned(), details: json!({ "table": table }) }
    }

    /// Release the host.
    #[must_use]
    pub fn release(&self) -> Outcome {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.let_go() {
            Ok(already) => Outcome::Done { already, details: json!({}) },
            Err(error) => Outcome::Failed { reason: chain(&error), details: json!({}) },
        }
    }

    fn let_go(&self) -> Result<bool, IsolationError> {
        let already = self.firewall.read()?.is_none();
        self.firewall.remove()?;
        if let Some(table) = self.firewall.read()? {
            return Err(IsolationError::Refused { program: self.firewall.command.join(" "), words: table });
        }
        // Only now: a crash before this line releases once more, one after a lost wish would never.
        self.state.write(FILE, &None::<Wanted>)?;
        Ok(already)
    }

    /// See to it that what should be so is so. Called at start and every few seconds. True where something was mended.
    ///
    /// # Errors
    /// [`IsolationError`]; called again, it tries again.
    pub fn keep(&self, now: Timestamp) -> Result<bool, IsolationError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = self.wanted()? else { return Ok(false) };
        if wanted.until <= now {
            tracing::info!("the time of the isolation is over");
            return self.let_go().map(|_| true);
        }
        if self.firewall.read()?.is_some_and(|table| holds(&table, &wanted.platform)) {
            return Ok(false);
        }
        tracing::warn!("the isolation's rules were gone or changed; they are set again");
        self.firewall.apply(&wanted.platform)?;
        Ok(true)
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_more_or_less_is_noticed() {
        let platform = BTreeSet::from(["192.0.2.1:443".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap()]);
        let table = rules(&platform);
        assert!(holds(&table, &platform));
        assert!(!holds(&table.replace("    ip daddr 192.0.2.1 tcp dport 443 accept\n", ""), &platform));
        assert!(!holds(&table.replace("policy drop", "policy accept"), &platform));
        let more = table.replace("    oif lo accept\n", "    oif lo accept\n    ip daddr 203.0.113.1 accept\n");
        assert!(!holds(&more, &platform));
        assert!(!holds("", &platform));
    }
}
