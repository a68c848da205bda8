use std::fmt;

/// Says why a row is no bar.
///
/// Small, since the result of every cell carries it; the rest is there only once something is wrong.
#[derive(Debug)]
pub(crate) struct RowError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    message: String,
    /// What to do about it, where the whole file seems to be written in a way that is not read here.
    advice: Option<String>,
    /// Whether one such row tells of the whole file.
    at_once: bool,
}

impl RowError {
    /// Makes the problem one of the file, if its first rows all have such a one; `advice` is what to do then.
    pub(crate) fn of_file(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// The same for a problem of which one row tells, where others of the file can be read and mean something else.
    pub(crate) fn of_file_at_once(self, advice: impl Into<String>) -> Self {
        let mut error = self.of_file(advice);
        error.0.at_once = true;
        error
    }

    /// Returns whether the file is to be refused for this row, unless a row before it was read.
    pub(crate) fn is_at_once(&self) -> bool {
        self.0.at_once
    }

    /// Returns what is wrong, and what to do if the whole file is so.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.0.message, self.0.advice)
    }
}

impl From<String> for RowError {
    fn from(message: String) -> Self {
        Self(Box::new(Inner { message, advice: None, at_once: false }))
    }
}

impl From<RowError> for String {
    fn from(problem: RowError) -> Self {
        problem.0.message
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}
