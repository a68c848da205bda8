//! Dead letters: records that the store refuses, kept in files until they are replayed or purged.
//!
//! A directory holds files of one JSON object a line. Each process appends to files of its own and holds a lock on the
//! one that it writes; a file that no process writes can be replayed or purged. What became of an entry is marked in a
//! journal beside the file, and the file goes when all of it is settled. `line` is the form of a line and its checksum,
//! `entry` what is in it, `files` the names and locks, `writer` the thread that appends, `read` finds entries and names
//! damage, `locked` takes a file for a replay or a purge, and `journal` is what they mark.
//!
//! A record can be mended by hand, in a file that no process writes: change its line and leave the field `crc` out.

mod appender;
mod entry;
mod error;
mod files;
mod journal;
mod line;
mod locked;
#[cfg(feature = "serve")]
mod pending;
mod purge;
mod read;
mod replay;
mod select;
mod writer;

#[cfg(feature = "serve")]
pub(crate) use self::pending::PendingCount;
pub(crate) use self::{
    entry::EntryStatus,
    locked::{LockedFile, NotLocked, ReplayLock},
    replay::{Selector, dry_run, record_of},
};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{appender::DeadLetters, entry::DeadLetter};
// What fields hold whose docs say what is in it.
pub use self::{
    entry::Entry,
    error::DeadLettersError,
    purge::{PurgeReport, purge},
    read::{List, ListedEntry, list},
    replay::{ReplayOptions, ReplayReport, replay_dry_run},
    select::Selection,
};
#[doc(hidden)]
pub use self::{entry::Unserializable, replay::Damaged};
