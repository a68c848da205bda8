//! Whether values are in range and fit one another.

use std::time::Duration;

use super::{
    CoordinatorSettings, Problem, Settings, SettingsError, Variable,
    coordinator::in_variables,
    variables::{
        CAPACITY, ENABLE_FEEDBACK, ENABLE_HTTP, HIGH_WATERMARK, HTTP_ENDPOINT, HTTP_REFRESH, INITIAL_BACKOFF,
        LOW_WATERMARK, MAX_BACKOFF, OVERFLOW, of_coordinator,
    },
};
use crate::policy::Overflow;

/// A URL that is told the present state more often is flooded.
const LEAST_REFRESH: Duration = Duration::from_millis(100);

impl Settings {
    /// Checks every value against its range, and values that depend on one another.
    ///
    /// # Errors
    /// Names, for every value that is wrong, the variable it would come from, the value and what was expected.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let problems = self.check(Vec::new(), |_| None);
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems, unknown: Vec::new() }) }
    }

    /// Checks that the overflow strategy of one coordinator suits the kind of its records.
    ///
    /// # Errors
    /// If it is `conflate`, and records of this kind do not conflate.
    pub(crate) fn check_overflow(&self, id: &str, conflates: bool) -> Result<(), SettingsError> {
        if conflates || self.coordinator_settings(id).overflow != Overflow::Conflate {
            return Ok(());
        }
        let key = in_variables(id);
        let own = self.coordinators.iter().find(|(other, _)| in_variables(other) == key);
        let own = own.into_iter().flat_map(|(key, own)| of_coordinator(key, own));
        let name = own.filter(|(_, variable)| variable.name == OVERFLOW).map(|(name, _)| name).next();
        let mut problems = Problems(Vec::new());
        let expected = "block, drop_oldest or error: its newer records do not replace older ones";
        let problem = format!("is conflate for the coordinator {id:?}, expected {expected}");
        problems.add(name.as_deref().unwrap_or(OVERFLOW), problem);
        Err(SettingsError { problems: problems.0, unknown: Vec::new() })
    }

    /// Returns the names of the variables of single coordinators that none of these ids has: settings that no
    /// coordinator takes up.
    pub fn unused_variables<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let ids: Vec<String> = ids.into_iter().map(in_variables).collect();
        let unused = self.coordinators.iter().filter(|(key, _)| !ids.contains(&in_variables(key)));
        unused.flat_map(|(key, own)| of_coordinator(key, own)).map(|(name, _)| name).collect()
    }

    /// Returns what is allowed and hardly meant, a line each: to be logged or shown at start.
    pub fn warnings(&self) -> Vec<String> {
        let http = &self.feedback.http;
        let mut warnings = Vec::new();
        if !http.endpoints.is_empty() && !http.enabled {
            let (url, switch) = (HTTP_ENDPOINT, ENABLE_HTTP);
            warnings.push(format!("{url} is set, but {switch} is false: level changes are sent to no URL"));
        }
        let longest = http.timeout.saturating_add(http.backoff);
        if http.enabled && !http.refresh.is_zero() && http.refresh.saturating_mul(3) <= longest {
            warnings.push(format!(
                "{HTTP_REFRESH} is {}, so short that one request that fails is taken for silence: three times as long is to \
                 be more than MDS_FB_HTTP_TIMEOUT and MDS_FB_HTTP_BACKOFF, which are {} together",
                http.refresh.as_secs_f64(),
                longest.as_secs_f64()
            ));
        }
        if self.source.contains("$(") {
            warnings.push(format!(
                "MDS_SOURCE is {:?}: Kubernetes replaces `$(NAME)` only by variables that stand above it, and processes that \
                 share this text are one source",
                self.source
            ));
        }
        warnings
    }

    /// Adds everything that is wrong with the values to what is known to be wrong. `text` returns a value as the
    /// environment wrote it, if it did.
    pub(super) fn check(&self, problems: Vec<Problem>, text: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
        let mut problems = Problems(problems);
        for variable in Variable::ALL.iter().filter(|variable| !variable.accepts(self)) {
            let text = text(variable.name).unwrap_or_else(|| variable.value(self));
            problems.0.push(variable.problem(&text));
        }
        problems.compare_watermarks(&self.coordinator, str::to_owned);

        let (initial, max) = (self.retry.initial_backoff, self.retry.max_backoff);
        if max < initial && problems.is_right(&[INITIAL_BACKOFF, MAX_BACKOFF]) {
            let limit = format!("at least {INITIAL_BACKOFF}, which is {}", initial.as_millis());
            problems.add(MAX_BACKOFF, format!("is {}, expected {limit}", max.as_millis()));
        }
        let http = &self.feedback.http;
        if http.enabled && !self.feedback.enabled && problems.is_right(&[ENABLE_FEEDBACK, ENABLE_HTTP]) {
            problems.add(ENABLE_HTTP, format!("is true, expected false, since {ENABLE_FEEDBACK} is false"));
        }
        if !http.refresh.is_zero() && http.refresh < LEAST_REFRESH && problems.is_right(&[HTTP_REFRESH]) {
            let limit = format!("0, or at least {}", LEAST_REFRESH.as_secs_f64());
            problems.add(HTTP_REFRESH, format!("is {}, expected {limit}", http.refresh.as_secs_f64()));
        }
        if http.enabled && http.endpoints.is_empty() && problems.is_right(&[ENABLE_HTTP, HTTP_ENDPOINT]) {
            problems.add(HTTP_ENDPOINT, format!("is not set, expected a URL, since {ENABLE_HTTP} is true"));
        }

        for (key, own) in &self.coordinators {
            let effective = Self { coordinator: own.over(&self.coordinator), ..self.clone() };
            let set: Vec<(String, &Variable)> = of_coordinator(key, own).collect();
            for (name, variable) in set.iter().filter(|(_, variable)| !variable.accepts(&effective)) {
                let text = text(name).unwrap_or_else(|| variable.value(&effective));
                problems.0.push(variable.problem_of(name, &text));
            }
            // The variable of this coordinator where it is set, else that of all.
            let name_of = |common: &str| {
                let own = set.iter().find(|(_, variable)| variable.name == common);
                own.map_or_else(|| common.to_owned(), |(name, _)| name.clone())
            };
            // Those of all were compared above.
            if [CAPACITY, HIGH_WATERMARK, LOW_WATERMARK].iter().any(|common| name_of(common) != *common) {
                problems.compare_watermarks(&effective.coordinator, name_of);
            }
        }
        let place = |problem: &Problem| Variable::ALL.iter().position(|variable| is_of(problem, variable.name));
        // Those of single coordinators stand last, in the order of the ids.
        problems.0.sort_by_key(|problem| place(problem).unwrap_or(usize::MAX));
        problems.0
    }
}

