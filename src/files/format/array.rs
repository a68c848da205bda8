use crate::files::chunk::{Chunk, MAX_LINE_BYTES, ReadError};

/// Takes the elements of an array, one after the other.
pub trait Elements {
    /// What is made of them.
    type Record;

    /// Takes an element, which begins on that line.
    fn element(&mut self, line: u64, bytes: &[u8], chunk: &mut Chunk<Self::Record>) -> Result<(), ReadError>;

    /// Takes what is no element.
    fn reject(&mut self, line: u64, message: String, chunk: &mut Chunk<Self::Record>) -> Result<(), ReadError>;

    /// Returns whether rows that waited go out before the next one.
    fn has_settled(&self) -> bool {
        false
    }
}

/// Nesting that no bar has; beyond it an element is given up.
const MAX_DEPTH: u32 = 64;

/// Cuts a JSON array into its elements while it streams by, holding one element at a time.
///
/// It looks only at quotes, brackets and commas; each element is then parsed on its own. Where an element is so broken
/// that its end cannot be known, such as one whose brace is never closed, the next object begins afresh: an object can
/// stand inside an object only behind a colon, and a line break never stands inside a string.
pub(crate) struct ArraySplitter {
    state: ParseState,
    line: u64,
    element: Vec<u8>,
    /// The line on which the element begins, and whether it is too long to be held.
    element_line: u64,
    too_long: bool,
    /// The open brackets inside the element: one bit each, the innermost lowest, set for `{`.
    brackets: u64,
    depth: u32,
    string: InString,
    /// The last byte outside of strings that is no blank.
    last: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ParseState {
    Before,
    Inside,
    /// An element is broken; what follows belongs to it, up to the next object.
    Lost,
    After,
    /// Something followed the array; that was said once.
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    Escaped,
}

impl Default for ArraySplitter {
    fn default() -> Self {
        Self {
            state: ParseState::Before,
            line: 1,
            element: Vec::new(),
            element_line: 0,
            too_long: false,
            brackets: 0,
            depth: 0,
            string: InString::No,
            last: 0,
        }
    }
}

impl ArraySplitter {
    /// Takes bytes until the chunk is full; returns how many it took.
    pub(crate) fn feed<E: Elements>(
        &mut self,
        bytes: &[u8],
        rows: &mut E,
        chunk: &mut Chunk<E::Record>,
    ) -> Result<usize, ReadError> {
        let mut at = 0;
        while at < bytes.len() && !chunk.is_full() && !rows.has_settled() {
            let plain = self.plain(&bytes[at..]);
            if let [.., last] = plain {
                if self.string == InString::No {
                    self.last = *last;
                }
                self.keep(plain);
                at += plain.len();
                continue;
            }
            let byte = bytes[at];
            self.take(byte, rows, chunk)?;
            self.line += u64::from(byte == b'\n');
            at += 1;
        }
        Ok(at)
    }

