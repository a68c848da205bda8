//! The real binary as a child process, in a directory of its own and without a variable of ours.

use std::{
    path::Path,
    process::{Command, Output},
};

/// The binary, ready to run in `dir`.
pub fn mds(dir: &Path) -> Command {
    in_dir(Command::new(env!("CARGO_BIN_EXE_mds")), dir)
}

/// Any command, so prepared.
pub fn in_dir(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MDS_") {
            command.env_remove(name);
        }
    }
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
