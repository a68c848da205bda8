//! Telling producers when to slow down.

mod event;

pub use event::{EventBody, FeedbackEvent};
