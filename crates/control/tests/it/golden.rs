//! Golden files below `spec/gate/`: a change of rights, of audited actions or of a face is a change of a file that
//! people review. `POSSE_BLESS=1` writes them anew.

use ids::Scope;
use std::path::{Path, PathBuf};
use testkit::Platform;

fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..")
}

/// Compare with the golden file of this path, or write it where that was asked for.
pub(crate) fn check(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("POSSE_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = golden.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(
        golden == text,
        "`{path}` is not what is now true; review and bless with POSSE_BLESS=1\nfirst difference: {differing:#?}\nlines: {} and {}",
        golden.lines().count(),
        text.lines().count()
    );
}

#[tokio::test]
async fn what_every_face_shows_is_reviewed() {
    let platform = Platform::start().await;
    let specs = api::specs();
    check("openapi/posse.json", &api::openapi::text(&specs));
    let tools: Vec<String> = specs
        .iter()
        .map(|spec| {
            let fields: Vec<String> = spec
                .fields()
                .map(|(name, _)| if spec.requires(name) { name.to_owned() } else { format!("[{name}]") })
                .collect();
            format!("{}({}) {}", spec.mcp_tool(), fields.join(", "), spec.meta.effect.as_str())
        })
        .collect();
    check("spec/gate/mcp-tools.txt", &lines(tools));
    let actions = specs.iter().map(|spec| format!("{:<28} {}", spec.meta.id, spec.meta.effect.as_str()));
    check("spec/gate/audit-actions.txt", &lines(actions.collect()));
    // The actions are those that records name: the first one of a new installation is the platform's own.
    let leaves = platform.control.store().snapshot(Scope::Provider).leaves(ids::Owner::Provider, 0, 1).await.unwrap();
    assert!(String::from_utf8_lossy(&leaves[0].leaf).contains("\"operation\":\"system.create_signing_key\""));
}

fn lines(mut lines: Vec<String>) -> String {
    lines.sort_unstable();
    lines.join("\n") + "\n"
}
