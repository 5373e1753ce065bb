//! Configuration files as they are written: typed YAML, unknown keys are errors with path, line and column; templates that
//! extend each other, and tenants made from rows. Knows nothing of a server, and never guesses what a wrong key meant.

use crate::answer::Trouble;
use crate::source::{TEXT_BYTES_MAX, read_file};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The version of the format.
pub(crate) const VERSION: u32 = 1;
/// Templates that extend each other at most.
const DEPTH_MAX: usize = 16;

/// Entries by name; a name that stands twice is an error.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Named<T>(pub(crate) BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("entries by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let twice = entries.contains_key(&name).then(|| format!("`{name}` stands twice"));
                    let value = map.next_value()?;
                    if let Some(why) = twice {
                        return Err(A::Error::custom(why));
                    }
                    entries.insert(name, value);
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// One file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The version of the format, 1.
    pub(crate) version: u32,
    /// What tenants can be made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "named")]
    pub(crate) templates: BTreeMap<String, TenantSpec>,
    /// The provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<ProviderSpec>,
    /// Tenants by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenants: Option<Named<TenantSpec>>,
    /// Many tenants of one kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) for_each: Vec<ForEach>,
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, TenantSpec>, D::Error> {
    Named::deserialize(deserializer).map(|named| named.0)
}

/// One tenant for each row; `${key}` in its texts stands for the row's value of that key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForEach {
    /// The rows.
    #[serde(default)]
    rows: Vec<BTreeMap<String, String>>,
    /// More rows: a YAML list in a file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows_file: Option<String>,
    /// The tenant's name.
    name: String,
    /// The tenant.
    #[serde(default)]
    tenant: TenantSpec,
}

/// One template or several, the later over the earlier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Templates {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Templates {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// A tenant, or a template for tenants. What is not said is not touched.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TenantSpec {
    /// What it is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) template: Option<Templates>,
    /// Entries of the templates that it goes without, as `section/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// Its tags; those of the templates are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeSet<String>>,
    /// Whether its work stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspended: Option<bool>,
    /// How long its rows are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<RetentionSpec>,
    /// Its sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sources: Option<Named<SourceSpec>>,
    /// Which of the provider's and the shipped packs run there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) packs: Option<Named<PackSpec>>,
    /// Exceptions from rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exceptions: Option<Vec<ExceptionSpec>>,
    /// Its people, by e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<Named<UserSpec>>,
    /// Its agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agents: Option<Named<AgentSpec>>,
    /// Its own roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Named<RoleSpec>>,
    /// Who holds which role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) assignments: Option<Vec<AssignmentSpec>>,
}

/// The provider's own. What is not said is not touched.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProviderSpec {
    /// Its people, by e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<Named<UserSpec>>,
    /// Its agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agents: Option<Named<AgentSpec>>,
    /// Roles that every tenant can assign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) roles: Option<Named<RoleSpec>>,
    /// Who holds which role in every tenant, or in those of a selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) assignments: Option<Vec<AssignmentSpec>>,
    /// Policy documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policies: Option<Named<PolicySpec>>,
}

/// How long rows are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSpec {
    /// How many days; where nothing is said, for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days: Option<u32>,
    /// Days of classes that are kept longer or shorter.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) classes: BTreeMap<u32, u32>,
}

/// A source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SourceSpec {
    /// What it is, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// A built-in mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mapping: Option<String>,
    /// A mapping of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mapping_text: Option<String>,
    /// Whether it takes records; not touched where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    /// After how many seconds of silence a finding is raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_after_secs: Option<u32>,
}

/// A pack that runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PackSpec {
    /// Ids of its rules that are off.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) off: BTreeSet<String>,
}

/// An exception from rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExceptionSpec {
    /// A Sigma filter.
    pub(crate) text: String,
    /// Why.
    pub(crate) reason: String,
    /// How long it holds once it is made.
    #[serde(default = "ninety_days")]
    pub(crate) ttl_secs: u32,
}

const fn ninety_days() -> u32 {
    90 * 24 * 3600
}

/// A person, without secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserSpec {
    /// What people call them.
    pub(crate) display_name: String,
}

