//! The frame header (ITU-T T.81, B.2.2), and which of its coefficients the scans have coded.

/// The coding process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// Baseline and extended sequential DCT.
    Sequential,
    /// Progressive DCT.
    Progressive,
    /// Lossless, by prediction.
    Lossless,
}

/// A component of a frame.
pub(super) struct Component {
    /// Identifier used in scan headers.
    pub(super) id: u8,
    /// Horizontal and vertical sampling factors.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Index of the quantisation table.
    pub(super) quantiser: usize,
    /// Number of data units (blocks, or samples of a lossless frame) coded by a scan of this component alone, then by
    /// an interleaved scan: columns, rows.
    pub(super) alone: [usize; 2],
    pub(super) padded: [usize; 2],
    /// The lowest coded bit of each coefficient; `None` before its first scan.
    pub(super) coded: [Option<u8>; 64],
    /// For each padded block, a bit mask of its nonzero coefficients. Only for progressive frames, where refinement
    /// scans need it.
    pub(super) nonzero: Vec<u64>,
    /// The coefficients of each padded block in zigzag order, if they are kept.
    pub(super) values: Vec<[i16; 64]>,
    /// The quantisation steps at the component's first scan, in zigzag order.
    pub(super) steps: [u16; 64],
}

/// A frame and its components.
pub(super) struct Frame {
    pub(super) process: Process,
    /// Bits per sample.
    pub(super) precision: u8,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// Number of MCUs in an interleaved scan: columns, rows.
    pub(super) mcus: [usize; 2],
    /// Whether the coefficients are kept.
    pub(super) keep: bool,
}

impl Frame {
    /// Parses the marker's segment.
    ///
    /// # Errors
    /// If the process is unsupported or the header is inconsistent.
    pub(super) fn new(marker: u8, segment: &[u8]) -> Result<Frame, String> {
        let process = match marker {
            0xC0 | 0xC1 => Process::Sequential,
            0xC2 => Process::Progressive,
            0xC3 => Process::Lossless,
            0xC5..=0xC7 | 0xCD..=0xCF => return Err("a hierarchical JPEG, which is not read".into()),
            _ => return Err("a JPEG with arithmetic coding, which is not read".into()),
        };
        let &[precision, y1, y0, x1, x0, count, ref rest @ ..] = segment else {
            return Err("the frame header is too short".into());
        };
        let [width, height] = [[x1, x0], [y1, y0]].map(|b| usize::from(u16::from_be_bytes(b)));
        let fits = match process {
            Process::Sequential if marker == 0xC0 => precision == 8,
            Process::Sequential | Process::Progressive => matches!(precision, 8 | 12),
            Process::Lossless => (2..=16).contains(&precision),
        };
        if !fits {
            return Err(format!("the frame header has {precision} bits a sample"));
        }
        if height == 0 {
            return Err("the frame header does not tell the number of rows, which is not read".into());
        }
        if width == 0 || !(1..=4).contains(&count) || rest.len() != 3 * usize::from(count) {
            return Err(format!("the frame header has {width} columns and {count} components"));
        }
        let components = rest.chunks_exact(3).map(Component::new).collect::<Result<Vec<_>, _>>()?;
        let mut frame = Frame { process, precision, width, height, components, mcus: [0; 2], keep: false };
        frame.lay_out()?;
        Ok(frame)
    }

    /// Computes the sizes of A.1.1, A.2.2 and A.2.4.
    fn lay_out(&mut self) -> Result<(), String> {
        let unit = if self.process == Process::Lossless { 1 } else { 8 };
        let largest = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        let (h_max, v_max) = (largest(|c| c.h), largest(|c| c.v));
        self.mcus = [self.width.div_ceil(unit * h_max), self.height.div_ceil(unit * v_max)];
        for at in 0..self.components.len() {
            let component = &mut self.components[at];
            component.alone = [
                (self.width * component.h).div_ceil(h_max).div_ceil(unit),
                (self.height * component.v).div_ceil(v_max).div_ceil(unit),
            ];
            component.padded = [self.mcus[0] * component.h, self.mcus[1] * component.v];
            let id = component.id;
            if self.components[..at].iter().any(|other| other.id == id) {
                return Err(format!("the frame header names component {id} twice"));
            }
        }
        Ok(())
    }

    /// Checks that every sample is coded to its last bit.
    ///
    /// # Errors
    /// The first component that is incomplete.
    pub(super) fn check_whole(&self) -> Result<(), String> {
        let coefficients = if self.process == Process::Lossless { 1 } else { 64 };
        for component in &self.components {
            let id = component.id;
            match component.coded[..coefficients].iter().position(|&lowest| lowest != Some(0)) {
                None => {}
                Some(0) if component.coded[0].is_none() => {
                    return Err(format!("no scan holds component {id}"));
                }
                Some(k) => {
                    return Err(format!("coefficient {k} of component {id} is not coded to its last bit"));
                }
            }
        }
        Ok(())
    }
}

impl Component {
    fn new(bytes: &[u8]) -> Result<Component, String> {
        let [id, sampling, quantiser] = [bytes[0], bytes[1], bytes[2]];
        let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) || quantiser > 3 {
            return Err(format!("component {id} has the sampling factors {h}x{v} and table {quantiser}"));
        }
        let quantiser = quantiser.into();
        Ok(Component {
            id,
            h,
            v,
            quantiser,
            alone: [0; 2],
            padded: [0; 2],
            coded: [None; 64],
            nonzero: Vec::new(),
            values: Vec::new(),
            steps: [1; 64],
        })
    }
}
