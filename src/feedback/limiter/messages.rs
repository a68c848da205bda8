use actix::Message;

/// Asks to tick at what is due: a handle of the limiter sends it; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;
