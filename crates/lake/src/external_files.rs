//! The files of a folder that a tenant has: found below folders that the server's configuration names for that tenant, never
//! through a link, and looked at again each time that one is opened. Must never write, never follow a link, never leave the
//! folder, and never leave a file out without saying so.

use ids::TenantId;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// Files of one external table.
pub(crate) const FILES_MAX: usize = 10_000;
/// Folders below one another, and names in all that are looked at.
const DEPTH_MAX: usize = 12;
const NAMES_MAX: usize = 100_000;
/// What stands in a folder's name for the tenant's id.
const TENANT: &str = "{tenant}";
/// How writers of Hive's layout spell a missing value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Why a folder cannot be read as a table.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum ExternalFault {
    /// A mapping asks for a column twice.
    #[error("two columns would be called `{0}`; give one of them another name")]
    ColumnTwice(String),
    /// Too many folders below one another.
    #[error("has folders more than {DEPTH_MAX} deep; name a folder further below")]
    Deep,
    /// There is no Parquet in it.
    #[error("holds no file that ends in `.parquet`")]
    Empty,
    /// A file is not Parquet.
    #[error("has the file `{0}`, which cannot be read as Parquet: {1}")]
    File(String, String),
    /// A symbolic link.
    #[error("has the symbolic link `{0}`; links are not followed, put the files themselves there")]
    Link(String),
    /// Too many files.
    #[error("holds more than {FILES_MAX} files, or {NAMES_MAX} names; name a folder further below")]
    Many,
    /// Files lie below folders of different partition columns.
    #[error("has the file `{0}` below other `key=value` folders than the first file; every file of a table lies alike")]
    Mixed(String),
    /// The configuration does not name it.
    #[error("lies below none of the folders that the server's `external_folders` name for this tenant")]
    NotAllowed,
    /// A column that the files do not have.
    #[error("has no column `{name}`{}", crate::ask::hint(.near))]
    NoColumn {
        /// The column.
        name: String,
        /// Columns with like names.
        near: Vec<String>,
    },
    /// A name that a table of the platform has.
    #[error("`{0}` names a table of the platform; choose another")]
    Reserved(String),
    /// The operating system refused something.
    #[error("cannot be read at `{0}`: {1}")]
    Unreadable(String, String),
    /// Not an absolute path of plain names.
    #[error("is not an absolute path without `.` and `..`")]
    Unclear,
}

/// A folder of the configuration below which tenants may have tables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalFolder {
    /// Its path, absolute; `{tenant}` in it stands for the tenant's id.
    pub folder: String,
    /// The tenants for which it is; none for every tenant, each in its own where the path names `{tenant}`.
    pub tenants: Option<BTreeSet<TenantId>>,
}

impl ExternalFolder {
    fn for_tenant(&self, tenant: TenantId) -> Option<PathBuf> {
        let ours = self.tenants.as_ref().is_none_or(|tenants| tenants.contains(&tenant));
        ours.then(|| PathBuf::from(self.folder.replace(TENANT, &tenant.to_string())))
    }
}

/// One file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Values of the partition columns, in their order; none where the writer had none.
    pub(crate) values: Vec<Option<String>>,
}

/// Everything in a folder that belongs to its table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Listing {
    /// Partition columns.
    pub(crate) keys: Vec<String>,
    /// Files by name.
    pub(crate) parts: Vec<Part>,
}

/// The files of a folder as they are now.
pub(crate) fn list(allowed: &[ExternalFolder], tenant: TenantId, folder: &Path) -> Result<Listing, ExternalFault> {
    let plain = |part: &Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    // A path whose text says more than its components do (`a/./b`, `a//b`) is not taken either.
    let clear = folder.is_absolute()
        && folder.components().all(|part| plain(&part))
        && folder.components().collect::<PathBuf>().as_os_str() == folder.as_os_str();
    if !clear {
        return Err(ExternalFault::Unclear);
    }
    let mut roots = allowed.iter().filter_map(|one| one.for_tenant(tenant));
    let (root, below) = roots
        .find_map(|root| folder.strip_prefix(&root).ok().map(|below| (root.clone(), below.to_owned())))
        .ok_or(ExternalFault::NotAllowed)?;
    // Whoever configures the server may reach the folder through a link; what lies below it may not be one.
    let mut at = root.canonicalize().map_err(|error| unreadable(&below, &below, &error))?;
    for part in below.components() {
        at.push(part);
        let kind = fs::symlink_metadata(&at).map_err(|error| unreadable(&at, &at, &error))?.file_type();
        if kind.is_symlink() {
            return Err(ExternalFault::Link(shown(&at, &at)));
        }
    }
    let mut walk = Walk { root: at.clone(), names: 0, values: Vec::new(), keys: None, parts: Vec::new() };
    walk.folder(&at, 0)?;
    if walk.parts.is_empty() {
        return Err(ExternalFault::Empty);
    }
    walk.parts.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(Listing { keys: walk.keys.unwrap_or_default(), parts: walk.parts })
}

