//! Rules as small programs over shared tests. Compiling interns equal tests of all rules into one.

use super::glob::Glob;
use super::needle::{Finding, finding};
use crate::fold::fold;
use crate::sigma::{Cidr, Comparison, Expr, Matcher, Number, Part, Pattern, Regexp, Test, TimePart};
use memchr::memmem::Finder;
use std::collections::HashMap;

/// The field number of keywords.
pub(super) const KEYWORD: u32 = u32::MAX;

/// A rule's expression over test numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Test(u32),
}

impl Tree {
    const fn constant(&self) -> Option<bool> {
        match self {
            Self::All(items) if items.is_empty() => Some(true),
            Self::Any(items) if items.is_empty() => Some(false),
            _ => None,
        }
    }

    pub(super) const fn never(&self) -> bool {
        matches!(self.constant(), Some(false))
    }
}

/// One test, ready to run.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) field: u32,
    pub(super) kind: Kind,
}

/// What a test does with a value. Small: an engine has tens of thousands, and there may be hundreds of engines; so texts
/// stand together in [`Texts`], and what is rare is boxed.
#[derive(Debug)]
pub(super) enum Kind {
    Exists,
    Null,
    Whole(Span),
    Start(Span),
    End(Span),
    /// Made ready once, of an engine with many rules.
    Anywhere(Box<Finder<'static>>),
    /// The same, made ready each time.
    Contains(Span),
    Glob {
        glob: Box<Glob>,
        cased: bool,
    },
    Number(Box<(Number, Box<str>)>),
    Compare(Comparison, Box<Number>),
    Cidr(Box<Cidr>),
    Regexp(Box<Regexp>),
    Reference {
        other: u32,
        open_start: bool,
        open_end: bool,
        cased: bool,
    },
    Time(TimePart, Box<i64>),
}

/// A text of [`Texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// The folded texts of an engine's tests, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Texts(Box<str>);

impl Texts {
    #[inline]
    pub(super) fn of(&self, span: Span) -> &str {
        self.0.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// Tests and fields seen so far, each once.
#[derive(Debug, Default)]
pub(super) struct Interner {
    numbers: HashMap<Test, u32>,
    pub(super) checks: Vec<Check>,
    pub(super) findings: Vec<Finding>,
    field_numbers: HashMap<Box<str>, u32>,
    pub(super) fields: Vec<Box<str>>,
    texts: String,
    spans: HashMap<Box<str>, Span>,
    /// There is memory for more than the least.
    roomy: bool,
}

impl Interner {
    /// `roomy`: for an engine of many rules.
    pub(super) fn new(roomy: bool) -> Self {
        Self { roomy, ..Self::default() }
    }

    /// The tests and their texts.
    pub(super) fn finish(self) -> (Box<[Check]>, Texts) {
        (self.checks.into_boxed_slice(), Texts(self.texts.into_boxed_str()))
    }

    /// A text of a test so far.
    pub(super) fn text(&self, span: Span) -> &str {
        self.texts.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn span(&mut self, text: String) -> Span {
        if let Some(span) = self.spans.get(text.as_str()) {
            return *span;
        }
        let start = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push_str(&text);
        let span = Span { start, end: u32::try_from(self.texts.len()).unwrap_or(u32::MAX) };
        self.spans.insert(text.into(), span);
        span
    }

    /// The tree of an expression, with constants folded away.
    pub(super) fn tree(&mut self, expr: &Expr) -> Tree {
        match expr {
            Expr::Test(Test { matcher: Matcher::Unresolved(_), .. }) => Tree::Any(Vec::new()),
            Expr::Test(test) => Tree::Test(self.test(test)),
            Expr::Not(inner) => match self.tree(inner) {
                Tree::Not(inner) => *inner,
                inner => match inner.constant() {
                    Some(true) => Tree::Any(Vec::new()),
                    Some(false) => Tree::All(Vec::new()),
                    None => Tree::Not(Box::new(inner)),
                },
            },
            Expr::And(items) => {
                let mut all = Vec::with_capacity(items.len());
                for item in items {
                    match self.tree(item) {
                        tree if tree.never() => return tree,
                        Tree::All(inner) => all.extend(inner),
                        tree => all.push(tree),
                    }
                }
                single(all, Tree::All)
            }
            Expr::Or(items) => {
                let mut any = Vec::with_capacity(items.len());
                for item in items {
                    match self.tree(item) {
                        tree if tree.constant() == Some(true) => return tree,
                        Tree::Any(inner) => any.extend(inner),
                        tree => any.push(tree),
                    }
                }
                single(any, Tree::Any)
            }
        }
    }

    pub(super) fn field(&mut self, name: &str) -> u32 {
        if let Some(number) = self.field_numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.fields.len()).unwrap_or(KEYWORD);
        self.field_numbers.insert(name.into(), number);
        self.fields.push(name.into());
        number
    }

    fn test(&mut self, test: &Test) -> u32 {
        if let Some(number) = self.numbers.get(test) {
            return *number;
        }
        let field = test.field.as_deref().map_or(KEYWORD, |name| self.field(name));
        let kind = self.kind(&test.matcher);
        let number = u32::try_from(self.checks.len()).unwrap_or(u32::MAX);
        self.checks.push(Check { field, kind });
        self.findings.push(finding(&test.matcher));
        self.numbers.insert(test.clone(), number);
        number
    }

    fn kind(&mut self, matcher: &Matcher) -> Kind {
        match matcher {
            Matcher::Exists => Kind::Exists,
            Matcher::Null => Kind::Null,
            Matcher::Text(pattern) => self.pattern_kind(pattern),
            Matcher::Number(number) => Kind::Number(Box::new((*number, number.to_string().into()))),
            Matcher::Compare(comparison, number) => Kind::Compare(*comparison, Box::new(*number)),
            Matcher::Cidr(cidr) => Kind::Cidr(Box::new(*cidr)),
            Matcher::Regexp(regexp) => Kind::Regexp(Box::new(regexp.clone())),
            Matcher::FieldRef { other, open_start, open_end, cased } => Kind::Reference {
                other: self.field(other),
                open_start: *open_start,
                open_end: *open_end,
                cased: *cased,
            },
            Matcher::Time(part, value) => Kind::Time(*part, Box::new(*value)),
            // `tree` has replaced these; an empty alternative never holds.
            Matcher::Unresolved(_) => {
                Kind::Reference { other: KEYWORD, open_start: false, open_end: false, cased: true }
            }
        }
    }

    fn pattern_kind(&mut self, pattern: &Pattern) -> Kind {
        if !pattern.cased() {
            match pattern.parts() {
                [] => return Kind::Whole(self.span(String::new())),
                [Part::Text(text)] => return Kind::Whole(self.span(fold(text))),
                [Part::Text(text), Part::Any] => return Kind::Start(self.span(fold(text))),
                [Part::Any, Part::Text(text)] => return Kind::End(self.span(fold(text))),
                [Part::Any, Part::Text(text), Part::Any] if self.roomy => {
                    return Kind::Anywhere(Box::new(Finder::new(fold(text).as_bytes()).into_owned()));
                }
                [Part::Any, Part::Text(text), Part::Any] => return Kind::Contains(self.span(fold(text))),
                _ => {}
            }
        }
        Kind::Glob { glob: Box::new(Glob::new(pattern)), cased: pattern.cased() }
    }
}

fn single(mut items: Vec<Tree>, many: fn(Vec<Tree>) -> Tree) -> Tree {
    match items.pop() {
        Some(only) if items.is_empty() => only,
        Some(last) => {
            items.push(last);
            many(items)
        }
        None => many(items),
    }
}

impl Kind {
    /// Rough cost of asking, to put cheap questions first: 0 is free.
    pub(super) const fn cost(&self) -> u32 {
        match self {
            Self::Exists | Self::Null => 0,
            Self::Whole(_) | Self::Start(_) | Self::End(_) | Self::Number(_) => 1,
            Self::Compare(..) => 3,
            Self::Anywhere(_) | Self::Contains(_) | Self::Cidr(_) => 4,
            Self::Reference { .. } | Self::Time(..) => 6,
            Self::Glob { .. } => 8,
            Self::Regexp(_) => 60,
        }
    }
}

/// Every rule's tree in one flat list.
#[derive(Debug, Default)]
pub(super) struct Programs {
    ops: Vec<Op>,
    children: Vec<u32>,
}

/// One node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    All(u32, u32),
    Any(u32, u32),
    Not(u32),
    Test(u32),
}

impl Programs {
    /// Add a tree; cheap items come first under `all` and `any`. Returns its root.
    pub(super) fn add(&mut self, tree: &Tree, checks: &[Check]) -> u32 {
        let op = match tree {
            Tree::Test(test) => Op::Test(*test),
            Tree::Not(inner) => Op::Not(self.add(inner, checks)),
            Tree::All(items) | Tree::Any(items) => {
                let mut order: Vec<&Tree> = items.iter().collect();
                order.sort_by_key(|item| cost(item, checks));
                let roots: Vec<u32> = order.into_iter().map(|item| self.add(item, checks)).collect();
                let start = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
                self.children.extend(roots);
                let end = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
                if matches!(tree, Tree::All(_)) { Op::All(start, end) } else { Op::Any(start, end) }
            }
        };
        self.ops.push(op);
        u32::try_from(self.ops.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Give back what was kept for more.
    pub(super) fn shrink(&mut self) {
        self.ops.shrink_to_fit();
        self.children.shrink_to_fit();
    }

    /// Run a program; `ask` answers tests.
    pub(super) fn run(&self, root: u32, ask: &mut impl FnMut(u32) -> bool) -> bool {
        match self.ops.get(root as usize) {
            Some(Op::Test(test)) => ask(*test),
            Some(Op::Not(inner)) => !self.run(*inner, ask),
            Some(Op::All(start, end)) => self.range(*start, *end).iter().all(|child| self.run(*child, ask)),
            Some(Op::Any(start, end)) => self.range(*start, *end).iter().any(|child| self.run(*child, ask)),
            None => false,
        }
    }

    fn range(&self, start: u32, end: u32) -> &[u32] {
        self.children.get(start as usize..end as usize).unwrap_or_default()
    }
}

fn cost(tree: &Tree, checks: &[Check]) -> u32 {
    match tree {
        Tree::Test(test) => checks.get(*test as usize).map_or(0, |check| {
            // A keyword looks at every value of the record.
            if check.field == KEYWORD { check.kind.cost().saturating_mul(30) } else { check.kind.cost() }
        }),
        Tree::Not(inner) => cost(inner, checks).saturating_add(1),
        Tree::All(items) | Tree::Any(items) => items.iter().map(|item| cost(item, checks)).fold(1, u32::saturating_add),
    }
}
