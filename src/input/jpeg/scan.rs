//! A scan: its header (ITU-T T.81, B.2.3), its MCUs and its restart intervals.

use super::bits::{Bits, Fault};
use super::frame::{Component, Frame, Process};
use super::huffman::Table;
use super::tables::Tables;

/// The fields of a scan header.
pub(super) struct Scan {
    /// For each component, its index in the frame and its DC and AC tables.
    parts: Vec<(usize, usize, usize)>,
    /// First and last coefficient; for a lossless frame, the predictor and 0.
    band: [u8; 2],
    /// Successive approximation: the lowest bit coded by the preceding scan of these coefficients (0 for the first
    /// scan), then the lowest bit coded by this scan.
    high: u8,
    low: u8,
}

/// State for decoding the blocks of one component.
struct Coder<'a> {
    process: Process,
    dc: Option<&'a Table>,
    ac: Option<&'a Table>,
    /// The largest categories of DC differences and AC coefficients (F.1.2.1, F.1.2.2); then the DC quantisation step.
    categories: [u8; 2],
    dc_step: i32,
    /// The DC value of the preceding block.
    dc_value: i32,
}

impl Scan {
    /// Parses the header segment and records in `frame` what the scan will code.
    ///
    /// # Errors
    /// If the header contradicts the frame or an earlier scan.
    pub(super) fn new(frame: &mut Frame, segment: &[u8]) -> Result<Scan, String> {
        let wrong = || "its header is wrong".to_string();
        let (&count, rest) = segment.split_first().ok_or_else(wrong)?;
        let (selectors, last) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(wrong)?;
        let &[first, end, approximation] = last else { return Err(wrong()) };
        let mut parts: Vec<(usize, usize, usize)> = Vec::new();
        for selector in selectors.chunks_exact(2) {
            let index = frame.components.iter().position(|c| c.id == selector[0]);
            let index = index.filter(|i| parts.iter().all(|part| part.0 != *i));
            let index =
                index.ok_or_else(|| format!("component {} is not in the frame, or twice", selector[0]))?;
            parts.push((index, usize::from(selector[1] >> 4), usize::from(selector[1] & 15)));
        }
        let units: usize = parts.iter().map(|&(i, ..)| frame.components[i].h * frame.components[i].v).sum();
        if parts.is_empty() || parts.len() > 4 || (parts.len() > 1 && units > 10) {
            return Err(wrong());
        }
        let scan = Scan { parts, band: [first, end], high: approximation >> 4, low: approximation & 15 };
        scan.check_band(frame.process)?;
        scan.note(frame)?;
        Ok(scan)
    }

    /// Checks the parameters against table B.3.
    fn check_band(&self, process: Process) -> Result<(), String> {
        let [first, end] = self.band;
        let fits = match process {
            Process::Sequential => true,
            Process::Progressive if first == 0 => end == 0,
            Process::Progressive => first <= end && end <= 63 && self.parts.len() == 1,
            Process::Lossless => (1..=7).contains(&first),
        };
        // In sequential scans these parameters are fixed and have no meaning; some encoders write other values.
        let approximation = process == Process::Sequential
            || process == Process::Lossless
            || (self.low <= 13 && (self.high == 0 || self.high == self.low + 1));
        if fits && approximation { Ok(()) } else { Err("its coefficients are wrong".into()) }
    }

    /// Checks that each bit of each coefficient is coded once, from the highest down.
    fn note(&self, frame: &mut Frame) -> Result<(), String> {
        let (band, before, after) = match frame.process {
            Process::Sequential => (0..=63, None, 0),
            Process::Lossless => (0..=0, None, 0),
            Process::Progressive => {
                let before = (self.high > 0).then_some(self.high);
                (usize::from(self.band[0])..=usize::from(self.band[1]), before, self.low)
            }
        };
        for &(index, ..) in &self.parts {
            let component = &mut frame.components[index];
            for k in band.clone() {
                // G.1.1.1.1: the first DC scan of a component comes before its AC scans.
                if component.coded[k] != before
                    || (k > 0 && *band.start() > 0 && component.coded[0].is_none())
                {
                    return Err(format!("coefficient {k} of component {} is out of order", component.id));
                }
                component.coded[k] = Some(after);
            }
        }
        Ok(())
    }