/// An agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentSpec {
    /// What it is for.
    pub(crate) purpose: String,
    /// The e-mail address of the person who answers for it.
    pub(crate) owner: String,
    /// Whether it may act; not touched where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<bool>,
    /// How long it lives once it is registered.
    #[serde(default = "ninety_days")]
    pub(crate) ttl_secs: u32,
    /// Its definition; not touched where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) definition: Option<String>,
    /// A file with its definition, beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) definition_file: Option<String>,
}

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Which operations it allows.
    pub(crate) operations: BTreeSet<String>,
    /// Only operations of these effects; all where nothing is said.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) effects: BTreeSet<String>,
    /// Only these kinds of principal; people and programs where nothing is said. Cannot be changed later.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) principals: BTreeSet<String>,
}

/// A role that somebody holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentSpec {
    /// Who: `user:dana@example.com`, `agent:triage`, `service:shipper`, or an id.
    pub(crate) principal: String,
    /// Which role: a shipped one's name, or the name of one of the tenant's or the provider's.
    pub(crate) role: String,
    /// At the provider: only in tenants whose tags fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) selector: Option<String>,
}

/// A policy document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicySpec {
    /// Cedar text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// A file with the Cedar text, beside this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// Whether it binds; not touched where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<bool>,
    /// Tests that must pass before it can bind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tests: Vec<api::PolicyTestCase>,
}

/// All files as one, templates and rows resolved.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) provider: Option<ProviderSpec>,
    /// None where no file says anything of tenants: then none is touched.
    pub(crate) tenants: Option<BTreeMap<String, TenantSpec>>,
}

/// Read files.
pub(crate) fn read(paths: &[String]) -> Result<Wanted, Trouble> {
    let mut files = Vec::new();
    let mut templates = BTreeMap::new();
    for path in paths {
        let mut file: File = parse(path, &read_file(path, TEXT_BYTES_MAX)?)?;
        if file.version != VERSION {
            return Err(Trouble::Usage(format!("`{path}`: version {} is not known; write `version: 1`", file.version)));
        }
        for (name, template) in std::mem::take(&mut file.templates) {
            if templates.insert(name.clone(), template).is_some() {
                return Err(Trouble::Usage(format!("`{path}`: template `{name}` stands in another file too")));
            }
        }
        files.push((path, file));
    }
    let mut wanted = Wanted::default();
    for (path, file) in files {
        let at = |trouble: String| Trouble::Usage(format!("`{path}`: {trouble}"));
        if let Some(mut provider) = file.provider {
            inline_provider(path, &mut provider)?;
            if wanted.provider.replace(provider).is_some() {
                return Err(at("`provider` stands in another file too".to_owned()));
            }
        }
        if file.tenants.is_none() && file.for_each.is_empty() {
            continue;
        }
        let tenants = wanted.tenants.get_or_insert_default();
        let mut add = |name: String, spec: &TenantSpec| -> Result<(), Trouble> {
            let mut whole =
                resolved(spec, &templates, DEPTH_MAX).map_err(|why| at(format!("tenants.{name}: {why}")))?;
            inline_agents(path, whole.agents.as_mut())?;
            match tenants.insert(name.clone(), whole) {
                None => Ok(()),
                Some(_) => Err(at(format!("tenant `{name}` stands twice"))),
            }
        };
        for (name, spec) in file.tenants.unwrap_or_default().0 {
            add(name, &spec)?;
        }
        for (index, each) in file.for_each.iter().enumerate() {
            for (name, spec) in rows(path, each).map_err(|why| at(format!("for_each[{index}]: {why}")))? {
                add(name, &spec)?;
            }
        }
    }
    Ok(wanted)
}

/// A document of a file; what does not fit is told with path, line and column.
pub(crate) fn parse<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, Trouble> {
    serde_yaml_ng::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        Trouble::Usage(format!("{path}{place}: {error}"))
    })
}

/// A file that a file names, beside it.
fn beside(path: &str, name: &str) -> Result<String, Trouble> {
    let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
    read_file(&folder.join(name).to_string_lossy(), TEXT_BYTES_MAX)
}

