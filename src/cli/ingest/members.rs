//! The members of a gzip, and what may stand behind the last of them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::{ReadError, unpack::Packing, unpack::damaged};

/// The first byte of a member.
const MAGIC: u8 = 0x1f;

/// What is in one member, or several behind each other, unpacked as it streams by. Zeros behind a member are padding, as
/// tapes and archives leave it.
pub(super) struct Members<R> {
    /// The one that is under way, or has just ended; none only while the next takes its place.
    member: Option<GzDecoder<R>>,
    is_first: bool,
    place: Place,
}

enum Place {
    Inside,
    Behind,
    /// Something follows that is no gzip.
    AtRubbish,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)), is_first: true, place: Place::Inside }
    }

    pub(super) fn get_ref(&self) -> Option<&R> {
        self.member.as_ref().map(GzDecoder::get_ref)
    }

    /// Says what follows the last member, once that has ended, if it is neither padding nor gzip.
    pub(super) fn rubbish(&self) -> Option<ReadError> {
        matches!(self.place, Place::AtRubbish).then(|| {
            ReadError::Refused(
                "expected nothing but zeros behind the gzip data, got something else; what stands in front of it was \
                 read: fetch the file again, or leave the rest out, as in `gzip -dcq FILE | mds ingest ... -`"
                    .into(),
            )
        })
    }

    /// Reads some of what is in the members; 0 at the end of the last.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            self.place = match self.place {
                Place::Inside => match member.read(buf) {
                    Ok(0) => Place::Behind,
                    Ok(read) => return Ok(read),
                    // It is no member at all.
                    Err(error)
                        if error.kind() == io::ErrorKind::InvalidInput
                            && !self.is_first
                            && member.header().is_none() =>
                    {
                        Place::AtRubbish
                    }
                    Err(error) => return Err(damaged(Packing::Gzip, error)),
                },
                Place::Behind => {
                    let input = member.get_mut();
                    let bytes = input.fill_buf().map_err(|error| damaged(Packing::Gzip, error))?;
                    if bytes.is_empty() {
                        return Ok(0);
                    }
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    let next = bytes.get(zeros).copied();
                    input.consume(zeros);
                    match next {
                        None => Place::Behind,
                        Some(MAGIC) => {
                            self.is_first = false;
                            self.member = self.member.take().map(|member| GzDecoder::new(member.into_inner()));
                            Place::Inside
                        }
                        Some(_) => Place::AtRubbish,
                    }
                }
                Place::AtRubbish => return Ok(0),
            };
        }
    }
}
