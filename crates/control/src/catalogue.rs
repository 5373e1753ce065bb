//! The operations themselves: list, search, describe. `operation.call` never gets here: the gate unwraps it.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    OperationCall, OperationDescribe, OperationDescription, OperationEntry, OperationList, OperationSearch, Page, Spec,
};
use serde_json::Value;

fn entry(spec: &Spec) -> OperationEntry {
    OperationEntry {
        id: spec.meta.id.to_owned(),
        effect: spec.meta.effect,
        method: spec.meta.method,
        path: spec.meta.path.to_owned(),
        mcp_tool: spec.mcp_tool(),
        cli: spec.cli(),
        summary: spec.summary.clone(),
    }
}

fn catalogue(look: &Look<'_>) -> Target {
    Target { owner: look.identity.place(), ..Target::provider() }
}

impl Handle<OperationList> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &OperationList) -> Result<Target, Refusal> {
        Ok(catalogue(look))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: OperationList,
    ) -> Result<Outcome<Page<OperationEntry>>, Refusal> {
        let all = self.registry.specs().iter().enumerate().map(|(place, spec)| (format!("{place:06}"), entry(spec)));
        Ok(Outcome::answer(admitted.page_of(all, input.limit, input.cursor.as_ref())?))
    }
}

impl Handle<OperationSearch> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &OperationSearch) -> Result<Target, Refusal> {
        Ok(catalogue(look))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: OperationSearch,
    ) -> Result<Outcome<Page<OperationEntry>>, Refusal> {
        let query = input.query.to_lowercase();
        let words: Vec<&str> = query.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1).collect();
        let mut scored: Vec<(usize, &Spec)> = self
            .registry
            .specs()
            .iter()
            .map(|spec| (score(spec, &words), spec))
            .filter(|(score, _)| *score > 0)
            .collect();
        // A stable sort keeps the order of declaration among equals.
        scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        let rows = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        let items = scored.into_iter().take(rows).map(|(_, spec)| entry(spec)).collect();
        Ok(Outcome::answer(Page { items, next_cursor: None }))
    }
}

/// A word in the id counts most, then in the summary, then in the description and the names of fields.
fn score(spec: &Spec, words: &[&str]) -> usize {
    let (id, summary, description) = (spec.meta.id, spec.summary.to_lowercase(), spec.description.to_lowercase());
    let stem = |word: &str| word.strip_suffix('s').filter(|stem| stem.len() > 3).unwrap_or(word).to_owned();
    words
        .iter()
        .map(|word| {
            let word = stem(word);
            if id.contains(&word) {
                8
            } else if summary.contains(&word) {
                4
            } else if description.contains(&word) {
                2
            } else {
                usize::from(spec.fields().any(|(name, _)| name.contains(&word)))
            }
        })
        .sum()
}

impl Handle<OperationDescribe> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &OperationDescribe) -> Result<Target, Refusal> {
        Ok(catalogue(look))
    }

    async fn handle(
        &self,
        _: &Admitted<'_>,
        input: OperationDescribe,
    ) -> Result<Outcome<OperationDescription>, Refusal> {
        let spec = self.registry.spec(&input.operation).ok_or_else(|| Refusal::not_found("operation"))?;
        Ok(Outcome::answer(OperationDescription {
            entry: entry(spec),
            description: spec.description.clone(),
            idempotent: spec.meta.idempotent,
            long_running: spec.meta.long_running,
            obligations: spec.meta.obligations.iter().map(|one| one.as_str().to_owned()).collect(),
            input_schema: spec.input_schema.clone(),
            output_schema: spec.output_schema().clone(),
            example: spec.example.clone(),
        }))
    }
}

impl Handle<OperationCall> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &OperationCall) -> Result<Target, Refusal> {
        Ok(catalogue(look))
    }

    async fn handle(&self, _: &Admitted<'_>, input: OperationCall) -> Result<Outcome<Value>, Refusal> {
        // The gate unwraps a call of a call before it gets here; what is left names itself.
        Err(Refusal::fault("/operation", format!("`{}` cannot be called through `operation.call`", input.operation)))
    }
}
