//! What a figure was measured on.

use std::{fmt, fs, process::Command, thread};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub cpu: String,
    pub kernel: String,
    pub rustc: String,
    pub commit: String,
    /// Processes that wanted to run, over the minute before: what else the machine did.
    pub load: Option<f64>,
}

/// What stands where this machine does not tell.
const UNKNOWN: &str = "unknown";

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, cpu, kernel, rustc, commit, load } = self;
        write!(formatter, "{cores} cores of {cpu}, Linux {kernel}, {rustc}, commit {commit}")?;
        load.map_or(Ok(()), |load| write!(formatter, ", load {load:.2}"))
    }
}

impl Machine {
    /// Looks at this machine. Only Linux tells all.
    pub fn here() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = file("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = file("/proc/sys/kernel/osrelease");
        let load = file("/proc/loadavg");
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.map_or(UNKNOWN, |(_, name)| name).to_owned(),
            kernel: kernel.split('-').next().filter(|name| !name.is_empty()).unwrap_or(UNKNOWN).trim().to_owned(),
            rustc: said("rustc", &["--version"]),
            commit: said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"]),
            load: load.split(' ').next().and_then(|load| load.parse().ok()),
        }
    }
}

/// Returns what a program says, on one line.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map_or_else(|| UNKNOWN.to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
