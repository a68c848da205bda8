//! The skeleton of a JSON document, read from its first bytes: enough to know where the bars are in it.

use crate::files::chunk::MAX_LINE_BYTES;

/// So many bytes of a document are looked at: a document of columns has nothing but the first of them for long.
pub(crate) const LOOKED_AT: usize = MAX_LINE_BYTES;
/// So many elements, and fields, are kept; the others are passed over.
const MAX_KEPT: usize = 64;
/// Nesting that no file of bars has; what is deeper is taken for the end of the document.
const MAX_DEPTH: u32 = 32;

/// A value, as far as it was looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Object(Object),
    Array(Array),
    Text(String),
    /// As it is written.
    Number(String),
    /// `true`, `false` or `null`.
    Word,
    /// The value begins where the bytes end.
    Cut,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object {
    /// The first ones.
    pub(crate) fields: Vec<(String, Node)>,
    /// Whether these are all: the end was seen, and none was passed over.
    pub(crate) is_whole: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Array {
    /// The first ones.
    pub(crate) items: Vec<Node>,
    /// Whether these are all.
    pub(crate) is_whole: bool,
}

impl Node {
    pub(crate) fn object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    pub(crate) fn array(&self) -> Option<&Array> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }

    /// Returns the text of a value without parts; that of a word is empty.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Word => Some(""),
            _ => None,
        }
    }
}

impl Object {
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }
}

impl Array {
    /// Returns the texts of its elements if none of them has parts; the last one may be cut.
    pub(crate) fn scalars(&self) -> Option<Vec<&str>> {
        let items = match self.items.as_slice() {
            [items @ .., Node::Cut] => items,
            items => items,
        };
        items.iter().map(Node::scalar).collect()
    }
}

/// What stands at the beginning of a document.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Skeleton {
    /// The values that stand behind each other; only the last can be cut.
    pub(crate) values: Vec<Node>,
    /// Something stands there that is no JSON.
    pub(crate) is_broken: bool,
}

impl Skeleton {
    /// Reads the first bytes of a document. They can end anywhere.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self::read_some(bytes, MAX_KEPT)
    }

    /// Reads only the first value.
    pub(crate) fn read_first(bytes: &[u8]) -> Self {
        Self::read_some(bytes, 1)
    }

    fn read_some(bytes: &[u8], most: usize) -> Self {
        let mut scanner = Scanner { bytes: &bytes[..bytes.len().min(LOOKED_AT)], at: 0, depth: 0 };
        let mut values = Vec::new();
        while values.len() < most {
            match scanner.value() {
                Ok(Node::Cut) => break,
                Ok(value) => values.push(value),
                Err(Broken) => return Self { values, is_broken: true },
            }
            if scanner.peek().is_none() {
                break;
            }
        }
        Self { values, is_broken: false }
    }
}

