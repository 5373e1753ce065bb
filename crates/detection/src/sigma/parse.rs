//! From YAML text to rules, filters and correlations, each typed or rejected with file, place, reason and hint.

use super::condition::Condition;
use super::correlation::{self, Correlation};
use super::item::{self, Placeholders};
use super::reject::{Fault, RejectCode, Rejection};
use super::{Expr, Test};
use crate::yaml::{self, Node, Value};
use ids::Severity;
use std::collections::{HashMap, HashSet};

/// Deepest nesting of lists and maps inside one detection.
const DETECTION_DEPTH_MAX: usize = 16;
/// The most tests one rule may hold after expansion.
const TESTS_MAX: usize = 50_000;

/// What a document says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// The file as the caller named it.
    pub file: String,
    /// 1-based line where the document starts.
    pub line: usize,
}

/// Where the events of a rule come from, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LogSource {
    /// Such as `windows`.
    pub product: Option<String>,
    /// Such as `process_creation`.
    pub category: Option<String>,
    /// Such as `security`.
    pub service: Option<String>,
}

impl LogSource {
    /// Every part that `self` names is the same in `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let fits = |mine: &Option<String>, theirs: &Option<String>| mine.is_none() || mine == theirs;
        fits(&self.product, &other.product)
            && fits(&self.category, &other.category)
            && fits(&self.service, &other.service)
    }
}

/// A detection rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its id; never empty.
    pub id: String,
    /// Its name for references, where it has one.
    pub name: Option<String>,
    /// One line for people.
    pub title: String,
    /// `stable`, `test`, `experimental`, `deprecated`, `unsupported`, or empty.
    pub status: String,
    /// Who wrote it.
    pub author: String,
    /// Its level as severity; unknown where it has none.
    pub level: Severity,
    /// Such as `attack.t1059.001`.
    pub tags: Vec<String>,
    /// Where its events come from.
    pub logsource: LogSource,
    /// The named detections.
    pub detections: Vec<(String, Expr)>,
    /// The conditions as parsed; the rule holds when any of them does.
    pub conditions: Vec<Condition>,
    /// Conditions with detections and filters put in.
    pub expr: Expr,
    /// Its place.
    pub source: Source,
}

/// The rules that a filter narrows.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterTarget {
    /// Every rule whose log source fits.
    Any,
    /// Rules by id or name, whose log source fits.
    Rules(Vec<String>),
}

/// A Sigma filter: a further condition on rules, such as a tenant's exception.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// One line for people.
    pub title: String,
    /// The log source that a rule must have.
    pub logsource: LogSource,
    /// The rules.
    pub target: FilterTarget,
    /// What must hold besides the rule.
    pub expr: Expr,
    /// Its place.
    pub source: Source,
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// A detection rule.
    Rule(Box<Rule>),
    /// A filter.
    Filter(Box<Filter>),
    /// A correlation.
    Correlation(Box<Correlation>),
}

/// What was loaded, filters applied and references checked, and what was not.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    /// The rules, in the order given.
    pub rules: Vec<Rule>,
    /// The correlations; each refers to rules and correlations of this collection.
    pub correlations: Vec<Correlation>,
    /// The filters.
    pub filters: Vec<Filter>,
    /// What was not loaded.
    pub rejections: Vec<Rejection>,
}

