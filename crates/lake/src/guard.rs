//! What SQL may be: one SELECT over our tables, bounded in size, nesting and length of operator chains.
//!
//! A chain of 250 operators overflows a planner's stack, a chain of 3,000 takes it minutes; so the text is cut into
//! tokens and counted before it is parsed, and the tree is walked before it is planned. Pure.

use crate::ask::AskError;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SetExpr, Statement,
    TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use std::ops::ControlFlow;

/// Bytes of a statement.
pub const SQL_BYTES_MAX: usize = 128 << 10;
/// Tokens of a statement: an IN list of 5,000 values fits.
const TOKENS_MAX: usize = 16_000;
/// Binary operators (AND, OR, arithmetic, comparisons, LIKE, ||).
const OPERATORS_MAX: usize = 240;
/// Open parentheses at once.
const NESTING_MAX: usize = 40;
/// Nodes of the tree.
const NODES_MAX: usize = 20_000;
/// Queries within one another or beside one another.
const QUERIES_MAX: usize = 24;
/// Tables that are joined or listed.
const TABLES_MAX: usize = 12;

/// Parse a statement and judge it.
///
/// # Errors
/// What is wrong with it and what would be right.
pub(crate) fn checked(sql: &str) -> Result<Statement, AskError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(AskError::TooLarge {
            what: "bytes of SQL",
            found: sql.len(),
            most: SQL_BYTES_MAX,
            hint: "put long lists of values into several questions",
        });
    }
    count_tokens(sql)?;
    let mut statements = Parser::new(&GenericDialect {})
        .with_recursion_limit(NESTING_MAX + 20)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| AskError::Syntax(error.to_string()))?;
    let (Some(mut statement), None) = (statements.pop(), statements.pop()) else {
        return Err(AskError::Forbidden {
            what: "more or less than one statement".to_owned(),
            hint: "ask one SELECT at a time",
        });
    };
    if !matches!(statement, Statement::Query(_)) {
        let word = statement.to_string().split_whitespace().next().unwrap_or("").to_uppercase();
        return Err(AskError::Forbidden { what: format!("`{word}`"), hint: "only SELECT is possible" });
    }
    let mut walk = Walk::default();
    if let ControlFlow::Break(error) = Visit::visit(&statement, &mut walk) {
        return Err(error);
    }
    let _ = VisitMut::visit(&mut statement, &mut Implied);
    Ok(statement)
}

