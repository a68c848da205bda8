//! Text for people: quoted values, errors with their causes, what a panic says.

pub(crate) mod chain;
pub(crate) mod panicked;
pub(crate) mod quoted;
