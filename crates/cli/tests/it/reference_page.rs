//! `docs/reference/operations.md` says what the operations are now. `POSSE_BLESS=1` writes it.

#[test]
fn the_reference_page_is_fresh() {
    let path = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("../../docs/reference/operations.md");
    let page = cli::reference(&api::specs());
    if std::env::var_os("POSSE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/reference/operations.md is stale; run this test with POSSE_BLESS=1 and review");
}
