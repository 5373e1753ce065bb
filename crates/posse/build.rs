//! How the release program is linked. Must never change what it does.

use std::path::Path;
use std::process::Command;

/// The first glibc that reads packed relocations.
const PACKED_FROM: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let here = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") || !here {
        return;
    }
    // The toolchain's own linker folds functions that came out alike, of which generic code has many, and packs
    // relocations to a fiftieth: both would be in memory as long as the program runs.
    let Some(folder) = toolchain_linker() else { return };
    let mut flags = vec![format!("-B{folder}"), "-fuse-ld=lld".to_owned(), "-Wl,--icf=all".to_owned()];
    if glibc().is_some_and(|version| version >= PACKED_FROM) {
        flags.push("-Wl,-z,pack-relative-relocs".to_owned());
    }
    for flag in flags {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
}

/// The folder of the linker that ships with the toolchain; none where there is none.
fn toolchain_linker() -> Option<String> {
    let told = Command::new(std::env::var("RUSTC").ok()?).args(["--print", "sysroot"]).output().ok()?;
    let root = String::from_utf8(told.stdout).ok()?;
    let target = std::env::var("TARGET").ok()?;
    let folder = Path::new(root.trim()).join("lib/rustlib").join(target).join("bin/gcc-ld");
    folder.join("ld.lld").exists().then(|| folder.to_str().map(str::to_owned)).flatten()
}

/// The C library of this machine; none where it is another one, or nobody says.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
