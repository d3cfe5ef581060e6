//! What timm's architecture names specify beyond the tensors: `models/timm-architectures.csv`, written by
//! `tests/reference/make_timm_table.py` and embedded at build time.

use crate::vit::Interpolation;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/timm-architectures.csv"));

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Architecture {
    pub name: &'static str,
    pub dim: usize,
    pub heads: usize,
    pub patch: usize,
    /// Rows and columns of the grid of patches used in training.
    pub grid: (usize, usize),
    pub norm_eps: f32,
    /// Whether the MLP is gated.
    pub gated: bool,
    /// Whether gate and value share one matrix, with the gate's rows first.
    pub packed_swiglu: bool,
    /// Features of the architecture that this program does not support; empty if it is supported.
    pub why: &'static str,
    pixels: &'static str,
}

/// Preprocessing of a pretrained tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tag {
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub interpolation: Interpolation,
    /// Share of the resized image that timm's own evaluation keeps.
    pub crop: f64,
    /// Side of the input.
    pub side: usize,
}

impl Architecture {
    /// The architecture called `name`, which may end in `.tag`.
    pub fn named(name: &str) -> Option<Architecture> {
        let name = name.split('.').next().unwrap_or_default();
        TABLE.lines().skip(1).filter_map(Architecture::parse).find(|line| line.name == name)
    }

    /// The number of heads of all supported architectures of this width and kind of MLP; `None` if they differ. Width /
    /// 64 is wrong for the largest: ViT-H has 16 heads of 80, but DINOv3's ViT-H+, which is gated, has 20 of 64.
    pub fn usual_heads(dim: usize, gated: bool) -> Option<usize> {
        let mut alike = TABLE
            .lines()
            .skip(1)
            .filter_map(Architecture::parse)
            .filter(|line| line.why.is_empty() && (line.dim, line.gated) == (dim, gated))
            .map(|line| line.heads);
        let first = alike.next()?;
        alike.all(|heads| heads == first).then_some(first)
    }

    fn parse(line: &'static str) -> Option<Architecture> {
        let fields: Vec<&'static str> = line.split(',').collect();
        let [name, dim, heads, patch, rows, cols, epsilon, mlp, why, pixels] = fields[..] else {
            return None;
        };
        let number = |text: &str| text.parse::<usize>().ok();
        Some(Architecture {
            name,
            dim: number(dim)?,
            heads: number(heads)?,
            patch: number(patch)?,
            grid: (number(rows)?, number(cols)?),
            norm_eps: epsilon.parse().ok()?,
            gated: mlp.starts_with("swiglu"),
            packed_swiglu: mlp == "swiglu_packed",
            why,
            pixels,
        })
    }

    /// Preprocessing of the pretrained tag `tag`. Without a tag, that of the first tag if all tags of this architecture
    /// have the same mean and standard deviation; `None` if they differ or the table lacks them.
    pub fn tag(&self, tag: Option<&str>) -> Option<Tag> {
        let mut lines = self.pixels.split(' ').filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, statistics, interpolation, crop, side] = fields[..] else { return None };
            Some((name, Tag::parse(statistics, interpolation, crop, side)))
        });
        if let Some(tag) = tag {
            return lines.find(|(name, _)| *name == tag)?.1;
        }
        let (_, first) = lines.next()?;
        let first = first?;
        lines
            .all(|(_, other)| other.is_some_and(|o| (o.mean, o.std) == (first.mean, first.std)))
            .then_some(first)
    }
}

impl Tag {
    fn parse(statistics: &str, interpolation: &str, crop: &str, side: &str) -> Option<Tag> {
        let (mean, std) = match statistics {
            "i" => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            "h" => ([0.5; 3], [0.5; 3]),
            "c" => ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]),
            _ => return None,
        };
        let interpolation = match interpolation {
            "bicubic" => Interpolation::Bicubic,
            "bilinear" => Interpolation::Bilinear,
            _ => return None,
        };
        Some(Tag { mean, std, interpolation, crop: crop.parse().ok()?, side: side.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines: Vec<Option<Architecture>> = TABLE.lines().skip(1).map(Architecture::parse).collect();
        assert!(lines.len() > 200 && lines.iter().all(Option::is_some));
        for line in lines.into_iter().flatten().filter(|line| line.why.is_empty()) {
            assert!(line.heads > 0 && line.dim.is_multiple_of(line.heads) && line.patch > 0, "{}", line.name);
            assert!(line.grid.0 > 0 && line.grid.1 > 0, "{}", line.name);
        }
    }

    /// Heads as in timm 1.0.31; statistics as on the models' cards on the Hugging Face hub.
    #[test]
    fn names_say_heads_and_tags_say_statistics() {
        for (name, dim, heads) in [
            ("vit_huge_patch14_224", 1280, 16),
            ("deit3_huge_patch14_224", 1280, 16),
            ("vit_so400m_patch14_siglip_224", 1152, 16),
            ("vit_tiny_patch16_224.augreg_in21k", 192, 3),
            ("test_vit", 64, 2),
        ] {
            let found = Architecture::named(name).unwrap();
            assert_eq!((found.dim, found.heads), (dim, heads), "{name}");
        }
        let small = Architecture::named("vit_small_patch16_224").unwrap();
        assert_eq!(small.tag(Some("augreg_in21k")).unwrap().mean, [0.5; 3]);
        assert_eq!(small.tag(Some("dino")).unwrap().mean, [0.485, 0.456, 0.406]);
        assert_eq!(small.tag(None), None);
        assert_eq!(small.tag(Some("unheard_of")), None);
        assert_eq!(Architecture::named("vit_tiny_patch16_224").unwrap().tag(None).unwrap().std, [0.5; 3]);
        assert_eq!(Architecture::named("resnet50"), None);
        for (dim, gated, heads) in [
            (384, false, Some(6)),
            (1280, false, Some(16)),
            (1280, true, Some(20)),
            (1408, false, Some(16)),
            (72, false, None),
        ] {
            assert_eq!(Architecture::usual_heads(dim, gated), heads, "{dim}");
        }
        assert!(Architecture::named("eva02_tiny_patch14_224").unwrap().why.contains("rotary"));
    }
}
