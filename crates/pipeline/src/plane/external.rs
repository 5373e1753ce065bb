//! External tables: the gate's words into the lake's, and what is wrong with a folder as faults of the input.

use super::Plane;
use super::ask::kind;
use api::{
    Bounds, Column, EventFields, ExternalColumn, ExternalContents, ExternalSetup, ExternalType, FieldInfo, Fields,
    Problem, ProblemKind,
};
use ids::{Scope, TenantId};
use lake::{ExternalFault, ExternalKind, ExternalSeen, ExternalTable, LakeError};

/// A table as the lake knows it.
pub(super) fn table(setup: &ExternalSetup) -> ExternalTable {
    let column = |one: &ExternalColumn| lake::ExternalColumn {
        from: one.from.as_str().to_owned(),
        name: one.name.as_str().to_owned(),
        kind: one.kind.map(read_as),
    };
    ExternalTable {
        name: setup.name.as_str().to_owned(),
        folder: setup.folder.as_str().into(),
        columns: setup.columns.iter().map(column).collect(),
    }
}

const fn read_as(kind: ExternalType) -> ExternalKind {
    match kind {
        ExternalType::Boolean => ExternalKind::Boolean,
        ExternalType::Float => ExternalKind::Float,
        ExternalType::Integer => ExternalKind::Integer,
        ExternalType::Text => ExternalKind::Text,
        ExternalType::Time => ExternalKind::Time,
        ExternalType::TimeMicros => ExternalKind::TimeMicros,
        ExternalType::TimeMillis => ExternalKind::TimeMillis,
        ExternalType::TimeNanos => ExternalKind::TimeNanos,
        ExternalType::TimeSecs => ExternalKind::TimeSecs,
    }
}

impl Plane {
    pub(super) async fn see_external(
        &self,
        tenant: TenantId,
        setup: &ExternalSetup,
    ) -> Result<ExternalContents, Problem> {
        let seen = self.look(tenant, table(setup)).await?;
        let column = |one: lake::AnswerColumn| Column { name: one.name, kind: kind(one.kind).to_owned() };
        Ok(ExternalContents {
            columns: seen.columns.into_iter().map(column).collect(),
            partitions: seen.partitions,
            files: seen.files,
            bytes: seen.bytes,
        })
    }

    async fn look(&self, tenant: TenantId, table: ExternalTable) -> Result<ExternalSeen, Problem> {
        self.0.lake.look_at_external(tenant, table).await.map_err(|error| match error {
            LakeError::External(fault) => Problem::fault(pointer(&fault), fault.to_string()),
            other => {
                tracing::error!(error = %super::runner::error_text(&other), "a folder cannot be looked at");
                Problem::new(ProblemKind::Unavailable, "the folder cannot be looked at now; try again")
            }
        })
    }

    /// The fields of an external table, where the question names one of the scope's tenant.
    pub(super) async fn external_fields(
        &self,
        scope: &Scope,
        input: &EventFields,
        bounds: &Bounds,
    ) -> Result<Option<Fields>, Problem> {
        let (Scope::Tenant(tenant), Some(name)) = (scope, &input.table) else { return Ok(None) };
        let Some(table) = self.0.lake.external_table(*tenant, name) else { return Ok(None) };
        if input.source.is_some() {
            return Err(Problem::fault("/source", "has no meaning for an external table; leave it out"));
        }
        let seen = tokio::time::timeout(bounds.time_max, self.look(*tenant, table.clone())).await;
        let late = || Problem::new(ProblemKind::QueryLimit, "the folder took too long to be looked at");
        let seen = seen.map_err(|_| late())??;
        let like = input.like.as_ref().map(|like| like.to_lowercase()).unwrap_or_default();
        let meaning = |shown: &str| {
            let mapped = table.columns.iter().find(|column| column.name == shown);
            let from = mapped.map_or(shown, |column| column.from.as_str());
            if seen.partitions.iter().any(|key| key == from) {
                return Some(format!("made of folders named `{from}=...`; a condition on it leaves files unopened"));
            }
            mapped.map(|column| format!("`{}` of the files", column.from))
        };
        let field = |column: &lake::AnswerColumn| FieldInfo {
            meaning: meaning(&column.name),
            name: column.name.clone(),
            kind: kind(column.kind).to_owned(),
            column: true,
            of: vec![table.name.clone()],
            examples: Vec::new(),
        };
        let named = seen.columns.iter().filter(|column| column.name.to_lowercase().contains(&like));
        let mut items: Vec<FieldInfo> = named.map(field).collect();
        let most = super::ask::rows_max(bounds);
        let complete = items.len() <= most;
        items.truncate(most);
        Ok(Some(Fields { items, complete }))
    }
}

/// Where in the input of `external_table.create` it stands.
const fn pointer(fault: &ExternalFault) -> &'static str {
    match fault {
        ExternalFault::ColumnTwice(_) | ExternalFault::NoColumn { .. } => "/columns",
        ExternalFault::Reserved(_) => "/name",
        _ => "/folder",
    }
}
