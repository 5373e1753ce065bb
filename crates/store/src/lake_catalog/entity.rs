//! The entity summary: one row for each tenant, kind, value and day, clustered in that order.

use super::ducklake::number;
use super::statement;
use super::tenants::Tenants;
use super::turn::failed;
use crate::engine::{Connection, Fault, Pool, Value, values};
use catalog::{CatalogError, ENTITY_BYTES_MAX, EntityCount, EntityKind, Prevalence};
use ids::Timestamp;
use seal::Digest;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The most tenants that one question asks about.
const TENANTS_MAX: usize = crate::rows::ROWS_MAX;
/// How much of a long value is kept before its digest, so that a person still sees what it was.
const HEAD_BYTES_MAX: usize = ENTITY_BYTES_MAX - 65;

/// The text under which a value is stored: itself, or for a long one its head, a `#` and the SHA-256 of all of it.
fn key(value: &str) -> Cow<'_, str> {
    // PostgreSQL stores no NUL.
    if value.len() <= ENTITY_BYTES_MAX && !value.contains('\0') {
        return Cow::Borrowed(value);
    }
    let mut head = String::with_capacity(ENTITY_BYTES_MAX);
    for character in value.chars().filter(|character| *character != '\0') {
        if head.len() + character.len_utf8() > HEAD_BYTES_MAX {
            break;
        }
        head.push(character);
    }
    head.push('#');
    head.push_str(&Digest::of(value.as_bytes()).to_hex());
    Cow::Owned(head)
}

/// Tenant, kind, value and day.
type RowKey<'v> = (i64, u8, Cow<'v, str>, i32);

/// Add sightings in the running transaction. Sorted by key: the engine walks its tree once.
pub(super) async fn add(
    connection: &mut Connection,
    tenants: &Tenants,
    counts: &[EntityCount],
) -> Result<(), CatalogError> {
    let mut sums: BTreeMap<RowKey<'_>, (u64, Timestamp, Timestamp)> = BTreeMap::new();
    for one in counts {
        let tenant = tenants.number(one.tenant);
        let tenant = tenant.ok_or_else(|| CatalogError::Corrupt("a tenant has no number".to_owned()))?;
        let place = (tenant, one.kind.number(), key(&one.value), one.day.get());
        let (count, first, last) = sums.entry(place).or_insert((0, one.first, one.last));
        *count = count.saturating_add(one.count);
        *first = (*first).min(one.first);
        *last = (*last).max(one.last);
    }
    let mut rows: Vec<Value> = Vec::with_capacity(sums.len() * 7);
    for ((tenant, kind, value, day), (count, first, last)) in sums {
        rows.extend(values![tenant, i64::from(kind), value.into_owned(), i64::from(day), number(count)]);
        rows.extend(values![first.as_micros(), last.as_micros()]);
    }
    statement::ENTITIES_WRITE.execute(connection, rows).await.map_err(failed)?;
    Ok(())
}

/// What these tenants have seen of a value.
pub(super) async fn prevalence(
    readers: &Pool,
    tenants: &Tenants,
    numbers: &[i64],
    kind: EntityKind,
    value: &str,
) -> Result<Vec<Prevalence>, CatalogError> {
    let mut seen = Vec::new();
    let value = key(value);
    for chunk in numbers.chunks(TENANTS_MAX) {
        let tuples: Vec<Value> = chunk.iter().copied().map(Value::Int).collect();
        let fixed = values![i64::from(kind.number()), value.as_ref()];
        let (text, values) = statement::PREVALENCE.padded(fixed, &tuples);
        for row in readers.rows(text, values).await.map_err(failed)? {
            seen.push(Prevalence {
                tenant: tenants.id(row.int(0).map_err(failed)?)?,
                count: row.count(1).map_err(failed)?,
                days: row.count(2).map_err(failed)?,
                first: Timestamp::from_micros(row.int(3).map_err(failed)?),
                last: Timestamp::from_micros(row.int(4).map_err(failed)?),
            });
        }
    }
    seen.sort_by_key(|one| one.tenant);
    Ok(seen)
}

/// Where a walk through a tenant's rows has come to.
pub(super) type Place = (i64, String);

/// Before the first row: kinds count from 1.
pub(super) fn start() -> Place {
    (0, String::new())
}

/// Forget old days in the next stretch of a tenant's rows; how many went, and where to go on.
pub(super) async fn expire_stretch(
    connection: &mut Connection,
    tenant: i64,
    (kind, value): &Place,
    before_day: i64,
    rows_max: i64,
) -> Result<(u64, Option<Place>), Fault> {
    let step = values![tenant, *kind, value, rows_max];
    let ahead = connection.rows(statement::ENTITY_STEP, step).await?;
    let (end, more) = match ahead.first() {
        Some(row) => ((row.int(0)?, row.text(1)?), true),
        None => {
            let last = connection.rows(statement::ENTITY_LAST, values![tenant]).await?;
            let Some(row) = last.first() else { return Ok((0, None)) };
            ((row.int(0)?, row.text(1)?), false)
        }
    };
    let stretch = values![tenant, *kind, value, end.0, &end.1, before_day];
    let gone = connection.execute(statement::ENTITY_EXPIRE, stretch).await?;
    Ok((gone, more.then_some(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_kept_by_its_digest() {
        assert_eq!(key("evil.example"), "evil.example");
        let long = |last: char| format!("{}{last}", "ä".repeat(300));
        let (left, right) = (key(&long('a')).into_owned(), key(&long('b')).into_owned());
        assert!(left.starts_with("ää") && left.len() <= ENTITY_BYTES_MAX);
        assert_ne!(left, right);
        assert!(!key("a\0b").contains('\0'));
    }
}
