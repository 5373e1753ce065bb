//! From a document's text to a connector that can be used: everything that can be judged without values is judged here, all
//! faults at once.

use crate::auth::Auth;
use crate::document::{Document, Input, InputKind, Inverse, Output, Request, Step, Success, Verify};
use crate::fault::Fault;
use crate::input::{CHARS_MAX, whole};
use crate::outgoing::{Address, Unfit};
use crate::template::{From, JsonTemplate, Reference, Template, Values, is_name};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Bytes of a document.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;
/// Actions, inputs, outputs, settings or secrets of one kind.
const ENTRIES_MAX: usize = 64;
/// Headers that the way out makes itself.
const OWN_HEADERS: [&str; 6] = ["connection", "content-length", "content-type", "host", "te", "transfer-encoding"];

/// A connector's document that was judged.
// INVARIANT: made by `read` only, so that every reference is declared and every address, pointer and pattern reads.
#[derive(Clone, Debug)]
pub struct Connector {
    document: Document,
}

/// Which kinds of values may be referenced at a place.
const CALLER: &[From] = &[From::Action, From::Input, From::Secret, From::Setting];
const AFTER_EVIDENCE: &[From] = &[From::Action, From::Evidence, From::Input, From::Secret, From::Setting];
const AFTER_ANSWER: &[From] = &[From::Action, From::Evidence, From::Input, From::Output, From::Secret, From::Setting];
const INVERSE: &[From] = &[From::Evidence, From::Input, From::Output];

impl Connector {
    /// Read a document.
    ///
    /// # Errors
    /// What is wrong with it: the first fault that the YAML reader meets, else all others at once.
    pub fn read(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(vec![Fault::at("", format!("is over {TEXT_BYTES_MAX} bytes; say less"))]);
        }
        let document: Document = serde_yaml_ng::from_str(text).map_err(|error| vec![Fault::of_yaml(&error)])?;
        let mut judge = Judge { document: &document, faults: Vec::new() };
        judge.document();
        let faults = judge.faults;
        if faults.is_empty() { Ok(Self { document }) } else { Err(faults) }
    }

    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// One of its actions.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.document.actions.get(name)
    }

    /// How it authenticates.
    #[must_use]
    pub const fn auth(&self) -> &Auth {
        &self.document.auth
    }

    /// The settings as they hold: what was set, and defaults.
    ///
    /// # Errors
    /// Each fault as (name, what is wrong).
    pub fn settings(&self, set: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let declared = &self.document.settings;
        for name in set.keys().filter(|name| !declared.contains_key(*name)) {
            faults.push((name.clone(), "is no setting of this connector".to_owned()));
        }
        let mut all = BTreeMap::new();
        for (name, declared) in declared {
            match set.get(name).or(declared.default.as_ref()) {
                Some(value) => drop(all.insert(name.clone(), value.clone())),
                None if declared.optional => {}
                None => faults.push((name.clone(), format!("is missing; give {}", declared.description))),
            }
        }
        for request in self.document.actions.values().flat_map(Step::requests) {
            if let Some(reference) = request.url.only()
                && let Some(value) = all.get(&reference.name)
                && let Err(error) = Address::read(value)
                && !faults.iter().any(|(name, _)| *name == reference.name)
            {
                faults.push((reference.name.clone(), error.to_string()));
            }
        }
        if faults.is_empty() { Ok(all) } else { Err(faults) }
    }

    /// Every origin that a request may go to, with these settings.
    ///
    /// # Errors
    /// [`Unfit::Url`] where one is none.
    pub fn origins(&self, settings: &BTreeMap<String, String>) -> Result<Vec<String>, Unfit> {
        let mut origins = Vec::new();
        for host in &self.document.hosts {
            let text = match host.only() {
                Some(reference) => settings.get(&reference.name).cloned().unwrap_or_default(),
                None => host.literal().unwrap_or_default().to_owned(),
            };
            origins.push(Address::read(&text)?.origin);
        }
        Ok(origins)
    }

    /// The inputs of what undoes an action, from what it was given and what it brought.
    ///
    /// # Errors
    /// [`Unfit`] where a value cannot be made.
    pub fn inverse_inputs(inverse: &Inverse, values: &Values) -> Result<Map<String, Value>, Unfit> {
        let mut inputs = Map::new();
        for (name, template) in &inverse.with {
            if let Some(value) = template.json(values)? {
                inputs.insert(name.clone(), value);
            }
        }
        Ok(inputs)
    }
}

