//! Texts with references to declared values. A reference becomes a value of its own in JSON, or is escaped for the place
//! where it stands; nothing is ever pasted into JSON, a URL or a header as it came. Must never resolve what was not declared.

use crate::outgoing::Unfit;
use ids::{ActionId, CaseId, TenantId, Timestamp};
use seal::SecretText;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// What stands in place of a secret in whatever is shown.
pub(crate) const BLANK: &str = "[secret]";

/// Where a referenced value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum From {
    /// A fact of the platform: `id`, `tenant`, `case`, `reason` or `time`.
    Action,
    /// What was kept before the action.
    Evidence,
    /// What the caller gave.
    Input,
    /// What the answer brought.
    Output,
    /// A secret of the connector.
    Secret,
    /// A setting of the connector.
    Setting,
}

impl From {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Action, "action"),
        (Self::Evidence, "evidence"),
        (Self::Input, "input"),
        (Self::Output, "output"),
        (Self::Secret, "secret"),
        (Self::Setting, "setting"),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(from, _)| *from == self).map_or("", |(_, word)| word)
    }
}

/// A reference to one value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reference {
    pub(crate) from: From,
    pub(crate) name: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{{}.{}}}", self.from.as_str(), self.name)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(String),
    Reference(Reference),
}

/// A text with references like `${input.channel}`; `$${` stands for a literal `${`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Template(Vec<Piece>);

/// The facts that every action has.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The action's id: also what a target is given as idempotency key.
    pub id: ActionId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its case.
    pub case: Option<CaseId>,
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// The time of the request.
    pub time: Timestamp,
}

/// The secrets of a connector.
#[derive(Clone, Debug)]
pub enum Secrets {
    /// Every secret shows as `[secret]`: for what people see.
    Blank,
    /// The secrets themselves, by name.
    Known(BTreeMap<String, SecretText>),
}

/// What references are resolved from.
#[derive(Clone, Debug)]
pub struct Values {
    /// What the caller gave, checked.
    pub inputs: Map<String, Value>,
    /// The connector's settings.
    pub settings: BTreeMap<String, String>,
    /// Its secrets.
    pub secrets: Secrets,
    /// What was kept before the action.
    pub evidence: Map<String, Value>,
    /// What the answer brought.
    pub outputs: Map<String, Value>,
    /// Facts of the platform.
    pub facts: Facts,
}

impl Values {
    fn value(&self, reference: &Reference) -> Result<Option<Value>, Unfit> {
        let name = reference.name.as_str();
        Ok(match reference.from {
            From::Input => self.inputs.get(name).cloned(),
            From::Evidence => self.evidence.get(name).cloned(),
            From::Output => self.outputs.get(name).cloned(),
            From::Setting => self.settings.get(name).map(|text| Value::from(text.as_str())),
            From::Secret => match &self.secrets {
                Secrets::Blank => Some(Value::from(BLANK)),
                Secrets::Known(secrets) => {
                    let secret = secrets.get(name).ok_or_else(|| Unfit::MissingSecret(name.to_owned()))?;
                    Some(Value::from(secret.expose()))
                }
            },
            From::Action => match name {
                "id" => Some(Value::from(self.facts.id.to_string())),
                "tenant" => Some(Value::from(self.facts.tenant.to_string())),
                "case" => self.facts.case.map(|case| Value::from(case.to_string())),
                "reason" => Some(Value::from(self.facts.reason.as_str())),
                "time" => Some(Value::from(self.facts.time.to_string())),
                _ => None,
            },
        })
    }

    /// The text without anything that is a secret of the connector: a target may send back what it was sent.
    #[must_use]
    pub fn blank(&self, text: &str) -> String {
        let Secrets::Known(secrets) = &self.secrets else { return text.to_owned() };
        let mut text = text.to_owned();
        // A short text is found everywhere by chance, and guards nothing.
        for secret in secrets.values().map(SecretText::expose).filter(|secret| secret.len() >= 4) {
            text = text.replace(secret, BLANK);
        }
        text
    }