fn count_tokens(sql: &str) -> Result<(), AskError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| AskError::Syntax(error.to_string()))?;
    let (mut count, mut operators, mut depth, mut deepest) = (0_usize, 0_usize, 0_usize, 0_usize);
    for token in &tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_ascii_uppercase();
                let chained = ["AND", "OR", "NOT", "LIKE", "ILIKE", "SIMILAR", "XOR", "DIV", "CASE", "WHEN", "UNION"];
                operators += usize::from(chained.contains(&word.as_str()));
            }
            Token::Comma | Token::Period | Token::SemiColon | Token::Number(..) => {}
            Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::Word(_) => {}
            // Signs: each of them may be an operator.
            _ => operators += 1,
        }
        count += 1;
    }
    let bounds = [
        ("tokens", count, TOKENS_MAX, "split the question; an IN list may have 5,000 values"),
        (
            "operators",
            operators,
            OPERATORS_MAX,
            "write `x IN (...)` or a regular expression in the place of long chains",
        ),
        ("open parentheses", deepest, NESTING_MAX, "nest less; name parts with WITH"),
    ];
    match bounds.into_iter().find(|(_, found, most, _)| found > most) {
        Some((what, found, most, hint)) => Err(AskError::TooLarge { what, found, most, hint }),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Walk {
    nodes: usize,
    queries: usize,
    tables: usize,
}

impl Walk {
    fn node(&mut self) -> ControlFlow<AskError> {
        self.nodes += 1;
        bound("parts of the statement", self.nodes, NODES_MAX)
    }
}

impl Walk {
    fn set(&mut self, body: &SetExpr) -> ControlFlow<AskError> {
        match body {
            SetExpr::Select(select) if select.into.is_some() => forbidden("`SELECT INTO`", "only reading is possible"),
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
            SetExpr::SetOperation { left, right, .. } => {
                self.queries += 1;
                bound("queries in one", self.queries, QUERIES_MAX)?;
                self.set(left)?;
                self.set(right)
            }
            _ => forbidden("this statement", "only SELECT is possible"),
        }
    }
}

fn bound(what: &'static str, found: usize, most: usize) -> ControlFlow<AskError> {
    if found <= most {
        return ControlFlow::Continue(());
    }
    ControlFlow::Break(AskError::TooLarge { what, found, most, hint: "ask several smaller questions" })
}

fn forbidden(what: impl Into<String>, hint: &'static str) -> ControlFlow<AskError> {
    ControlFlow::Break(AskError::Forbidden { what: what.into(), hint })
}

impl Visitor for Walk {
    type Break = AskError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<AskError> {
        self.queries += 1;
        bound("queries in one", self.queries, QUERIES_MAX)?;
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return forbidden("`WITH RECURSIVE`", "ask `process_tree` for chains of processes");
        }
        if !query.locks.is_empty() || query.for_clause.is_some() || query.settings.is_some() {
            return forbidden("a FOR or SETTINGS clause", "leave it out");
        }
        self.set(&query.body)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<AskError> {
        self.node()?;
        match expr {
            Expr::Value(value) if value.to_string().starts_with(['$', '?']) => {
                forbidden("a placeholder", "write the value")
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<AskError> {
        self.tables += 1;
        bound("tables", self.tables, TABLES_MAX)?;
        match table {
            TableFactor::Table { args: Some(_), name, .. } => {
                forbidden(format!("the table function `{name}`"), "only the lake's own tables can be read")
            }
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => ControlFlow::Continue(()),
            _ => forbidden("this kind of table", "name a table, or a query in parentheses"),
        }
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<AskError> {
        match statement {
            Statement::Query(_) => ControlFlow::Continue(()),
            _ => forbidden("a statement that is no SELECT", "only SELECT is possible"),
        }
    }
}

/// A condition `json_text(raw, path) = 'value'` holds only where the value stands in the text: say so, because looking
/// for a text is five times faster than walking a JSON path, and most rows do not have it.
fn narrow(condition: &mut Expr) {
    match condition {
        Expr::Nested(inner) => narrow(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            narrow(left);
            narrow(right);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (Expr::Function(function), Expr::Value(value)) = (&**left, &**right) else { return };
            let Value::SingleQuotedString(text) = &value.value else { return };
            let name = function.name.to_string().to_ascii_lowercase();
            // Letters that no writer of JSON escapes.
            let plain =
                |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, ' ' | '_' | '.' | ':' | '@' | '-');
            if !["json_text", "field"].contains(&name.as_str()) || text.is_empty() || !text.chars().all(plain) {
                return;
            }
            let mut contains = function.clone();
            contains.name = vec![Ident::new("contains")].into();
            let FunctionArguments::List(list) = &mut contains.args else { return };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(_) | Expr::CompoundIdentifier(_))), path] =
                list.args.as_mut_slice()
            else {
                return;
            };
            *path = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value.clone())));
            let equal = std::mem::replace(condition, Expr::Function(contains));
            let found = Box::new(condition.clone());
            *condition = Expr::BinaryOp { left: found, op: BinaryOperator::And, right: Box::new(equal) };
        }
        _ => {}
    }
}

/// `has_observable(kind, value)` reads `raw` without saying so.
struct Implied;

