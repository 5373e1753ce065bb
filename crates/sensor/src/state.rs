//! The state folder: who the sensor is, readable by its owner only. Written whole or not at all.

use crate::wire::{Base64, Enrolled, HostFacts};
use ids::SensorId;
use journal::Folder;
use seal::{Digest, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

const IDENTITY: &str = "identity.json";
/// The version of the file.
const VERSION: u32 = 1;

/// Why the state folder cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// Enrolled already.
    #[error("this host is enrolled as `{0}` already; remove `{path}` to enrol it anew", path = .1.display())]
    Enrolled(SensorId, PathBuf),
    /// A file cannot be read or written.
    #[error("`{path}` cannot be used", path = .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Not enrolled yet.
    #[error("this host is not enrolled; run `posse sensor enrol` with a token first")]
    NotEnrolled,
    /// Other people can read the folder.
    #[error("`{path}` can be read by others; run `chmod 700` on it", path = .0.display())]
    Open(PathBuf),
    /// The file is of a shape that this version does not know.
    #[error("`{path}` is not an identity that this version knows", path = .0.display())]
    Shape(PathBuf),
}

/// The state folder.
#[derive(Clone, Debug)]
pub(crate) struct State {
    path: PathBuf,
}

/// Who the sensor is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    platform: String,
    seed: Base64<32>,
    enrolled: Enrolled,
}

/// Who the sensor is, ready for use.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) platform: String,
    pub(crate) key: SigningKey,
    pub(crate) task_key: VerifyingKey,
    pub(crate) enrolled: Enrolled,
}

impl State {
    /// Open the folder, making it where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let file = |error| StateError::File(path.to_owned(), error);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file)?;
        let mode = std::fs::metadata(path).map_err(file)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(StateError::Open(path.to_owned()));
        }
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Write a small file: old or new after any crash, mode 0600.
    pub(crate) fn write(&self, name: &str, content: &impl Serialize) -> Result<(), StateError> {
        let file = |error| StateError::File(self.file(name), error);
        let bytes = serde_json::to_vec_pretty(content).map_err(|error| file(error.into()))?;
        let disk = Folder::open(&self.path).map_err(file)?;
        journal::write_whole(&disk, name, &bytes).map_err(file)
    }

    /// Read a small file; none where there is none.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        match std::fs::read(self.file(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| StateError::Shape(self.file(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::File(self.file(name), error)),
        }
    }

    pub(crate) fn identity(&self) -> Result<Identity, StateError> {
        let stored: Stored = self.read(IDENTITY)?.ok_or(StateError::NotEnrolled)?;
        let shape = || StateError::Shape(self.file(IDENTITY));
        if stored.version != VERSION {
            return Err(shape());
        }
        let task_key = VerifyingKey::from_bytes(&stored.enrolled.task_key.0).map_err(|_| shape())?;
        let key = SigningKey::from_bytes(&stored.seed.0);
        Ok(Identity { platform: stored.platform, key, task_key, enrolled: stored.enrolled })
    }

    /// Keep who the sensor is.
    pub(crate) fn enrolled(&self, platform: &str, key: &SigningKey, enrolled: Enrolled) -> Result<(), StateError> {
        if VerifyingKey::from_bytes(&enrolled.task_key.0).is_err() {
            return Err(StateError::Shape(self.file(IDENTITY)));
        }
        let seed = Base64(*key.to_bytes());
        self.write(IDENTITY, &Stored { version: VERSION, platform: platform.to_owned(), seed, enrolled })
    }

    /// An error where the host is enrolled already.
    pub(crate) fn not_enrolled_yet(&self) -> Result<(), StateError> {
        match self.identity() {
            Err(StateError::NotEnrolled) => Ok(()),
            Ok(identity) => Err(StateError::Enrolled(identity.enrolled.sensor, self.file(IDENTITY))),
            Err(error) => Err(error),
        }
    }
}

/// What this host says about itself.
#[must_use]
pub fn host_facts() -> HostFacts {
    let name = rustix::system::uname();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let machine = std::fs::read("/etc/machine-id").ok().filter(|id| !id.is_empty());
    let mut addresses: Vec<_> = crate::proc::addresses();
    addresses.sort_unstable();
    addresses.dedup();
    HostFacts {
        hostname: name.nodename().to_string_lossy().into_owned(),
        os: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        architecture: name.machine().to_string_lossy().into_owned(),
        machine: machine.map(|id| Digest::framed("posse.sensor.machine", &[&id])),
        boot: crate::proc::boot_id().unwrap_or_default(),
        addresses,
        sensor_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
