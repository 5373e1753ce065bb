//! Skills: imported, listed, read, checked. Nothing of a skill runs by being here.

use super::{content, read_stored};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use agent::{OperationSet, Skill, SkillError, SkillFile, TrustedKey};
use api::{Page, SkillCheck, SkillChecked, SkillFault, SkillGet, SkillImport, SkillList, SkillText};
use ids::{Owner, Text};
use store::{Changes, Stored};

fn files(texts: impl IntoIterator<Item = SkillText>) -> Vec<SkillFile> {
    texts.into_iter().map(|file| SkillFile { path: file.path.into_string(), text: file.text.into_string() }).collect()
}

fn wire(skill: &Skill, stored: Option<&store::Skill>, with_files: bool) -> api::Skill {
    let text = |file: &SkillFile| SkillText { path: Text::truncated(&file.path), text: Text::truncated(&file.text) };
    let operations = |playbook: &std::sync::Arc<agent::Playbook>| {
        playbook.operations().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    api::Skill {
        name: skill.name.clone(),
        digest: skill.digest.to_hex(),
        tenant: stored.and_then(|stored| stored.tenant),
        description: skill.description.clone(),
        shipped: stored.is_none(),
        playbook_operations: skill.playbook.as_ref().map(operations),
        signed: stored.and_then(|stored| stored.signed.clone()),
        imported_at: stored.map(|stored| stored.imported_at),
        files: with_files.then(|| skill.files.iter().map(text).collect()),
    }
}

impl Handle<SkillImport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SkillImport) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SkillImport) -> Result<Outcome<api::Skill>, Refusal> {
        let wrong = |error: SkillError| Refusal::fault("/files", error.to_string());
        let skill = Skill::read(files(input.files)).map_err(wrong)?;
        let signed = match (&input.signature, &input.signed_by) {
            (Some(signature), Some(key)) => {
                let wrong = |error: SkillError| Refusal::fault("/signature", error.to_string());
                let key = TrustedKey::parse(key.as_str()).map_err(wrong)?;
                Some(key.verify(skill.digest, signature.as_str()).map_err(wrong)?)
            }
            (None, None) => None,
            _ => return Err(Refusal::fault("/signature", "goes with `signed_by`; give both or neither")),
        };
        let tenant = admitted.target.owner.tenant();
        let stored = store::Skill {
            digest: skill.digest.to_hex(),
            tenant,
            name: skill.name.clone(),
            description: skill.description.clone(),
            files: skill.files.iter().map(|file| (file.path.clone(), file.text.clone())).collect(),
            signed,
            imported_at: admitted.now,
        };
        let before: Option<Stored<store::Skill>> =
            admitted.snapshot.read(&store::Skill::key(tenant, &stored.digest)).await?;
        let mut changes = Changes::new();
        match before {
            None => changes.create(&stored),
            Some(before) => changes.replace(&stored, before.version),
        };
        Ok(Outcome::changed(wire(&skill, Some(&stored), false), changes))
    }
}

impl Handle<SkillList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SkillList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SkillList) -> Result<Outcome<Page<api::Skill>>, Refusal> {
        let mut all: Vec<(String, api::Skill)> = Vec::new();
        for skill in content::skills() {
            all.push((format!("{}/{}", skill.name, skill.digest.to_hex()), wire(skill, None, false)));
        }
        let key = |stored: &store::Skill| format!("{}/{}", stored.name, stored.digest);
        for stored in crate::decide::all::<store::Skill>(&admitted.snapshot).await? {
            let skill = read_stored(&stored.value)?;
            all.push((key(&stored.value), wire(&skill, Some(&stored.value), false)));
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all.dedup_by(|one, other| one.0 == other.0);
        Ok(Outcome::answer(admitted.page_of(all, input.limit, input.cursor.as_ref())?))
    }
}

impl Handle<SkillGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SkillGet) -> Result<Target, Refusal> {
        let owner = look.identity.place();
        let found = self.skill_of(owner.tenant(), input.digest.as_str()).await?;
        let (skill, stored) = found.ok_or_else(|| Refusal::not_found("skill"))?;
        let owner = stored.map_or(owner, |stored| Owner::from(stored.tenant));
        Ok(Target::new("Skill", input.digest.to_string(), owner).named(skill.name))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: SkillGet) -> Result<Outcome<api::Skill>, Refusal> {
        let found = self.skill_of(admitted.target.owner.tenant(), input.digest.as_str()).await?;
        let (skill, stored) = found.ok_or_else(|| Refusal::not_found("skill"))?;
        Ok(Outcome::answer(wire(&skill, stored.as_ref(), true)))
    }
}

impl Handle<SkillCheck> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SkillCheck) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, _: &Admitted<'_>, input: SkillCheck) -> Result<Outcome<SkillChecked>, Refusal> {
        let fault = |file: &str, fault: String| SkillFault { file: file.to_owned(), fault };
        let checked = match Skill::read(files(input.files)) {
            Err(SkillError::File { file, fault: wrong }) => {
                SkillChecked { digest: None, faults: vec![fault(&file, wrong.to_string())] }
            }
            Err(other) => SkillChecked { digest: None, faults: vec![fault("", other.to_string())] },
            Ok(skill) => {
                let mut faults = Vec::new();
                if let Some(playbook) = &skill.playbook {
                    let listed = playbook.operations().into_iter().map(str::to_owned).collect();
                    let tools = self.tools_of(&OperationSet::new(listed), true);
                    let wrong = playbook.faults_against(&tools);
                    faults.extend(wrong.iter().map(|wrong| fault("playbook.yaml", wrong.to_string())));
                }
                SkillChecked { digest: Some(skill.digest.to_hex()), faults }
            }
        };
        Ok(Outcome::answer(checked))
    }
}
