//! How much producers should hold back: from queue sizes and other causes to a level with a reason.

mod drain_rate;
mod pressure;
mod reason;
mod watermark;

pub use self::{
    drain_rate::{DrainRate, time_to_recover},
    pressure::{Cause, Change, Pressure},
    reason::{Level, Reason},
    watermark::{Watermark, WatermarkError, Watermarks},
};
