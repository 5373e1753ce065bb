//! What a query's filters say about whole files and runs, so that most of them are never opened.
//!
//! Everything here may only ever exclude what cannot match; what it cannot judge, it keeps.

use crate::hot::HotBatch;
use crate::observable;
use crate::regular::Regular;
use crate::schema::{place, time_type};
use catalog::Day;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A condition on a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Prune {
    /// Nothing is known: keep.
    Keep,
    /// No row can match.
    Drop,
    All(Vec<Prune>),
    Any(Vec<Prune>),
    /// Some row must have this observable.
    Observable(u32),
    /// Some row must lie between these instants (microseconds, both inclusive).
    Time(i64, i64),
    /// The class must be one of these.
    Classes(BTreeSet<u32>),
    /// The day must be this one.
    OnDay(i32),
    /// The tenant must be one of these.
    Tenants(BTreeSet<String>),
    /// The class must have the column at this place.
    Column(usize),
    /// The run must be regular.
    Regular(Arc<Regular>),
    /// The run must not be known to be regular.
    Odd(Arc<Regular>),
}

/// What is known of a run without opening its file.
pub(crate) trait Facts {
    fn class_uid(&self) -> u32;
    fn day(&self) -> i32;
    fn times(&self) -> (i64, i64);
    fn tenant(&self) -> Option<&str>;
    /// Whether an observable occurs; none where it is not known.
    fn observable(&self, hash: u32) -> Option<bool>;
    /// Whether any row may have a value in the column at this place.
    fn column(&self, place: usize) -> bool;
    /// Whether it is regular; none where it is many runs, of which some may be.
    fn regular(&self, regular: &Regular) -> Option<bool>;
}

impl Facts for HotBatch {
    fn class_uid(&self) -> u32 {
        self.class_uid
    }
    fn day(&self) -> i32 {
        self.day
    }
    fn times(&self) -> (i64, i64) {
        (self.time_min, self.time_max)
    }
    fn tenant(&self) -> Option<&str> {
        None
    }
    fn observable(&self, hash: u32) -> Option<bool> {
        Some(self.contains(hash))
    }
    fn column(&self, place: usize) -> bool {
        self.has(place)
    }
    fn regular(&self, regular: &Regular) -> Option<bool> {
        Some(regular.holds(|mark| self.contains(mark)))
    }
}

impl Prune {
    /// What all of these filters together say.
    pub(crate) fn of(filters: &[Expr]) -> Self {
        all(filters.iter().map(one))
    }

    /// This and that.
    pub(crate) fn and(self, other: Self) -> Self {
        all([self, other].into_iter())
    }

    /// This or that.
    pub(crate) fn or(self, other: Self) -> Self {
        any(vec![self, other])
    }

    /// Whether a run may hold a row that matches.
    pub(crate) fn may(&self, facts: &dyn Facts) -> bool {
        match self {
            Self::Keep => true,
            Self::Drop => false,
            Self::All(parts) => parts.iter().all(|part| part.may(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.may(facts)),
            Self::Observable(hash) => facts.observable(*hash).unwrap_or(true),
            Self::Time(from, to) => {
                let (min, max) = facts.times();
                min <= *to && *from <= max
            }
            Self::Classes(classes) => classes.contains(&facts.class_uid()),
            Self::OnDay(day) => facts.day() == *day,
            Self::Tenants(tenants) => facts.tenant().is_none_or(|tenant| tenants.contains(tenant)),
            Self::Column(place) => facts.column(*place),
            Self::Regular(regular) => facts.regular(regular).unwrap_or(true),
            Self::Odd(regular) => !facts.regular(regular).unwrap_or(false),
        }
    }

    /// Whether it asks for observables, so that filters have to be at hand.
    pub(crate) fn asks_observables(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::asks_observables),
            Self::Observable(_) | Self::Regular(_) | Self::Odd(_) => true,
            _ => false,
        }
    }
}

fn all(parts: impl Iterator<Item = Prune>) -> Prune {
    let mut kept: Vec<Prune> = parts.filter(|part| *part != Prune::Keep).collect();
    match (kept.len(), kept.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            kept.push(last);
            Prune::All(kept)
        }
        _ => Prune::Keep,
    }
}

