//! The `mds` command line, one file a command.

pub mod ingest;
