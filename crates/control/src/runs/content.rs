//! The skills and definitions that ship, embedded from `content`.

use agent::{Skill, SkillFile};
use std::sync::LazyLock;

/// A folder: its files by path.
type Folder = &'static [(&'static str, &'static str)];

const SKILLS: [Folder; 2] = [
    &[
        ("SKILL.md", include_str!("../../../../content/skills/containment/SKILL.md")),
        ("playbook.yaml", include_str!("../../../../content/skills/containment/playbook.yaml")),
    ],
    &[
        ("SKILL.md", include_str!("../../../../content/skills/triage/SKILL.md")),
        ("playbook.yaml", include_str!("../../../../content/skills/triage/playbook.yaml")),
    ],
];

const DEFINITIONS: [(&str, &str); 5] = [
    ("containment", include_str!("../../../../content/agents/containment.md")),
    ("containment-model", include_str!("../../../../content/agents/containment-model.md")),
    ("investigator", include_str!("../../../../content/agents/investigator.md")),
    ("triage", include_str!("../../../../content/agents/triage.md")),
    ("triage-model", include_str!("../../../../content/agents/triage-model.md")),
];

/// The skills that ship. A test reads each, so that none is left out here.
pub(super) fn skills() -> &'static [Skill] {
    static READ: LazyLock<Vec<Skill>> = LazyLock::new(|| {
        let file = |(path, text): &(&str, &str)| SkillFile { path: (*path).to_owned(), text: (*text).to_owned() };
        SKILLS.iter().filter_map(|folder| Skill::read(folder.iter().map(file).collect()).ok()).collect()
    });
    &READ
}

/// The definition that ships under a name.
pub(super) fn definition(name: &str) -> Option<&'static str> {
    DEFINITIONS.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::Definition;

    #[test]
    fn everything_that_ships_reads() {
        for folder in SKILLS {
            let file = |(path, text): &(&str, &str)| SkillFile { path: (*path).to_owned(), text: (*text).to_owned() };
            let read = Skill::read(folder.iter().map(file).collect());
            assert!(read.is_ok(), "{read:?}");
        }
        for (name, text) in DEFINITIONS {
            let read = Definition::parse(text);
            assert_eq!(read.as_ref().map(|read| read.name.as_str()), Ok(name));
            for skill in read.iter().flat_map(|read| &read.skills) {
                assert!(skills().iter().any(|own| own.name == *skill), "{name} brings {skill}");
            }
        }
    }
}
