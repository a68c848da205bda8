//! The frames of Zstandard, each held against the length that it declares.
//!
//! The library compares the two only where a frame ends with a block that has something in it, or where it is given a
//! whole frame and room for it at once. Elsewhere a frame that lost its blocks would pass for a short one.

use std::io::{self, BufRead, Read};

use zstd::{
    stream::{
        raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer, WriteBuf},
        zio,
    },
    zstd_safe,
};

/// The most memory that a frame may ask for, as a power of two: what its own tool allows without a flag.
const WINDOW_LOG: u32 = 27;
/// The longest header of a frame: mark, description, window, dictionary and length.
const LONGEST_HEADER: usize = 18;

/// What is in one frame, or several behind each other, unpacked as it streams by.
pub(crate) struct ZstdReader<R>(zio::Reader<R, Checked>);

impl<R: BufRead> ZstdReader<R> {
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self(zio::Reader::new(input, Checked { decoder, header: Vec::new(), length: 0 })))
    }

    pub(crate) fn get_ref(&self) -> &R {
        self.0.reader()
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// The library's decoder, and what has come and gone of the frame that is under way.
struct Checked {
    decoder: Decoder<'static>,
    /// Its first bytes.
    header: Vec<u8>,
    /// How many bytes came out of it.
    length: u64,
}

impl Checked {
    /// Looks at a frame that has ended, and makes ready for the next.
    fn end(&mut self) -> io::Result<()> {
        let (header, length) = (std::mem::take(&mut self.header), std::mem::take(&mut self.length));
        // A frame that is to be skipped has the length 0. What has no header is no frame.
        match zstd_safe::get_frame_content_size(&header) {
            Ok(Some(declared)) if declared != length => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {declared} bytes by its header has {length}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Operation for Checked {
    fn run<C: WriteBuf + ?Sized>(
        &mut self,
        input: &mut InBuffer<'_>,
        output: &mut OutBuffer<'_, C>,
    ) -> io::Result<usize> {
        let (from, before) = (input.pos(), output.pos());
        let hint = self.decoder.run(input, output)?;
        let missing = LONGEST_HEADER - self.header.len();
        self.header.extend(input.src[from..input.pos()].iter().take(missing));
        self.length += (output.pos() - before) as u64;
        // It never goes beyond the end of a frame in one step, and has handed out everything by then.
        if hint == 0 {
            self.end()?;
        }
        Ok(hint)
    }

    fn reinit(&mut self) -> io::Result<()> {
        self.decoder.reinit()
    }

    fn finish<C: WriteBuf + ?Sized>(
        &mut self,
        output: &mut OutBuffer<'_, C>,
        finished_frame: bool,
    ) -> io::Result<usize> {
        self.decoder.finish(output, finished_frame)
    }
}
