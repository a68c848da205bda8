//! The columns of a file, or the fields of an object: what each is.

use crate::{
    files::columns::{Column, ColumnMap, RoleNames, squashed},
    text::Quoted,
};

/// Names of one or two letters, as the JSON of some vendors has them.
pub struct Letters {
    /// All of these have to be there.
    pub(super) needs: &'static [&'static str],
    pub(super) roles: &'static [(&'static str, usize)],
}

/// The columns of a file, by their names.
pub struct FileColumns<'a> {
    names: &'a [&'a str],
    roles: &'static [RoleNames],
    /// What each column is; none if it is not used.
    role_of: Vec<Option<usize>>,
    map: &'a ColumnMap,
}

impl<'a> FileColumns<'a> {
    /// Finds out what each of these columns is.
    ///
    /// # Errors
    /// Two may be the same.
    pub(super) fn of(
        names: &'a [&'a str],
        roles: &'static [RoleNames],
        letters: &'static [Letters],
        map: &'a ColumnMap,
    ) -> Result<Self, String> {
        let letters = letters.iter().find(|set| set.needs.iter().all(|letter| names.contains(letter)));
        let role_of = names.iter().enumerate().map(|(at, name)| {
            if let Some(role) = map.role_named(name, at) {
                return Some(role);
            }
            let letter = letters.and_then(|set| set.roles.iter().find(|(letter, _)| letter == name));
            let role = letter.map(|(_, role)| *role).or_else(|| role_by_name(name, roles));
            role.filter(|role| !map.decides_role(*role))
        });
        let mut columns = Self { names, roles, role_of: role_of.collect(), map };
        columns.prefer_plain_names();
        columns.check_repeated()?;
        Ok(columns)
    }

    /// Columns by their places, as `--map` or the first row says.
    pub(super) fn placed(
        names: &'a [&'a str],
        roles: &'static [RoleNames],
        role_of: Vec<Option<usize>>,
        map: &'a ColumnMap,
    ) -> Self {
        Self { names, roles, role_of, map }
    }

    /// Of two columns for one thing the one that has exactly our name counts, if one has: who writes `ts` and `timestamp`
    /// means the first.
    fn prefer_plain_names(&mut self) {
        for role in 0..self.roles.len() {
            let of = |at: &usize| self.role_of[*at] == Some(role);
            let all: Vec<usize> = (0..self.names.len()).filter(of).collect();
            let is_ours = |at: &&usize| self.names[**at].trim() == self.roles[role].name;
            if all.len() > 1 && all.iter().filter(is_ours).count() == 1 && !self.map.decides_role(role) {
                let ours = *all.iter().find(is_ours).expect("there is one");
                all.into_iter().filter(|at| *at != ours).for_each(|at| self.role_of[at] = None);
            }
        }
    }

    fn check_repeated(&self) -> Result<(), String> {
        for (at, role) in self.role_of.iter().enumerate() {
            let Some(role) = role else { continue };
            if let Some(earlier) = self.role_of[..at].iter().position(|other| other == &Some(*role)) {
                let name = self.roles[*role].name;
                return Err(format!(
                    "expected one column for {name}, got {} and {}: say which it is, as in --map {name}={}",
                    Quoted(self.names[earlier]),
                    Quoted(self.names[at]),
                    self.names[earlier]
                ));
            }
        }
        Ok(())
    }

    /// Returns what each column is if the first letters of some names, written without blanks and signs and in lower case, are
    /// left off: those of one of two records that stand side by side.
    pub(super) fn roles_behind(&self, prefix: &str) -> Vec<Option<usize>> {
        let behind = |name: &&str| squashed(name).strip_prefix(prefix).and_then(|rest| role_by_name(rest, self.roles));
        let sided: Vec<_> = self.names.iter().map(behind).collect();
        let all = self.role_of.iter().zip(&sided);
        // What both share is not what one of them has of its own.
        all.map(|(role, own)| role.filter(|role| !sided.contains(&Some(*role))).or(*own)).collect()
    }

    /// Returns the places of the columns that are one of these.
    pub(super) fn places_of(&self, roles: &[usize]) -> Vec<usize> {
        let all = self.role_of.iter().enumerate();
        all.filter(|(_, role)| role.is_some_and(|role| roles.contains(&role))).map(|(at, _)| at).collect()
    }

    /// Returns what each column is.
    pub(super) fn into_roles(self) -> Vec<Option<usize>> {
        self.role_of
    }

    /// Returns whether a column is that.
    pub(super) fn has(&self, role: usize) -> bool {
        self.role_of.contains(&Some(role))
    }

    /// Returns the name of the column that is that.
    pub(super) fn name_of(&self, role: usize) -> Option<&'a str> {
        let at = self.role_of.iter().position(|of| *of == Some(role))?;
        self.names.get(at).copied()
    }

    /// Returns whether the user says which column is that.
    pub(super) fn is_mapped(&self, role: usize) -> bool {
        self.map.decides_role(role)
    }

    /// Returns whether a column has that name, which is written without blanks and signs and in lower case.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|other| squashed(other) == name)
    }

    /// Returns whether these are the names of the columns, in any order, but for some that may stand beside them.
    pub(super) fn are_these(&self, names: &[&str], beside: &[&str]) -> bool {
        let is_known = |name: &str| names.contains(&name) || beside.contains(&name);
        names.iter().all(|name| self.is_named(name)) && self.names.iter().all(|name| is_known(&squashed(name)))
    }

    /// Returns the names that are not used.
    pub(super) fn unused(&self) -> impl Iterator<Item = &'a str> {
        self.unused_places().map(|(_, name)| name)
    }

    /// Returns the columns that are not used, each with its place.
    pub(super) fn unused_places(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let all = self.names.iter().zip(&self.role_of).enumerate();
        all.filter(|(_, (_, role))| role.is_none()).map(|(at, (name, _))| (at, *name))
    }

    /// Returns the names of what is required and not there, of each group its first.
    pub(super) fn lacking(&self, required: &'static [&'static [usize]]) -> Vec<&'static str> {
        let is_lacking = |group: &&&[usize]| !group.iter().any(|role| self.has(*role));
        required.iter().filter(is_lacking).map(|group| self.roles[group[0]].name).collect()
    }

    /// Returns the column that `--map` names and that is not there.
    pub(super) fn unmapped(&self) -> Option<String> {
        self.map.named_roles().find(|(role, column)| !self.has(*role) && !column.is_none()).map(|(_, column)| {
            match column {
                Column::Name(name) => Quoted(name).to_string(),
                Column::Number(number) => number.to_string(),
            }
        })
    }
}

/// Returns what a column of this name is.
fn role_by_name(name: &str, roles: &'static [RoleNames]) -> Option<usize> {
    let name = squashed(name);
    let is = |role: &RoleNames| squashed(role.name) == name || role.aliases.contains(&name.as_str());
    // Letters mean many things.
    if name.len() < 2 { None } else { roles.iter().position(is) }
}
