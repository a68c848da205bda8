//! The command line: environment, settings, command, exit code.
#![forbid(unsafe_code)]

mod cli;

fn main() {
    let exit = std::panic::catch_unwind(cli::run).unwrap_or(cli::Exit::Internal);
    // Not by returning: a thread that still waits for standard input would keep the process alive.
    std::process::exit(exit.code());
}