impl Step {
    /// Every request that it may make.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        let before = self.precondition.iter().map(|check| &check.request);
        let kept = self.evidence.iter().map(|evidence| &evidence.request);
        let after = self.verify.iter().filter_map(|verify| verify.request.as_ref());
        before.chain(kept).chain(std::iter::once(&self.execute.request)).chain(after)
    }

    /// Whether it may be sent again where nobody knows whether it arrived.
    #[must_use]
    pub const fn may_repeat(&self) -> bool {
        self.execute.repeatable || self.execute.idempotency_header.is_some()
    }
}

struct Judge<'a> {
    document: &'a Document,
    faults: Vec<Fault>,
}

/// What may be referenced at a place.
#[derive(Clone, Copy)]
struct Reach<'a> {
    kinds: &'a [From],
    step: Option<&'a Step>,
}

impl<'a> Judge<'a> {
    fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.faults.len() < 50 {
            self.faults.push(Fault::at(path, message));
        }
    }

    fn document(&mut self) {
        let document = self.document;
        let kind = &document.connector;
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if kind.is_empty() || kind.len() > 64 || !kind.bytes().all(inner) {
            self.fault("connector", "is not a name; write up to 64 lower-case letters, digits and `-`");
        }
        if document.title.is_empty() || document.title.chars().count() > 200 {
            self.fault("title", "is empty or over 200 characters");
        }
        self.names("settings", document.settings.keys());
        self.names("secrets", document.secrets.keys());
        self.names("actions", document.actions.keys());
        for (name, secret) in &document.secrets {
            if secret.default.is_some() {
                self.fault(format!("secrets.{name}.default"), "is no field of a secret; a secret has no default");
            }
        }
        if document.actions.is_empty() {
            self.fault("actions", "is empty; a connector can do at least one thing");
        }
        if document.hosts.is_empty() {
            self.fault(
                "hosts",
                "is empty; name every origin that a request may go to, for example `https://slack.com`",
            );
        }
        for (place, host) in document.hosts.iter().enumerate() {
            self.url(&format!("hosts[{place}]"), host);
        }
        let reach = Reach { kinds: &[From::Secret, From::Setting], step: None };
        for (field, template) in document.auth.templates() {
            self.template(&format!("auth.{field}"), template, reach);
        }
        if let Auth::Header { name, .. } = &document.auth {
            self.header("auth.name", name);
        }
        for (name, step) in &document.actions {
            self.step(&format!("actions.{name}"), step);
        }
    }

    fn names<'n>(&mut self, path: &str, names: impl Iterator<Item = &'n String>) {
        let names: Vec<&String> = names.collect();
        if names.len() > ENTRIES_MAX {
            self.fault(path, format!("has more than {ENTRIES_MAX} entries"));
        }
        for name in names {
            if !is_name(name) {
                let message = "is not a name; write up to 64 lower-case letters, digits and `_`, a letter first";
                self.fault(format!("{path}.{name}"), message);
            }
        }
    }

    fn step(&mut self, path: &str, step: &'a Step) {
        self.names(&format!("{path}.inputs"), step.inputs.keys());
        for (name, input) in &step.inputs {
            self.input(&format!("{path}.inputs.{name}"), input);
        }
        if let Some(aim) = &step.aim {
            let kind = step.inputs.get(&aim.input).map(|input| (input.kind, input.optional));
            if kind != Some((InputKind::Text, false)) {
                self.fault(format!("{path}.aim.input"), "names no text input that must be given");
            }
            if !ENTITIES.contains(&aim.entity.as_str()) {
                self.fault(format!("{path}.aim.entity"), format!("is none of {}", ENTITIES.join(", ")));
            }
        }
        if !OPENC2.contains(&step.openc2.action.as_str()) {
            self.fault(format!("{path}.openc2.action"), format!("is no action of OpenC2 1.0: {}", OPENC2.join(", ")));
        }
        let of = |kinds| Reach { kinds, step: Some(step) };
        if let Some(check) = &step.precondition {
            self.request(&format!("{path}.precondition.request"), &check.request, of(CALLER));
            self.success(&format!("{path}.precondition.success"), &check.success, of(CALLER));
        }
        if let Some(evidence) = &step.evidence {
            self.request(&format!("{path}.evidence.request"), &evidence.request, of(CALLER));
            self.success(&format!("{path}.evidence.success"), &evidence.success, of(CALLER));
            self.outputs(&format!("{path}.evidence.outputs"), &evidence.outputs);
        }
        let execute = &step.execute;
        self.request(&format!("{path}.execute.request"), &execute.request, of(AFTER_EVIDENCE));
        self.success(&format!("{path}.execute.success"), &execute.success, of(AFTER_EVIDENCE));
        self.outputs(&format!("{path}.execute.outputs"), &execute.outputs);
        if let Some(name) = &execute.idempotency_header {
            self.header(&format!("{path}.execute.idempotency_header"), name);
        }
        if let Some(verify) = &step.verify {
            self.verify(&format!("{path}.verify"), verify, of(AFTER_ANSWER));
        }
        if let Some(inverse) = &step.inverse {
            self.inverse(&format!("{path}.inverse"), inverse, of(INVERSE));
        }
    }

    fn input(&mut self, path: &str, input: &Input) {
        if input.chars_max.is_some_and(|most| most == 0 || most > CHARS_MAX) {
            self.fault(format!("{path}.chars_max"), format!("is not within 1 to {CHARS_MAX}"));
        }
        let only_text = input.chars_max.is_some() || input.pattern.is_some() || !input.one_of.is_empty();
        if only_text && input.kind != InputKind::Text {
            self.fault(path, "bounds a text, and is none; leave `chars_max`, `pattern` and `one_of` out");
        }
        if let Some(Err(error)) = input.pattern.as_deref().map(whole) {
            self.fault(format!("{path}.pattern"), error);
        }
    }

    fn verify(&mut self, path: &str, verify: &Verify, reach: Reach<'_>) {
        match (&verify.request, verify.by_answer) {
            (Some(request), false) => {
                self.request(&format!("{path}.request"), request, reach);
                self.success(&format!("{path}.success"), &verify.success, reach);
            }
            (None, true) => {}
            _ => self.fault(path, "needs either `request` or `by_answer: true`"),
        }
        if !(1..=86_400).contains(&verify.within_secs) {
            self.fault(format!("{path}.within_secs"), "is not within 1 to 86400");
        }
        if !(1..=3600).contains(&verify.every_secs) {
            self.fault(format!("{path}.every_secs"), "is not within 1 to 3600");
        }
    }

    fn inverse(&mut self, path: &str, inverse: &Inverse, reach: Reach<'_>) {
        let Some(other) = self.document.actions.get(&inverse.action) else {
            return self.fault(format!("{path}.action"), "names no action of this connector");
        };
        for (name, template) in &inverse.with {
            if !other.inputs.contains_key(name) {
                self.fault(format!("{path}.with.{name}"), format!("is no input of `{}`", inverse.action));
            }
            self.json(&format!("{path}.with.{name}"), template, reach);
        }
        for (name, _) in
            other.inputs.iter().filter(|(name, input)| !input.optional && !inverse.with.contains_key(*name))
        {
            self.fault(format!("{path}.with"), format!("gives no `{name}`, which `{}` needs", inverse.action));
        }
    }

    fn url(&mut self, path: &str, template: &Template) {
        match (template.literal(), template.only()) {
            (Some(text), _) => {
                if let Err(error) = Address::read(text) {
                    self.fault(path, error.to_string());
                }
            }
            (None, Some(Reference { from: From::Setting, name })) => {
                if self.document.settings.get(name).is_none_or(|setting| setting.optional) {
                    self.fault(path, format!("`${{setting.{name}}}` is no setting that must be given"));
                }
            }
            _ => self.fault(path, "is neither an address without references nor `${setting.NAME}` alone"),
        }
    }

    fn request(&mut self, path: &str, request: &Request, reach: Reach<'_>) {
        self.url(&format!("{path}.url"), &request.url);
        if let Some(text) = &request.path {
            self.path(&format!("{path}.path"), text, reach);
        }
        for (name, template) in &request.query {
            self.template(&format!("{path}.query.{name}"), template, reach);
            self.no_secret(&format!("{path}.query.{name}"), template);
        }
        let made = self.document.auth.headers();
        for (name, template) in &request.headers {
            let at = format!("{path}.headers.{name}");
            self.header(&at, name);
            if made.iter().any(|made| made.eq_ignore_ascii_case(name)) {
                self.fault(&at, "is made by `auth`; leave it out");
            }
            self.template(&at, template, reach);
        }
        if request.json.is_some() && request.form.is_some() {
            self.fault(path, "has `json` and `form`; a request has one body");
        }
        if let Some(json) = &request.json {
            self.json(&format!("{path}.json"), json, reach);
        }
        for (name, template) in request.form.iter().flatten() {
            self.template(&format!("{path}.form.{name}"), template, reach);
        }
    }

    fn path(&mut self, path: &str, text: &str, reach: Reach<'_>) {
        if !text.starts_with('/') {
            self.fault(path, "does not start with `/`");
        }
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match Template::read(segment) {
                Ok(template) => {
                    if matches!(template.literal(), Some("." | "..")) {
                        self.fault(path, "has a step (`.`, `..`)");
                    }
                    self.template(path, &template, reach);
                    self.no_secret(path, &template);
                }
                Err(error) => self.fault(path, error),
            }
        }
    }

    /// Addresses end up in the logs of whoever is on the way.
    fn no_secret(&mut self, path: &str, template: &Template) {
        if template.references().any(|reference| reference.from == From::Secret) {
            self.fault(path, "puts a secret into an address; give it in a header or the body");
        }
    }

    fn header(&mut self, path: &str, name: &str) {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 128 || !name.bytes().all(letter) {
            self.fault(path, "is no header's name; write letters, digits and `-`");
        }
        if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            self.fault(path, "is a header that the platform makes itself");
        }
    }

    fn success(&mut self, path: &str, success: &Success, reach: Reach<'_>) {
        if success.status.iter().any(|status| !(100..600).contains(status)) {
            self.fault(format!("{path}.status"), "has a number that is no status of HTTP");
        }
        for (place, condition) in success.all.iter().enumerate() {
            let at = format!("{path}.all[{place}]");
            self.pointer(&format!("{at}.at"), &condition.at);
            let has = condition.has.iter().flatten();
            let said =
                [condition.equals.is_some(), condition.exists.is_some(), condition.has.is_some()].map(usize::from);
            if said.iter().sum::<usize>() != 1 {
                self.fault(&at, "needs exactly one of `equals`, `exists` and `has`");
            }
            if let Some(json) = &condition.equals {
                self.json(&format!("{at}.equals"), json, reach);
            }
            for (pointer, json) in has {
                self.pointer(&format!("{at}.has"), pointer);
                self.json(&format!("{at}.has.{pointer}"), json, reach);
            }
        }
    }

    fn outputs(&mut self, path: &str, outputs: &BTreeMap<String, Output>) {
        self.names(path, outputs.keys());
        for (name, output) in outputs {
            self.pointer(&format!("{path}.{name}.at"), &output.at);
        }
    }

    fn pointer(&mut self, path: &str, pointer: &str) {
        if !(pointer.is_empty() || pointer.starts_with('/')) {
            self.fault(path, "is no JSON pointer (RFC 6901); write for example `/user/id`");
        }
    }

    fn json(&mut self, path: &str, json: &JsonTemplate, reach: Reach<'_>) {
        let mut templates = Vec::new();
        json.templates(&mut templates);
        for template in templates {
            self.template(path, template, reach);
        }
    }

    fn template(&mut self, path: &str, template: &Template, reach: Reach<'_>) {
        for reference in template.references() {
            if let Some(message) = undeclared(self.document, reference, reach) {
                self.fault(path, message);
            }
        }
    }
}

