//! External tables: which folders of the server a tenant asks in place. Whether a folder may be read is the data plane's to
//! judge, when a table is registered and each time that it is asked.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Etag, ExternalColumn, ExternalSetup, ExternalTableCreate, ExternalTableDelete, ExternalTableGet, ExternalTableList,
    ExternalType, Gone, Page, Problem, ProblemKind, TableName,
};
use ids::{Owner, TenantId, Text};
use serde_json::Value;
use store::{Changes, ExternalTable, Stored};

/// External tables of one tenant at most.
const TABLES_MAX: u32 = 200;

fn column(stored: &(String, String, Option<String>)) -> ExternalColumn {
    let (from, name, kind) = stored;
    let kind = kind.as_ref().and_then(|kind| serde_json::from_value(Value::from(kind.as_str())).ok());
    ExternalColumn { from: Text::truncated(from), name: Text::truncated(name), kind }
}

fn word(kind: ExternalType) -> Option<String> {
    serde_json::to_value(kind).ok()?.as_str().map(str::to_owned)
}

/// A table as the data plane needs to know it.
pub(crate) fn setup(table: &ExternalTable) -> ExternalSetup {
    ExternalSetup {
        name: Text::truncated(&table.name),
        folder: Text::truncated(&table.folder),
        columns: table.columns.iter().map(column).collect(),
    }
}

fn wire(stored: Stored<ExternalTable>) -> Result<api::ExternalTable, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    Ok(api::ExternalTable {
        tenant: value.tenant,
        name: value.name.parse().map_err(|error| Refusal::bug("a stored table is not well formed", &error))?,
        description: Text::truncated(&value.description),
        folder: Text::truncated(&value.folder),
        columns: value.columns.iter().map(column).collect(),
        contents: None,
        problem: None,
        created_at,
        etag: Etag::of(version),
    })
}

async fn named(look: &Look<'_>, tenant: TenantId, table: &TableName) -> Result<Target, Refusal> {
    // The tenant first: whether it exists and whether its table exists are answered alike.
    let covered = look.identity.reach().covers(Owner::Tenant(tenant));
    let id = ExternalTable::key(tenant, table.text());
    let found: Option<Stored<ExternalTable>> = if covered { look.snapshot.read(&id).await? } else { None };
    let found = found.ok_or_else(|| Refusal::not_found("external table"))?;
    Ok(Target::new("ExternalTable", id, Owner::Tenant(tenant)).named(found.value.name))
}

impl Handle<ExternalTableCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ExternalTableCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ExternalTableCreate,
    ) -> Result<Outcome<api::ExternalTable>, Refusal> {
        let columns = input.columns.into_iter();
        let table = ExternalTable {
            tenant: input.tenant,
            name: input.name.to_string(),
            description: input.description.into_string(),
            folder: input.folder.into_string(),
            columns: columns
                .map(|one| (one.from.into_string(), one.name.into_string(), one.kind.and_then(word)))
                .collect(),
        };
        let id = ExternalTable::key(table.tenant, &table.name);
        if admitted.snapshot.read::<ExternalTable>(&id).await?.is_some() {
            let detail = "the tenant has an external table of this name; choose another";
            return Err(Problem::new(ProblemKind::AlreadyExists, detail).into());
        }
        let page = store::Page { owner: Some(admitted.target.owner), limit: TABLES_MAX, ..store::Page::default() };
        if admitted.snapshot.list::<ExternalTable>(&page).await?.len() >= usize::try_from(TABLES_MAX).unwrap_or(200) {
            return Err(Refusal::conflict(format!("the tenant has {TABLES_MAX} external tables; delete one first")));
        }
        let contents = self.plane()?.look_at_external(table.tenant, &setup(&table)).await?;
        let mut changes = Changes::new();
        changes.create(&table);
        let tenant = table.tenant;
        let stored = Stored { value: table, version: 1, created_at: admitted.now, updated_at: admitted.now };
        let told = api::ExternalTable { contents: Some(contents), ..wire(stored)? };
        Ok(Outcome::changed(told, changes).then(After::Lake(tenant, Vec::new())))
    }
}

impl Handle<ExternalTableGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ExternalTableGet) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.table).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        _: ExternalTableGet,
    ) -> Result<Outcome<api::ExternalTable>, Refusal> {
        let found: Stored<ExternalTable> = admitted.one("external table", &admitted.target.id).await?;
        let looked = self.plane()?.look_at_external(found.value.tenant, &setup(&found.value)).await;
        let told = wire(found)?;
        // What is wrong with the folder is an answer: the table is there all the same.
        Ok(Outcome::answer(match looked {
            Ok(contents) => api::ExternalTable { contents: Some(contents), ..told },
            Err(problem) => api::ExternalTable { problem: Some(problem.detail), ..told },
        }))
    }
}

impl Handle<ExternalTableList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ExternalTableList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ExternalTableList,
    ) -> Result<Outcome<Page<api::ExternalTable>>, Refusal> {
        Ok(Outcome::answer(admitted.page(None, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<ExternalTableDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ExternalTableDelete) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.table).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ExternalTableDelete) -> Result<Outcome<Gone>, Refusal> {
        let id = admitted.target.id.clone();
        let found: Stored<ExternalTable> = admitted.one("external table", &id).await?;
        let mut changes = Changes::new();
        changes.delete::<ExternalTable>(&id, admitted.target.owner, found.version);
        Ok(Outcome::changed(Gone { id }, changes).then(After::Lake(input.tenant, Vec::new())))
    }
}