/// Whether it is a problem of this variable, or of the file that holds its value.
fn is_of(problem: &Problem, name: &str) -> bool {
    problem.variable == name || Variable::find_by_file(&problem.variable).is_some_and(|variable| variable.name == name)
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, variable: &str, problem: impl AsRef<str>) {
        self.0.push(Problem { variable: variable.to_owned(), message: format!("{variable} {}", problem.as_ref()) });
    }

    /// Whether none of these variables is wrong: what is wrong by itself says nothing about what depends on it.
    fn is_right(&self, names: &[&str]) -> bool {
        !self.0.iter().any(|problem| names.iter().any(|name| is_of(problem, name)))
    }

    /// Holds to both rules of `Watermarks::new`, which cannot say which variable it was.
    fn compare_watermarks(&mut self, settings: &CoordinatorSettings, name_of: impl Fn(&str) -> String) {
        let (capacity_name, high_name, low_name) = (name_of(CAPACITY), name_of(HIGH_WATERMARK), name_of(LOW_WATERMARK));
        let (low, high, capacity) = (settings.low(), settings.high(), settings.capacity);
        let by_default = |mark: Option<usize>| match mark {
            Some(_) => String::new(),
            None if capacity_name == CAPACITY => " by default".to_owned(),
            None => format!(" by default for {capacity_name}"),
        };
        let (low_default, high_default) = (by_default(settings.low_watermark), by_default(settings.high_watermark));
        let fits_capacity = self.is_right(&[&high_name, &capacity_name]);
        if low >= high && fits_capacity && self.is_right(&[&low_name]) {
            let limit = format!("less than {high_name}, which is {high}{high_default}");
            self.add(&low_name, format!("is {low}{low_default}, expected {limit}"));
        }
        if high > capacity && fits_capacity {
            let limit = format!("at most {capacity_name}, which is {capacity}");
            self.add(&high_name, format!("is {high}{high_default}, expected {limit}"));
        }
    }
}
