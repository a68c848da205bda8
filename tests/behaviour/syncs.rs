//! Syncs of a process that fail, or take long: a library that is preloaded into it in place of the system's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The variable that names a file: while it is there every sync fails.
pub const FAIL: &str = "SYNCS_FAIL";
/// The variable that names a file: while it is there no sync ends.
pub const HOLD: &str = "SYNCS_HOLD";
/// The variable that says how many seconds a sync takes beside its own time.
pub const SECONDS: &str = "SYNCS_SECONDS";

const SOURCE: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int try(long call, int fd) {
    const char *flag = getenv("SYNCS_FAIL"), *hold = getenv("SYNCS_HOLD"), *seconds = getenv("SYNCS_SECONDS");
    while (hold && access(hold, F_OK) == 0) {
        usleep(1000);
    }
    if (flag && access(flag, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    if (seconds) {
        usleep(1e6 * atof(seconds));
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return try(SYS_fsync, fd); }
int fdatasync(int fd) { return try(SYS_fdatasync, fd); }
"#;

/// Makes the library, with the compiler that builds SQLite.
pub fn library(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("syncs.c"), dir.join("syncs.so"));
    fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success(), "the compiler that builds SQLite");
    library
}
