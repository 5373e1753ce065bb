//! Tokens into a tree. NOT binds stronger than AND, AND (also unsaid) stronger than OR.

use super::token::{Placed, Token, fault, tokens};
use crate::ask::AskError;

const DEPTH_MAX: usize = 24;
const TERMS_MAX: usize = 100;

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Term {
        /// Where it stands, for faults.
        at: usize,
        /// None: anywhere in raw.
        field: Option<String>,
        test: Test,
    },
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// This text.
    Text(String),
    /// This pattern of `*` and `?`.
    Wild(String),
    /// Between these.
    Range(Option<Bound>, Option<Bound>),
    /// Any value.
    Exists,
}

/// An end of a range.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bound {
    pub(crate) text: String,
    pub(crate) inclusive: bool,
}

/// Read a search; none where it is empty and everything matches.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, AskError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { end: text.chars().count() + 1, tokens, at: 0, terms: 0 };
    let node = parser.any(0, None)?;
    match parser.peek() {
        None => Ok(Some(node)),
        Some(Token::Close) => Err(fault(parser.place(), "`)` closes nothing", "leave it out")),
        Some(_) => Err(fault(parser.place(), "something that does not fit here", "quote text with signs in it")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    end: usize,
    terms: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(place, _)| *place)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn any(&mut self, depth: usize, field: Option<&str>) -> Result<Node, AskError> {
        let mut parts = vec![self.all(depth, field)?];
        while self.peek() == Some(&Token::Or) {
            self.at += 1;
            parts.push(self.all(depth, field)?);
        }
        Ok(one_or(parts, Node::Any))
    }

    fn all(&mut self, depth: usize, field: Option<&str>) -> Result<Node, AskError> {
        let mut parts = vec![self.one(depth, field)?];
        loop {
            match self.peek() {
                Some(Token::And) => self.at += 1,
                None | Some(Token::Or | Token::Close) => return Ok(one_or(parts, Node::All)),
                Some(_) => {}
            }
            parts.push(self.one(depth, field)?);
        }
    }

    fn one(&mut self, depth: usize, field: Option<&str>) -> Result<Node, AskError> {
        let at = self.place();
        if depth > DEPTH_MAX {
            return Err(fault(at, "parentheses are nested too deep", format!("at most {DEPTH_MAX}")));
        }
        match self.next() {
            Some(Token::Not) => Ok(Node::Not(Box::new(self.one(depth + 1, field)?))),
            Some(Token::Open) => {
                let node = self.any(depth + 1, field)?;
                match self.next() {
                    Some(Token::Close) => Ok(node),
                    _ => Err(fault(at, "a parenthesis that is not closed", "end it with `)`")),
                }
            }
            Some(Token::Field(name)) if field.is_none() => self.field(at, depth, &name),
            Some(Token::Field(_)) => Err(fault(at, "a field within a field's values", "quote the text")),
            Some(Token::Word(text)) => self.term(at, field, word(text)),
            Some(Token::Quoted(text)) => self.term(at, field, Test::Text(text)),
            None => Err(fault(at, "something is missing", "end with a word, a `field:value` or `)`")),
            Some(Token::And | Token::Or) => {
                Err(fault(at, "AND or OR without anything before it", "quote it where it is text"))
            }
            Some(_) => Err(fault(at, "something that does not fit here", "quote text with signs in it")),
        }
    }

    fn field(&mut self, at: usize, depth: usize, name: &str) -> Result<Node, AskError> {
        let missing =
            || fault(at, format!("`{name}:` lacks its value"), "write `field:value`, or `field:*` for any value");
        match self.peek() {
            Some(Token::Open) => self.one(depth, Some(name)),
            Some(Token::Compare(greater, inclusive)) => {
                let (greater, inclusive) = (*greater, *inclusive);
                self.at += 1;
                let bound = Some(Bound { text: self.bound(at)?, inclusive });
                let test = if greater { Test::Range(bound, None) } else { Test::Range(None, bound) };
                self.term(at, Some(name), test)
            }
            Some(Token::RangeOpen(inclusive)) => {
                let inclusive = *inclusive;
                self.at += 1;
                let low = self.bound(at)?;
                let malformed = || fault(at, "a range that is not complete", "write `field:[low TO high]`");
                self.next().filter(|token| *token == Token::To).ok_or_else(malformed)?;
                let high = self.bound(at)?;
                let Some(Token::RangeClose(to_inclusive)) = self.next() else { return Err(malformed()) };
                let open = |text: String, inclusive| (text != "*").then_some(Bound { text, inclusive });
                self.term(at, Some(name), Test::Range(open(low, inclusive), open(high, to_inclusive)))
            }
            Some(Token::Word(_)) => match self.next() {
                Some(Token::Word(text)) => self.term(at, Some(name), word(text)),
                _ => Err(missing()),
            },
            Some(Token::Quoted(_)) => match self.next() {
                Some(Token::Quoted(text)) => self.term(at, Some(name), Test::Text(text)),
                _ => Err(missing()),
            },
            _ => Err(missing()),
        }
    }

    fn bound(&mut self, at: usize) -> Result<String, AskError> {
        match self.next() {
            Some(Token::Word(text) | Token::Quoted(text)) => Ok(text),
            _ => Err(fault(at, "a range without its bound", "write `field:>=5` or `field:[low TO high]`")),
        }
    }

    fn term(&mut self, at: usize, field: Option<&str>, test: Test) -> Result<Node, AskError> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            let hint = "ask in SQL with an IN list";
            return Err(AskError::TooLarge { what: "terms", found: self.terms, most: TERMS_MAX, hint });
        }
        Ok(Node::Term { at, field: field.map(str::to_owned), test })
    }
}

fn word(text: String) -> Test {
    match text.as_str() {
        "*" => Test::Exists,
        text if text.contains(['*', '?']) => Test::Wild(text.to_owned()),
        _ => Test::Text(text),
    }
}

fn one_or(mut parts: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            many(parts)
        }
        (_, None) => many(parts),
    }
}
