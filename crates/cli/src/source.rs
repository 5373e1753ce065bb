//! Texts that come from files and from standard input, bounded.

use crate::answer::Trouble;
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;

/// As much as the server would take (its default bound of a body), and some.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;

/// Standard input, which can be read once.
pub(crate) struct Input(RefCell<Option<Box<dyn Read + Send>>>);

impl Input {
    pub(crate) fn new(input: Box<dyn Read + Send>) -> Self {
        Self(RefCell::new(Some(input)))
    }

    /// The stream itself.
    pub(crate) fn take(&self) -> Result<Box<dyn Read + Send>, Trouble> {
        let taken = self.0.borrow_mut().take();
        taken.ok_or_else(|| Trouble::Usage("standard input (`-`) can be given for one field only".to_owned()))
    }
}

/// The text that an argument stands for: `@FILE` a file's, `-` that of standard input, `@@...` one that begins with
/// `@`, anything else itself.
pub(crate) fn resolve(text: &str, input: &Input) -> Result<String, Trouble> {
    match text.strip_prefix('@') {
        _ if text == "-" => read_text(input.take()?, "standard input", TEXT_BYTES_MAX),
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => read_file(path, TEXT_BYTES_MAX).map_err(|trouble| match trouble {
            Trouble::Local { what, reason } => {
                Trouble::Usage(format!("{what}: {reason}; for a text that begins with `@` write `@@`"))
            }
            other => other,
        }),
        None => Ok(text.to_owned()),
    }
}

/// A file as text.
pub(crate) fn read_file(path: &str, bytes_max: usize) -> Result<String, Trouble> {
    let file = File::open(path).map_err(|error| Trouble::local(format!("cannot read `{path}`"), error))?;
    read_text(Box::new(file), path, bytes_max)
}

fn read_text(from: Box<dyn Read + Send>, name: &str, bytes_max: usize) -> Result<String, Trouble> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    from.take(bound).read_to_end(&mut bytes).map_err(|error| Trouble::local(format!("cannot read `{name}`"), error))?;
    if bytes.len() > bytes_max {
        return Err(Trouble::Usage(format!("`{name}` is over {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Trouble::Usage(format!("`{name}` is not UTF-8")))
}
