//! A search's text cut into tokens, each with its place (in characters, from 1).

use crate::ask::AskError;

/// The most bytes of a search.
const BYTES_MAX: usize = 8 << 10;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    And,
    Or,
    Not,
    Open,
    Close,
    /// `field:`
    Field(String),
    /// A word as it stands, wildcards and all.
    Word(String),
    /// Text in double quotes, escapes undone.
    Quoted(String),
    /// `[` or `{` (exclusive).
    RangeOpen(bool),
    /// `]` or `}` (exclusive).
    RangeClose(bool),
    To,
    /// `>`, `>=`, `<`, `<=`: greater, inclusive.
    Compare(bool, bool),
}

/// A token and where it starts.
pub(crate) type Placed = (usize, Token);

pub(crate) fn fault(at: usize, what: impl Into<String>, hint: impl Into<String>) -> AskError {
    AskError::Search { at, what: what.into(), hint: hint.into() }
}

/// Cut a text into tokens.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, AskError> {
    if text.len() > BYTES_MAX {
        let hint = "leave words out, or ask in SQL with an IN list";
        return Err(AskError::TooLarge { what: "bytes of search", found: text.len(), most: BYTES_MAX, hint });
    }
    let letters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    // Inside a range `TO` is a word of the grammar, elsewhere it is text.
    let mut ranging = false;
    while let Some(letter) = letters.get(at).copied() {
        let place = at + 1;
        let next = letters.get(at + 1).copied();
        let after_field = matches!(found.last(), Some((_, Token::Field(_))));
        match letter {
            letter if letter.is_whitespace() => at += 1,
            '(' => push(&mut found, &mut at, place, Token::Open),
            ')' => push(&mut found, &mut at, place, Token::Close),
            '[' | '{' if after_field => {
                ranging = true;
                push(&mut found, &mut at, place, Token::RangeOpen(letter == '['));
            }
            ']' | '}' if ranging => {
                ranging = false;
                push(&mut found, &mut at, place, Token::RangeClose(letter == ']'));
            }
            '>' | '<' if after_field => {
                let inclusive = next == Some('=');
                at += usize::from(inclusive);
                push(&mut found, &mut at, place, Token::Compare(letter == '>', inclusive));
            }
            '"' => {
                let (text, end) = quoted(&letters, at)?;
                at = end;
                found.push((place, Token::Quoted(text)));
            }
            '-' if !after_field
                && next.is_some_and(|next| !next.is_whitespace() && next != '-')
                && starts(&letters, at) =>
            {
                push(&mut found, &mut at, place, Token::Not);
            }
            _ => {
                let (token, end) = word(&letters, at, after_field, ranging);
                at = end;
                found.push((place, token));
            }
        }
    }
    Ok(found)
}

fn push(found: &mut Vec<Placed>, at: &mut usize, place: usize, token: Token) {
    *at += 1;
    found.push((place, token));
}

/// Whether a word starts here.
fn starts(letters: &[char], at: usize) -> bool {
    at.checked_sub(1)
        .and_then(|before| letters.get(before))
        .is_none_or(|before| before.is_whitespace() || *before == '(')
}

fn quoted(letters: &[char], open: usize) -> Result<(String, usize), AskError> {
    let mut text = String::new();
    let mut at = open + 1;
    loop {
        match letters.get(at) {
            None => return Err(fault(open + 1, "a quote that is not closed", "end the text with `\"`")),
            Some('"') => return Ok((text, at + 1)),
            Some('\\') if matches!(letters.get(at + 1), Some('"' | '\\')) => {
                text.extend(letters.get(at + 1));
                at += 2;
            }
            Some(letter) => {
                text.push(*letter);
                at += 1;
            }
        }
    }
}

fn word(letters: &[char], start: usize, value: bool, ranging: bool) -> (Token, usize) {
    let mut text = String::new();
    let mut at = start;
    while let Some(letter) = letters.get(at).copied() {
        match letter {
            letter if letter.is_whitespace() || matches!(letter, '(' | ')' | '"') => break,
            ']' | '}' if ranging => break,
            // A field's name ends at its first colon; in a value (times, IPv6, drives) colons are text.
            ':' if !value && !ranging && field_name(&text) => {
                return (Token::Field(text), at + 1);
            }
            letter => text.push(letter),
        }
        at += 1;
    }
    let token = match text.as_str() {
        "AND" | "&&" if !value => Token::And,
        "OR" | "||" if !value => Token::Or,
        "NOT" if !value => Token::Not,
        "TO" if ranging => Token::To,
        _ => Token::Word(text),
    };
    (token, at)
}

fn field_name(text: &str) -> bool {
    // One letter is a drive of Windows, not a field.
    let named = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '@' | '-' | '#');
    text.len() > 1
        && text.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == '@')
        && text.chars().all(named)
}
