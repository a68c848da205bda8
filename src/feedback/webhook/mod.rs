//! Level changes as HTTP requests: what sends them, and the signature that both ends know.

#[cfg(feature = "webhooks")]
mod client;
#[cfg(feature = "webhooks")]
mod endpoint_lane;
#[cfg(feature = "webhooks")]
mod sender;
pub mod signature;

#[cfg(feature = "webhooks")]
pub(crate) use self::sender::PreparedBroadcast;
#[cfg(feature = "webhooks")]
pub use self::{
    client::InvalidCaFile,
    endpoint_lane::BroadcastSnapshot,
    sender::{BroadcastConfig, BroadcastError, BroadcasterHandle, HttpBroadcaster},
};
