//! Metrics of a dense head over a set of images: overlap and surface distances per case, then over all cases.

use serde::{Deserialize, Serialize};

use crate::features::Geometry;
use crate::heads::measure::mean;
use crate::heads::{Bootstrap, Estimate, HeadError, Overlap, SurfaceDistances, overlaps, surface_distances};
use crate::input::{LabelMap, Spacing};

/// Results of one image or volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Overlap of each class, the background first.
    pub overlaps: Vec<Overlap>,
    /// Surface distances of each class but the background; `None` if truth or prediction lacks the class.
    pub surfaces: Vec<Option<SurfaceDistances>>,
    /// Whether distances are in millimetres; otherwise they are in pixels.
    pub millimetres: bool,
}

/// A dense head's performance. A metric is `None` if no case defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseReport {
    /// Number of images or volumes.
    pub images: usize,
    /// Mean over the foreground classes of the mean Dice of the cases that have the class.
    pub dice: Option<Estimate>,
    /// The same for intersection over union.
    pub iou: Option<Estimate>,
    /// Unit of distances: `mm`, or `px` if the spacing of any case is unknown.
    pub unit: String,
    /// Each class but the background.
    pub classes: Vec<DenseClass>,
    /// How the intervals were computed: resamples of cases.
    pub bootstrap: Bootstrap,
}

/// One class of a dense head. Per-case metrics cover the cases whose truth has the class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseClass {
    /// Its name.
    pub class: String,
    /// Number of cases that have it.
    pub images: usize,
    /// Mean Dice of these cases; a case that is missed completely counts as 0.
    pub dice: Option<Estimate>,
    /// Mean intersection over union of these cases.
    pub iou: Option<Estimate>,
    /// Mean 95th-percentile Hausdorff distance of the cases in which both truth and prediction have the class.
    pub hd95: Option<Estimate>,
    /// Mean average symmetric surface distance of the same cases.
    pub asd: Option<Estimate>,
    /// Dice over the pixels of all cases together, including cases that lack the class.
    pub pooled_dice: Option<Estimate>,
    /// Number of cases that have the class but no predicted pixel of it.
    pub missed: usize,
    /// Number of cases that lack the class but have a predicted pixel of it.
    pub false_alarms: usize,
}

/// Number of statistics per class in a vector of statistics.
const PER_CLASS: usize = 5;

impl Case {
    /// Compares `found` with `truth`, both with `classes` classes. `voxel` is the distance in millimetres
    /// between slices, rows and columns; without it, distances are in voxels. Cases that are evaluated together must have
    /// the same unit.
    ///
    /// # Errors
    /// [`HeadError`] when their sizes differ, or a label is not below `classes`.
    pub fn new(
        truth: &LabelMap,
        found: &LabelMap,
        classes: usize,
        voxel: Option<[f64; 3]>,
    ) -> Result<Case, HeadError> {
        let overlaps = overlaps(truth, found, classes)?;
        let spacing = voxel.unwrap_or([1.0; 3]);
        let surfaces =
            (1..classes).map(|class| surface_distances(truth, found, class as u8, spacing)).collect();
        Ok(Case { overlaps, surfaces, millimetres: voxel.is_some() })
    }
}

/// The voxel sizes in millimetres of cases that are evaluated together, or `None` if one of them is not known: all
/// distances are then in voxels, since a mean over both units would be in neither.
pub fn voxel_sizes<'a>(
    cases: impl IntoIterator<Item = (&'a LabelMap, &'a Geometry)>,
) -> Option<Vec<[f64; 3]>> {
    cases.into_iter().map(|(labels, geometry)| voxel_size(labels, geometry)).collect()
}

/// Distance in millimetres between the slices, rows and columns of `labels`, or `None` if one of them is not known. A
/// clip, whose frames follow each other in time, has no slice distance, and some volumes do not state it.
fn voxel_size(labels: &LabelMap, geometry: &Geometry) -> Option<[f64; 3]> {
    let Spacing { slices, rows, columns } = geometry.spacing?;
    match (labels.depth > 1, slices) {
        (true, Some(slices)) => Some([slices, rows, columns]),
        (true, None) => None,
        (false, _) => Some([1.0, rows, columns]),
    }
}

impl DenseReport {
    /// Evaluates the `cases` of a head with the classes `classes`, the background first.
    pub fn new(classes: &[String], cases: &[Case], bootstrap: &Bootstrap) -> DenseReport {
        let estimates =
            bootstrap.estimates(&vec![0; cases.len()], |weights| statistics(classes, cases, weights));
        let per_class = estimates[2..].chunks_exact(PER_CLASS);
        let counts = |class: usize, test: fn(&Overlap) -> bool| {
            cases.iter().filter(|case| test(&case.overlaps[class])).count()
        };
        let millimetres = !cases.is_empty() && cases.iter().all(|case| case.millimetres);
        DenseReport {
            images: cases.len(),
            dice: estimates[0],
            iou: estimates[1],
            unit: if millimetres { "mm" } else { "px" }.into(),
            classes: (1..classes.len())
                .zip(per_class)
                .map(|(class, numbers)| DenseClass {
                    class: classes[class].clone(),
                    images: counts(class, |o| o.truth > 0),
                    dice: numbers[0],
                    iou: numbers[1],
                    hd95: numbers[2],
                    asd: numbers[3],
                    pooled_dice: numbers[4],
                    missed: counts(class, |o| o.truth > 0 && o.predicted == 0),
                    false_alarms: counts(class, |o| o.truth == 0 && o.predicted > 0),
                })
                .collect(),
            bootstrap: *bootstrap,
        }
    }
}

