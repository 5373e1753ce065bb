//! CEL expressions of playbooks: read once, bounded, without functions that reach anything.
//!
//! Cost: the text is at most 4 KiB, at most 48 deep, with at most two macros (`map`, `filter`, `exists`, ...) inside each
//! other; the lists that it can see hold at most [`ITEMS_MAX`] items. So one evaluation looks at some million items at most.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, Program};
use ids::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};
use thiserror::Error;

/// The longest expression, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// The deepest expression.
const DEPTH_MAX: u16 = 48;
/// How deep brackets may stand in each other, and the most question marks: the parser would use up its stack before it saw
/// the depth.
const BRACKETS_MAX: usize = 12;
/// The most operators.
const OPERATORS_MAX: usize = 200;
/// Names that functions of the extensions begin with, which are no variables.
const NAMESPACES: [&str; 3] = ["lists", "math", "optional"];
/// How many macros may stand inside each other.
const MACROS_MAX: usize = 2;
/// The most items of a list or map that an expression sees; what is longer is an error.
pub(crate) const ITEMS_MAX: usize = 2000;
/// The most values within one result.
const NODES_MAX: usize = 20_000;

/// Why an expression does not parse, or has no value.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum ExpressionError {
    /// It has no value for these variables.
    #[error("`{text}`: {message}")]
    Evaluate {
        /// The expression.
        text: String,
        /// Why not.
        message: String,
    },
    /// It does not parse.
    #[error("`{text}` does not parse: {message}")]
    Parse {
        /// The expression.
        text: String,
        /// Why not.
        message: String,
    },
    /// A bound was passed.
    #[error("{0}")]
    TooLarge(String),
}

/// A variable, in the form of expressions.
#[derive(Clone, Debug)]
pub(crate) struct Bound(cel::Value);

impl Bound {
    /// The form of a JSON value.
    pub(crate) fn of(value: &Value) -> Result<Self, ExpressionError> {
        convert(value).map(Self)
    }
}

/// An expression that was read.
pub struct Expression {
    text: String,
    program: Program,
    roots: Vec<String>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// The functions there are: CEL's own, and its extensions for text, lists and numbers.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    for extension in [cel::extensions::strings, cel::extensions::lists, cel::extensions::math] {
        // Each is added once to a fresh environment; a clash would be a bug of that crate, seen by every test.
        let _ = environment.add_extension(extension);
    }
    Arc::new(environment)
});

impl Expression {
    /// Read an expression.
    ///
    /// # Errors
    /// It does not parse, or is longer, deeper or more nested than is evaluated.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ExpressionError::TooLarge(format!(
                "an expression of {} bytes; at most {TEXT_BYTES_MAX} are read, use `set` for parts of it",
                text.len()
            )));
        }
        if !is_shallow(text) {
            let message =
                "deeper or with more operators than is read, or with a raw or triple-quoted text; use `set` for parts";
            return Err(ExpressionError::TooLarge(format!("`{}`: {message}", clipped(text))));
        }
        let parse_error = |message: String| ExpressionError::Parse { text: text.to_owned(), message };
        let shape = ENVIRONMENT.parser().max_recursion_depth(DEPTH_MAX).parse(text);
        let shape = shape.map_err(|error| parse_error(first_line(&error.to_string())))?;
        let mut look = Look::default();
        look.at(&shape, &mut Vec::new(), 0);
        if look.macros > MACROS_MAX {
            let message = format!("more than {MACROS_MAX} macros inside each other; use `for_each` or `set` for parts");
            return Err(parse_error(message));
        }
        let program = ENVIRONMENT.compile(text).map_err(|error| parse_error(first_line(&error.to_string())))?;
        Ok(Self { text: text.to_owned(), program, roots: look.roots.into_iter().collect() })
    }

    /// The variables that it reads.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// Its value for these variables.
    ///
    /// # Errors
    /// It has none: a missing key, unlike types, a bound.
    pub(crate) fn evaluate(&self, scope: &BTreeMap<String, Bound>) -> Result<Value, ExpressionError> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        add_functions(&mut context);
        for root in &self.roots {
            if let Some(Bound(value)) = scope.get(root) {
                context.add_variable_from_value(root.as_str(), value.clone());
            }
        }
        let wrong = |message: String| ExpressionError::Evaluate { text: self.text.clone(), message };
        let value = self.program.execute(&context).map_err(|error| wrong(clipped(&error.to_string())))?;
        let mut nodes = 0;
        restore(&value, &mut nodes).map_err(wrong)
    }
}

