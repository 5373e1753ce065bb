//! Reading, always within a scope: what is outside it is not there.

use crate::engine::{Fault, Pool, Row, Value, values};
use crate::job::{Job, JobPage};
use crate::message::{Message, MessagePage};
use crate::recent::Kept;
use crate::resource::{Order, Page, Resource, Stored, owner_text, parse_owner};
use crate::rows::{Bulk, ROWS_MAX};
use crate::shared::Shared;
use crate::statement;
use ids::{JobId, Owner, Scope, Timestamp};
use std::sync::{Arc, LazyLock, OnceLock};
use thiserror::Error;

/// The most items of one answer.
const LIMIT_MAX: u32 = 1000;
/// Greater than every id, byte by byte.
const LAST: &str = "\u{10FFFF}";

/// Why something could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// What is stored does not fit its type: written by another version, or damaged.
    #[error("the stored {kind} `{id}` cannot be read")]
    Corrupt {
        /// The resource's kind.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The database failed.
    #[error("the state database cannot be read")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(Box::new(fault))
    }
}

/// A handle to read what its scope covers.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) readers: Pool,
    pub(crate) shared: Arc<Shared>,
    scope: Scope,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Which owners a list may show, once scope and page are laid over each other.
enum Owners {
    Every,
    Of(Vec<String>),
}

/// One question in its two forms: over every owner, and over some.
struct Question {
    every: &'static str,
    of: &'static LazyLock<Bulk>,
    values: Vec<Value>,
}

impl Snapshot {
    pub(crate) fn new(readers: Pool, shared: Arc<Shared>, scope: Scope) -> Self {
        Self { readers, shared, scope }
    }

    /// What this handle may see.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The document with this id; none where it does not exist or is outside the scope.
    ///
    /// # Errors
    /// The database failed, or what is stored does not fit the type.
    pub async fn read<R: Resource>(&self, id: &str) -> Result<Option<Stored<R>>, ReadError> {
        if id.contains('\0') {
            return Ok(None);
        }
        // Taken before the reading: what is committed meanwhile makes the entry stale.
        let generation = self.shared.generation(&[R::KIND]);
        if let Some(kept) = self.shared.recent.get(R::KIND, id, generation) {
            return self.shown(id, &kept);
        }
        let rows = self.readers.rows(statement::DOCUMENT_READ, values![R::KIND, id]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let kept = Arc::new(kept(row)?);
        self.shared.recent.keep(R::KIND, id, generation, &kept);
        self.shown(id, &kept)
    }

    /// A document, where the scope covers it.
    fn shown<R: Resource>(&self, id: &str, kept: &Kept) -> Result<Option<Stored<R>>, ReadError> {
        if !self.covers(&kept.owner)? {
            return Ok(None);
        }
        stored(id, kept).map(Some)
    }

    /// The documents with this key, by id, at most 1000.
    ///
    /// # Errors
    /// The database failed, or what is stored does not fit the type.
    pub async fn find<R: Resource>(&self, key_name: &'static str, value: &str) -> Result<Vec<Stored<R>>, ReadError> {
        let page = Page { limit: LIMIT_MAX, key: Some((key_name, value.to_owned())), ..Page::default() };
        self.list(&page).await
    }

    /// The first document with this key: the only one where the key is unique.
    ///
    /// # Errors
    /// The database failed, or what is stored does not fit the type.
    pub async fn find_one<R: Resource>(
        &self,
        key_name: &'static str,
        value: &str,
    ) -> Result<Option<Stored<R>>, ReadError> {
        let page = Page { limit: 1, key: Some((key_name, value.to_owned())), ..Page::default() };
        Ok(self.list(&page).await?.pop())
    }

    /// One page of documents by id. Ask for one more than you show to learn whether there is a next page.
    ///
    /// # Errors
    /// The database failed, or what is stored does not fit the type.
    pub async fn list<R: Resource>(&self, page: &Page) -> Result<Vec<Stored<R>>, ReadError> {
        let down = page.order == Order::Descending;
        let after = page.after.as_deref().unwrap_or(if down { LAST } else { "" });
        let limit = page.limit.min(LIMIT_MAX);
        let unstorable = after.contains('\0') || page.key.as_ref().is_some_and(|(_, value)| value.contains('\0'));
        if unstorable {
            return Ok(Vec::new());
        }
        let question = match (&page.key, down) {
            (None, false) => Question {
                every: statement::DOCUMENT_LIST,
                of: &statement::DOCUMENT_LIST_OF,
                values: values![R::KIND, after, i64::from(limit)],
            },
            (None, true) => Question {
                every: statement::DOCUMENT_LIST_DOWN,
                of: &statement::DOCUMENT_LIST_DOWN_OF,
                values: values![R::KIND, after, i64::from(limit)],
            },
            (Some((name, value)), false) => Question {
                every: statement::DOCUMENT_KEYED,
                of: &statement::DOCUMENT_KEYED_OF,
                values: values![R::KIND, *name, value, after, i64::from(limit)],
            },
            (Some((name, value)), true) => Question {
                every: statement::DOCUMENT_KEYED_DOWN,
                of: &statement::DOCUMENT_KEYED_DOWN_OF,
                values: values![R::KIND, *name, value, after, i64::from(limit)],
            },
        };
        let (mut rows, merged) = self.ask(question, self.owners(page.owner)).await?;
        if merged {
            let mut sortable =
                rows.into_iter().map(|row| Ok((row.text(0)?, row))).collect::<Result<Vec<_>, Fault>>()?;
            sortable.sort_by(|(first, _), (second, _)| if down { second.cmp(first) } else { first.cmp(second) });
            rows = sortable.into_iter().map(|(_, row)| row).collect();
        }
        rows.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).map(document).collect()
    }

