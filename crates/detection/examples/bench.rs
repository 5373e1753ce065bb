//! `posse bench detect` without the rest of the binary, for work on the engine: the same file, the same options,
//! the same allocator.

#[path = "../../posse/src/bench/detect.rs"]
mod detect;

#[global_allocator]
static ALLOCATOR: alloc_tracker::Allocator<mimalloc::MiMalloc> = alloc_tracker::Allocator::new(mimalloc::MiMalloc);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    detect::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
