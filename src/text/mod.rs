//! Text for people, on one line and without hidden characters: values, names, and errors with their causes.
//!
//! What comes from a file, a store or another process can hold characters that a terminal obeys, that begin another
//! line of a log, or that change the direction of what stands around them. These types escape them as Rust does,
//! `\u{1b}`.
//!
//! ```
//! use market_data_store::text::{Quoted, Shown};
//!
//! assert_eq!(Shown("bars\u{202e}.csv").to_string(), r"bars\u{202e}.csv");
//! assert_eq!(Quoted("12\n").to_string(), r#""12\n""#);
//! ```

pub(crate) mod chain;
pub(crate) mod hidden;
pub(crate) mod panicked;
pub(crate) mod quoted;

pub use self::{
    chain::ErrorChain,
    quoted::{Quoted, Shown},
};
