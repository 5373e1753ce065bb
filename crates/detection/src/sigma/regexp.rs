//! Regular expressions of rules: a linear-time engine where it can, a bounded backtracking one for lookaround.

use std::sync::Arc;

/// The largest compiled program of one expression, in bytes.
const PROGRAM_BYTES_MAX: usize = 4 << 20;
/// Memory of the lazy automaton of one expression, in bytes.
const AUTOMATON_BYTES_MAX: usize = 512 << 10;
/// Steps after which a backtracking search gives up and counts as no match.
const BACKTRACK_STEPS_MAX: usize = 100_000;
/// The longest expression, in bytes.
const SOURCE_BYTES_MAX: usize = 16 << 10;

/// Flags of Sigma's `re` modifier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RegexpFlags {
    /// `i`: case does not count.
    pub ignore_case: bool,
    /// `m`: `^` and `$` match at lines.
    pub multi_line: bool,
    /// `s`: `.` matches a newline.
    pub dot_all: bool,
}

/// A compiled expression; equal where text and flags are.
#[derive(Clone)]
pub struct Regexp {
    source: Box<str>,
    flags: RegexpFlags,
    program: Arc<Program>,
}

enum Program {
    Linear(regex::Regex),
    Backtracking(fancy_regex::Regex),
}

impl Regexp {
    /// Compile.
    ///
    /// # Errors
    /// What the engine says, in one line.
    pub fn new(source: &str, flags: RegexpFlags) -> Result<Self, String> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(format!("is {} bytes long; at most {SOURCE_BYTES_MAX} are taken", source.len()));
        }
        let linear = regex::RegexBuilder::new(source)
            .case_insensitive(flags.ignore_case)
            .multi_line(flags.multi_line)
            .dot_matches_new_line(flags.dot_all)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(AUTOMATON_BYTES_MAX)
            .build();
        let program = match linear {
            Ok(regex) => Program::Linear(regex),
            Err(regex::Error::CompiledTooBig(bytes)) => {
                return Err(format!("needs more than {bytes} bytes when compiled; make repetitions smaller"));
            }
            Err(first) => {
                let mut prefix = String::new();
                for (on, letter) in [(flags.ignore_case, 'i'), (flags.multi_line, 'm'), (flags.dot_all, 's')] {
                    if on {
                        prefix.push(letter);
                    }
                }
                let text = if prefix.is_empty() { source.to_owned() } else { format!("(?{prefix}:{source})") };
                let fancy = fancy_regex::RegexBuilder::new(&text)
                    .backtrack_limit(BACKTRACK_STEPS_MAX)
                    .delegate_size_limit(PROGRAM_BYTES_MAX)
                    .delegate_dfa_size_limit(AUTOMATON_BYTES_MAX)
                    .build();
                match fancy {
                    Ok(regex) => Program::Backtracking(regex),
                    Err(_) => return Err(one_line(&first.to_string())),
                }
            }
        };
        Ok(Self { source: source.into(), flags, program: Arc::new(program) })
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its flags.
    #[must_use]
    pub const fn flags(&self) -> RegexpFlags {
        self.flags
    }

    /// It needs lookaround or backreferences, so time is bounded by steps and not by length.
    #[must_use]
    pub fn backtracks(&self) -> bool {
        matches!(*self.program, Program::Backtracking(_))
    }

    /// Found somewhere in `text`. A backtracking search that runs out of steps has not found.
    #[must_use]
    pub fn found_in(&self, text: &str) -> bool {
        match &*self.program {
            Program::Linear(regex) => regex.is_match(text),
            Program::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }
}

fn one_line(message: &str) -> String {
    message.lines().last().unwrap_or(message).trim().trim_start_matches("error: ").to_owned()
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.flags == other.flags
    }
}
impl Eq for Regexp {}
impl std::hash::Hash for Regexp {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.flags.hash(state);
    }
}
impl std::fmt::Debug for Regexp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/ {:?}", self.source, self.flags)
    }
}
