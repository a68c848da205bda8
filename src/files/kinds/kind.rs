//! What a kind says of its files.

use smol_str::SmolStr;

use super::{
    cells::Cells,
    columns_of_file::{FileColumns, Letters},
    moments::Moments,
};
use crate::{
    files::{columns::RoleNames, given::Given, row_error::RowError, times::NanoTimes},
    record::Tabular,
};

/// A kind of record in files: which columns it has, and what a row means.
pub trait Kind: Tabular + Clone {
    /// What the columns of a file show once for all its rows, such as who wrote it.
    type Form: Default + Send;

    /// What one record is called: `trade`.
    const NAME: &'static str;

    /// What a column can be, each with the names by which it is known. Cells are found by the place in this list.
    const ROLES: &'static [RoleNames];

    /// Names of one or two letters, which mean one thing beside some and another beside others: the first list of which
    /// all are there that it needs.
    const LETTERS: &'static [Letters] = &[];

    /// Those that say the time, all or a part of it.
    const TIMES: &'static [usize];

    /// Of each of these one has to be there.
    const REQUIRED: &'static [&'static [usize]];

    /// The column that `--symbol` stands for.
    const SYMBOL: usize;

    /// Whether a file without that column needs `--symbol`.
    const NEEDS_SYMBOL: bool = true;

    /// Looks at the columns of a file.
    ///
    /// # Errors
    /// It cannot be known what they mean; says which option says it.
    fn form(columns: &FileColumns<'_>) -> Result<Self::Form, String>;

    /// Returns what is known of an object whose fields are others than those of the one before it, where each is read by
    /// itself: that which its own fields show.
    fn form_behind(form: Self::Form, _before: Self::Form) -> Self::Form {
        form
    }

    /// Returns what the columns are of each of several records that a row holds side by side; nothing for a row of one.
    fn sides(_: &FileColumns<'_>) -> Vec<Side> {
        Vec::new()
    }

    /// Returns what the columns of a file without a header are, if its first row shows it beyond doubt.
    fn without_header(_: &[&str]) -> Option<(&'static [Option<usize>], Self::Form)> {
        None
    }

    /// Returns who writes such files, if that is known.
    fn writer(_: &Self::Form) -> Option<&'static str> {
        None
    }

    /// Makes a record of a row; none if the row holds nothing of this kind.
    fn decode(cells: &Cells<'_>, form: &mut Self::Form, file: &mut FileContext) -> Result<Option<Self>, RowError>;

    /// Tells the record apart from others of its moment, if its file does not, and returns whether it takes the place of
    /// one. `is_own` says that the file has our own columns, and nothing is added.
    fn settle(&mut self, is_own: bool, moments: &mut Moments) -> Result<bool, RowError>;

    /// Gives a record the name that it has by itself, as where it is submitted alone.
    ///
    /// # Errors
    /// Nothing in it tells it from others of its moment.
    fn name_alone(&mut self) -> Result<(), RowError> {
        Ok(())
    }

    /// Returns its vendor and what `--symbol` stands for, to be compared with the options.
    fn given(&self) -> (&SmolStr, Option<&SmolStr>);
}

/// One of the records that a row holds.
pub struct Side {
    /// What each column is.
    pub(super) role_of: Vec<Option<usize>>,
    /// What its place says.
    pub(super) given: Option<(usize, &'static str)>,
}

/// What is said of a file beside its rows.
pub struct FileContext {
    pub(super) times: NanoTimes,
    pub(super) vendor: Given<SmolStr>,
    pub(super) symbol: Given<SmolStr>,
    pub(super) as_written: bool,
}

/// Lists what a column of a kind can be, as an enum, and the names of each: the first is that of the table or of `--map`,
/// the others are without blanks and signs, in lower case.
macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident = $name:literal $(, $alias:literal)*;)*) => {
        #[derive(Clone, Copy)]
        enum Role {
            $($(#[$doc])* $role,)*
        }

        const ROLES: &[crate::files::columns::RoleNames] = &[
            $(crate::files::columns::RoleNames { name: $name, aliases: &[$($alias),*] },)*
        ];

        // What is listed is used.
        use Role::*;
    };
}

pub(super) use roles;
