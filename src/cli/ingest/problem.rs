use std::fmt;

/// Says why a row is no bar.
///
/// Small, since the result of every cell carries it; the rest is there only once something is wrong.
#[derive(Debug)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    message: String,
    /// What to do about it, where the whole file seems to be written in a way that is not read here.
    advice: Option<String>,
}

impl Problem {
    /// Makes the problem one of the file, if its first rows all have such a one; `advice` is what to do then.
    pub(super) fn of_file(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Returns what is wrong, and what to do if the whole file is so.
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.0.message, self.0.advice)
    }
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self(Box::new(Inner { message, advice: None }))
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> Self {
        problem.0.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}
