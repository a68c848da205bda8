//! From a configuration to a running broadcaster.

use std::{collections::HashSet, convert::Infallible, sync::Arc};

use actix::Actor;
use awc::http::Uri;
use rustls::ClientConfig;
use tokio::sync::{oneshot, watch};

use super::{
    client,
    config::{BroadcastConfig, BroadcastError, LONGEST},
    endpoint_lane::EndpointLane,
    handle::BroadcasterHandle,
    sender::{Clients, HttpBroadcaster, Start},
};
use crate::{
    fault::Fault,
    feedback::{bus::Selector, handle::Feedback},
    own_system::on_own_system,
    policy::EndpointPolicy,
};

/// A configuration that was found to be usable.
pub(crate) struct PreparedBroadcast {
    config: BroadcastConfig,
    urls: Vec<Uri>,
    tls: Arc<ClientConfig>,
}

impl HttpBroadcaster {
    /// Starts sending the events on a bus, on a thread of its own, from any thread. Every URL is told the present state
    /// at once.
    ///
    /// # Errors
    /// When there is no URL, one cannot be asked for, the file of certificates cannot be used, or the operating system
    /// refuses a thread.
    pub fn start(config: BroadcastConfig, feedback: &Feedback) -> Result<BroadcasterHandle, BroadcastError> {
        let broadcasts = PreparedBroadcast::new(config)?.start(feedback, false)?;
        broadcasts.follow();
        Ok(broadcasts)
    }

    /// Starts sending as [`start`](Self::start) does, but on the current arbiter, without another thread: for tests
    /// with a paused clock.
    ///
    /// # Errors
    /// When there is no URL, one cannot be asked for, or the file of certificates cannot be used.
    ///
    /// # Panics
    /// Outside an actix System.
    pub fn on_current_arbiter(
        config: BroadcastConfig,
        feedback: &Feedback,
    ) -> Result<BroadcasterHandle, BroadcastError> {
        let broadcasts = PreparedBroadcast::new(config)?.start(feedback, true)?;
        broadcasts.follow();
        Ok(broadcasts)
    }
}

impl PreparedBroadcast {
    /// Checks everything that can be wrong before anything is started.
    pub(crate) fn new(mut config: BroadcastConfig) -> Result<Self, BroadcastError> {
        let BroadcastConfig { timeout, retry, probe_after, refresh, min_interval, .. } = &mut config;
        let retry = [&mut retry.initial_backoff, &mut retry.max_backoff];
        for time in [timeout, probe_after, refresh, min_interval].into_iter().chain(retry) {
            *time = LONGEST.min(*time);
        }
        let mut seen = HashSet::new();
        config.endpoints.retain(|endpoint| seen.insert(endpoint.clone()));
        if config.endpoints.is_empty() {
            return Err(BroadcastError::NoEndpoint);
        }
        let urls = config.endpoints.iter().map(client::uri).collect::<Result<_, _>>()?;
        let tls = client::tls(config.ca_file.as_deref())?;
        Ok(Self { config, urls, tls })
    }

    /// Starts the actor, which is told nothing yet.
    pub(crate) fn start(self, feedback: &Feedback, current: bool) -> Result<BroadcasterHandle, BroadcastError> {
        let Self { config, urls, tls } = self;
        let BroadcastConfig { retry, probe_after, refresh, min_interval, .. } = config;
        let refresh = Some(refresh).filter(|refresh| !refresh.is_zero());
        let policy = EndpointPolicy { retry, probe_after, refresh, min_interval };
        let fault = Fault::new("broadcaster");
        let lane = |endpoint| EndpointLane::new(endpoint, policy, fault.clone());
        let lanes: Arc<[_]> = config.endpoints.into_iter().map(lane).collect();
        let (alive, ended) = oneshot::channel::<Infallible>();
        let (tell, died) = watch::channel(false);
        let actor = HttpBroadcaster::new(Start {
            lanes: Arc::clone(&lanes),
            clients: Clients { urls, tls, secrets: config.secrets.into(), timeout: config.timeout },
            refresh,
            only: config.coordinators.iter().map(|id| Selector::new(id)).collect(),
            feedback: feedback.clone(),
            fault: fault.clone(),
            died: tell,
            alive,
        });
        let addr = if current {
            actor.start()
        } else {
            let until_its_end = async move {
                // Nothing is ever sent: it ends with the actor.
                let _ = ended.await;
            };
            on_own_system("mds-broadcast", move || (actor.start(), until_its_end)).map_err(BroadcastError::Thread)?
        };
        Ok(BroadcasterHandle {
            addr,
            lanes,
            coordinators: config.coordinators.into(),
            feedback: feedback.clone(),
            died,
            #[cfg(feature = "testing")]
            fault,
        })
    }
}