struct Walk {
    root: PathBuf,
    names: usize,
    values: Vec<(String, Option<String>)>,
    keys: Option<Vec<String>>,
    parts: Vec<Part>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), ExternalFault> {
        if depth > DEPTH_MAX {
            return Err(ExternalFault::Deep);
        }
        let failed = |error: &io::Error| unreadable(&self.root, folder, error);
        let entries = fs::read_dir(folder).map_err(|error| failed(&error))?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&error))?;
            found.push((entry.path(), entry.file_type().map_err(|error| failed(&error))?));
            if self.names + found.len() > NAMES_MAX {
                return Err(ExternalFault::Many);
            }
        }
        self.names += found.len();
        found.sort_by(|left, right| left.0.cmp(&right.0));
        for (path, kind) in found {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What writers keep for themselves: `_SUCCESS`, `_delta_log`, `.crc`.
            if name.starts_with(['_', '.']) {
                continue;
            }
            if kind.is_symlink() {
                return Err(ExternalFault::Link(shown(&self.root, &path)));
            }
            if kind.is_dir() {
                let pair = name.split_once('=').map(|(key, value)| (decoded(key), value));
                let pushed = pair.is_some();
                self.values.extend(pair.map(|(key, value)| (key, (value != NULL).then(|| decoded(value)))));
                self.folder(&path, depth + 1)?;
                if pushed {
                    self.values.pop();
                }
            } else if kind.is_file() && path.extension().is_some_and(|end| end == "parquet") {
                self.file(path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf) -> Result<(), ExternalFault> {
        let own: Vec<String> = self.values.iter().map(|(key, _)| key.clone()).collect();
        if *self.keys.get_or_insert_with(|| own.clone()) != own {
            return Err(ExternalFault::Mixed(shown(&self.root, &path)));
        }
        if self.parts.len() >= FILES_MAX {
            return Err(ExternalFault::Many);
        }
        let bytes = fs::symlink_metadata(&path).map_err(|error| unreadable(&self.root, &path, &error))?.len();
        self.parts.push(Part { path, bytes, values: self.values.iter().map(|(_, value)| value.clone()).collect() });
        Ok(())
    }
}

/// Open a file of a listing. What was opened must be what stands under exactly this path: a folder above it that became a
/// link since the listing leads elsewhere, and is refused.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned());
    // A pipe would hold the thread that opens it.
    if !fs::symlink_metadata(path)?.file_type().is_file() {
        return Err(refused("it is no plain file any more"));
    }
    let file = File::open(path)?;
    if !file.metadata()?.is_file() || true_path(&file, path)? != path {
        return Err(refused("it lies behind a link now"));
    }
    Ok(file)
}

/// Where an open file truly lies.
#[cfg(target_os = "linux")]
fn true_path(file: &File, _: &Path) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Where an open file truly lies, as far as names tell.
#[cfg(not(target_os = "linux"))]
fn true_path(file: &File, path: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let (own, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if (own.dev(), own.ino()) == (named.dev(), named.ino()) { path.canonicalize() } else { Ok(PathBuf::new()) }
}

/// A name for what a file holds: it changes when the file does.
pub(crate) fn version(path: &Path, file: &File) -> io::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let own = file.metadata()?;
    let stamp = format!("\u{0}{}-{}-{}.{}", own.ino(), own.len(), own.mtime(), own.mtime_nsec());
    let mut name = path.as_os_str().to_owned();
    name.push(stamp);
    Ok(PathBuf::from(name))
}

/// A path below the folder, for whoever registered it: where the server keeps its folders is not told.
pub(crate) fn shown(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).ok().filter(|below| !below.as_os_str().is_empty());
    let last = || path.file_name().map(PathBuf::from).unwrap_or_default();
    let name = below.map_or_else(last, Path::to_path_buf).to_string_lossy().into_owned();
    name.chars().take(200).collect()
}