struct Broken;

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl Scanner<'_> {
    /// Returns the next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let blanks = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += blanks;
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self) -> Result<Node, Broken> {
        match self.peek() {
            None => Ok(Node::Cut),
            Some(b'"') => Ok(self.text()?.map_or(Node::Cut, Node::Text)),
            Some(b'{' | b'[') if self.depth == MAX_DEPTH => {
                self.at = self.bytes.len();
                Ok(Node::Cut)
            }
            Some(open @ (b'{' | b'[')) => {
                self.at += 1;
                self.depth += 1;
                let node = if open == b'{' { self.object() } else { self.array() };
                self.depth -= 1;
                node
            }
            Some(_) => self.word(),
        }
    }

    /// Steps over a comma; returns whether the object or array goes on.
    fn goes_on(&mut self, is_first: bool, close: u8) -> Result<Option<bool>, Broken> {
        match self.peek() {
            None => Ok(None),
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(Some(false))
            }
            Some(_) if is_first => Ok(Some(true)),
            Some(b',') => {
                self.at += 1;
                Ok(self.peek().map(|_| true))
            }
            Some(_) => Err(Broken),
        }
    }

    fn object(&mut self) -> Result<Node, Broken> {
        let (mut object, mut passed_over) = (Object::default(), 0);
        loop {
            match self.goes_on(object.fields.is_empty() && passed_over == 0, b'}')? {
                None => break,
                Some(false) => {
                    object.is_whole = passed_over == 0;
                    break;
                }
                Some(true) => {}
            }
            let Some(key) = self.key()? else { break };
            let value = self.value()?;
            if object.fields.len() < MAX_KEPT || value.array().is_some() || value.object().is_some() {
                // Long objects are keyed by times or symbols; what stands behind them is kept if it has parts.
                if object.fields.len() < 4 * MAX_KEPT {
                    object.fields.push((key, value));
                    continue;
                }
            }
            passed_over += 1;
        }
        Ok(Node::Object(object))
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<Option<String>, Broken> {
        if self.peek() != Some(b'"') {
            return Err(Broken);
        }
        let Some(key) = self.text()? else { return Ok(None) };
        match self.peek() {
            None => Ok(None),
            Some(b':') => {
                self.at += 1;
                Ok(Some(key))
            }
            Some(_) => Err(Broken),
        }
    }

    fn array(&mut self) -> Result<Node, Broken> {
        let (mut array, mut passed_over) = (Array::default(), 0);
        loop {
            match self.goes_on(array.items.is_empty() && passed_over == 0, b']')? {
                None => break,
                Some(false) => {
                    array.is_whole = passed_over == 0;
                    break;
                }
                Some(true) => {}
            }
            let value = self.value()?;
            if array.items.len() < MAX_KEPT { array.items.push(value) } else { passed_over += 1 }
        }
        Ok(Node::Array(array))
    }

    /// Reads a string; none if the bytes end in it.
    fn text(&mut self) -> Result<Option<String>, Broken> {
        let start = self.at;
        let mut at = start + 1;
        loop {
            match self.bytes.get(at) {
                None => {
                    self.at = self.bytes.len();
                    return Ok(None);
                }
                Some(b'"') => break,
                Some(b'\n') => return Err(Broken),
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        serde_json::from_slice(&self.bytes[start..self.at]).map(Some).map_err(|_| Broken)
    }

    fn word(&mut self) -> Result<Node, Broken> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let word: Vec<u8> = self.bytes[self.at..].iter().copied().take_while(is_part).collect();
        self.at += word.len();
        let text = String::from_utf8(word).map_err(|_| Broken)?;
        match text.as_str() {
            "" => Err(Broken),
            // The rest of it may follow.
            _ if self.at == self.bytes.len() => Ok(Node::Cut),
            // What Python writes for numbers that are none.
            "true" | "false" | "null" | "NaN" | "Infinity" | "-Infinity" => Ok(Node::Word),
            number if number.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
                Ok(Node::Number(text))
            }
            _ => Err(Broken),
        }
    }
}

/// Follows a document while it comes in, to know when its first bar would be whole: the first object, or the first
/// element of the array. Looks at each byte once.
#[derive(Debug, Default)]
pub(crate) struct FirstValue {
    at: usize,
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    /// How deep its brackets stand: 1 in an array.
    level: u32,
    pub(crate) is_whole: bool,
}

impl FirstValue {
    /// Returns where it ends, once it is whole.
    pub(crate) fn end(&self) -> usize {
        self.at
    }

    /// Returns whether the value stands on several lines.
    pub(crate) fn has_line_break(&self, bytes: &[u8]) -> bool {
        bytes[..self.at].trim_ascii_start().contains(&b'\n')
    }

