//! The frames of Zstandard, each held against the length that it declares.
//!
//! The library compares the two only where a frame ends with a block that has something in it. Elsewhere a frame that lost
//! its blocks would pass for a short one.

use std::io::{self, BufRead};

use zstd::{
    stream::raw::{DParameter, Decoder, Operation},
    zstd_safe,
};

/// The most memory that a frame may ask for, as a power of two: what its own tool allows without a flag.
pub(super) const WINDOW_LOG: u32 = 27;
/// The longest header of a frame: mark, description, window, dictionary and length.
const LONGEST_HEADER: usize = 18;

/// What is in one frame, or several behind each other, decompressed as it streams by.
pub(super) struct ZstdReader<R> {
    input: R,
    decoder: Decoder<'static>,
    /// The first bytes of the frame that is under way; none between frames.
    header: Vec<u8>,
    /// How many bytes came out of it.
    length: u64,
    /// Whether the decoder may hold more than there was room for.
    holds_more: bool,
}

impl<R: BufRead> ZstdReader<R> {
    pub(super) fn new(input: R, window_log: u32) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log))?;
        Ok(Self { input, decoder, header: Vec::new(), length: 0, holds_more: false })
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.input
    }

    /// Reads some of what is in the frames; 0 at the end of the last.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = if self.holds_more { &[] } else { self.input.fill_buf()? };
            if input.is_empty() && !self.holds_more {
                return if self.header.is_empty() { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            // The first byte of a frame goes alone. Given a whole frame at once the library decodes it in another way, which
            // takes some frames that it refuses piece by piece: then the sizes of reads would decide.
            let input = if self.header.is_empty() && !input.is_empty() { &input[..1] } else { input };
            let step = self.decoder.run_on_buffers(input, buf)?;
            let missing = LONGEST_HEADER - self.header.len();
            self.header.extend(input[..step.bytes_read].iter().take(missing));
            self.input.consume(step.bytes_read);
            self.length += step.bytes_written as u64;
            self.holds_more = step.remaining > 0 && step.bytes_written == buf.len();
            // It never goes beyond the end of a frame in one step, and has handed out everything by then.
            if step.remaining == 0 {
                self.end_frame()?;
            }
            if step.bytes_written > 0 {
                return Ok(step.bytes_written);
            }
        }
    }

    /// Checks a frame that has ended, and makes ready for the next.
    fn end_frame(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.length);
        // A frame that is to be skipped has the length 0. What has no header is no frame.
        let declared = zstd_safe::get_frame_content_size(&self.header);
        self.header.clear();
        match declared {
            Ok(Some(declared)) if declared != length => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {declared} bytes by its header has {length}"),
            )),
            _ => Ok(()),
        }
    }
}
