//! The header of YUV4MPEG2 (yuv4mpeg(5) of mjpegtools, with the extensions of ffmpeg's libavformat/yuv4mpegdec.c).

use super::Range;

/// The first bytes of a YUV4MPEG2 stream.
pub(super) const MAGIC: &[u8] = b"YUV4MPEG2 ";

/// Maximum size of a header, in bytes; ffmpeg writes about 100.
pub(super) const MAX_HEADER: u64 = 1024;

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Header {
    pub width: usize,
    pub height: usize,
    /// Bits per sample.
    pub bits: u32,
    /// Subsampling factors of the chroma planes, horizontal and vertical; `None` for grey.
    pub chroma: Option<[usize; 2]>,
    /// Whether a frame's odd and even rows were captured at different times.
    pub interlaced: bool,
    /// The codes of black and white, if specified.
    pub range: Option<Range>,
    /// Width and height of a pixel; 0:0 if unknown.
    pub ratio: [u32; 2],
    /// Frames and seconds of the frame rate; 0:0 if unknown.
    pub rate: [u32; 2],
}

impl Header {
    /// Parses the header line, including its line feed.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub(super) fn of(line: &[u8]) -> Result<Header, String> {
        let damaged = || "is no YUV4MPEG2 stream: write one by ffmpeg -f yuv4mpegpipe".to_owned();
        let line = line.strip_prefix(MAGIC).and_then(|line| line.strip_suffix(b"\n")).ok_or_else(damaged)?;
        let line = std::str::from_utf8(line).map_err(|_| damaged())?;
        let (mut width, mut height, mut sampling, mut fields) = (None, None, None, None);
        let (mut range, mut old_sampling, mut ratio) = (None, None, None);
        let mut rate = None;
        for token in line.split(' ').filter(|token| !token.is_empty()) {
            // A non-ASCII first character matches no field.
            let (letter, value) = token.split_at(token.chars().next().map_or(0, char::len_utf8));
            match letter {
                "W" => once(&mut width, letter, value)?,
                "H" => once(&mut height, letter, value)?,
                "C" => once(&mut sampling, letter, value)?,
                "I" => once(&mut fields, letter, value)?,
                "A" => once(&mut ratio, letter, value)?,
                "F" => once(&mut rate, letter, value)?,
                "X" => match value.split_once('=') {
                    Some(("COLORRANGE", value)) => once(&mut range, "XCOLORRANGE", value)?,
                    Some(("YSCSS", value)) => once(&mut old_sampling, "XYSCSS", value)?,
                    Some((name, _)) if name.starts_with("COLOR") => {
                        return Err(format!(
                            "says {}, which is not read: take it out of the header",
                            quoted(token)
                        ));
                    }
                    // Comments and fields private to a program.
                    _ => {}
                },
                _ => {}
            }
        }
        let side =
            |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok()).filter(|&side| side > 0);
        let (Some(width), Some(height)) = (side(width), side(height)) else { return Err(damaged()) };
        let range = range.map(range_of).transpose()?;
        let (bits, chroma) = sampling_of(sampling, old_sampling)?;
        let interlaced = match fields {
            None | Some("p" | "?") => false,
            Some("t" | "b") => true,
            Some("m") => {
                return Err(
                    "mixes interlaced and progressive frames: make all progressive (ffmpeg -vf yadif)".into(),
                );
            }
            Some(other) => return Err(format!("has the interlacing {}, which is unknown", quoted(other))),
        };
        let ratio = ratio.map_or(Ok([0; 2]), |text| ratio_of("pixel aspect ratio", "A1:1", text))?;
        let rate = rate.map_or(Ok([0; 2]), |text| ratio_of("frame rate", "F25:1", text))?;
        Ok(Header { width, height, bits, chroma, interlaced, range, ratio, rate })
    }
}

/// Refuses a field that occurs twice with different values.
fn once<'a>(field: &mut Option<&'a str>, name: &str, value: &'a str) -> Result<(), String> {
    match field.replace(value) {
        Some(before) if before != value => {
            Err(format!("says {name} twice, {} and {}: correct the header", quoted(before), quoted(value)))
        }
        _ => Ok(()),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.escape_debug())
}

fn ratio_of(what: &str, example: &str, text: &str) -> Result<[u32; 2], String> {
    let parts = text.split_once(':').map(|(over, under)| [over.parse().ok(), under.parse().ok()]);
    match parts {
        Some([Some(over), Some(under)]) => Ok([over, under]),
        _ => Err(format!("has the {what} {}: give two whole numbers, as in {example}", quoted(text))),
    }
}

fn range_of(text: &str) -> Result<Range, String> {
    match text {
        "FULL" => Ok(Range::Full),
        "LIMITED" => Ok(Range::Limited),
        other => Err(format!("has the colour range {}: FULL and LIMITED are known", quoted(other))),
    }
}

