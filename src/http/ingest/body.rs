//! The body of a request, as an input that a reader is pulled on: what is not here yet is waited for outside of it.

use std::{
    cell::RefCell,
    io::{self, Read},
    rc::Rc,
    time::Duration,
};

use actix_web::{
    error::PayloadError,
    web::{Buf, Bytes},
};
use futures_util::{Stream, StreamExt};
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
pub(super) struct Body<S> {
    payload: S,
    input: BodyInput,
    bytes: u64,
    /// How long was waited since so many bytes had come.
    waited: Duration,
    counted_from: u64,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Body<S> {
    pub(super) fn new(payload: S) -> Self {
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

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    fn pieces<const PIECES: usize>(
        pieces: [(u64, &'static [u8]); PIECES],
    ) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
        // Each comes so many seconds behind the one before.
        Box::pin(stream::iter(pieces).then(|(wait, piece)| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok(Bytes::from_static(piece))
        }))
    }

    // Red when a client that sends a byte now and then keeps its connection, or one that sends enough loses it.
    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_bring_a_kibibyte_in_thirty_seconds() {
        let mut slow = Body::new(pieces([(10, b"a"), (10, b"b"), (9, b"c"), (10, b"d")]));
        for _ in 0..3 {
            slow.more().await.unwrap();
        }
        assert!(matches!(slow.more().await, Err(Broken::Slow)));
        let enough: &[u8] = &[b'x'; 1024];
        let mut fast = Body::new(pieces([(29, enough), (29, enough), (29, enough)]));
        for _ in 0..4 {
            fast.more().await.unwrap();
        }
    }

    // Red when the time in which nothing was asked for counts: the queue was full then.
    #[tokio::test(start_paused = true)]
    async fn time_that_the_queue_takes_is_not_the_client_s() {
        let mut body = Body::new(pieces([(1, b"a"), (1, b"b")]));
        body.more().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        body.more().await.unwrap();
    }

    // Red when the first bytes come one by one, which a reader may not tell from those of another format, or the end of
    // what came is taken for the end of the body.
    #[tokio::test(start_paused = true)]
    async fn a_reader_has_all_of_the_first_bytes_or_none() {
        let mut body = Body::new(stream::iter([&b"ab"[..], b"cd", b"e"].map(|piece| Ok(Bytes::from_static(piece)))));
        let (mut input, mut buf) = (body.input(), [0; 8]);
        let mut read = |buf: &mut [u8]| input.read(buf).map_err(|error| error.kind());
        let more = |body: &mut Body<_>| body.more().now_or_never().unwrap().unwrap();
        assert_eq!(read(&mut buf), Err(io::ErrorKind::WouldBlock));
        more(&mut body);
        assert_eq!(read(&mut buf), Err(io::ErrorKind::WouldBlock));
        more(&mut body);
        assert_eq!((read(&mut buf), &buf[..4]), (Ok(4), &b"abcd"[..]));
        assert_eq!(read(&mut buf), Err(io::ErrorKind::WouldBlock));
        more(&mut body);
        assert_eq!(read(&mut buf), Ok(1));
        more(&mut body);
        assert_eq!((read(&mut buf), read(&mut buf)), (Ok(0), Ok(0)));
        // A body of fewer bytes is read all the same.
        let mut short = Body::new(stream::iter([Ok(Bytes::from_static(b"a"))]));
        let mut input = short.input();
        for _ in 0..2 {
            assert_eq!(input.read(&mut buf).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
            short.more().now_or_never().unwrap().unwrap();
        }
        assert_eq!(input.read(&mut buf).unwrap(), 1);
    }
}
