//! Compiles the eBPF programs with clang; the object is part of the library. Says which package is missing.
#![expect(clippy::panic, reason = "a build script has no other way to say why it fails")]

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "bpf/posse.bpf.c";

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-env-changed=OUT_DIR");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("posse.bpf.o");
    let arguments = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-c", SOURCE, "-o"];
    match Command::new(&clang).args(arguments).arg(&out).output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => panic!("`{clang}` cannot compile {SOURCE}:\n{}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => panic!(
            "`{clang}` cannot be started ({error}); the sensor's eBPF programs need clang 12 or later: \
             apt-get install clang libelf-dev zlib1g-dev pkg-config make, or run script/setup; CLANG names another one"
        ),
    }
}
