//! The members of a gzip, and what may stand behind the last of them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::{Compression, damaged};
use crate::files::chunk::ReadError;

/// The first byte of a member.
const MAGIC: u8 = 0x1f;

/// What is in one member, or several behind each other, decompressed as it streams by. Zeros behind a member are padding, as
/// tapes and archives leave it.
pub(crate) struct GzipReader<R> {
    /// The one that is under way, or has just ended; none only while the next takes its place.
    member: Option<GzDecoder<R>>,
    is_first: bool,
    state: ParseState,
}

enum ParseState {
    Inside,
    Behind,
    /// Something follows that is no gzip.
    AtRubbish,
}

impl<R: BufRead> GzipReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)), is_first: true, state: ParseState::Inside }
    }

    pub(crate) fn get_ref(&self) -> Option<&R> {
        self.member.as_ref().map(GzDecoder::get_ref)
    }

    /// Says what follows the last member, once that has ended, if it is neither padding nor gzip.
    pub(crate) fn rubbish(&self) -> Option<ReadError> {
        matches!(self.state, ParseState::AtRubbish).then(|| {
            ReadError::Refused(
                "expected nothing but zeros behind the gzip data, got something else; what stands in front of it was \
                 read: fetch the file again, or leave the rest out, as in `gzip -dcq FILE | mds ingest ... -`"
                    .into(),
            )
        })
    }

    /// Reads some of what is in the members; 0 at the end of the last.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            self.state = match self.state {
                ParseState::Inside => match member.read(buf) {
                    Ok(0) => ParseState::Behind,
                    Ok(read) => return Ok(read),
                    // It is no member at all.
                    Err(error)
                        if error.kind() == io::ErrorKind::InvalidInput
                            && !self.is_first
                            && member.header().is_none() =>
                    {
                        ParseState::AtRubbish
                    }
                    Err(error) => return Err(damaged(Compression::Gzip, error)),
                },
                ParseState::Behind => {
                    let input = member.get_mut();
                    let bytes = input.fill_buf().map_err(|error| damaged(Compression::Gzip, error))?;
                    if bytes.is_empty() {
                        return Ok(0);
                    }
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    let next = bytes.get(zeros).copied();
                    input.consume(zeros);
                    match next {
                        None => ParseState::Behind,
                        Some(MAGIC) => {
                            self.is_first = false;
                            self.member = self.member.take().map(|member| GzDecoder::new(member.into_inner()));
                            ParseState::Inside
                        }
                        Some(_) => ParseState::AtRubbish,
                    }
                }
                ParseState::AtRubbish => return Ok(0),
            };
        }
    }
}