/// Functions of ours: `time_shift(time, secs)`, `secs_between(from, to)` and `sum(list)`.
fn add_functions(context: &mut Context<'_, '_>) {
    let time = |text: &Arc<String>, function: &str| {
        text.parse::<Timestamp>().map_err(|error| ExecutionError::function_error(function, error))
    };
    let shift = move |at: Arc<String>, secs: i64| -> Result<cel::Value, ExecutionError> {
        let micros = time(&at, "time_shift")?.as_micros().saturating_add(secs.saturating_mul(1_000_000));
        Ok(cel::Value::String(Arc::new(Timestamp::from_micros(micros).to_string())))
    };
    let between = move |from: Arc<String>, to: Arc<String>| -> Result<cel::Value, ExecutionError> {
        let (from, to) = (time(&from, "secs_between")?, time(&to, "secs_between")?);
        Ok(cel::Value::Int(to.as_micros().saturating_sub(from.as_micros()) / 1_000_000))
    };
    let sum = |items: Arc<Vec<cel::Value>>| -> Result<cel::Value, ExecutionError> {
        let (mut whole, mut float, mut all_whole) = (0_i64, 0.0_f64, true);
        for item in items.iter() {
            match item {
                cel::Value::Int(value) => whole = whole.saturating_add(*value),
                cel::Value::Float(value) => {
                    all_whole = false;
                    float += value;
                }
                _ => return Err(ExecutionError::function_error("sum", "the list holds what is no number")),
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a sum of mixed numbers is a float")]
        Ok(if all_whole { cel::Value::Int(whole) } else { cel::Value::Float(float + whole as f64) })
    };
    // The names are none of the environment's; a clash would be seen by every test that uses them.
    let _ = context.add_function("time_shift", shift);
    let _ = context.add_function("secs_between", between);
    let _ = context.add_function("sum", sum);
}

/// Whether a text can be given to the parser: it recurses on brackets and conditions before it looks at its own bound.
fn is_shallow(text: &str) -> bool {
    let (mut depth, mut questions, mut operators) = (0_usize, 0_usize, 0_usize);
    let (mut quote, mut escaped, mut last) = (None, false, ' ');
    for c in text.chars() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) => quote = Some(open).filter(|open| *open != c),
            // What follows these would be read by other rules than the ones above.
            (None, '\'' | '"') if "rRbB'\"".contains(last) => return false,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, '?') => questions += 1,
            (None, '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '&' | '|') => operators += 1,
            _ => {}
        }
        if depth > BRACKETS_MAX || questions > BRACKETS_MAX || operators > OPERATORS_MAX {
            return false;
        }
        last = c;
    }
    quote.is_none()
}

fn first_line(text: &str) -> String {
    clipped(text.lines().next().unwrap_or_default())
}

fn clipped(text: &str) -> String {
    text.chars().take(300).collect()
}

fn convert(value: &Value) -> Result<cel::Value, ExpressionError> {
    let too_long = |count: usize| {
        Err(ExpressionError::TooLarge(format!("a list or map of {count} items; expressions see at most {ITEMS_MAX}")))
    };
    Ok(match value {
        Value::Null => cel::Value::Null,
        Value::Bool(truth) => cel::Value::Bool(*truth),
        // One kind of whole number, so that they compare and add as a reader expects.
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) if items.len() > ITEMS_MAX => return too_long(items.len()),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(convert).collect::<Result<_, _>>()?)),
        Value::Object(fields) if fields.len() > ITEMS_MAX => return too_long(fields.len()),
        Value::Object(fields) => {
            let pair = |(key, value): (&String, &Value)| {
                convert(value).map(|value| (Key::String(Arc::new(key.clone())), value))
            };
            let map: HashMap<Key, cel::Value> = fields.iter().map(pair).collect::<Result<_, _>>()?;
            cel::Value::Map(Map { map: Arc::new(map) })
        }
    })
}

fn restore(value: &cel::Value, nodes: &mut usize) -> Result<Value, String> {
    *nodes += 1;
    if *nodes > NODES_MAX {
        return Err(format!("has more than {NODES_MAX} values in it"));
    }
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(truth) => Value::Bool(*truth),
        cel::Value::Int(whole) => Value::from(*whole),
        cel::Value::UInt(whole) => Value::from(*whole),
        cel::Value::Float(float) => Value::from(*float),
        cel::Value::String(text) => Value::String(text.as_ref().clone()),
        cel::Value::List(items) => {
            Value::Array(items.iter().map(|item| restore(item, nodes)).collect::<Result<_, _>>()?)
        }
        cel::Value::Map(map) => {
            let mut pairs: Vec<(&Key, &cel::Value)> = map.map.iter().collect();
            // A hash map has no order; the journal and every digest over it need one.
            pairs.sort_by(|one, other| one.0.cmp(other.0));
            let mut fields = serde_json::Map::new();
            for (key, value) in pairs {
                let key = match key {
                    Key::Bool(truth) => truth.to_string(),
                    Key::Int(whole) => whole.to_string(),
                    Key::String(text) => text.as_ref().clone(),
                    Key::Uint(whole) => whole.to_string(),
                };
                fields.insert(key, restore(value, nodes)?);
            }
            Value::Object(fields)
        }
        _ => return Err("is neither text, number, truth value, list nor map".to_owned()),
    })
}

/// What is found by walking through an expression.
#[derive(Default)]
struct Look {
    roots: BTreeSet<String>,
    /// The most macros inside each other.
    macros: usize,
}

