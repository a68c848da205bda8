use std::io::Read;

use crate::files::{
    chunk::{MAX_LINE_BYTES, ReadError},
    decompress::Decompressed,
};

/// The most bytes that one read asks for.
const READ_BYTES: usize = 128 * 1024;

/// A physical line without its line break.
pub enum Line<'a> {
    Whole {
        number: u64,
        bytes: &'a [u8],
        /// Whether it ended with CR and LF.
        is_crlf: bool,
    },
    TooLong {
        number: u64,
    },
}

/// Bytes that were read and not yet used, cut into lines. Holds at most one line of [`MAX_LINE_BYTES`] and one read.
#[derive(Default)]
pub(crate) struct LineBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Up to here there is no line break, so that a long line is not searched again after each read.
    searched: usize,
    lines: u64,
    /// So many bytes were read.
    #[cfg(feature = "serve")]
    filled: u64,
    /// The line at `start` is too long already: its bytes are thrown away until it ends.
    discarding: bool,
}

impl LineBuffer {
    /// Reads once; returns the number of bytes, 0 at the end of the input.
    pub(crate) fn fill(&mut self, input: &mut Decompressed<impl Read>) -> Result<usize, ReadError> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < self.end + READ_BYTES {
            self.bytes.resize(self.end + READ_BYTES, 0);
        }
        let read = input.read(&mut self.bytes[self.end..])?;
        self.end += read;
        #[cfg(feature = "serve")]
        {
            self.filled += read as u64;
        }
        Ok(read)
    }

    /// Returns how many bytes were read.
    #[cfg(feature = "serve")]
    pub(crate) fn filled(&self) -> u64 {
        self.filled
    }

    /// Returns how many bytes of memory it has taken.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns what is left, for a format that does not go by lines.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.searched = self.start;
    }

    /// Returns how many bytes the byte order mark takes that a text can begin with.
    pub(crate) fn byte_order_mark(&self) -> usize {
        if self.rest().starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
    }

    /// Returns the next complete line; at the end of the input the last one needs no line break.
    pub(crate) fn next_line(&mut self, at_end: bool) -> Option<Line<'_>> {
        let (stop, next) = match memchr::memchr(b'\n', &self.bytes[self.searched..self.end]) {
            Some(at) => (self.searched + at, self.searched + at + 1),
            None if at_end && (self.start < self.end || self.discarding) => (self.end, self.end),
            None => {
                self.searched = self.end;
                // One byte more than allowed may be the carriage return of a line that is just short enough.
                if self.end - self.start > MAX_LINE_BYTES + 1 {
                    self.discarding = true;
                }
                if self.discarding {
                    (self.start, self.end, self.searched) = (0, 0, 0);
                }
                return None;
            }
        };
        let start = self.start;
        (self.start, self.searched) = (next, next);
        self.lines += 1;
        let number = self.lines;
        let bytes = &self.bytes[start..stop];
        let (bytes, is_crlf) = bytes.strip_suffix(b"\r").map_or((bytes, false), |bytes| (bytes, true));
        if std::mem::take(&mut self.discarding) || bytes.len() > MAX_LINE_BYTES {
            return Some(Line::TooLong { number });
        }
        Some(Line::Whole { number, bytes, is_crlf })
    }
}