impl Collection {
    /// Read texts, each with the name of its file. `placeholders` gives the values of `%name%`.
    pub fn load<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        placeholders: &dyn Fn(&str) -> Option<Vec<String>>,
    ) -> Self {
        let mut collection = Self::default();
        for (file, text) in texts {
            collection.add(file, text, placeholders);
        }
        collection.finish();
        collection
    }

    /// As [`Self::load`], with filters beside the rules that they narrow and not in them: for those who ask them apart.
    pub fn load_apart<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut collection = Self::default();
        for (file, text) in texts {
            collection.add(file, text, &|_| None);
        }
        collection.check();
        collection
    }

    /// Read one text. Call [`Self::finish`] after the last.
    pub fn add(&mut self, file: &str, text: &str, placeholders: &dyn Fn(&str) -> Option<Vec<String>>) {
        for outcome in parse(file, text, placeholders) {
            match outcome {
                Ok(Document::Rule(rule)) => self.rules.push(*rule),
                Ok(Document::Filter(filter)) => self.filters.push(*filter),
                Ok(Document::Correlation(correlation)) => self.correlations.push(*correlation),
                Err(rejection) => self.rejections.push(rejection),
            }
        }
    }

    /// Drop repeated ids, apply the filters, check references.
    pub fn finish(&mut self) {
        self.check();
        for filter in &self.filters {
            for rule in &mut self.rules {
                if filter.narrows(rule) {
                    let before = std::mem::replace(&mut rule.expr, Expr::And(Vec::new()));
                    rule.expr = Expr::And(vec![before, filter.expr.clone()]);
                }
            }
        }
    }

    /// Drop repeated ids, check references.
    fn check(&mut self) {
        let mut seen: HashMap<String, String> = HashMap::new();
        let rejections = &mut self.rejections;
        let mut fresh = |id: &str, source: &Source| match seen.get(id) {
            None => {
                seen.insert(id.to_owned(), source.file.clone());
                true
            }
            Some(first) => {
                let message = format!("`{id}` is the id of a document in {first} too");
                let fault = Fault::new(RejectCode::Identity, message, "give every document its own id");
                rejections.push(fault.within("id", source.line).in_file(&source.file));
                false
            }
        };
        self.rules.retain(|rule| fresh(&rule.id, &rule.source));
        self.correlations.retain(|correlation| fresh(&correlation.id, &correlation.source));
        self.check_references();
    }

    /// Reject correlations until every reference of those that are left holds.
    fn check_references(&mut self) {
        loop {
            if let Some((index, name)) = self.lost_reference() {
                let message = format!("no rule of this correlation is called `{name}`");
                self.reject_correlation(index, &message, "name a rule by its id or its name, and list it in `rules`");
            } else if let Some(index) = correlation::first_in_cycle(&self.correlations) {
                self.reject_correlation(index, "the correlation refers to itself", "refer to rules below it only");
            } else {
                break;
            }
        }
    }

    /// A correlation that names what is not there, or in its condition what it does not list.
    fn lost_reference(&self) -> Option<(usize, String)> {
        let mut ids: HashMap<&str, &str> = HashMap::new();
        for rule in &self.rules {
            ids.extend(rule.name.as_deref().map(|name| (name, rule.id.as_str())));
            ids.insert(&rule.id, &rule.id);
        }
        for correlation in &self.correlations {
            ids.extend(correlation.name.as_deref().map(|name| (name, correlation.id.as_str())));
            ids.insert(&correlation.id, &correlation.id);
        }
        self.correlations.iter().enumerate().find_map(|(index, correlation)| {
            let mut said = Vec::new();
            if let Some(extended) = &correlation.extended {
                extended.0.plain_names(&mut said);
            }
            let listed: HashSet<&&str> = correlation.rules.iter().filter_map(|name| ids.get(name.as_str())).collect();
            let unknown = correlation.rules.iter().find(|name| !ids.contains_key(name.as_str()));
            let unlisted = said.iter().find(|name| ids.get(name.as_str()).is_none_or(|id| !listed.contains(id)));
            unknown.or(unlisted).map(|name| (index, name.clone()))
        })
    }

    fn reject_correlation(&mut self, index: usize, message: &str, hint: &str) {
        let correlation = self.correlations.remove(index);
        let fault =
            Fault::new(RejectCode::Reference, message, hint).within("correlation.rules", correlation.source.line);
        self.rejections.push(fault.in_file(&correlation.source.file));
    }
}

/// Read one text, which may hold several documents.
#[must_use]
pub fn parse(
    file: &str,
    text: &str,
    placeholders: &dyn Fn(&str) -> Option<Vec<String>>,
) -> Vec<Result<Document, Rejection>> {
    let documents = match yaml::documents(text) {
        Ok(documents) => documents,
        Err(e) => {
            let line = if let yaml::YamlError::Syntax { line, .. } = &e { *line } else { 1 };
            let fault = Fault::new(RejectCode::Yaml, e.to_string(), "correct the YAML").within("document", line);
            return vec![Err(fault.in_file(file))];
        }
    };
    documents
        .iter()
        .filter(|node| node.value != Value::Null)
        .map(|node| {
            document(file, node, placeholders).map_err(|fault| fault.within("", node.line).tidy().in_file(file))
        })
        .collect()
}

impl Fault {
    /// Without the empty outermost segment that only carried the line.
    fn tidy(mut self) -> Self {
        if let Some(rest) = self.path.strip_prefix('.') {
            self.path = rest.to_owned();
        }
        if self.path.is_empty() {
            self.path = "document".to_owned();
        }
        self
    }
}

