use std::fmt;

/// Says why a row is no bar.
///
/// Small, since the result of every cell carries it; the rest is there only once something is wrong.
#[derive(Debug)]
pub struct RowError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    message: String,
    /// What to do about it, where the whole file seems to be written in a way that is not read here.
    advice: Option<String>,
    /// Whether one such row tells of the whole file, wherever it stands.
    of_whole_file: bool,
}

impl RowError {
    /// Makes the problem one of the file, if its first rows all have such a one; `advice` is what to do then.
    pub(crate) fn of_file(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Makes the problem one of the file, wherever the row stands: other rows can be read and may mean something else.
    pub(crate) fn of_whole_file(self, advice: impl Into<String>) -> Self {
        let mut error = self.of_file(advice);
        error.0.of_whole_file = true;
        error
    }

    /// Returns whether the file is to be refused for this row.
    pub(crate) fn is_of_whole_file(&self) -> bool {
        self.0.of_whole_file
    }

    /// Returns what is wrong, and what to do if the whole file is so.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.0.message, self.0.advice)
    }
}

impl From<String> for RowError {
    fn from(message: String) -> Self {
        Self(Box::new(Inner { message, advice: None, of_whole_file: false }))
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
