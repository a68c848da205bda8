//! What is wrong with settings.

use std::fmt;

/// Everything that is wrong with the settings, one line each. Its `Debug` is the same text, so that a `main` that
/// returns it says what is wrong.
#[derive(Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// What is wrong; never empty. Each has the `variable` and a `message`, which it is shown as.
    pub problems: Vec<Problem>,
    /// Variables that look like settings and are none: perhaps the cause. Each has its `name` and the `nearest` known one.
    pub unknown: Vec<UnknownVariable>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SettingsError {}

/// One value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The variable that holds it.
    pub variable: String,
    /// Names the variable, the value, secrets masked, and what was expected.
    pub message: String,
}

/// A variable that begins with `MDS_` and is no setting. It is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable {name} is ignored, the nearest known name is {nearest}")]
pub struct UnknownVariable {
    /// The variable as the environment has it.
    pub name: String,
    /// The known name that is most like it.
    pub nearest: String,
}