fn document(file: &str, node: &Node, placeholders: Placeholders<'_>) -> Result<Document, Fault> {
    if !matches!(node.value, Value::Map(_)) {
        let message = format!("the document is {}", node.kind());
        return Err(Fault::new(RejectCode::Yaml, message, "write a map with title, logsource and detection"));
    }
    let source = Source { file: file.to_owned(), line: node.line };
    if let Some(body) = node.entry("correlation") {
        return correlation::parse(node, body, source).map(|c| Document::Correlation(Box::new(c)));
    }
    if let Some(body) = node.entry("filter") {
        return filter(node, body, source, placeholders).map(|f| Document::Filter(Box::new(f)));
    }
    let Some(body) = node.entry("detection") else {
        return Err(missing("detection", "a rule needs `detection`, a correlation `correlation`, a filter `filter`"));
    };
    rule(node, body, source, placeholders).map(|r| Document::Rule(Box::new(r)))
}

fn missing(key: &str, hint: &str) -> Fault {
    let mut fault = Fault::new(RejectCode::Missing, format!("`{key}` is missing"), hint);
    fault.path = key.to_owned();
    fault
}

/// Text under `key`; `None` where the key is absent.
pub(super) fn text_at(node: &Node, key: &str) -> Result<Option<String>, Fault> {
    match node.entry(key) {
        None => Ok(None),
        Some(inner) if inner.value == Value::Null => Ok(None),
        Some(inner) => inner.scalar_text().map(|text| Some(text.trim().to_owned())).ok_or_else(|| {
            Fault::new(RejectCode::Value, format!("is {}", inner.kind()), "write text").within(key, inner.line)
        }),
    }
}

/// One text or a list of texts under `key`.
pub(super) fn texts_at(node: &Node, key: &str) -> Result<Vec<String>, Fault> {
    let Some(inner) = node.entry(key) else { return Ok(Vec::new()) };
    let wrong = |n: &Node| Fault::new(RejectCode::Value, format!("is {}", n.kind()), "write text or a list of texts");
    match &inner.value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => {
            items.iter().map(|item| item.scalar_text().ok_or_else(|| wrong(item).within(key, item.line))).collect()
        }
        _ => inner.scalar_text().map(|text| vec![text]).ok_or_else(|| wrong(inner).within(key, inner.line)),
    }
}

/// The id of a document: required, because every match is told by it.
pub(super) fn id_of(node: &Node) -> Result<String, Fault> {
    text_at(node, "id")?
        .filter(|id| !id.is_empty())
        .ok_or_else(|| missing("id", "give the rule a UUID: every match is reported by it"))
}

fn rule(node: &Node, body: &Node, source: Source, placeholders: Placeholders<'_>) -> Result<Rule, Fault> {
    let id = id_of(node)?;
    let title = text_at(node, "title")?.ok_or_else(|| missing("title", "say in one line what the rule finds"))?;
    let logsource = logsource(node)?;
    let (detections, conditions) = detections(body, placeholders).map_err(|f| f.within("detection", body.line))?;
    let mut alternatives = Vec::with_capacity(conditions.len());
    for condition in &conditions {
        alternatives.push(resolve(condition, &detections).map_err(|f| f.within("detection.condition", body.line))?);
    }
    Ok(Rule {
        id,
        name: text_at(node, "name")?,
        title,
        status: text_at(node, "status")?.unwrap_or_default(),
        author: text_at(node, "author")?.unwrap_or_default(),
        level: level(node)?,
        tags: texts_at(node, "tags")?,
        logsource,
        expr: Expr::any(alternatives),
        detections,
        conditions,
        source,
    })
}

fn resolve(condition: &Condition, detections: &[(String, Expr)]) -> Result<Expr, Fault> {
    let expr = condition.resolve(detections).map_err(|e| Fault::new(RejectCode::Condition, e.to_string(), e.hint()))?;
    let mut tests = 0_usize;
    expr.each_test(&mut |_: &Test| tests = tests.saturating_add(1));
    if tests > TESTS_MAX {
        let message = format!("the condition holds {tests} tests; at most {TESTS_MAX} are taken");
        return Err(Fault::new(RejectCode::Condition, message, "split the rule"));
    }
    Ok(expr)
}

/// Level as severity, shared with correlations.
pub(super) fn level(node: &Node) -> Result<Severity, Fault> {
    let Some(level) = text_at(node, "level")? else { return Ok(Severity::Unknown) };
    Ok(match level.to_ascii_lowercase().as_str() {
        "informational" => Severity::Informational,
        "low" => Severity::Low,
        "medium" => Severity::Medium,
        "high" => Severity::High,
        "critical" => Severity::Critical,
        _ => {
            let fault = Fault::new(
                RejectCode::Value,
                format!("`{level}` is not a level"),
                "write informational, low, medium, high or critical",
            );
            return Err(fault.within("level", node.entry("level").map_or(0, |n| n.line)));
        }
    })
}