fn inline_agents(path: &str, agents: Option<&mut Named<AgentSpec>>) -> Result<(), Trouble> {
    for (name, agent) in agents.into_iter().flat_map(|agents| &mut agents.0) {
        if let Some(file) = agent.definition_file.take() {
            if agent.definition.is_some() {
                let why = format!("`{path}`: agent `{name}` has both `definition` and `definition_file`; give one");
                return Err(Trouble::Usage(why));
            }
            agent.definition = Some(beside(path, &file)?);
        }
    }
    Ok(())
}

fn inline_provider(path: &str, provider: &mut ProviderSpec) -> Result<(), Trouble> {
    inline_agents(path, provider.agents.as_mut())?;
    for (name, policy) in provider.policies.iter_mut().flat_map(|policies| &mut policies.0) {
        match (&policy.text, policy.file.take()) {
            (None, Some(file)) => policy.text = Some(beside(path, &file)?),
            (Some(_), None) => {}
            _ => {
                let why = format!("`{path}`: policy `{name}` needs either `text` or `file`");
                return Err(Trouble::Usage(why));
            }
        }
    }
    Ok(())
}

/// A tenant with its templates below it.
fn resolved(spec: &TenantSpec, templates: &BTreeMap<String, TenantSpec>, depth: usize) -> Result<TenantSpec, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("templates extend each other in a circle, or more than {DEPTH_MAX} deep"));
    };
    let mut whole = TenantSpec::default();
    for name in spec.template.iter().flat_map(Templates::names) {
        let template = templates.get(name).ok_or_else(|| format!("there is no template `{name}`"))?;
        whole = over(whole, resolved(template, templates, depth)?);
    }
    for gone in &spec.without {
        take_out(&mut whole, gone)?;
    }
    Ok(over(whole, TenantSpec { template: None, without: Vec::new(), ..spec.clone() }))
}

/// The later over the earlier: single values replace, entries by name replace one by one, lists and tags are added.
fn over(below: TenantSpec, above: TenantSpec) -> TenantSpec {
    fn entries<T>(below: Option<Named<T>>, above: Option<Named<T>>) -> Option<Named<T>> {
        match (below, above) {
            (Some(mut below), Some(above)) => {
                below.0.extend(above.0);
                Some(below)
            }
            (below, above) => above.or(below),
        }
    }
    fn added<T>(below: Option<Vec<T>>, above: Option<Vec<T>>) -> Option<Vec<T>> {
        match (below, above) {
            (Some(mut below), Some(above)) => {
                below.extend(above);
                Some(below)
            }
            (below, above) => above.or(below),
        }
    }
    TenantSpec {
        template: None,
        without: Vec::new(),
        display_name: above.display_name.or(below.display_name),
        tags: match (below.tags, above.tags) {
            (Some(mut below), Some(above)) => {
                below.extend(above);
                Some(below)
            }
            (below, above) => above.or(below),
        },
        suspended: above.suspended.or(below.suspended),
        retention: above.retention.or(below.retention),
        sources: entries(below.sources, above.sources),
        packs: entries(below.packs, above.packs),
        exceptions: added(below.exceptions, above.exceptions),
        users: entries(below.users, above.users),
        agents: entries(below.agents, above.agents),
        roles: entries(below.roles, above.roles),
        assignments: added(below.assignments, above.assignments),
    }
}

fn take_out(spec: &mut TenantSpec, gone: &str) -> Result<(), String> {
    fn out<T>(entries: Option<&mut Named<T>>, name: &str) -> bool {
        entries.is_some_and(|entries| entries.0.remove(name).is_some())
    }
    let (section, name) = gone.split_once('/').unwrap_or((gone, ""));
    let found = match section {
        "agents" => out(spec.agents.as_mut(), name),
        "packs" => out(spec.packs.as_mut(), name),
        "roles" => out(spec.roles.as_mut(), name),
        "sources" => out(spec.sources.as_mut(), name),
        "tags" => spec.tags.as_mut().is_some_and(|tags| tags.remove(name)),
        "users" => out(spec.users.as_mut(), name),
        _ => {
            return Err(format!(
                "`without` names `{gone}`; write `sources/cloudtrail`, or agents, packs, roles, tags, users"
            ));
        }
    };
    if found { Ok(()) } else { Err(format!("`without` names `{gone}`, which no template of it has")) }
}