fn any(parts: Vec<Prune>) -> Prune {
    if parts.contains(&Prune::Keep) { Prune::Keep } else { Prune::Any(parts) }
}

fn one(filter: &Expr) -> Prune {
    match filter {
        Expr::Alias(alias) => one(&alias.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => all([one(left), one(right)].into_iter()),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => any(vec![one(left), one(right)]),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compared(left, *op, right),
        Expr::InList(InList { expr, list, negated: false }) => {
            any(list.iter().map(|value| compared(expr, Operator::Eq, value)).collect())
        }
        Expr::Between(between) if !between.negated => all([
            compared(&between.expr, Operator::GtEq, &between.low),
            compared(&between.expr, Operator::LtEq, &between.high),
        ]
        .into_iter()),
        Expr::Like(like) if !like.negated => column(&like.expr).map_or(Prune::Keep, needed),
        Expr::IsNotNull(inner) => column(inner).map_or(Prune::Keep, needed),
        Expr::ScalarFunction(function) => called(function),
        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => Prune::Drop,
        _ => Prune::Keep,
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(column.name()),
        Expr::Cast(cast) => column(&cast.expr),
        Expr::TryCast(cast) => column(&cast.expr),
        _ => None,
    }
}

/// A value is needed in this column: classes without it cannot have one.
fn needed(name: &str) -> Prune {
    place(name).map_or(Prune::Keep, Prune::Column)
}

fn called(function: &ScalarFunction) -> Prune {
    let text = |place: usize| match function.args.get(place) {
        Some(Expr::Literal(value, _)) => value.try_as_str().flatten(),
        _ => None,
    };
    match function.name() {
        "has_observable" => match (text(1).and_then(observable::kind_named), text(2)) {
            (Some(kind), Some(value)) => Prune::Observable(observable::hash(kind, value)),
            _ => Prune::Keep,
        },
        // `field ILIKE`-like functions on a column need the column.
        "contains" | "starts_with" | "ends_with" | "contains_fold" | "equals_fold" => {
            let of = function.args.first().and_then(column);
            let of_kind = of.and_then(observable::kind_of_column);
            match (function.name(), of_kind, text(1)) {
                ("equals_fold", Some(kind), Some(value)) => Prune::Observable(observable::hash(kind, value)),
                _ => of.map_or(Prune::Keep, needed),
            }
        }
        _ => Prune::Keep,
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr) -> Prune {
    let (name, op, value) = match (column(left), right, left, column(right)) {
        (Some(name), Expr::Literal(value, _), ..) => (name, op, value),
        (_, _, Expr::Literal(value, _), Some(name)) => match op.swap() {
            Some(op) => (name, op, value),
            None => return Prune::Keep,
        },
        _ => return Prune::Keep,
    };
    if value.is_null() {
        return Prune::Keep;
    }
    match (name, op) {
        ("time", _) => time(op, value),
        ("class_uid", Operator::Eq) => match value.cast_to(&datafusion::arrow::datatypes::DataType::Int64) {
            Ok(ScalarValue::Int64(Some(class))) => Prune::Classes(u32::try_from(class).into_iter().collect()),
            _ => Prune::Keep,
        },
        ("tenant", Operator::Eq) => match value.try_as_str().flatten() {
            Some(tenant) => Prune::Tenants([tenant.to_owned()].into()),
            None => Prune::Keep,
        },
        ("id", Operator::Eq) => match value.try_as_str().flatten().map(str::parse::<ids::EventId>) {
            Some(Ok(id)) => all([Prune::Classes([id.class_uid].into()), Prune::OnDay(id.day)].into_iter()),
            Some(Err(_)) => Prune::Drop,
            None => Prune::Keep,
        },
        (_, Operator::Eq) => match (observable::kind_of_column(name), value.try_as_str().flatten()) {
            (Some(kind), Some(text)) => {
                all([needed(name), Prune::Observable(observable::hash(kind, text))].into_iter())
            }
            _ => needed(name),
        },
        (_, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq | Operator::NotEq) => needed(name),
        _ => Prune::Keep,
    }
}

fn time(op: Operator, value: &ScalarValue) -> Prune {
    let Ok(ScalarValue::TimestampMicrosecond(Some(micros), _)) = value.cast_to(&time_type()) else {
        return Prune::Keep;
    };
    // The cast of a finer literal cuts it down, so that exclusive bounds are taken as inclusive ones.
    match op {
        Operator::Eq => Prune::Time(micros, micros),
        Operator::Gt | Operator::GtEq => Prune::Time(micros, i64::MAX),
        Operator::Lt | Operator::LtEq => Prune::Time(i64::MIN, micros.saturating_add(1)),
        _ => Prune::Keep,
    }
}

/// A run of a file.
pub(crate) struct RunFacts<'a> {
    pub(crate) file: &'a catalog::File,
    pub(crate) run: &'a catalog::RowGroup,
    pub(crate) tenant: &'a str,
    pub(crate) set: Option<&'a crate::filter::ObservableSet>,
    /// The class's columns, by place.
    pub(crate) columns: &'a [bool],
    /// What is taken for true of a run's regularity where its set is not at hand; for estimates.
    pub(crate) else_regular: bool,
}

impl Facts for RunFacts<'_> {
    fn class_uid(&self) -> u32 {
        self.file.class_uid
    }
    fn day(&self) -> i32 {
        self.file.day.get()
    }
    fn times(&self) -> (i64, i64) {
        (self.run.time_min.as_micros(), self.run.time_max.as_micros())
    }
    fn tenant(&self) -> Option<&str> {
        Some(self.tenant)
    }
    fn observable(&self, hash: u32) -> Option<bool> {
        Some(self.set?.contains(hash))
    }
    fn column(&self, place: usize) -> bool {
        self.columns.get(place).copied().unwrap_or(true)
    }
    fn regular(&self, regular: &Regular) -> Option<bool> {
        Some(self.set.map_or(self.else_regular, |set| regular.holds(|mark| set.contains(mark))))
    }
}

