//! The body of a request, as an input that a reader is pulled on: what is not here yet is waited for outside of it.

use std::{
    cell::RefCell,
    io::{self, Read},
    rc::Rc,
    time::Duration,
};

use actix_web::{
    error::PayloadError,
    web::{Buf, Bytes, Payload},
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

/// So many bytes have to come while so long was waited for them: a client that sends one now and then holds a connection,
/// and says nothing.
const LEAST_BYTES: u64 = 1024;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// So many bytes may come out of compressed ones, and so many times as many: data of markets do not pack so well, and what
/// does is made to fill a memory or to keep a processor busy.
const UNPACKED_BYTES: u64 = 16 << 20;
const UNPACKED_TIMES: u64 = 200;

/// So many bytes show what a body is packed in.
const FIRST_BYTES: usize = 4;

/// Why no more of a body is read.
#[derive(Debug)]
pub(super) enum Broken {
    /// It comes too slowly.
    Slow,
    /// It is not what its head said, or the client went away.
    Cut(PayloadError),
}

/// The bytes that came and were not read yet.
#[derive(Default)]
struct Arrived {
    bytes: Bytes,
    is_whole: bool,
    has_begun: bool,
}

/// What a reader reads from: it has what came, and then would block.
#[derive(Clone, Default)]
pub(super) struct BodyInput(Rc<RefCell<Arrived>>);

impl Read for BodyInput {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut arrived = self.0.borrow_mut();
        let is_enough = arrived.has_begun || arrived.bytes.len() >= FIRST_BYTES || arrived.is_whole;
        if !is_enough || arrived.bytes.is_empty() && !arrived.is_whole {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        arrived.has_begun = true;
        let read = buf.len().min(arrived.bytes.len());
        arrived.bytes.copy_to_slice(&mut buf[..read]);
        Ok(read)
    }
}

/// The body as it comes.
pub(super) struct Body {
    payload: Payload,
    input: BodyInput,
    bytes: u64,
    /// How long was waited since so many bytes had come.
    waited: Duration,
    counted_from: u64,
}

impl Body {
    pub(super) fn new(payload: Payload) -> Self {
        Self { payload, input: BodyInput::default(), bytes: 0, waited: Duration::ZERO, counted_from: 0 }
    }

    /// Returns what a reader reads the body from.
    pub(super) fn input(&self) -> BodyInput {
        self.input.clone()
    }

    /// Waits for more of the body, or its end.
    ///
    /// # Errors
    /// It comes too slowly, or broke off: then its last line may be a part of one, and nothing tells.
    pub(super) async fn more(&mut self) -> Result<(), Broken> {
        let began = Instant::now();
        let left = LONGEST_WAIT.saturating_sub(self.waited);
        let next = timeout(left, self.payload.next()).await.map_err(|_| Broken::Slow)?;
        let mut arrived = self.input.0.borrow_mut();
        match next {
            None => arrived.is_whole = true,
            Some(Err(error)) => return Err(Broken::Cut(error)),
            Some(Ok(bytes)) => {
                self.bytes += bytes.len() as u64;
                arrived.bytes = match arrived.bytes.is_empty() {
                    true => bytes,
                    // The first bytes alone are held back, so this is short.
                    false => [&*arrived.bytes, &*bytes].concat().into(),
                };
            }
        }
        self.waited += began.elapsed();
        if self.bytes - self.counted_from >= LEAST_BYTES {
            (self.waited, self.counted_from) = (Duration::ZERO, self.bytes);
        }
        Ok(())
    }

    /// Returns whether so many bytes that came out of the body are more than it can honestly hold.
    pub(super) fn is_bomb(&self, unpacked: u64) -> bool {
        unpacked > UNPACKED_BYTES + UNPACKED_TIMES.saturating_mul(self.bytes)
    }
}
