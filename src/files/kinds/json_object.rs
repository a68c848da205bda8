//! The fields of a JSON object, in their order, each as it is written.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The fields of an object.
pub(super) struct Object<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// A name, borrowed if it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// Returns a value as a cell: a text without its quotes, null as nothing, all else as it is written.
pub(super) fn cell_of<'a>(raw: &'a RawValue) -> serde_json::Result<Cow<'a, str>> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => match text.get(1..text.len() - 1) {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => Cow::Owned(serde_json::from_str(text)?),
        },
        Some(b'n') => Cow::Borrowed(""),
        _ => Cow::Borrowed(text),
    })
}

/// Says what is wrong with a JSON, which is one line, so that its own line number 1 would only mislead.
pub(super) fn said(error: &serde_json::Error) -> String {
    let said = error.to_string().replace(" at line 1 column ", " at column ");
    // The parser repeats a string that should have been an object, whatever its length.
    said[..said.floor_char_boundary(200)].to_owned()
}
