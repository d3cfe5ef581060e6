//! Writes pictures as YUV4MPEG2, for players and pipes (yuv4mpeg(5) of mjpegtools).

use std::io::{self, Write};

/// A stream of pictures of one size.
pub struct Y4mWriter<W> {
    out: W,
    rate: [u32; 2],
    /// Width, height and whether it has colours, since the first picture.
    size: Option<(usize, usize, bool)>,
}

impl<W: Write> Y4mWriter<W> {
    /// Writes to `out`; the header, which comes with the first picture, says `rate`: frames and seconds.
    pub fn new(out: W, rate: [u32; 2]) -> Y4mWriter<W> {
        Y4mWriter { out, rate, size: None }
    }

    /// Writes a grey picture, `[height, width]`, in full range.
    ///
    /// # Errors
    /// Those of the writer, and [`io::ErrorKind::InvalidInput`] for a picture of another kind or size than the first one.
    ///
    /// # Panics
    /// If there is not one value for each pixel.
    pub fn grey(&mut self, width: usize, height: usize, pixels: &[u8]) -> io::Result<()> {
        assert_eq!(pixels.len(), width * height, "a value for each pixel");
        self.frame((width, height, false), pixels)
    }

    /// Writes a picture in colour, `[height, width, 3]`, as luma and chroma of BT.601 in full range, without subsampling.
    ///
    /// # Errors
    /// As [`Y4mWriter::grey`].
    ///
    /// # Panics
    /// If there are not three values for each pixel.
    pub fn rgb(&mut self, width: usize, height: usize, pixels: &[u8]) -> io::Result<()> {
        assert_eq!(pixels.len(), 3 * width * height, "three values for each pixel");
        let mut planes = vec![0; pixels.len()];
        let (luma, chroma) = planes.split_at_mut(width * height);
        let (blue, red) = chroma.split_at_mut(width * height);
        for (at, &[r, g, b]) in pixels.as_chunks::<3>().0.iter().enumerate() {
            let [r, g, b] = [r, g, b].map(f32::from);
            // ITU-T T.871, section 7.
            let y = 0.299 * r + 0.587 * g + 0.114 * b;
            // The conversion cuts off the fraction and what is beyond 0 and 255.
            luma[at] = (y + 0.5) as u8;
            blue[at] = ((b - y) / 1.772 + 128.5) as u8;
            red[at] = ((r - y) / 1.402 + 128.5) as u8;
        }
        self.frame((width, height, true), &planes)
    }

    fn frame(&mut self, size: (usize, usize, bool), planes: &[u8]) -> io::Result<()> {
        let (width, height, colour) = size;
        if self.size.is_none() {
            let ([frames, seconds], kind) = (self.rate, if colour { "444" } else { "mono" });
            writeln!(
                self.out,
                "YUV4MPEG2 W{width} H{height} F{frames}:{seconds} Ip A1:1 C{kind} XCOLORRANGE=FULL"
            )?;
            self.size = Some(size);
        }
        if self.size != Some(size) {
            let problem =
                format!("a picture of {width}x{height} px does not fit into the stream, which has one size");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        self.out.write_all(b"FRAME\n")?;
        self.out.write_all(planes)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::input::{FrameStream, Image, ReadOptions, StreamFormat};

    fn read(bytes: Vec<u8>) -> Vec<Image> {
        let stream = FrameStream::new("test", Cursor::new(bytes), StreamFormat::Y4m, &ReadOptions::default());
        stream.unwrap().map(Result::unwrap).collect()
    }

    /// The reader's values are compared with ffmpeg's elsewhere (tests/golden/y4m.json).
    #[test]
    fn what_is_written_is_read_again() {
        let grey: Vec<u8> = (0..80).map(|i| (i * 3) as u8).collect();
        let mut out = Vec::new();
        let mut writer = Y4mWriter::new(&mut out, [25, 1]);
        writer.grey(10, 8, &grey).unwrap();
        writer.grey(10, 8, &grey).unwrap();
        let images = read(out);
        assert_eq!(images.len(), 2);
        assert_eq!(images[1].pixels().as_bytes(), grey);
        let colours: Vec<u8> = (0..240_u32).map(|i| (i * 167 % 256) as u8).collect();
        let mut out = Vec::new();
        Y4mWriter::new(&mut out, [30000, 1001]).rgb(10, 8, &colours).unwrap();
        let images = read(out);
        for (found, expected) in images[0].pixels().as_bytes().iter().zip(&colours) {
            // Luma and chroma are rounded: half a unit each, of which blue takes 1.772, and another half of the reader.
            assert!(found.abs_diff(*expected) <= 2, "{found}, and not {expected}");
        }
    }

    #[test]
    fn another_size_is_refused() {
        let mut writer = Y4mWriter::new(Vec::new(), [25, 1]);
        writer.grey(8, 8, &[0; 64]).unwrap();
        assert!(writer.grey(8, 9, &[0; 72]).is_err());
        assert!(writer.rgb(8, 8, &[0; 192]).is_err());
        writer.grey(8, 8, &[0; 64]).unwrap();
    }
}
