//! How long a record's JSON is, without making it.

use std::io::{self, Write};

use serde::Serialize;

/// Counts what is written.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the length of the JSON of a value, as far as it can be written.
pub fn json_size(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    // What cannot be written as JSON has as many bytes as came before the error.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