/// Mean Dice and IoU, then Dice, IoU, HD95, ASD and pooled Dice of each class.
fn statistics(classes: &[String], cases: &[Case], weights: &[u32]) -> Vec<Option<f64>> {
    let weighted = |value: &dyn Fn(&Case) -> Option<f64>| {
        let (mut sum, mut n) = (0.0, 0u64);
        for (case, &weight) in cases.iter().zip(weights).filter(|(_, weight)| **weight > 0) {
            if let Some(value) = value(case) {
                sum += f64::from(weight) * value;
                n += u64::from(weight);
            }
        }
        (n > 0).then(|| sum / n as f64)
    };
    let mut per_class = Vec::with_capacity((classes.len() - 1) * PER_CLASS);
    for class in 1..classes.len() {
        let there = |case: &Case| (case.overlaps[class].truth > 0).then_some(case.overlaps[class]);
        let surface = |case: &Case| case.surfaces[class - 1];
        let mut pooled = Overlap::default();
        for (case, &weight) in cases.iter().zip(weights) {
            let Overlap { intersection, truth, predicted } = case.overlaps[class];
            let times = |n: u64| n * u64::from(weight);
            pooled += Overlap {
                intersection: times(intersection),
                truth: times(truth),
                predicted: times(predicted),
            };
        }
        per_class.extend([
            weighted(&|case| there(case)?.dice()),
            weighted(&|case| there(case)?.iou()),
            weighted(&|case| Some(surface(case)?.hd95)),
            weighted(&|case| Some(surface(case)?.assd)),
            pooled.dice(),
        ]);
    }
    let over_classes = |number: usize| {
        mean(per_class.chunks_exact(PER_CLASS).filter_map(|numbers: &[Option<f64>]| numbers[number]))
    };
    let mut all = vec![over_classes(0), over_classes(1)];
    all.extend(per_class);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ScanKind;

    fn map(labels: [u8; 6]) -> LabelMap {
        LabelMap::new(1, 2, 3, labels.to_vec()).unwrap()
    }

    #[test]
    fn cases_that_lack_a_class_count_as_false_alarms_only() {
        let geometry = |spacing| Geometry { kind: ScanKind::Image, size: (2, 3), crop: None, spacing };
        let half = Some(Spacing { slices: None, rows: 0.5, columns: 0.5 });
        let cases: Vec<Case> = [
            ([1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]),
            ([1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
            ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]),
            ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
        ]
        .into_iter()
        .map(|(truth, found)| {
            let truth = map(truth);
            let voxel = voxel_size(&truth, &geometry(half));
            Case::new(&truth, &map(found), 2, voxel).unwrap()
        })
        .collect();
        let names = ["background".to_owned(), "lesion".to_owned()];
        let report = DenseReport::new(&names, &cases, &Bootstrap { resamples: 50, seed: 0 });
        let class = &report.classes[0];
        assert_eq!((class.images, class.missed, class.false_alarms), (2, 1, 1));
        // 2/3 and 0; pooled 2 * 1 / (4 + 2).
        assert_eq!(class.dice.unwrap().value, 1.0 / 3.0);
        assert_eq!(class.pooled_dice.unwrap().value, 1.0 / 3.0);
        assert_eq!(class.iou.unwrap().value, 0.25);
        assert_eq!(report.dice.unwrap().value, 1.0 / 3.0);
        // Half a millimetre to the missed pixel, which is half of the truth's surface: interpolation puts the 95th
        // percentile at 0.475.
        assert_eq!(report.unit, "mm");
        assert!((class.hd95.unwrap().value - 0.475).abs() < 1e-12);
        let plain = Case::new(&map([0; 6]), &map([0; 6]), 2, None).unwrap();
        assert_eq!(DenseReport::new(&names, &[plain], &Bootstrap::default()).unit, "px");
    }

    #[test]
    fn one_unknown_spacing_makes_all_distances_voxels() {
        let geometry = |kind, spacing| Geometry { kind, size: (2, 3), crop: None, spacing };
        let flat = Spacing { slices: None, rows: 0.5, columns: 0.25 };
        let deep = Spacing { slices: Some(3.0), ..flat };
        let image = map([0; 6]);
        let volume = LabelMap::new(3, 1, 2, vec![0; 6]).unwrap();
        let known = geometry(ScanKind::Image, Some(flat));
        let (clip, slices) = (geometry(ScanKind::Clip, Some(flat)), geometry(ScanKind::Volume, Some(deep)));
        let unknown = geometry(ScanKind::Image, None);
        let sizes = voxel_sizes([(&image, &known), (&volume, &slices)]);
        assert_eq!(sizes, Some(vec![[1.0, 0.5, 0.25], [3.0, 0.5, 0.25]]));
        assert_eq!(voxel_sizes([(&image, &known), (&image, &unknown)]), None);
        assert_eq!(voxel_sizes([(&image, &known), (&volume, &clip)]), None);
    }
}
