//! The promises of the crate, tested through its public face: one test binary, one module a subject.

#[cfg(all(feature = "cli", feature = "sqlite"))]
mod config_command;
mod dependencies;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod mds;
mod settings;
