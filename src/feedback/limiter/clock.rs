use std::{
    convert::Infallible,
    io,
    sync::{Arc, Weak},
};

use actix::{ArbiterHandle, System};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::own_system::on_own_system;

/// The thread on which the clocks of all limiters of the process are kept, for as long as there is one.
///
/// Not the bus's thread, though that has time to spare: it ends with the bus, and who waits would never be woken.
pub(crate) struct Clock {
    pub(super) arbiter: ArbiterHandle,
    /// Dropping it ends the thread.
    _end: oneshot::Sender<Infallible>,
}

impl Clock {
    /// Returns the thread, and starts it if there is none.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn get() -> io::Result<Arc<Self>> {
        static CLOCK: Mutex<Weak<Clock>> = Mutex::new(Weak::new());
        let mut running = CLOCK.lock();
        if let Some(clock) = running.upgrade() {
            return Ok(clock);
        }
        let (end, ended) = oneshot::channel();
        let begin = move || {
            let until_its_end = async move {
                let _ = ended.await;
            };
            (System::current().arbiter().clone(), until_its_end)
        };
        let arbiter = on_own_system("mds-rate", begin)?;
        let clock = Arc::new(Self { arbiter, _end: end });
        *running = Arc::downgrade(&clock);
        Ok(clock)
    }
}