fn unreadable(root: &Path, path: &Path, error: &io::Error) -> ExternalFault {
    ExternalFault::Unreadable(shown(root, path), error.kind().to_string())
}

/// A name without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let mut digit = || char::from(ahead.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = if byte == b'%' { digit().zip(digit()) } else { None };
        match pair {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tenant() -> TenantId {
        TenantId::derive(&[b"a"])
    }

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"PAR1").unwrap();
    }

    /// A folder that every tenant may read, and one beside it.
    fn ground() -> (tempfile::TempDir, PathBuf, Vec<ExternalFolder>) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("open")).unwrap();
        let open = ExternalFolder { folder: root.join("open").to_string_lossy().into_owned(), tenants: None };
        put(&root.join("closed/x.parquet"));
        (folder, root, vec![open])
    }

    #[test]
    fn partitions_are_read_from_names() {
        let (_folder, root, allowed) = ground();
        put(&root.join("open/t/day=2026-01-01/region=eu%2Fwest/a.parquet"));
        put(&root.join("open/t/day=2026-01-02/region=__HIVE_DEFAULT_PARTITION__/a.parquet"));
        put(&root.join("open/t/_delta_log/a.parquet"));
        fs::write(root.join("open/t/notes.txt"), b"x").unwrap();
        let listing = list(&allowed, tenant(), &root.join("open/t")).unwrap();
        assert_eq!(listing.keys, ["day", "region"]);
        let values: Vec<_> = listing.parts.iter().map(|part| part.values.clone()).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(values, [vec![text("2026-01-01"), text("eu/west")], vec![text("2026-01-02"), None]]);
        put(&root.join("open/t/top.parquet"));
        assert!(matches!(list(&allowed, tenant(), &root.join("open/t")), Err(ExternalFault::Mixed(_))));
    }

    #[test]
    fn nothing_outside_the_configured_folders_is_read() {
        let (_folder, root, allowed) = ground();
        put(&root.join("open/t/a.parquet"));
        let fault = |path: PathBuf| list(&allowed, tenant(), &path).unwrap_err();
        assert_eq!(fault(root.join("closed")), ExternalFault::NotAllowed);
        assert_eq!(fault(root.join("open/../closed")), ExternalFault::Unclear);
        assert_eq!(fault(root.join("open/./t")), ExternalFault::Unclear);
        assert_eq!(fault(PathBuf::from("open/t")), ExternalFault::Unclear);
        assert_eq!(fault(root.join("openly")), ExternalFault::NotAllowed);
        symlink(root.join("closed"), root.join("open/away")).unwrap();
        assert!(matches!(fault(root.join("open/away")), ExternalFault::Link(_)));
        symlink(root.join("closed/x.parquet"), root.join("open/t/b.parquet")).unwrap();
        assert_eq!(fault(root.join("open/t")), ExternalFault::Link("b.parquet".to_owned()));
    }

    #[test]
    fn a_folder_is_its_tenants() {
        let (_folder, root, _) = ground();
        let (own, other) = (tenant(), TenantId::derive(&[b"b"]));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let each = ExternalFolder { folder: text(root.join("each/{tenant}")), tenants: None };
        let named = ExternalFolder { folder: text(root.join("named")), tenants: Some(BTreeSet::from([own])) };
        let allowed = [each, named];
        let place = root.join(format!("each/{own}/t"));
        put(&place.join("a.parquet"));
        put(&root.join("named/t/a.parquet"));
        assert!(list(&allowed, own, &place).is_ok());
        assert_eq!(list(&allowed, other, &place), Err(ExternalFault::NotAllowed));
        assert!(list(&allowed, own, &root.join("named/t")).is_ok());
        assert_eq!(list(&allowed, other, &root.join("named/t")), Err(ExternalFault::NotAllowed));
    }

    #[test]
    fn a_folder_that_becomes_a_link_after_the_listing_is_refused() {
        let (_folder, root, allowed) = ground();
        put(&root.join("open/t/x.parquet"));
        let listing = list(&allowed, tenant(), &root.join("open/t")).unwrap();
        let path = &listing.parts.first().unwrap().path;
        assert!(open(path).is_ok());
        fs::rename(root.join("open/t"), root.join("open/gone")).unwrap();
        symlink(root.join("closed"), root.join("open/t")).unwrap();
        assert_eq!(open(path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