    /// Number of MCUs: columns, rows.
    fn mcus(&self, frame: &Frame) -> [usize; 2] {
        if let [(index, ..)] = self.parts[..] { frame.components[index].alone } else { frame.mcus }
    }

    /// Number of blocks or samples that the scan codes.
    pub(super) fn units(&self, frame: &Frame) -> usize {
        let [columns, rows] = self.mcus(frame);
        let units =
            |&(index, ..): &(usize, usize, usize)| frame.components[index].h * frame.components[index].v;
        let each = if self.parts.len() == 1 { 1 } else { self.parts.iter().map(units).sum() };
        columns * rows * each
    }

    /// Reads the coded data from `at` on; returns the index of the marker after it.
    ///
    /// # Errors
    /// The problem, and the MCU in which it occurs.
    pub(super) fn read(
        &self,
        frame: &mut Frame,
        tables: &Tables,
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, String> {
        let [columns, rows] = self.mcus(frame);
        let total = columns * rows;
        // A block takes at least one bit in a DC scan, which precedes any AC scan; so does every lossless sample.
        if (self.band[0] == 0 || frame.process != Process::Progressive)
            && self.units(frame) / 8 > bytes.len() - at
        {
            return Err(format!("{} bytes cannot hold {total} MCUs", bytes.len() - at));
        }
        let mut coders = self.coders(frame, tables)?;
        self.make_room(frame, tables);
        let interval = if tables.restart == 0 { total } else { tables.restart };
        let (mut at, mut done) = (at, 0);
        loop {
            let mut bits = Bits::new(bytes, at);
            let mut skip = 0;
            coders.iter_mut().for_each(|coder| coder.dc_value = 0);
            let last = total.min(done + interval);
            for mcu in done..last {
                self.mcu(frame, &mut coders, &mut bits, &mut skip, [mcu % columns, mcu / columns])
                    .map_err(|e| format!("{e} in MCU {} of {total}", mcu + 1))?;
            }
            done = last;
            let after = |e: Fault| format!("{e} after MCU {done} of {total}");
            if skip > 0 {
                return Err(after("a run of empty blocks goes on"));
            }
            at = bits.end().map_err(after)?;
            let restart = restart_marker(bytes, at);
            // Some encoders write a marker after the last interval too.
            let expected = ((done / interval - 1) % 8) as u8;
            match restart {
                Some((number, next))
                    if number == expected && done.is_multiple_of(interval) && tables.restart > 0 =>
                {
                    at = next
                }
                Some((number, _)) => {
                    return Err(format!("restart marker {number} after MCU {done} of {total}"));
                }
                None if done < total => return Err(after("a restart marker is missing")),
                None => {}
            }
            if done == total {
                return Ok(at);
            }
        }
    }

    /// Allocates what is kept of the components, in their first scan.
    fn make_room(&self, frame: &mut Frame, tables: &Tables) {
        let (keep, progressive) = (frame.keep, frame.process == Process::Progressive);
        for &(index, ..) in &self.parts {
            let component = &mut frame.components[index];
            let blocks = component.padded[0] * component.padded[1];
            if progressive {
                component.nonzero.resize(blocks, 0);
            }
            if keep && component.values.is_empty() {
                component.values.resize(blocks, [0; 64]);
                component.steps = tables.quantisers[component.quantiser].unwrap_or([1; 64]);
            }
        }
    }

    fn coders<'a>(&self, frame: &Frame, tables: &'a Tables) -> Result<Vec<Coder<'a>>, String> {
        let coder = |&(index, dc, ac): &(usize, usize, usize)| {
            let process = frame.process;
            let component = &frame.components[index];
            let needs_dc = process != Process::Progressive || (self.band[0] == 0 && self.high == 0);
            let needs_ac = match process {
                Process::Sequential => true,
                Process::Progressive => self.band[0] > 0,
                Process::Lossless => false,
            };
            let dc = tables.dc.get(dc).and_then(Option::as_ref).filter(|_| needs_dc);
            let ac = tables.ac.get(ac).and_then(Option::as_ref).filter(|_| needs_ac);
            let step = match process {
                Process::Lossless => Some(1),
                _ => tables.quantisers[component.quantiser].map(|steps| i32::from(steps[0])),
            };
            let (Some(dc_step), true, true) = (step, dc.is_some() == needs_dc, ac.is_some() == needs_ac)
            else {
                return Err("a table that it needs is not there".into());
            };
            let categories = match (process, frame.precision) {
                (Process::Lossless, _) => [16, 0],
                (_, 8) => [11, 10],
                _ => [15, 14],
            };
            Ok(Coder { process, dc, ac, categories, dc_step, dc_value: 0 })
        };
        self.parts.iter().map(coder).collect()
    }

    /// Reads one MCU; `place` is its column and row.
    fn mcu(
        &self,
        frame: &mut Frame,
        coders: &mut [Coder],
        bits: &mut Bits,
        skip: &mut u32,
        place: [usize; 2],
    ) -> Result<(), Fault> {
        let alone = self.parts.len() == 1;
        // Limit for a dequantised DC value: twice that of an all-black or all-white block (A.3.3, A.3.4).
        let bright = 1i32 << (frame.precision + 3);
        for (&(index, ..), coder) in self.parts.iter().zip(coders) {
            let component = &mut frame.components[index];
            let [wide, high] = if alone { [1, 1] } else { [component.h, component.v] };
            for row in 0..high {
                for column in 0..wide {
                    let at = (place[1] * high + row) * component.padded[0] + place[0] * wide + column;
                    match coder.process {
                        Process::Lossless => coder.sample(bits)?,
                        Process::Sequential => coder.block(bits, bright, component.values.get_mut(at))?,
                        Process::Progressive => self.progress(component, at, coder, bits, skip, bright)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads one block of a progressive scan (annex G.1.2).
    fn progress(
        &self,
        component: &mut Component,
        at: usize,
        coder: &mut Coder,
        bits: &mut Bits,
        skip: &mut u32,
        bright: i32,
    ) -> Result<(), Fault> {
        let nonzero = &mut component.nonzero[at];
        let mut block = Block { nonzero, values: component.values.get_mut(at), low: self.low };
        match (self.band[0], self.high) {
            (0, 0) => {
                coder.dc(bits, bright >> self.low)?;
                block.set(0, coder.dc_value);
                Ok(())
            }
            (0, _) => {
                let bit = bits.take(1)? as i16;
                block.values.into_iter().for_each(|values| values[0] |= bit << self.low);
                Ok(())
            }
            (_, 0) => self.first(block, coder, bits, skip),
            _ => self.refine(block, coder, bits, skip),
        }
    }

    /// Reads the first bits of AC coefficients (G.1.2.2).
    fn first(&self, mut block: Block, coder: &Coder, bits: &mut Bits, skip: &mut u32) -> Result<(), Fault> {
        if *skip > 0 {
            *skip -= 1;
            return Ok(());
        }
        let mut k = u32::from(self.band[0]);
        while k <= u32::from(self.band[1]) {
            let (run, size) = coder.ac_symbol(bits)?;
            match (run, size) {
                (15, 0) => k += 15,
                (_, 0) => {
                    *skip = (1 << run) - 1 + bits.take(run)?;
                    return Ok(());
                }
                _ => {
                    k += run;
                    let value = bits.signed(size)?;
                    if k <= u32::from(self.band[1]) {
                        block.set(k, value);
                    }
                }
            }
            if k > u32::from(self.band[1]) {
                return Err(PAST_THE_LAST);
            }
            k += 1;
        }
        Ok(())
    }

    /// Reads one more bit of AC coefficients (G.1.2.3).
    fn refine(&self, mut block: Block, coder: &Coder, bits: &mut Bits, skip: &mut u32) -> Result<(), Fault> {
        let (mut k, end) = (u32::from(self.band[0]), u32::from(self.band[1]));
        while k <= end && *skip == 0 {
            let (mut run, size) = coder.ac_symbol(bits)?;
            let mut value = 0;
            match (run, size) {
                (15, 0) => {}
                (_, 0) => {
                    // The run includes this block.
                    *skip = (1 << run) + bits.take(run)?;
                    break;
                }
                (_, 1) => value = bits.signed(1)?,
                _ => return Err("a refinement has more than one bit"),
            }
            // Skips `run` zero coefficients; each nonzero coefficient passed has a correction bit.
            loop {
                if k > end {
                    return Err(PAST_THE_LAST);
                }
                if block.is_set(k) {
                    block.correct(k, bits)?;
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
            if size == 1 {
                block.set(k, value);
            }
            k += 1;
        }
        if *skip > 0 {
            for k in k..=end {
                if block.is_set(k) {
                    block.correct(k, bits)?;
                }
            }
            *skip -= 1;
        }
        Ok(())
    }
}

/// The coefficients of a progressive block, as far as they are coded.
struct Block<'a> {
    nonzero: &'a mut u64,
    values: Option<&'a mut [i16; 64]>,
    low: u8,
}

impl Block<'_> {
    fn is_set(&self, k: u32) -> bool {
        *self.nonzero >> k & 1 == 1
    }

    /// Sets the first bits of coefficient `k`.
    fn set(&mut self, k: u32, value: i32) {
        *self.nonzero |= 1 << k;
        if let Some(values) = &mut self.values {
            values[k as usize] = to_i16(value << self.low);
        }
    }

    /// Reads one more bit of a nonzero coefficient, which increases its magnitude.
    fn correct(&mut self, k: u32, bits: &mut Bits) -> Result<(), Fault> {
        let bit = bits.take(1)? as i16;
        if let Some(values) = &mut self.values {
            let value = &mut values[k as usize];
            *value += value.signum() * (bit << self.low);
        }
        Ok(())
    }
}

const PAST_THE_LAST: Fault = "a coefficient past the last";

impl Coder<'_> {
    /// Reads a DC value; `limit` bounds its dequantised magnitude.
    fn dc(&mut self, bits: &mut Bits, limit: i32) -> Result<(), Fault> {
        let Some(table) = self.dc else { return Ok(()) };
        let category = bits.symbol(table)?;
        if category > self.categories[0] {
            return Err("a DC coefficient out of range");
        }
        self.dc_value += bits.signed(category.into())?;
        if self.dc_value.saturating_mul(self.dc_step).abs() > limit.max(self.dc_step) {
            return Err("a DC coefficient out of range");
        }
        Ok(())
    }

    /// Reads the zero run length and the category (F.1.2.2.1).
    fn ac_symbol(&self, bits: &mut Bits) -> Result<(u32, u32), Fault> {
        let Some(table) = self.ac else { return Ok((0, 0)) };
        let symbol = bits.symbol(table)?;
        if symbol & 15 > self.categories[1] {
            return Err("an AC coefficient out of range");
        }
        Ok((u32::from(symbol >> 4), u32::from(symbol & 15)))
    }

    /// Reads a block of a sequential scan (F.2.2).
    fn block(
        &mut self,
        bits: &mut Bits,
        bright: i32,
        mut values: Option<&mut [i16; 64]>,
    ) -> Result<(), Fault> {
        self.dc(bits, bright)?;
        if let Some(values) = &mut values {
            values[0] = to_i16(self.dc_value);
        }
        let mut k = 1;
        while k < 64 {
            match self.ac_symbol(bits)? {
                (0, 0) => break,
                (15, 0) => k += 16,
                (_, 0) => return Err("an AC coefficient of no size"),
                (run, size) => {
                    k += run + 1;
                    let value = bits.signed(size)?;
                    if let Some(values) = &mut values
                        && let Some(place) = values.get_mut(k as usize - 1)
                    {
                        *place = to_i16(value);
                    }
                }
            }
            if k > 64 {
                return Err(PAST_THE_LAST);
            }
        }
        Ok(())
    }

    /// Reads a difference in a lossless scan (H.2.2); category 16 is followed by no bits.
    fn sample(&mut self, bits: &mut Bits) -> Result<(), Fault> {
        let Some(table) = self.dc else { return Ok(()) };
        match bits.symbol(table)? {
            category @ 0..16 => bits.take(category.into()).map(|_| ()),
            16 => Ok(()),
            _ => Err("a difference out of range"),
        }
    }
}

/// Saturates; only damaged data has coefficients that do not fit.
fn to_i16(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// The number of the restart marker at `at`, and the index after it.
fn restart_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let fill = rest.iter().take_while(|&&byte| byte == 0xFF).count();
    let code = *rest.get(fill)?;
    (fill > 0 && (0xD0..=0xD7).contains(&code)).then(|| (code - 0xD0, at + fill + 1))
}
