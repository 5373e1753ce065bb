//! Rules taken away as text: as they were written, as SigmaHQ writes them, as SQL over the lake. What cannot be said in a
//! form is named with its reason, and where a file says less than its rule, so is that.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::rule::version_of;
use crate::rule_text::RuleText;
use crate::target::Target;
use api::{Page, RuleExport, RuleExportNote, RuleExported, RuleFile, RuleForm};
use detection::export::{self, SqlCaveat, SqlError};
use detection::profile::{Format, Profile};
use ids::{Owner, Text};
use store::{Rule, Stored};

/// Bytes of one page of an export: under what one answer may weigh.
const BYTES_MAX: usize = 768 << 10;

/// The files of one rule, with what is to be said of them.
#[derive(Default)]
struct Made {
    files: Vec<(String, String)>,
    left_out: Vec<(String, String)>,
    notes: Vec<(String, String)>,
}

/// A name that is one on every system.
fn name(sigma_id: &str, ending: &str) -> String {
    format!("{}.{ending}", sigma_id.replace(['/', '\\'], "_"))
}

fn as_sigmahq(sigma_id: &str, text: &str) -> Made {
    let file = name(sigma_id, "yml");
    let mut made = Made::default();
    match export::sigma(text) {
        Ok(export) => {
            if !export.left_out.is_empty() {
                let keys = export.left_out.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                made.notes.push((file.clone(), format!("{keys} are this platform's own and left out")));
            }
            made.files.push((file, export.yaml));
        }
        Err(error) => made.left_out.push((file, error.to_string())),
    }
    made
}

const fn caveat(caveat: SqlCaveat) -> &'static str {
    match caveat {
        SqlCaveat::Lists => "a list in a record is compared as its JSON text, not value by value",
        SqlCaveat::FirstPlace => "of several places where a field may stand, the first that holds a value counts",
        SqlCaveat::NullIsAbsent => "`exists` does not see a field whose value is null",
        SqlCaveat::AnySource => "records of other sources are asked too: add `source = '...'`",
    }
}

fn form_name(format: &Format) -> String {
    match format {
        Format::Generic => "json".to_owned(),
        Format::WindowsFlat => "windows-flat".to_owned(),
        Format::WindowsEvtx => "windows-evtx".to_owned(),
        Format::Named(name) => name.clone(),
    }
}

fn as_sql(sigma_id: &str, text: &RuleText) -> Made {
    let mut made = Made::default();
    let whole = name(sigma_id, "sql");
    let [rule] = text.collection.rules.as_slice() else {
        made.left_out.push((whole, "a correlation is about several records and no one row".to_owned()));
        return made;
    };
    if !text.collection.correlations.is_empty() {
        made.left_out.push((whole, "a correlation is about several records and no one row".to_owned()));
        return made;
    }
    for format in Format::all() {
        let file = name(sigma_id, &format!("{}.sql", form_name(&format)));
        match export::sql(rule, &Profile::new(format)) {
            Ok(export) => {
                made.notes.extend(export.caveats.iter().map(|one| (file.clone(), caveat(*one).to_owned())));
                made.files.push((file, export.sql));
            }
            // Records of this form are never asked.
            Err(SqlError::OtherFormat(_)) => {}
            Err(error) => made.left_out.push((file, error.to_string())),
        }
    }
    if made.files.is_empty() && made.left_out.is_empty() {
        made.left_out.push((whole, "no form of records that is known belongs to its log source".to_owned()));
    }
    made
}

fn made(form: RuleForm, sigma_id: &str, text: &str) -> Made {
    match form {
        RuleForm::Written => Made { files: vec![(name(sigma_id, "yml"), text.to_owned())], ..Made::default() },
        RuleForm::Sigmahq => as_sigmahq(sigma_id, text),
        RuleForm::Sql => match RuleText::read("text", text) {
            Ok(read) => as_sql(sigma_id, &read),
            Err(_) => {
                let why = "its stored text does not load any more; see `rule.lint`".to_owned();
                Made { left_out: vec![(name(sigma_id, "sql"), why)], ..Made::default() }
            }
        },
    }
}

impl Handle<RuleExport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleExport) -> Result<Target, Refusal> {
        let place = look.place(input.tenant).await?;
        if let Some(rule) = input.rule {
            let stored: Stored<Rule> = look.one("rule", &rule.to_string()).await?;
            if input.tenant.is_some() && Owner::from(stored.value.tenant) != place {
                return Err(Refusal::fault("/rule", "belongs to another tenant or the provider; name its owner"));
            }
            return Ok(Target::place(stored.value.tenant.into()));
        }
        Ok(Target::place(place))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleExport) -> Result<Outcome<RuleExported>, Refusal> {
        let owner = Some(admitted.target.owner);
        let heads: Page<Stored<Rule>> = match input.rule {
            Some(rule) => Page { items: vec![admitted.one("rule", &rule.to_string()).await?], next_cursor: None },
            None => admitted.page(owner, None, input.limit, input.cursor.as_ref(), Ok).await?,
        };
        let mut told = RuleExported { files: Vec::new(), left_out: Vec::new(), notes: Vec::new(), next_cursor: None };
        let (mut bytes, mut cut, mut last) = (0_usize, None, None::<String>);
        for head in &heads.items {
            let version = version_of(&admitted.snapshot, head.value.id, head.value.newest).await?;
            let made = made(input.form, &head.value.sigma_id, &version.text);
            bytes = bytes.saturating_add(made.files.iter().map(|(_, text)| text.len()).sum::<usize>());
            if bytes > BYTES_MAX && last.is_some() {
                cut = last.as_deref().map(|last| admitted.cursor(last));
                break;
            }
            last = Some(head.value.id.to_string());
            let note = |(file, note): (String, String)| RuleExportNote { file, note };
            told.left_out.extend(made.left_out.into_iter().map(note));
            told.notes.extend(made.notes.into_iter().map(note));
            for (file, text) in made.files {
                match Text::new(text) {
                    Ok(text) => told.files.push(RuleFile { name: Text::truncated(&file), text }),
                    Err(_) => told.left_out.push(RuleExportNote { file, note: "is longer than 64 KiB".to_owned() }),
                }
            }
        }
        told.next_cursor = cut.or(heads.next_cursor);
        Ok(Outcome::answer(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: Whoami\nid: w\nlogsource: {product: windows, category: process_creation}\n\
                        detection: {s: {Image|endswith: '\\whoami.exe'}, condition: s}\nlevel: low\n";

    #[test]
    fn each_form_says_the_rule_or_why_it_cannot() {
        let written = made(RuleForm::Written, "a/b", RULE);
        assert_eq!(written.files, [("a_b.yml".to_owned(), RULE.to_owned())]);
        let sigmahq = made(RuleForm::Sigmahq, "w", RULE);
        assert!(sigmahq.files[0].1.starts_with("title: Whoami\n"), "{:?}", sigmahq.files);
        let sql = made(RuleForm::Sql, "w", RULE);
        let names: Vec<&str> = sql.files.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"w.windows-flat.sql") && names.contains(&"w.windows-evtx.sql"), "{names:?}");
        assert!(sql.files.iter().all(|(_, text)| text.starts_with("SELECT ")));
        let keyword = RULE.replace("s: {Image|endswith: '\\whoami.exe'}", "s: [whoami]");
        let keyword = made(RuleForm::Sql, "w", &keyword);
        assert!(keyword.files.is_empty() && keyword.left_out[0].1.contains("keyword"), "{:?}", keyword.left_out);
        assert_eq!(made(RuleForm::Sql, "w", "title: [").left_out.len(), 1);
    }
}