    /// Looks at what has come, from the first byte on each time.
    pub(crate) fn look(&mut self, bytes: &[u8]) {
        while !self.is_whole
            && let Some(&byte) = bytes[..bytes.len().min(LOOKED_AT)].get(self.at)
        {
            self.at += 1;
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'[' if self.depth == 0 => (self.depth, self.level) = (1, 1),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_whole = self.depth <= self.level;
                }
                b',' => self.is_whole = self.level == 1 && self.depth == 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(text: &str) -> Node {
        let skeleton = Skeleton::read(text.as_bytes());
        assert!(!skeleton.is_broken, "{text}");
        skeleton.values.into_iter().next().unwrap()
    }

    // Red if a cut inside of a number, a text or a key gives half of it.
    #[test]
    fn a_document_can_be_cut_anywhere() {
        let text = r#"{"a\u0062": {"t": [1, -2.5e3, "x\"y", null]}, "b": true}"#;
        let whole = only(text);
        let inner = whole.object().unwrap().get("ab").unwrap().object().unwrap().get("t").unwrap().array().unwrap();
        assert_eq!(inner.scalars().unwrap(), ["1", "-2.5e3", "x\"y", ""]);
        assert!(inner.is_whole && whole.object().unwrap().is_whole);
        for end in 1..text.len() {
            let skeleton = Skeleton::read(&text.as_bytes()[..end]);
            assert!(!skeleton.is_broken, "{}", &text[..end]);
            let cut = skeleton.values[0].object().unwrap();
            assert!(!cut.is_whole);
            for (key, node) in &cut.fields {
                let whole = whole.object().unwrap().get(key).unwrap();
                match (node, whole) {
                    (Node::Cut, _) => {}
                    (Node::Object(_), Node::Object(_)) => {}
                    (node, whole) => assert_eq!(node, whole),
                }
            }
        }
    }

    // Red if a long array hides what stands behind it, or is kept whole.
    #[test]
    fn what_stands_behind_a_long_array_is_seen() {
        let text = format!("{{\"rows\": [{}0], \"zone\": \"UTC\"}}", "[1,2], ".repeat(5_000));
        let node = only(&text);
        let object = node.object().unwrap();
        assert_eq!(object.get("rows").unwrap().array().unwrap().items.len(), MAX_KEPT);
        assert_eq!(object.get("zone"), Some(&Node::Text("UTC".into())));
    }

    #[test]
    fn what_is_no_json_is_broken() {
        for text in ["{\"a\": 1,\n{\"a\"", "[1 2]", "{a: 1}", "[tru, 1]", "{\"a\" 1}", "[\"a\nb\"]", "{\"a\":}"] {
            assert!(Skeleton::read(text.as_bytes()).is_broken, "{text}");
        }
    }

    // Red if the end of the first value is seen late: a pipe that is silent behind it would be waited for.
    #[test]
    fn the_first_value_is_whole_as_soon_as_its_last_byte_is_there() {
        for (before, last) in
            [(r#"{"a": "}\"]", "b": [1, {}]"#, "}"), (r#"[{"a": "}"#, "\"}"), ("[1", ","), ("[[1, 2", "]"), ("[", "]")]
        {
            let mut first = FirstValue::default();
            for end in 0..=before.len() {
                first.look(&before.as_bytes()[..end]);
                assert!(!first.is_whole, "{}", &before[..end]);
            }
            first.look(format!("{before}{last} \n{{").as_bytes());
            assert!(first.is_whole, "{before}{last}");
        }
    }

    proptest! {
        /// Red if any input makes it panic or go on without end.
        #[test]
        fn damaged_documents_are_read_to_an_end(
            bytes in proptest::collection::vec(
                prop_oneof![proptest::sample::select(&b"{}[],:\"\\0123456789.e-ntu \n"[..]), any::<u8>()], 0..400),
            cut in 0usize..400,
        ) {
            let text = r#"{"m":{"z":"UTC"},"r":[[1,"2"],{"t":[1.5,null],"k":{"2024-01-02":{"1. open":"1"}}}]}"#;
            let mut damaged = text.as_bytes().to_vec();
            let at = cut % damaged.len();
            damaged.splice(at..at, bytes.iter().copied());
            for input in [&bytes, &damaged] {
                let skeleton = Skeleton::read(input);
                prop_assert!(skeleton.values.len() <= MAX_KEPT);
                let mut first = FirstValue::default();
                first.look(input);
            }
        }
    }
}
