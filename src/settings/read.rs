//! From variables to [`Settings`], with every error and not only the first.
//!
//! envy reads one group of fields at a time, a flat struct, from the variables that the table names for these fields.
//! It says of an error neither the name of the variable nor what was expected, and stops at the first: so each group is
//! read again without the variable that failed, and what is told comes from the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{
    Problem, Settings, SettingsError, UnknownVariable, Variable,
    policies::{Circuit, ProducerScales, Retry},
    secret_file,
    service_link::is_service_link,
    variables::{Group, named, of_group},
};

/// [`Settings`] with what is worth telling about how they came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Variables that look like settings and are none.
    pub unknown: Vec<UnknownVariable>,
    set: BTreeSet<String>,
    files: BTreeMap<String, PathBuf>,
}

impl Loaded {
    /// Returns whether the variable's value came from the environment; if not, it is the default.
    pub fn is_set(&self, variable: &str) -> bool {
        self.set.contains(variable)
    }

    /// Returns the file that the variable's value came from, if it came from one: `MDS_DATABASE_URL_FILE` names it.
    pub fn file(&self, variable: &str) -> Option<&Path> {
        self.files.get(variable).map(PathBuf::as_path)
    }
}

impl Settings {
    /// Reads the variables `MDS_*` of this process, and the files that those of secrets name. A variable with an empty
    /// value counts as absent, but for one that names a file; an unknown one is logged as a warning with the nearest known
    /// name.
    ///
    /// # Errors
    /// Names every variable that is wrong, its value and what was expected.
    pub fn from_env() -> Result<Self, SettingsError> {
        let loaded = Self::load(std::env::vars_os())?;
        for unknown in &loaded.unknown {
            tracing::warn!("{unknown}");
        }
        Ok(loaded.settings)
    }

    /// Reads variables from an iterator instead of the environment. Those that do not begin with `MDS_` are ignored.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_vars<K, V>(vars: impl IntoIterator<Item = (K, V)>) -> Result<Self, SettingsError>
    where
        K: Into<std::ffi::OsString>,
        V: Into<std::ffi::OsString>,
    {
        Self::load(vars).map(|loaded| loaded.settings)
    }

    /// Reads variables like [`from_vars`](Settings::from_vars), and returns with the settings which of them were set
    /// and which variables were unknown.
    ///
    /// # Errors
    /// Names every variable that is wrong, its value and what was expected.
    #[doc(hidden)]
    pub fn load<K, V>(vars: impl IntoIterator<Item = (K, V)>) -> Result<Loaded, SettingsError>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut source = Source::new(vars.into_iter().map(|(name, value)| (name.into(), value.into())));
        let mut settings: Self = source.read(Group::Store, None);
        settings.coordinator = source.read(Group::Coordinator, None);
        Retry(settings.retry) = source.read(Group::Retry, None);
        Circuit(settings.circuit) = source.read(Group::Circuit, None);
        settings.postgres = source.read(Group::Postgres, None);
        settings.http = source.read(Group::HttpServer, None);
        settings.feedback = source.read(Group::Feedback, None);
        settings.feedback.http = source.read(Group::Http, None);
        ProducerScales(settings.feedback.scales) = source.read(Group::Scales, None);
        for coordinator in source.coordinators.clone() {
            let own = source.read(Group::Coordinator, Some(&coordinator));
            settings.coordinators.insert(coordinator, own);
        }

        let Source { known, unknown, problems, files, .. } = source;
        let mut problems = settings.check(problems, |name| known.get(name).cloned());
        for problem in &mut problems {
            hide(problem, &files);
        }
        if !problems.is_empty() {
            return Err(SettingsError { problems, unknown });
        }
        Ok(Loaded { settings, unknown, set: known.into_keys().collect(), files })
    }
}

/// The variables of one environment, sorted out.
#[derive(Default)]
struct Source {
    /// Those that name a setting and are not empty.
    known: BTreeMap<String, String>,
    /// Those that name a setting and are empty.
    empty: BTreeSet<String>,
    /// The coordinators that have variables of their own, as these write their ids.
    coordinators: BTreeSet<String>,
    unknown: Vec<UnknownVariable>,
    problems: Vec<Problem>,
    /// The files of those whose values came from one.
    files: BTreeMap<String, PathBuf>,
}

