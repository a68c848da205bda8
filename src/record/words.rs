//! Columns that hold one of a few words.

/// Makes an enum whose variants are words: as text, in JSON, and in a table. It is read in any case.
macro_rules! words {
    ($(#[$about:meta])* $name:ident: $expected:literal { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Returns it as it is stored.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::record::InvalidText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $(if text.eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                })*
                Err($crate::record::InvalidText::expected($expected, text))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl From<$name> for $crate::record::Value<'_> {
            fn from(word: $name) -> Self {
                Self::from(word.as_str())
            }
        }

        impl $crate::record::FromValue for $name {
            fn from_value(value: &$crate::record::Value<'_>) -> Result<Self, String> {
                String::from_value(value)?.parse().map_err(|error: $crate::record::InvalidText| error.to_string())
            }
        }
    };
}

pub(super) use words;

/// Makes setters of optional fields, to be called in a row.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $field: impl Into<$type>) -> Self {
            self.$field = Some($field.into());
            self
        })*
    };
}

pub(super) use setters;