/// A file before its runs are looked at.
pub(crate) struct FileFacts<'a> {
    pub(crate) file: &'a catalog::File,
    pub(crate) columns: &'a [bool],
}

impl Facts for FileFacts<'_> {
    fn class_uid(&self) -> u32 {
        self.file.class_uid
    }
    fn day(&self) -> i32 {
        self.file.day.get()
    }
    fn times(&self) -> (i64, i64) {
        let day: Day = self.file.day;
        (day.start().as_micros(), day.end().as_micros())
    }
    fn tenant(&self) -> Option<&str> {
        None
    }
    fn observable(&self, _hash: u32) -> Option<bool> {
        None
    }
    fn column(&self, place: usize) -> bool {
        self.columns.get(place).copied().unwrap_or(true)
    }
    fn regular(&self, _regular: &Regular) -> Option<bool> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};
    use event::mapping::ObservableKind;

    #[test]
    fn filters_say_what_they_need_and_no_more() {
        let ip = observable::hash(ObservableKind::Ip, "203.0.113.7");
        let src = Prune::All(vec![Prune::Column(place("src_ip").unwrap()), Prune::Observable(ip)]);
        assert_eq!(Prune::of(&[col("src_ip").eq(lit("203.0.113.7"))]), src);
        assert_eq!(Prune::of(&[lit("203.0.113.7").eq(col("src_ip"))]), src);
        assert_eq!(Prune::of(&[col("src_ip").in_list(vec![lit("203.0.113.7")], false)]), Prune::Any(vec![src.clone()]));
        assert_eq!(Prune::of(&[col("src_ip").in_list(vec![lit("203.0.113.7")], true)]), Prune::Keep);
        assert_eq!(Prune::of(&[!col("src_ip").eq(lit("203.0.113.7"))]), Prune::Keep);
        // One side of the OR can be anything.
        assert_eq!(
            Prune::of(&[col("src_ip").eq(lit("203.0.113.7")).or(col("raw").like(lit("%x%")).is_null())]),
            Prune::Keep
        );
        assert_eq!(Prune::of(&[col("class_uid").eq(lit(1007_i32))]), Prune::Classes([1007].into()));
        assert_eq!(Prune::of(&[col("src_port").gt(lit(5_i64))]), Prune::Column(place("src_port").unwrap()));
        // `IS NULL` matches where there is no column.
        assert_eq!(Prune::of(&[col("src_port").is_null()]), Prune::Keep);
    }
}