impl Source {
    fn new(vars: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut source = Self::default();
        let mut files = Vec::new();
        for (name, value) in vars {
            let Some(name) = name.to_str().filter(|name| name.starts_with("MDS_")) else { continue };
            let Some((variable, coordinator)) = named(name) else {
                if let Some(variable) = Variable::find_by_file(name) {
                    files.push((variable, name.to_owned(), value));
                    continue;
                }
                if is_service_link(name, &value.to_string_lossy()) {
                    continue;
                }
                source.unknown.push(UnknownVariable { name: name.to_owned(), nearest: nearest(name) });
                continue;
            };
            match value.to_str().map(str::trim) {
                Some("") => {
                    source.empty.insert(name.to_owned());
                    continue;
                }
                Some(value) if variable.in_field(value).is_some() => {
                    source.known.insert(name.to_owned(), value.to_owned());
                }
                Some(value) => source.problems.push(variable.problem_of(name, value)),
                None => source.problems.push(Problem {
                    variable: name.to_owned(),
                    message: format!("{name} is not valid UTF-8, expected {}", variable.expected()),
                }),
            }
            source.coordinators.extend(coordinator.map(ToOwned::to_owned));
        }
        source.unknown.sort_by(|a, b| a.name.cmp(&b.name));
        for (variable, name, path) in &files {
            source.read_file(variable, name, path);
        }
        source
    }

    /// Reads the value of a variable from the file that another one names.
    fn read_file(&mut self, variable: &Variable, name: &str, path: &OsStr) {
        let is_set = self.known.contains_key(variable.name)
            || self.problems.iter().any(|problem| problem.variable == variable.name);
        let message = match secret_file::read(path) {
            _ if path.is_empty() && (is_set || self.empty.contains(variable.name)) => return,
            // The default would be taken in silence: another database, or webhooks without a signature.
            _ if path.is_empty() => format!("{name} is empty, expected the path of a file"),
            _ if is_set => format!("{} and {name} are both set, expected one of them", variable.name),
            Ok(value) if variable.in_field(&value).is_none() => {
                format!("{name} is {path:?}, expected a file that holds {}", variable.expected())
            }
            Ok(value) => {
                self.known.insert(variable.name.to_owned(), value);
                self.files.insert(variable.name.to_owned(), path.into());
                return;
            }
            Err(problem) => format!("{name} is {path:?}, {problem}"),
        };
        self.problems.push(Problem { variable: name.to_owned(), message });
    }

    /// Reads a group, of one coordinator if one is named; a variable that fails becomes a problem and leaves its
    /// default behind.
    fn read<T: DeserializeOwned>(&mut self, group: Group, coordinator: Option<&str>) -> T {
        let members: Vec<(String, &Variable)> = of_group(group, coordinator).collect();
        loop {
            let fields = members.iter().filter_map(|(name, variable)| {
                Some((variable.field().to_owned(), variable.in_field(self.known.get(name)?)?))
            });
            let field = match envy::from_iter(fields) {
                Ok(Traced(Ok(group))) => return group,
                Ok(Traced(Err(field))) => field,
                Err(error) => error.to_string(),
            };
            let member = members.iter().find(|(_, variable)| variable.field() == field);
            let Some((name, variable, value)) = member.and_then(|(name, v)| Some((name, v, self.known.remove(name)?)))
            else {
                // Only a struct that disagrees with the table gets here; the tests of the table find it.
                unreachable!("the field {field} of {group:?} is not in the table of variables");
            };
            self.problems.push(variable.problem_of(name, &value));
        }
    }
}

/// Shows nothing of a value that came from a file: what is wrong with it may be that it is another secret.
fn hide(problem: &mut Problem, files: &BTreeMap<String, PathBuf>) {
    let Some(path) = files.get(&problem.variable) else { return };
    let Some((variable, name)) = Variable::find(&problem.variable).and_then(|v| Some((v, v.file_variable()?))) else {
        return;
    };
    let expected = variable.expected();
    *problem =
        Problem { message: format!("{name} is {path:?}, expected a file that holds {expected}"), variable: name };
}

/// A value, or the name of the field that could not be read.
struct Traced<T>(Result<T, String>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Traced<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(serde_path_to_error::deserialize(deserializer).map_err(|error| error.path().to_string())))
    }
}

/// Letters out of place are found by distance, a name whose group was left out by the pairs of letters it shares.
fn nearest(name: &str) -> String {
    let likeness = |known: &str| {
        let (known, name) = (&known["MDS_".len()..], &name["MDS_".len()..]);
        strsim::sorensen_dice(known, name) + strsim::normalized_damerau_levenshtein(known, name)
    };
    // The name of a coordinator before `_COORDINATOR_` is as it is meant to be.
    let coordinator = name["MDS_".len()..].split_once("_COORDINATOR_").map(|(coordinator, _)| coordinator);
    let of_coordinator = coordinator.into_iter().flat_map(|id| of_group(Group::Coordinator, Some(id)));
    Variable::ALL
        .iter()
        .map(|variable| variable.name.to_owned())
        .chain(Variable::ALL.iter().filter_map(Variable::file_variable))
        .chain(of_coordinator.map(|(name, _)| name))
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .expect("the table of variables is not empty")
}
