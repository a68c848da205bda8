//! Settings for a test, whose files are gone with it.

use std::{
    env, fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use super::Settings;

/// The default settings with a new directory of their own, for the dead letters and the database. It is removed when
/// they are dropped, so keep them until the store has ended.
///
/// They are used as [`Settings`] are, and a clone of them is such [`Settings`]:
///
/// ```
/// use market_data_store::{Bar, Coordinator, MarketDataStore, testing::{MemorySink, TestSettings}};
///
/// let mut settings = TestSettings::new();
/// settings.coordinator.capacity = 100;
/// let coordinator = Coordinator::new(MemorySink::<Bar>::new());
/// let store = MarketDataStore::builder(settings.clone()).coordinator(coordinator).spawn()?;
/// # futures::executor::block_on(store.shutdown(store.shutdown_timeout()));
/// # Ok::<(), market_data_store::StartError>(())
/// ```
#[derive(Debug)]
pub struct TestSettings {
    settings: Settings,
    directory: PathBuf,
}

impl TestSettings {
    /// Makes them.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let directory = env::temp_dir().join(format!("market-data-store-test-{:016x}", fastrand::u64(..)));
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
        let mut settings = Settings::default().dlq_path(directory.join("dead_letters"));
        // In a directory whose name is no text the database stays where it is by default.
        if let Some(path) = directory.join("market_data.db").to_str() {
            settings.database_url = format!("sqlite://{path}");
        }
        Self { settings, directory }
    }

    /// Returns the directory, for more files of the test.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Deref for TestSettings {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl DerefMut for TestSettings {
    fn deref_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

impl Drop for TestSettings {
    fn drop(&mut self) {
        // What cannot be removed stays in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when the directory outlives the settings, or two tests share one.
    #[test]
    fn the_directory_of_a_test_is_its_own_and_goes_with_it() {
        let (one, other) = (TestSettings::new(), TestSettings::new());
        assert_ne!(one.dlq_path, other.dlq_path);
        let directory = one.directory().to_owned();
        fs::create_dir(&one.dlq_path).unwrap();
        let clone: Settings = one.clone();
        assert!(clone.dlq_path.starts_with(&directory) && clone.database_url.contains(directory.to_str().unwrap()));
        drop(one);
        assert!(!directory.exists() && other.directory().exists());
    }
}
