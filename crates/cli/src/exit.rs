//! How a command ends: one number for each thing that a script would tell apart.

use std::io::Write;

/// The end of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Waits for evidence: 5.
    Deferred,
    /// Policy, or a missing right, says no: 3.
    Denied,
    /// Carried out: 0.
    Done,
    /// Anything else: 1.
    Failed,
    /// Waits for people: 4.
    Pending,
    /// `audit verify`: consistent, but no key was given: 3.
    Unauthenticated,
    /// The command or the input is not right: 2.
    Usage,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Denied | Self::Unauthenticated => 3,
            Self::Pending => 4,
            Self::Deferred => 5,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Say what is wrong; returns how to end.
pub(crate) fn complain(errors: &mut dyn Write, text: &str, exit: Exit) -> Exit {
    // Nobody is left to tell where even this cannot be written.
    let _ = writeln!(errors, "error: {text}");
    exit
}