/// Kinds of entities that an action may be aimed at.
const ENTITIES: [&str; 10] = ["domain", "email", "file", "hash", "host", "ip", "process", "resource", "url", "user"];

/// The actions of the `OpenC2` language specification 1.0, 3.3.1.1.
const OPENC2: [&str; 20] = [
    "allow",
    "cancel",
    "contain",
    "copy",
    "create",
    "delete",
    "deny",
    "detonate",
    "investigate",
    "locate",
    "query",
    "redirect",
    "remediate",
    "restart",
    "restore",
    "scan",
    "set",
    "start",
    "stop",
    "update",
];

fn undeclared(document: &Document, reference: &Reference, reach: Reach<'_>) -> Option<String> {
    if !reach.kinds.contains(&reference.from) {
        return Some(format!("`{reference}` cannot be known here"));
    }
    let name = reference.name.as_str();
    let step = reach.step;
    let declared = match reference.from {
        From::Action => ["case", "id", "reason", "tenant", "time"].contains(&name),
        From::Evidence => {
            step.and_then(|step| step.evidence.as_ref()).is_some_and(|one| one.outputs.contains_key(name))
        }
        From::Input => step.is_some_and(|step| step.inputs.contains_key(name)),
        From::Output => step.is_some_and(|step| step.execute.outputs.contains_key(name)),
        From::Secret => document.secrets.contains_key(name),
        From::Setting => document.settings.contains_key(name),
    };
    (!declared).then(|| format!("`{reference}` is not declared"))
}