/// The tenants of all rows.
fn rows(path: &str, each: &ForEach) -> Result<Vec<(String, TenantSpec)>, String> {
    let mut rows = each.rows.clone();
    if let Some(file) = &each.rows_file {
        let text = beside(path, file).map_err(|trouble| trouble.to_string())?;
        let more: Vec<BTreeMap<String, String>> = parse(file, &text).map_err(|trouble| trouble.to_string())?;
        rows.extend(more);
    }
    let pattern = serde_json::to_value(&each.tenant).map_err(|error| error.to_string())?;
    let mut tenants = Vec::new();
    for row in &rows {
        let name = filled(&each.name, row)?;
        let tenant = serde_json::from_value(filled_all(pattern.clone(), row)?)
            .map_err(|error| format!("tenant `{name}`: {error}"))?;
        tenants.push((name, tenant));
    }
    Ok(tenants)
}

fn filled_all(value: Value, row: &BTreeMap<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(filled(&text, row)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| filled_all(item, row)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fill = |(key, value): (String, Value)| Ok((filled(&key, row)?, filled_all(value, row)?));
            Value::Object(fields.into_iter().map(fill).collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

/// A text with `${key}` replaced by the row's value; `$$` is a dollar sign.
fn filled(text: &str, row: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((key, after)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            let value = row.get(key);
            out.push_str(value.ok_or_else(|| format!("`${{{key}}}` is no key of the row; `$$` writes a dollar sign"))?);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse::<File>("posse.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_key_is_told_with_path_line_and_column() {
        let text = "version: 1\ntenants:\n  acme:\n    sources:\n      trail:\n        mapping: cloudtrail\n        silent_after: 5\n";
        let told = fault(text);
        assert!(told.starts_with("posse.yaml:7:9: tenants.acme.sources.trail: unknown field `silent_after`"), "{told}");
        let told = fault("version: 1\ntenants:\n  acme: {}\n  acme: {}\n");
        assert!(told.contains("`acme` stands twice") && told.starts_with("posse.yaml:"), "{told}");
        assert!(fault("tenants: {}\n").contains("missing field `version`"));
        assert!(fault("version: 1\nprovider: { polices: {} }\n").starts_with("posse.yaml:2:"));
    }

    #[test]
    fn templates_extend_each_other_and_are_overridden() {
        let text = "version: 1\ntemplates:\n  base:\n    tags: [env=prod]\n    retention: { days: 30 }\n    sources: { a: { mapping: zeek }, b: {} }\n  gold:\n    template: base\n    without: [sources/b]\n    retention: { days: 90 }\n";
        let file: File = parse("f", text).unwrap();
        let spec: TenantSpec =
            serde_yaml_ng::from_str("template: gold\ntags: [region=eu]\nsources: { a: { mapping: cloudtrail } }")
                .unwrap();
        let whole = resolved(&spec, &file.templates, DEPTH_MAX).unwrap();
        assert_eq!(whole.tags.unwrap().into_iter().collect::<Vec<_>>(), ["env=prod", "region=eu"]);
        assert_eq!(whole.retention.unwrap().days, Some(90));
        let sources = whole.sources.unwrap().0;
        assert_eq!(sources.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(sources["a"].mapping.as_deref(), Some("cloudtrail"));
        let circle: File = parse("f", "version: 1\ntemplates:\n  a: { template: b }\n  b: { template: a }\n").unwrap();
        let spec: TenantSpec = serde_yaml_ng::from_str("template: a").unwrap();
        assert!(resolved(&spec, &circle.templates, DEPTH_MAX).unwrap_err().contains("circle"));
    }

    #[test]
    fn a_row_fills_names_keys_and_texts() {
        let each: ForEach = serde_yaml_ng::from_str(
            "rows: [{ name: acme, region: eu }]\nname: '${name}'\ntenant: { tags: ['region=${region}'], users: { 'soc@${name}.example': { display_name: 'cost: 5$$' } } }",
        )
        .unwrap();
        let made = rows("f", &each).unwrap();
        let (name, spec) = made.first().unwrap();
        assert_eq!(name, "acme");
        assert!(spec.tags.as_ref().unwrap().contains("region=eu"));
        assert_eq!(spec.users.as_ref().unwrap().0["soc@acme.example"].display_name, "cost: 5$");
        assert!(filled("${who}", &BTreeMap::new()).unwrap_err().contains("no key"));
    }
}