    /// The same for every text in a value.
    #[must_use]
    pub fn blank_all(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.blank(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.blank_all(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (self.blank(&name), self.blank_all(value)))
                .collect::<Map<_, _>>()
                .into(),
            other => other,
        }
    }
}

impl Template {
    /// Read a template.
    ///
    /// # Errors
    /// What is wrong with it, as text for people.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = after;
                continue;
            }
            literal.push_str(before);
            let (inside, after) =
                after.split_once('}').ok_or("has a `${` without its `}`; write `$${` for the text itself")?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Reference(reference(inside)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Literal(_) => None,
        })
    }

    /// The text, where nothing is referenced.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The reference, where the template is nothing else.
    pub(crate) fn only(&self) -> Option<&Reference> {
        match self.0.as_slice() {
            [Piece::Reference(reference)] => Some(reference),
            _ => None,
        }
    }

    /// The text with every reference resolved; nothing where the template is one reference to an absent value.
    pub(crate) fn text(&self, values: &Values) -> Result<Option<String>, Unfit> {
        if let Some(reference) = self.only() {
            return Ok(values.value(reference)?.map(|value| plain(&value)));
        }
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Reference(reference) => {
                    text.push_str(&values.value(reference)?.map(|value| plain(&value)).unwrap_or_default());
                }
            }
        }
        Ok(Some(text))
    }

    /// As JSON: one reference keeps its type, everything else is a text.
    pub(crate) fn json(&self, values: &Values) -> Result<Option<Value>, Unfit> {
        match self.only() {
            Some(reference) => values.value(reference),
            None => Ok(self.text(values)?.map(Value::String)),
        }
    }
}

/// A value as plain text: texts as they are, everything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn reference(inside: &str) -> Result<Reference, String> {
    let hint = "write for example `${input.user}`, with one of action, evidence, input, output, secret, setting";
    let (from, name) = inside.split_once('.').ok_or_else(|| format!("`${{{inside}}}` is no reference; {hint}"))?;
    let from = From::ALL.iter().find(|(_, word)| *word == from).map(|(from, _)| *from);
    let from = from.ok_or_else(|| format!("`${{{inside}}}` names no kind of value; {hint}"))?;
    if !is_name(name) {
        return Err(format!("`${{{inside}}}` has no name that can be; {hint}"));
    }
    Ok(Reference { from, name: name.to_owned() })
}

/// Whether a text is a name: lower-case letters, digits and `_`, a letter first, at most 64.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= 64 && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && text.bytes().all(inner)
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// JSON whose texts are templates. A field that is one reference to an absent value is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// A value that is no text.
    Fixed(Value),
    /// Items.
    List(Vec<Self>),
    /// Fields, in order.
    Map(Vec<(String, Self)>),
    /// A text.
    Text(Template),
}

impl JsonTemplate {
    fn of(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::read(&text)?),
            Value::Array(items) => Self::List(items.into_iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| Ok((name, Self::of(value)?)));
                Self::Map(fields.collect::<Result<_, String>>()?)
            }
            fixed => Self::Fixed(fixed),
        })
    }

    pub(crate) fn templates<'a>(&'a self, found: &mut Vec<&'a Template>) {
        match self {
            Self::Fixed(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.templates(found)),
            Self::Map(fields) => fields.iter().for_each(|(_, value)| value.templates(found)),
            Self::Text(template) => found.push(template),
        }
    }

    /// The value with every reference resolved; nothing where it is one reference to an absent value.
    pub(crate) fn json(&self, values: &Values) -> Result<Option<Value>, Unfit> {
        Ok(Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::List(items) => {
                let items = items.iter().filter_map(|item| item.json(values).transpose());
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let mut object = Map::new();
                for (name, value) in fields {
                    if let Some(value) = value.json(values)? {
                        object.insert(name.clone(), value);
                    }
                }
                Value::Object(object)
            }
            Self::Text(template) => return template.json(values),
        }))
    }
}

impl<'de> Deserialize<'de> for JsonTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
