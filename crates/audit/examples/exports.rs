//! Writes exports and evidence packs, good ones and mutated ones, for a verifier in another language to be held against this one:
//! `cargo run -p audit --example exports -- DIR COUNT [SEED]`. `DIR/key` is the public key, `DIR/good` and `DIR/mutated` hold COUNT
//! folders each, `DIR/verdicts.jsonl` what [`audit::verify`] says of each, with the key and without.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a program for tests")]
#![expect(dead_code, reason = "shares the fixtures of the tests, and uses a part of them")]

#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/mutation.rs"]
mod mutation;

use audit::{EvidenceAsk, EvidenceFilter, Report, VerifyOptions, verify};
use fixture::{FileMap, Log, signer, tenant, time};
use ids::{Owner, Text};
use mutation::{Cover, Dice, Folders, ask, cover, mutate};
use seal::SeededEntropy;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;

/// Sizes at which trees have an edge: empty, one, around a full tile.
const SIZES: [usize; 9] = [0, 1, 2, 7, 31, 255, 256, 257, 600];

/// A whole folder, of a log that the dice make.
fn good(dice: &Dice) -> FileMap {
    let mut log = Log::sample(1, dice.below(6), &[]);
    log.trees.entry(Owner::Provider).or_default();
    let names = ["acme", "globex", "initech"];
    for name in &names[..dice.below(4)] {
        // The large ones seldom: most of the time goes there.
        let size = if dice.below(8) == 0 { *dice.pick(&SIZES) } else { dice.below(24) };
        log.grow(Owner::Tenant(tenant(name)), size);
    }
    let owners: Vec<Owner> = log.trees.keys().copied().collect();
    for owner in &owners {
        if dice.below(2) == 0 {
            log.answer(*owner);
        }
        if log.trees[owner].len() > 2 && dice.below(3) == 0 {
            log.erase(*owner, dice.below(2));
        }
    }
    log.commit();
    let filter = EvidenceFilter {
        consequential: dice.below(2) == 0,
        operation: (dice.below(4) == 0).then(|| Text::new("host.isolate").unwrap()),
        since: (dice.below(4) == 0).then(|| time(dice.below(20))),
        until: (dice.below(4) == 0).then(|| time(10 + dice.below(400))),
        principal: None,
    };
    let seed = format!("dice {} é\"", dice.below(1000));
    let wanted = EvidenceAsk { filter, seed: Text::new(seed).unwrap(), sample: u32::try_from(dice.below(30)).unwrap() };
    let ask = (dice.below(2) == 0).then_some(wanted);
    match dice.below(4) {
        0 if owners.len() > 1 => log.pack_of(&owners[1..2], ask.as_ref()),
        _ => log.pack(ask.as_ref()),
    }
}

fn write(folder: &Path, files: &FileMap) {
    for (path, bytes) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let folder = Path::new(&words[1]);
    let count: u64 = words[2].parse().unwrap();
    let seed: u64 = words.get(3).map_or(1, |seed| seed.parse().unwrap());
    let trusted = signer(1).verifier().clone();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("key"), format!("{trusted}\n")).unwrap();
    let mut verdicts = std::fs::File::create(folder.join("verdicts.jsonl")).unwrap();
    let mut tell = |name: String, what: &str, files: &FileMap| {
        write(&folder.join(&name), files);
        let code = |report: Report| report.verdict.exit_code();
        let with_key = code(verify(files, &VerifyOptions::under(vec![trusted.clone()])));
        let without = code(verify(files, &VerifyOptions::default()));
        let line = json!({ "folder": name, "what": what, "with_key": with_key, "without": without });
        writeln!(verdicts, "{line}").unwrap();
    };
    for number in 0..count {
        let dice = Dice(SeededEntropy::new(seed.wrapping_mul(1_000_000) + number));
        tell(format!("good/{number:04}"), "whole", &good(&dice));
    }
    let sources =
        [Folders::new(12, None), Folders::new(12, Some(&ask("4 2 6", 4))), Folders::new(270, Some(&ask("1 1 1", 9)))];
    let mut number = 0;
    let mut tried = 0;
    while number < count {
        let dice = Dice(SeededEntropy::new(seed.wrapping_mul(1_000_000) + 500_000 + tried));
        tried += 1;
        let folders = &sources[if tried % 8 == 0 { 2 } else { usize::try_from(tried % 2).unwrap() }];
        let mut files = folders.newest.clone();
        let (what, deep) = mutate(&dice, folders, &mut files);
        let mut covers = vec![Cover::None, Cover::Manifest];
        covers.extend(deep.then_some(Cover::Signed));
        let covering = *dice.pick(&covers);
        match covering {
            Cover::None => {}
            Cover::Manifest => cover(&mut files, None),
            Cover::Signed => cover(&mut files, Some(&folders.log.signer)),
        }
        if files != folders.newest {
            tell(format!("mutated/{number:04}"), &format!("{what}, {covering:?}"), &files);
            number += 1;
        }
    }
}