    /// The documents whose key lies in `from <= value < to`, by value and id (with more than 64 tenants in the scope: by
    /// value within each 64): what is due, with [`crate::sortable`] times as values. At most `limit`, at most 1000.
    ///
    /// # Errors
    /// The database failed, or what is stored does not fit the type.
    pub async fn range<R: Resource>(
        &self,
        key_name: &'static str,
        from: &str,
        to: &str,
        limit: u32,
    ) -> Result<Vec<Stored<R>>, ReadError> {
        let limit = limit.min(LIMIT_MAX);
        let question = Question {
            every: statement::DOCUMENT_RANGE,
            of: &statement::DOCUMENT_RANGE_OF,
            values: values![R::KIND, key_name, from, to, i64::from(limit)],
        };
        let (rows, _) = self.ask(question, self.owners(None)).await?;
        rows.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).map(document).collect()
    }

    /// A job; none where it does not exist or is outside the scope.
    ///
    /// # Errors
    /// The database failed.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, ReadError> {
        let rows = self.readers.rows(statement::JOB_READ, values![id.to_string()]).await?;
        let job = rows.first().map(Job::from_row).transpose()?;
        Ok(job.filter(|job| self.scope.covers(job.owner)))
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn jobs(&self, page: &JobPage) -> Result<Vec<Job>, ReadError> {
        let limit = usize::try_from(page.limit.min(LIMIT_MAX)).unwrap_or(0);
        let mut after = page.after.map_or_else(|| LAST.to_owned(), |id| id.to_string());
        let mut found = Vec::new();
        let owner = self.only_owner(page.owner);
        loop {
            let step = i64::from(LIMIT_MAX);
            let rows = match owner {
                Some(owner) => {
                    self.readers.rows(statement::JOB_LIST_OWNED, values![owner_text(owner), &after, step]).await?
                }
                None => self.readers.rows(statement::JOB_LIST, values![&after, step]).await?,
            };
            for row in &rows {
                let job = Job::from_row(row)?;
                after = job.id.to_string();
                let wanted = page.state.is_none_or(|state| state == job.state)
                    && page.kind.as_ref().is_none_or(|kind| *kind == job.kind)
                    && page.owner.is_none_or(|owner| owner == job.owner)
                    && self.scope.covers(job.owner);
                if wanted && found.len() < limit {
                    found.push(job);
                }
            }
            if found.len() >= limit || rows.len() < usize::try_from(LIMIT_MAX).unwrap_or(0) {
                return Ok(found);
            }
        }
    }

    /// A message of the outbox; none where it does not exist or is outside the scope.
    ///
    /// # Errors
    /// The database failed.
    pub async fn message(&self, id: &str) -> Result<Option<Message>, ReadError> {
        let rows = self.readers.rows(statement::MESSAGE_READ, values![id]).await?;
        let message = rows.first().map(Message::from_row).transpose()?;
        Ok(message.filter(|message| self.scope.covers(message.owner)))
    }

    /// Messages of the outbox in the order of their commits.
    ///
    /// # Errors
    /// The database failed.
    pub async fn messages(&self, page: &MessagePage) -> Result<Vec<Message>, ReadError> {
        let limit = usize::try_from(page.limit.min(LIMIT_MAX)).unwrap_or(0);
        let mut after = page.after_seq;
        let mut found = Vec::new();
        let owner = self.only_owner(page.owner);
        loop {
            let step = i64::from(LIMIT_MAX);
            let rows = match owner {
                Some(owner) => {
                    self.readers.rows(statement::MESSAGE_LIST_OWNED, values![owner_text(owner), after, step]).await?
                }
                None => self.readers.rows(statement::MESSAGE_LIST, values![after, step]).await?,
            };
            for row in &rows {
                let message = Message::from_row(row)?;
                after = message.seq;
                let wanted = page.state.is_none_or(|state| state == message.state)
                    && page.channel.as_ref().is_none_or(|channel| *channel == message.channel)
                    && page.owner.is_none_or(|owner| owner == message.owner)
                    && self.scope.covers(message.owner);
                if wanted && found.len() < limit {
                    found.push(message);
                }
            }
            if found.len() >= limit || rows.len() < usize::try_from(LIMIT_MAX).unwrap_or(0) {
                return Ok(found);
            }
        }
    }

    pub(crate) fn covers(&self, owner: &str) -> Result<bool, Fault> {
        let owner = parse_owner(owner).ok_or_else(|| Fault::decode("owner of a row"))?;
        Ok(self.scope.covers(owner))
    }

    /// The one owner that a list can be narrowed to by its index, where there is one.
    fn only_owner(&self, asked: Option<Owner>) -> Option<Owner> {
        match &self.scope {
            Scope::Tenant(tenant) => Some(Owner::Tenant(*tenant)),
            Scope::Provider | Scope::Tenants(_) => asked,
        }
    }

    fn owners(&self, asked: Option<Owner>) -> Owners {
        match (asked, &self.scope) {
            (Some(owner), scope) if scope.covers(owner) => Owners::Of(vec![owner_text(owner)]),
            (Some(_), _) => Owners::Of(Vec::new()),
            (None, Scope::Provider) => Owners::Every,
            (None, Scope::Tenant(tenant)) => Owners::Of(vec![tenant.to_string()]),
            (None, Scope::Tenants(tenants)) => Owners::Of(tenants.iter().map(ToString::to_string).collect()),
        }
    }

    /// The rows of a question, and whether they come from several answers.
    async fn ask(&self, question: Question, owners: Owners) -> Result<(Vec<Row>, bool), Fault> {
        let owners = match owners {
            Owners::Every => return Ok((self.readers.rows(question.every, question.values).await?, false)),
            Owners::Of(owners) => owners,
        };
        let mut rows = Vec::new();
        for chunk in owners.chunks(ROWS_MAX) {
            let tuples: Vec<Value> = chunk.iter().map(Value::from).collect();
            let (text, values) = question.of.padded(question.values.clone(), &tuples);
            rows.extend(self.readers.rows(text, values).await?);
        }
        Ok((rows, owners.len() > ROWS_MAX))
    }
}

fn document<R: Resource>(row: &Row) -> Result<Stored<R>, ReadError> {
    stored(&row.text(0)?, &kept(row)?)
}

fn kept(row: &Row) -> Result<Kept, Fault> {
    Ok(Kept {
        owner: row.text(1)?,
        version: row.int(2)?,
        body: row.text(3)?,
        created_at: row.int(4)?,
        updated_at: row.int(5)?,
        parsed: OnceLock::new(),
    })
}

fn stored<R: Resource>(id: &str, kept: &Kept) -> Result<Stored<R>, ReadError> {
    let value = match kept.parsed.get().and_then(|parsed| parsed.downcast_ref::<R>()) {
        Some(parsed) => parsed.clone(),
        None => {
            let corrupt = |source| ReadError::Corrupt { kind: R::KIND, id: id.to_owned(), source };
            let value: R = serde_json::from_str(&kept.body).map_err(corrupt)?;
            // Where another look was faster, or asked for another type, that one stays.
            drop(kept.parsed.set(Box::new(value.clone())));
            value
        }
    };
    Ok(Stored {
        value,
        version: kept.version,
        created_at: Timestamp::from_micros(kept.created_at),
        updated_at: Timestamp::from_micros(kept.updated_at),
    })
}