impl VisitorMut for Implied {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = &mut *query.body
            && let Some(condition) = &mut select.selection
        {
            narrow(condition);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr
            && name.to_string().eq_ignore_ascii_case("has_observable")
            && list.args.len() == 2
        {
            let raw = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(Ident::new("raw"))));
            list.args.insert(0, raw);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        checked(sql).map_or_else(|error| error.to_string(), |statement| format!("accepted: {statement}"))
    }

    #[test]
    fn one_bounded_select_passes_and_nothing_else() {
        for sql in [
            "SELECT count(*) FROM events",
            "WITH a AS (SELECT 1 AS x) SELECT * FROM a, (SELECT 2 AS y) b WHERE x < y ORDER BY 1 LIMIT 3",
            "SELECT 1 UNION ALL SELECT 2",
        ] {
            assert!(checked(sql).is_ok(), "{sql}: {}", refused(sql));
        }
        let list: Vec<String> = (0..5_000).map(|number| format!("'{number}'")).collect();
        assert!(checked(&format!("SELECT * FROM events WHERE src_ip IN ({})", list.join(", "))).is_ok());
        for sql in [
            "COPY events TO '/tmp/x.parquet'",
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
            "INSERT INTO events SELECT * FROM events",
            "DELETE FROM events",
            "SET datafusion.execution.target_partitions = 1",
            "EXPLAIN ANALYZE SELECT 1",
            "SHOW TABLES",
            "SELECT 1; SELECT 2",
            "",
            "SELECT * FROM read_parquet('/etc/passwd')",
            "SELECT * FROM generate_series(1, 10)",
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
            "SELECT * INTO copy FROM events",
            "SELECT $1",
            "SELECT 1 FOR UPDATE",
        ] {
            assert!(checked(sql).is_err(), "{sql}: {}", refused(sql));
        }
    }

    #[test]
    fn chains_and_nesting_are_refused_before_they_are_parsed() {
        let chain = |link: &str, times: usize| format!("SELECT 1 {}", link.repeat(times));
        for sql in [
            chain("+ 1 ", 300),
            format!("SELECT * FROM events WHERE {} a = 1", "a = 0 OR ".repeat(10_000)),
            format!("SELECT {}1{}", "(".repeat(60), ")".repeat(60)),
            format!("SELECT {}1", "- ".repeat(30_000)),
            format!("SELECT {}true", "NOT ".repeat(1_000)),
            chain("UNION ALL SELECT 1 ", 200),
            format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX)),
            format!("SELECT {}1", "1, ".repeat(10_000)),
            format!("SELECT * FROM {}events", "events, ".repeat(20)),
        ] {
            assert!(
                matches!(checked(&sql), Err(AskError::TooLarge { .. })),
                "{}",
                sql.chars().take(60).collect::<String>()
            );
        }
    }

    #[test]
    fn equality_on_json_looks_for_the_value_first() {
        for (sql, narrowed) in [
            ("SELECT 1 FROM e WHERE field(raw, 'a.b') = 'x-1' AND c = 1", true),
            ("SELECT 1 FROM e WHERE (json_text(e.raw, 'a') = 'x') LIMIT 1", true),
            ("SELECT 1 FROM (SELECT * FROM e WHERE field(raw, 'a') = 'x') t", true),
            // Where NULL and false differ, and where the text may be written otherwise.
            ("SELECT 1 FROM e WHERE NOT (field(raw, 'a') = 'x')", false),
            ("SELECT field(raw, 'a') = 'x' FROM e", false),
            ("SELECT 1 FROM e WHERE field(raw, 'a') = 'a/b'", false),
            ("SELECT 1 FROM e WHERE field(raw, 'a') = 'x' OR c = 1", false),
        ] {
            let text = checked(sql).unwrap().to_string();
            assert_eq!(text.contains("contains("), narrowed, "{text}");
        }
    }

    #[test]
    fn has_observable_reads_raw_by_itself() {
        let sql = "SELECT 1 FROM events WHERE has_observable('ip', '203.0.113.7')";
        assert!(checked(sql).unwrap().to_string().contains("has_observable(raw, 'ip', '203.0.113.7')"));
    }
}