impl Look {
    fn at(&mut self, node: &IdedExpr, own: &mut Vec<String>, macros: usize) {
        self.macros = self.macros.max(macros);
        match &node.expr {
            Expr::Call(call) => {
                let named = |target: &IdedExpr| matches!(&target.expr, Expr::Ident(name) if NAMESPACES.contains(&name.as_str()));
                call.target.iter().filter(|target| !named(target)).for_each(|target| self.at(target, own, macros));
                call.args.iter().for_each(|argument| self.at(argument, own, macros));
            }
            Expr::Comprehension(inner) => {
                self.at(&inner.iter_range, own, macros);
                self.at(&inner.accu_init, own, macros);
                let before = own.len();
                own.push(inner.iter_var.clone());
                own.extend(inner.iter_var2.clone());
                own.push(inner.accu_var.clone());
                for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
                    self.at(part, own, macros + 1);
                }
                own.truncate(before);
            }
            Expr::Ident(name) => {
                if !name.starts_with('@') && !own.contains(name) {
                    self.roots.insert(name.clone());
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|item| self.at(item, own, macros)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, own, macros)),
            Expr::Select(select) => self.at(&select.operand, own, macros),
            Expr::Struct(inner) => inner.entries.iter().for_each(|entry| self.entry(&entry.expr, own, macros)),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr, own: &mut Vec<String>, macros: usize) {
        match entry {
            EntryExpr::StructField(field) => self.at(&field.value, own, macros),
            EntryExpr::MapEntry(pair) => {
                self.at(&pair.key, own, macros);
                self.at(&pair.value, own, macros);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str, scope: &Value) -> Result<Value, ExpressionError> {
        let mut bound = BTreeMap::new();
        for (name, value) in scope.as_object().into_iter().flatten() {
            bound.insert(name.clone(), Bound::of(value)?);
        }
        Expression::parse(text)?.evaluate(&bound)
    }

    #[test]
    fn expressions_have_the_values_that_cel_says() -> Result<(), ExpressionError> {
        let scope = json!({ "a": [1, 2, 2, 3], "d": { "name": "Cmd.exe", "n": 5 }, "f": 1.5 });
        let cases = [
            ("size(a)", json!(4)),
            ("a.distinct()", json!([1, 2, 3])),
            ("a.filter(x, x > 1).map(x, x * 2)", json!([4, 4, 6])),
            ("d.name.lowerAscii().endsWith('cmd.exe')", json!(true)),
            ("has(d.missing) ? 1 : d.n + 1", json!(6)),
            ("d.name.matches('(?i)^cmd')", json!(true)),
            ("{'b': 1, 'a': [f]}", json!({ "a": [1.5], "b": 1 })),
            ("a.exists(x, [1, 7].exists(y, y == x))", json!(true)),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text, &scope)?, expected, "{text}");
        }
        Ok(())
    }

    #[test]
    fn roots_are_the_variables_that_are_not_its_own() -> Result<(), ExpressionError> {
        let read = Expression::parse("a.map(x, x + b).filter(y, y in c.list) + [d]")?;
        assert_eq!(read.roots(), ["a", "b", "c", "d"]);
        Ok(())
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let deep = format!("{}1{}", "(".repeat(3000), ")".repeat(900));
        let under = format!("{}1{}", "(".repeat(13), ")".repeat(13));
        let nested = "a.map(x, a.map(y, a.map(z, x)))";
        let long = format!("'{}'", "x".repeat(5000));
        let wide = "1".to_owned() + &"+1".repeat(2000);
        for text in
            [deep.as_str(), under.as_str(), nested, &long, &wide, "", "a.", "f(", "'", "\\", "a ? b", "unknown(1"]
        {
            assert!(Expression::parse(text).is_err(), "{}", text.get(..40).unwrap_or(text));
        }
        let many = json!({ "a": (0..3000).collect::<Vec<u32>>() });
        assert!(value("size(a)", &many).is_err());
    }

    #[test]
    fn what_is_just_within_the_bounds_is_parsed_or_refused_and_no_more() {
        let cases = [
            format!("{}1{}", "(".repeat(12), ")".repeat(12)),
            format!("{}1{}", "[".repeat(12), "]".repeat(12)),
            format!("{}1{}", "{1:".repeat(12), "}".repeat(12)),
            format!("{}1{}", "f(".repeat(12), ")".repeat(12)),
            "true ? 1 : ".repeat(12) + "1",
            "!".repeat(200) + "true",
            "-".repeat(200) + "1",
            "1".to_owned() + &"+1".repeat(200),
            "1".to_owned() + &"<1".repeat(200),
            "a".to_owned() + &".a".repeat(1500),
            "a".to_owned() + &"[0]".repeat(1000),
            "a".to_owned() + &".f()".repeat(1000),
        ];
        for text in cases {
            // Either is fine; an overflow of the stack would end the test.
            let _ = Expression::parse(&text).map(|read| read.roots().len());
        }
    }

    #[test]
    fn errors_are_values_and_not_ends() {
        for text in ["1 / 0", "nothing", "d.missing", "1 + 'a'", "9223372036854775807 + 1", "[1][5]", "nofn(1)"] {
            assert!(value(text, &json!({ "d": {} })).is_err(), "{text}");
        }
    }
}