    /// Returns the bytes up to the first one that could change anything: most bytes of an element need no look each.
    fn plain<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.state != ParseState::Inside || !self.has_element() {
            return &[];
        }
        let end = match self.string {
            InString::Escaped => Some(0),
            InString::Yes => memchr::memchr3(b'"', b'\\', b'\n', bytes),
            InString::No => bytes.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b".+-:".contains(byte)),
        };
        &bytes[..end.unwrap_or(bytes.len())]
    }

    /// Ends the input; can be called again.
    pub(crate) fn finish<E: Elements>(&mut self, rows: &mut E, chunk: &mut Chunk<E::Record>) -> Result<(), ReadError> {
        let (line, message) = match self.state {
            ParseState::After | ParseState::Done | ParseState::Before => return Ok(()),
            ParseState::Lost if self.last == b']' => return Ok(()),
            _ if self.depth > 0 || self.string != InString::No => {
                (self.element_line, "expected the end of this element, got the end of the file")
            }
            _ => {
                self.end_element(rows, chunk)?;
                (self.line, "expected ] at the end of the array, got the end of the file")
            }
        };
        self.state = ParseState::Done;
        rows.reject(line, message.into(), chunk)
    }

    fn take<E: Elements>(&mut self, byte: u8, rows: &mut E, chunk: &mut Chunk<E::Record>) -> Result<(), ReadError> {
        match self.state {
            ParseState::Before if byte == b'[' => self.state = ParseState::Inside,
            ParseState::After if !byte.is_ascii_whitespace() => {
                self.state = ParseState::Done;
                return rows.reject(self.line, "expected nothing behind the end of the array".into(), chunk);
            }
            ParseState::Before | ParseState::After | ParseState::Done => {}
            ParseState::Lost if byte == b'{' => {
                self.clear();
                self.state = ParseState::Inside;
                return self.inside(byte, rows, chunk);
            }
            ParseState::Lost if byte.is_ascii_whitespace() => {}
            ParseState::Lost => self.last = byte,
            ParseState::Inside => return self.inside(byte, rows, chunk),
        }
        Ok(())
    }

    fn inside<E: Elements>(&mut self, byte: u8, rows: &mut E, chunk: &mut Chunk<E::Record>) -> Result<(), ReadError> {
        if self.string != InString::No {
            self.string = match (self.string, byte) {
                (_, b'\n') => return self.lose("expected a closing quote on the same line, got none", rows, chunk),
                (InString::Escaped, _) => InString::Yes,
                (_, b'\\') => InString::Escaped,
                (_, b'"') => InString::No,
                _ => InString::Yes,
            };
            self.keep(&[byte]);
            return Ok(());
        }
        match byte {
            byte if byte.is_ascii_whitespace() => {
                if self.has_element() {
                    self.keep(&[byte]);
                }
                return Ok(());
            }
            b'"' => self.string = InString::Yes,
            b'{' | b'[' => {
                if self.depth == 0 {
                    // A comma is missing, but where the one ends and the other begins is clear.
                    self.end_element(rows, chunk)?;
                } else if byte == b'{' && self.brackets & 1 == 1 && self.last != b':' {
                    self.lose("expected a closing brace before the next object, got none", rows, chunk)?;
                    self.clear();
                    self.state = ParseState::Inside;
                } else if self.depth == MAX_DEPTH {
                    return self.lose("expected an object, got too many brackets within brackets", rows, chunk);
                }
                self.brackets = self.brackets << 1 | u64::from(byte == b'{');
                self.depth += 1;
            }
            b']' if self.depth == 0 => {
                self.end_element(rows, chunk)?;
                self.state = ParseState::After;
                return Ok(());
            }
            b'}' | b']' if self.depth > 0 => {
                if (self.brackets & 1 == 1) != (byte == b'}') {
                    self.last = byte;
                    return self.lose("expected brackets that match, got others", rows, chunk);
                }
                self.brackets >>= 1;
                self.depth -= 1;
            }
            b',' if self.depth == 0 => {
                let empty = !self.has_element();
                self.end_element(rows, chunk)?;
                self.last = byte;
                return if empty {
                    rows.reject(self.line, "expected an element before the comma, got none".into(), chunk)
                } else {
                    Ok(())
                };
            }
            _ => {}
        }
        self.last = byte;
        self.keep(&[byte]);
        Ok(())
    }

    fn has_element(&self) -> bool {
        self.element_line != 0
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.has_element() {
            self.element_line = self.line;
        }
        self.too_long |= self.element.len() + bytes.len() > MAX_LINE_BYTES;
        if self.too_long {
            self.element.clear();
        } else {
            self.element.extend_from_slice(bytes);
        }
    }

    fn end_element<E: Elements>(&mut self, rows: &mut E, chunk: &mut Chunk<E::Record>) -> Result<(), ReadError> {
        if self.has_element() {
            if self.too_long {
                let message = format!("expected at most {MAX_LINE_BYTES} bytes in an element, got more");
                rows.reject(self.element_line, message, chunk)?;
            } else {
                rows.element(self.element_line, &self.element, chunk)?;
            }
        }
        self.clear();
        Ok(())
    }

    /// Gives up the element, whose end cannot be known.
    fn lose<E: Elements>(
        &mut self,
        message: &str,
        rows: &mut E,
        chunk: &mut Chunk<E::Record>,
    ) -> Result<(), ReadError> {
        rows.reject(self.element_line, message.into(), chunk)?;
        self.depth = 0;
        self.string = InString::No;
        self.state = ParseState::Lost;
        Ok(())
    }

    fn clear(&mut self) {
        self.element.clear();
        (self.element_line, self.too_long) = (0, false);
        (self.brackets, self.depth, self.string) = (0, 0, InString::No);
    }
}
