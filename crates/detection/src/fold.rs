//! Case folding: Unicode simple folding (one character to one character), the same that regex engines use for `(?i)`.
//!
//! One-to-one folding keeps `?` meaning one character and keeps offsets easy; `ß` is therefore not `ss`.

/// Fold one character. Characters of one simple-folding class give the same result.
#[must_use]
pub fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    match character {
        // Turkish dotless i upper-cases to I, but simple folding leaves it alone.
        'ı' => return character,
        // Three pairs whose upper case is longer than one character.
        '\u{1fd3}' => return '\u{390}',
        '\u{1fe3}' => return '\u{3b0}',
        '\u{fb05}' => return '\u{fb06}',
        _ => {}
    }
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

/// Fold a text.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

/// Append the folded text to `out`; allocates only when `out` has to grow.
pub fn fold_into(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        return;
    }
    let mut rest = text;
    loop {
        // Runs of ASCII go over at the speed of memory; the characters between them one by one.
        let run = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at_checked(run).unwrap_or((rest, ""));
        let start = out.len();
        out.push_str(plain);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        let mut characters = tail.chars();
        let Some(character) = characters.next() else { return };
        out.push(fold_char(character));
        rest = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

    /// Every character folds together with exactly the members of its simple-folding class.
    #[test]
    fn agrees_with_the_unicode_table() {
        let mut newer = 0;
        for number in 0x80..0x3_0000_u32 {
            let Some(character) = char::from_u32(number) else { continue };
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
            class.case_fold_simple();
            for range in class.ranges() {
                for other in range.start()..=range.end() {
                    assert_eq!(fold_char(other), fold_char(character), "{character:?} and {other:?}");
                }
            }
            let folded = fold_char(character);
            if !class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&folded)) {
                // The standard library knows a few letters of a later Unicode than the table does.
                assert!(number >= 0xa7c0, "{character:?} folds to {folded:?}, outside its class");
                newer += 1;
            }
        }
        assert!(newer < 100);
    }

    #[test]
    fn text_folds() {
        assert_eq!(fold("ÄÖ C:\\WINDOWS K"), "äö c:\\windows k");
    }
}
