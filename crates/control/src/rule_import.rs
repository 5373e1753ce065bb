//! Rule files taken in: as drafts of a tenant or the provider, or into a pack. What is not taken is told with its reason.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::rule::{version_by, version_of};
use crate::rule_text::{RuleText, gaps, parts, rejection};
use crate::target::Target;
use api::{ImportReport, RuleImport, RuleRejection};
use ids::{Owner, RuleId, RulePackId, Text};
use seal::Digest;
use std::collections::BTreeMap;
use store::{Changes, Rule, RulePack, RulePackRule, RuleState, Stored};

/// Most rules of one call: each is up to six rows of a commit, which takes 1024.
const RULES_MAX: usize = 150;

/// One rule of the files.
struct Taken {
    text: String,
    read: RuleText,
}

/// The rules of the files by their ids, and what is not taken.
fn take(input: &RuleImport) -> (BTreeMap<String, Taken>, Vec<RuleRejection>) {
    let (mut taken, mut rejected) = (BTreeMap::<String, Taken>::new(), Vec::new());
    for file in input.files.iter() {
        let name = file.name.as_str();
        let refuse = |code: &str, reason: String| RuleRejection {
            file: name.to_owned(),
            line: 1,
            code: code.to_owned(),
            reason,
        };
        for text in parts(&file.text) {
            match RuleText::read(name, &text) {
                Err(rejections) => rejected.extend(rejections.iter().map(rejection)),
                Ok(read) if taken.contains_key(&read.sigma_id) => {
                    rejected.push(refuse("identity", format!("`{}` stands twice in the files", read.sigma_id)));
                }
                Ok(read) if taken.len() >= RULES_MAX => {
                    let reason = format!("`{}` is beyond the {RULES_MAX} rules of one call", read.sigma_id);
                    rejected.push(refuse("too_many", reason));
                }
                Ok(read) => drop(taken.insert(read.sigma_id.clone(), Taken { text, read })),
            }
        }
    }
    (taken, rejected)
}

impl Handle<RuleImport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleImport) -> Result<Target, Refusal> {
        let place = look.place(input.tenant).await?;
        if let Some(pack) = input.pack {
            let stored: Stored<RulePack> = look.one("pack", &pack.to_string()).await?;
            if Owner::from(stored.value.tenant) != place {
                return Err(Refusal::fault("/pack", "belongs to another tenant or the provider; name its owner"));
            }
        }
        Ok(Target::place(place))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleImport) -> Result<Outcome<ImportReport>, Refusal> {
        let (taken, rejected) = take(&input);
        let mut report = ImportReport { loaded: 0, unchanged: 0, rejected, gaps: Vec::new() };
        report.gaps = taken.values().flat_map(|one| gaps(&one.read)).collect();
        let changes = match input.pack {
            Some(pack) => into_pack(admitted, pack, taken, &mut report).await?,
            None => as_drafts(self, admitted, taken, &mut report).await?,
        };
        Ok(Outcome::changed(report, changes))
    }
}

async fn as_drafts(
    control: &Control,
    admitted: &Admitted<'_>,
    taken: BTreeMap<String, Taken>,
    report: &mut ImportReport,
) -> Result<Changes, Refusal> {
    let owner = admitted.target.owner;
    let mut changes = Changes::new();
    for (sigma_id, one) in taken {
        let key = format!("{owner}/{sigma_id}");
        let known: Vec<Stored<Rule>> = admitted.snapshot.find("sigma_id", &key).await?;
        let comment = "imported".to_owned();
        let Some(before) = known.into_iter().next() else {
            let head = Rule {
                id: RuleId::generate(control.clock.as_ref(), control.entropy.as_ref()),
                tenant: owner.tenant(),
                sigma_id,
                state: RuleState::Draft,
                newest: 1,
                running: None,
                shadow: false,
                backtested: None,
                retro_hunt_days: None,
            };
            changes.create(&head).create(&version_by(admitted, &head, one.text, comment, Vec::new()));
            report.loaded = report.loaded.saturating_add(1);
            continue;
        };
        let old = version_of(&admitted.snapshot, before.value.id, before.value.newest).await?;
        if old.text == one.text {
            report.unchanged = report.unchanged.saturating_add(1);
            continue;
        }
        let newest = before.value.newest.saturating_add(1);
        let head = Rule { newest, state: RuleState::Draft, ..before.value };
        let version = version_by(admitted, &head, one.text, comment, old.tests);
        changes.replace(&head, before.version).create(&version);
        report.loaded = report.loaded.saturating_add(1);
    }
    Ok(changes)
}

async fn into_pack(
    admitted: &Admitted<'_>,
    pack: RulePackId,
    taken: BTreeMap<String, Taken>,
    report: &mut ImportReport,
) -> Result<Changes, Refusal> {
    let before: Stored<RulePack> = admitted.one("pack", &pack.to_string()).await?;
    let mut digests = digests_of(admitted, pack).await?;
    let mut changes = Changes::new();
    for (sigma_id, one) in taken {
        let rule = RulePackRule {
            pack,
            tenant: before.value.tenant,
            title: Text::<300>::truncated(&one.read.title).into_string(),
            level: one.read.level.ocsf_id(),
            digest: Digest::of(one.text.as_bytes()).to_hex(),
            text: one.text,
            sigma_id: sigma_id.clone(),
        };
        let known: Option<Stored<RulePackRule>> = admitted.snapshot.read(&RulePackRule::key(pack, &sigma_id)).await?;
        match known {
            Some(known) if known.value.digest == rule.digest => {
                report.unchanged = report.unchanged.saturating_add(1);
                continue;
            }
            Some(known) => drop(changes.replace(&rule, known.version)),
            None => drop(changes.create(&rule)),
        }
        report.loaded = report.loaded.saturating_add(1);
        digests.insert(sigma_id, rule.digest);
    }
    let parts: Vec<&[u8]> =
        digests.iter().flat_map(|(id, digest)| [id.as_bytes(), digest.as_bytes(), b"live"]).collect();
    let digest = Digest::framed("posse-rule-pack-v1", &parts).to_hex();
    let rules = u32::try_from(digests.len()).unwrap_or(u32::MAX);
    changes.replace(&RulePack { rules, digest, ..before.value.clone() }, before.version);
    Ok(changes)
}

/// The digest of each rule of a pack.
async fn digests_of(admitted: &Admitted<'_>, pack: RulePackId) -> Result<BTreeMap<String, String>, Refusal> {
    let mut digests = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let key = Some(("pack", pack.to_string()));
        let page = store::Page { after, limit: 1000, key, ..store::Page::default() };
        let rules: Vec<Stored<RulePackRule>> = admitted.snapshot.list(&page).await?;
        let whole = rules.len() >= 1000;
        after = rules.last().map(|last| RulePackRule::key(pack, &last.value.sigma_id));
        digests.extend(rules.into_iter().map(|rule| (rule.value.sigma_id, rule.value.digest)));
        if !whole {
            return Ok(digests);
        }
    }
}
