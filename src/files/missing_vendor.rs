use crate::record::{Record, is_first_without_vendor};

/// Whether records of a file have no vendor: a warning of the file says so, instead of the coordinator that takes them.
#[derive(Default)]
pub(crate) struct MissingVendor(bool);

impl MissingVendor {
    /// Looks at a record.
    pub(crate) fn look_at<T: Record>(&mut self, record: &T) {
        if !self.0 && record.lacks_vendor() {
            self.0 = true;
            is_first_without_vendor(T::KIND);
        }
    }

    /// Returns whether one has none.
    pub(crate) fn is_seen(&self) -> bool {
        self.0
    }

    /// Returns the warning.
    pub(crate) fn note(&self) -> Option<String> {
        let note = "no vendor is known, and `unknown` is stored: give it with --vendor, since it is a part of the key, and \
                    records of two vendors are taken for updates of each other without it";
        self.0.then(|| note.to_owned())
    }
}
