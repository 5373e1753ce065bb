//! Skills, charters and signatures.

use crate::bed::{Tried, tools};
use agent::{Charter, Definition, Playbook, Skill, SkillError, SkillFile, TrustedKey};
use std::collections::BTreeMap;

fn files(head: &str, more: &[(&str, &str)]) -> Vec<SkillFile> {
    let file = |(path, text): (&str, &str)| SkillFile { path: path.to_owned(), text: text.to_owned() };
    std::iter::once(("SKILL.md", head)).chain(more.iter().copied()).map(file).collect()
}

const HEAD: &str = "---\nname: look\ndescription: Looks.\n---\nLook well.\n";
const PLAYBOOK: &str = "playbook: 1\nname: look\nsteps:\n  - { call: case.get, with: { case: '1' } }\n";

#[test]
fn a_skill_is_known_by_its_paths_and_bytes() -> Result<(), SkillError> {
    let skill = Skill::read(files(HEAD, &[("playbook.yaml", PLAYBOOK), ("scripts/run.sh", "rm -rf /\n")]))?;
    assert_eq!((skill.name.as_str(), skill.text.as_str()), ("look", "Look well."));
    assert!(skill.playbook.is_some());
    let mut turned = files(HEAD, &[("playbook.yaml", PLAYBOOK), ("scripts/run.sh", "rm -rf /\n")]);
    turned.reverse();
    assert_eq!(Skill::read(turned)?.digest, skill.digest, "the order of the files is nothing");
    for other in [
        files(HEAD, &[("playbook.yaml", PLAYBOOK), ("scripts/run.sh", "rm -rf / \n")]),
        files(HEAD, &[("playbook.yaml", PLAYBOOK), ("scripts/run2.sh", "rm -rf /\n")]),
        files(HEAD, &[("playbook.yaml", PLAYBOOK)]),
    ] {
        assert_ne!(Skill::read(other)?.digest, skill.digest);
    }
    Ok(())
}

#[test]
fn folders_that_are_no_skill_are_refused() {
    let cases = [
        files("---\nname: look\n---\n", &[]),
        files("---\nname: look\ndescription: d\nextra: 1\n---\n", &[]),
        files(HEAD, &[("../out", "")]),
        files(HEAD, &[("/etc/passwd", "")]),
        files(HEAD, &[("a//b", "")]),
        files(HEAD, &[("SKILL.md", "")]),
        files(HEAD, &[("playbook.yaml", "playbook: 1\nname: x\nsteps: [{}]\n")]),
        vec![],
    ];
    for case in cases {
        assert!(Skill::read(case.clone()).is_err(), "{case:?}");
    }
}

#[test]
fn a_charter_is_another_one_when_a_byte_changes() -> Tried<()> {
    let text = "---\nname: x\npurpose: p\noperations: [case.get]\nplaybook: look\nskills: [look]\nbudgets: { steps: 1, seconds: 1, actions: 0 }\n---\nPrompt.\n";
    let definition = Definition::parse(text).map_err(|faults| format!("{faults:?}"))?;
    assert_eq!(definition.prompt, "Prompt.");
    let skill = Skill::read(files(HEAD, &[])).map_err(|error| error.to_string())?;
    let other = Skill::read(files(HEAD, &[("a", "b")])).map_err(|error| error.to_string())?;
    let charter = |text: &str, digest| {
        let skills = BTreeMap::from([("look".to_owned(), digest)]);
        Charter::of(text, &definition, &skills).map(|charter| charter.digest()).map_err(|fault| fault.to_string())
    };
    let first = charter(text, skill.digest)?;
    assert_eq!(charter(text, skill.digest)?, first);
    assert_ne!(charter(text, other.digest)?, first);
    assert_ne!(charter(&text.replace("p\n", "q\n"), skill.digest)?, first);
    assert!(Charter::of(text, &definition, &BTreeMap::new()).is_err());
    Ok(())
}

/// Made by the `minisign` tool: key pair, then a prehashed signature over the digest of [`SIGNED`].
const KEY: &str = include_str!("../../../../spec/agent/signed.pub");
const SIGNATURE: &str = include_str!("../../../../spec/agent/signed.minisig");

#[test]
fn a_signature_holds_for_one_digest_and_key() -> Result<(), SkillError> {
    let skill = Skill::read(files(HEAD, &[("playbook.yaml", PLAYBOOK)]))?;
    let key = TrustedKey::parse(KEY.lines().nth(1).unwrap_or_default())?;
    assert_eq!(key.verify(skill.digest, SIGNATURE)?, "skill look");
    let other = Skill::read(files(HEAD, &[("playbook.yaml", PLAYBOOK), ("a", "b")]))?;
    assert!(key.verify(other.digest, SIGNATURE).is_err());
    assert!(key.verify(skill.digest, "nonsense").is_err());
    assert!(TrustedKey::parse("nonsense").is_err());
    Ok(())
}

#[test]
fn playbooks_are_held_against_the_operations_there_are() -> Tried<()> {
    let text =
        "playbook: 1\nname: x\nsteps:\n  - { call: case.get, with: { case: '1' } }\n  - { call: case.explode }\n";
    let read = Playbook::parse(text).map_err(|faults| format!("{faults:?}"))?;
    let faults = read.faults_against(&tools());
    assert_eq!(faults.len(), 1);
    assert_eq!(faults.first().map(|fault| fault.path.as_str()), Some("steps[1].call"));
    assert_eq!(read.operations(), ["case.get", "case.explode"]);
    Ok(())
}
