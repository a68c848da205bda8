//! Level changes as HTTP requests: what sends them, and the signature that both ends know.

#[cfg(feature = "webhooks")]
mod client;
#[cfg(feature = "webhooks")]
mod config;
#[cfg(feature = "webhooks")]
mod endpoint_lane;
#[cfg(feature = "webhooks")]
mod handle;
#[cfg(feature = "webhooks")]
mod sender;
pub(super) mod signature;
#[cfg(feature = "webhooks")]
mod start;

#[cfg(feature = "webhooks")]
pub(crate) use self::start::PreparedBroadcast;
#[cfg(feature = "webhooks")]
pub use self::{
    config::{BroadcastConfig, BroadcastError},
    endpoint_lane::BroadcastSnapshot,
    handle::BroadcasterHandle,
    sender::{HttpBroadcaster, ObserveBroadcasts},
};