fn logsource(node: &Node) -> Result<LogSource, Fault> {
    let Some(inner) = node.entry("logsource") else {
        return Err(Fault::new(RejectCode::LogSource, "`logsource` is missing", "say product, category or service")
            .within("logsource", node.line));
    };
    let within = |fault: Fault| fault.within("logsource", inner.line);
    if !matches!(inner.value, Value::Map(_)) {
        return Err(within(Fault::new(RejectCode::LogSource, format!("is {}", inner.kind()), "write a map")));
    }
    let part = |key: &str| text_at(inner, key).map(|text| text.map(|text| text.to_lowercase())).map_err(within);
    let logsource = LogSource { product: part("product")?, category: part("category")?, service: part("service")? };
    if logsource == LogSource::default() {
        return Err(within(Fault::new(RejectCode::LogSource, "is empty", "say product, category or service")));
    }
    Ok(logsource)
}

type Parts = (Vec<(String, Expr)>, Vec<Condition>);

fn detections(body: &Node, placeholders: Placeholders<'_>) -> Result<Parts, Fault> {
    let Value::Map(pairs) = &body.value else {
        return Err(Fault::new(RejectCode::Detection, format!("is {}", body.kind()), "write a map of detections"));
    };
    let mut detections = Vec::new();
    let mut conditions = Vec::new();
    for (name, node) in pairs {
        match name.as_str() {
            "condition" => {
                for text in texts_at(body, "condition")? {
                    conditions.push(Condition::parse(&text).map_err(|e| {
                        Fault::new(RejectCode::Condition, e.to_string(), e.hint()).within("condition", node.line)
                    })?);
                }
            }
            // Old rules say a time frame here; it has a meaning only with a correlation.
            "timeframe" | "rules" => {}
            _ => {
                let expr = detection(node, placeholders, 0).map_err(|f| f.within(name, node.line))?;
                detections.push((name.clone(), expr));
            }
        }
    }
    if conditions.is_empty() {
        return Err(missing("condition", "say which detections make the rule, such as `selection`"));
    }
    Ok((detections, conditions))
}

fn detection(node: &Node, placeholders: Placeholders<'_>, depth: usize) -> Result<Expr, Fault> {
    if depth > DETECTION_DEPTH_MAX {
        return Err(Fault::new(RejectCode::Detection, "is nested too deep", "flatten the detection"));
    }
    match &node.value {
        Value::Map(pairs) if pairs.is_empty() => {
            Err(Fault::new(RejectCode::Detection, "is an empty map", "write at least one field"))
        }
        Value::Map(pairs) => Ok(Expr::all(
            pairs
                .iter()
                .map(|(key, value)| item::lower(key, value, placeholders).map_err(|f| f.within(key, value.line)))
                .collect::<Result<_, _>>()?,
        )),
        Value::List(items) if items.is_empty() => {
            Err(Fault::new(RejectCode::Detection, "is an empty list", "write at least one item"))
        }
        Value::List(items) if items.iter().any(|i| matches!(i.value, Value::Map(_) | Value::List(_))) => {
            let mut alternatives = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let inner = detection(item, placeholders, depth.saturating_add(1));
                alternatives.push(inner.map_err(|f| f.within(&index.to_string(), item.line))?);
            }
            Ok(Expr::any(alternatives))
        }
        _ => item::lower("", node, placeholders),
    }
}

fn filter(node: &Node, body: &Node, source: Source, placeholders: Placeholders<'_>) -> Result<Filter, Fault> {
    let within = |fault: Fault| fault.within("filter", body.line);
    let target = match body.entry("rules").map(|node| &node.value) {
        None => {
            return Err(within(missing("rules", "name the rules by id or name, or write `any`")));
        }
        Some(Value::Text(text)) if text.eq_ignore_ascii_case("any") => FilterTarget::Any,
        Some(_) => match texts_at(body, "rules").map_err(within)? {
            names if names.is_empty() => FilterTarget::Any,
            names => FilterTarget::Rules(names),
        },
    };
    let (detections, conditions) = detections(body, placeholders).map_err(within)?;
    let [condition] = conditions.as_slice() else {
        let fault = Fault::new(RejectCode::Filter, "a filter has one condition", "join them with `or`");
        return Err(within(fault));
    };
    let expr = resolve(condition, &detections).map_err(|f| within(f.within("condition", body.line)))?;
    Ok(Filter {
        id: text_at(node, "id")?,
        title: text_at(node, "title")?.unwrap_or_default(),
        logsource: logsource(node)?,
        target,
        expr,
        source,
    })
}