/// Bit depth and chroma subsampling: from `C`, else from the older `XYSCSS`, else 4:2:0 with 8 bits. The chroma siting
/// (`jpeg`, `mpeg2`, `paldv`) makes no difference, because the nearest sample is used.
fn sampling_of(sampling: Option<&str>, old: Option<&str>) -> Result<(u32, Option<[usize; 2]>), String> {
    let text = sampling.or(old).unwrap_or("420").to_ascii_lowercase();
    let unread = |why: &str| {
        format!(
            "has the colour space {}, {why}: convert it to mono, 420, 422 or 444 (ffmpeg -pix_fmt yuv420p)",
            quoted(&text)
        )
    };
    if text == "444alpha" {
        return Err(unread("which has a plane of opacity that cannot be honoured"));
    }
    let unknown = || unread("which is not read");
    if let Some(bits) = text.strip_prefix("mono") {
        return Ok((if bits.is_empty() { 8 } else { depth(bits).ok_or_else(unknown)? }, None));
    }
    let (name, rest) = text.split_at_checked(3).ok_or_else(unknown)?;
    let chroma = match name {
        "420" => [2, 2],
        "422" => [2, 1],
        "444" => [1, 1],
        "411" => [4, 1],
        "440" => [1, 2],
        "410" => [4, 4],
        _ => return Err(unknown()),
    };
    let bits = match rest {
        "" => 8,
        "jpeg" | "mpeg2" | "paldv" if name == "420" => 8,
        rest => rest.strip_prefix('p').and_then(depth).ok_or_else(unknown)?,
    };
    Ok((bits, Some(chroma)))
}

/// The bit depths that ffmpeg writes.
fn depth(text: &str) -> Option<u32> {
    text.parse().ok().filter(|bits| [9, 10, 12, 14, 16].contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Header, String> {
        Header::of(format!("YUV4MPEG2 {text}\n").as_bytes())
    }

    #[test]
    fn fields_are_told_apart() {
        let plain = Header {
            width: 96,
            height: 72,
            bits: 8,
            chroma: Some([2, 2]),
            interlaced: false,
            range: None,
            ratio: [0, 0],
            rate: [0, 0],
        };
        let known = Header { ratio: [1, 1], rate: [30000, 1001], ..plain };
        assert_eq!(header("W96 H72 F30000:1001 Ip A1:1"), Ok(known));
        assert_eq!(header("W96 H72 A10:11"), Ok(Header { ratio: [10, 11], ..plain }));
        assert_eq!(header("W96 H72 C420jpeg XYSCSS=420JPEG"), Ok(plain));
        // The older field is used if C is absent.
        let ten = Header { bits: 10, chroma: Some([2, 1]), ..plain };
        assert_eq!(header("W96 H72 XYSCSS=422P10"), Ok(ten));
        assert_eq!(header("H72 C422p10 W96"), Ok(ten));
        for (name, bits, chroma) in [
            ("mono", 8, None),
            ("mono9", 9, None),
            ("mono16", 16, None),
            ("420paldv", 8, Some([2, 2])),
            ("420p16", 16, Some([2, 2])),
            ("444p14", 14, Some([1, 1])),
            ("411", 8, Some([4, 1])),
            ("440", 8, Some([1, 2])),
        ] {
            assert_eq!(header(&format!("W96 H72 C{name}")), Ok(Header { bits, chroma, ..plain }), "{name}");
        }
        let full = Header { range: Some(Range::Full), ..plain };
        assert_eq!(header("W96 H72 XCOLORRANGE=FULL"), Ok(full));
        // A comment that mentions the field does not set it.
        assert_eq!(header("W96 H72 XNOTE=XCOLORRANGE=FULL"), Ok(plain));
        assert_eq!(header("W96 H72 XNOTXCOLORRANGE=FULL"), Ok(plain));
        assert_eq!(header("W96 H72 It").map(|header| header.interlaced), Ok(true));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (text, why) in [
            ("W96", "no YUV4MPEG2"),
            ("W0 H72", "no YUV4MPEG2"),
            ("W96 H72 W97", "says W twice"),
            ("W96 H72 XCOLORRANGE=FULLER", "colour range 'FULLER'"),
            ("W96 H72 XCOLORRANGE=FULL XCOLORRANGE=LIMITED", "says XCOLORRANGE twice"),
            ("W96 H72 XCOLORMATRIX=BT709", "XCOLORMATRIX=BT709"),
            ("W96 H72 C444alpha", "opacity"),
            ("W96 H72 C420p11", "'420p11', which is not read"),
            ("W96 H72 C422jpeg", "not read"),
            ("W96 H72 Cé", "not read"),
            ("W96 H72 Im", "mixes interlaced"),
            ("W96 H72 Ix", "interlacing 'x'"),
            ("W96 H72 A1", "aspect ratio '1'"),
            ("W96 H72 A1:-1", "aspect ratio '1:-1'"),
            ("W96 H72 F25", "frame rate '25'"),
        ] {
            let message = header(text).unwrap_err();
            assert!(message.contains(why) && !message.contains('\n'), "{text}: {message}");
        }
    }
}
