//! Who has been told that records have no vendor.

use parking_lot::Mutex;

/// The kinds of which it was told.
static TOLD: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// Returns whether it was not told yet in this process that records of a kind have no vendor. The caller tells it.
pub(crate) fn is_first_without_vendor(kind: &'static str) -> bool {
    let mut told = TOLD.lock();
    let is_first = !told.contains(&kind);
    if is_first {
        told.push(kind);
    }
    is_first
}
