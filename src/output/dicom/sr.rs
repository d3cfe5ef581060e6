//! Writes findings as a DICOM Structured Report: an Imaging Measurement Report (PS3.16, TID 1500) in an Enhanced SR
//! object.

use std::path::Path;

use chrono::NaiveDateTime;
use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};

use super::item::{Item, decimal, limited};
use super::modules::{self, Identity};
use super::source::Sources;
use super::{Algorithm, Code, uid};
use crate::output::{ContentError, OutputError};

/// The output of one head for the sources: one measurement group (TID 1501).
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Name of the head, which identifies the group.
    pub name: String,
    /// The algorithm that produced the finding.
    pub algorithm: Algorithm,
    /// The reported class; `None` for a head that only measures.
    pub finding: Option<Code>,
    /// Every class and its probability, in 0..=1. The finding's is reported as "Probability", the others as
    /// "Probability of" the class.
    pub probabilities: Vec<(Code, f64)>,
    /// Further measurements, such as areas.
    pub measurements: Vec<Measurement>,
    /// How much the input differs from the training data.
    pub out_of_distribution: Option<OutOfDistribution>,
}

/// A number with its meaning and its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What was measured.
    pub name: Code,
    /// Value.
    pub value: f64,
    /// Unit, a UCUM code.
    pub unit: Code,
}

/// Score and threshold, as in the JSON output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfDistribution {
    /// Higher scores mean less similar to the training data.
    pub score: f64,
    /// Inputs with higher scores are out of distribution.
    pub threshold: f64,
    /// Whether the input is classified as out of distribution.
    pub outside: bool,
}

impl Measurement {
    /// Area of a class in square millimetres.
    pub fn area(class: &str, mm2: f64) -> Measurement {
        let unit = Code::new("mm2", "UCUM", "square millimeter");
        Measurement { name: Code::private(&format!("Area of {class}")), value: mm2, unit }
    }

    /// Volume of a class in cubic millimetres.
    pub fn volume(class: &str, mm3: f64) -> Measurement {
        let unit = Code::new("mm3", "UCUM", "cubic millimeter");
        Measurement { name: Code::private(&format!("Volume of {class}")), value: mm3, unit }
    }

    /// A number without a unit.
    fn plain(name: Code, value: f64) -> Measurement {
        Measurement { name, value, unit: Code::new("1", "UCUM", "no units") }
    }
}

/// Writes a report with a measurement group for each finding, all referring to all `sources`. Its flags are complete,
/// unverified and preliminary, because nobody has reviewed it. `when` is local time; the UIDs do not depend on it.
///
/// # Errors
/// [`OutputError`] names the path: there are no findings, a number is not finite, or the system reported an error.
pub fn write_report(
    path: &Path,
    sources: &Sources,
    findings: &[Finding],
    when: NaiveDateTime,
) -> Result<(), OutputError> {
    let wrong = |problem| OutputError::Content { path: path.to_owned(), problem };
    let Some(first) = findings.first() else {
        return Err(wrong(ContentError::NoFinding));
    };
    let groups: Vec<Group> = findings.iter().map(Group::new).collect();
    for group in &groups {
        if let Some(number) = group.numbers.iter().find(|number| !number.value.is_finite()) {
            return Err(wrong(ContentError::NonFinite {
                number: number.name.meaning.clone(),
                finding: group.finding.name.clone(),
                value: number.value,
            }));
        }
    }
    let algorithms: Vec<&Algorithm> = findings.iter().map(|finding| &finding.algorithm).collect();
    let found: Vec<u8> = groups.iter().flat_map(Group::identity).collect();
    let [series, uid] = modules::new_uids("report", sources, &algorithms, &found);
    let identity = Identity {
        class: uids::ENHANCED_SR_STORAGE,
        uid: &uid,
        series: &series,
        series_number: "902",
        modality: "SR",
        description: "Findings by Microraptor",
        version: &first.algorithm.version,
    };
    let object = modules::object(sources, &identity, when);
    let object = document(object, sources);
    modules::write(path, content(object, sources, &groups, &uid))
}

/// A finding and its numbers in the order of the report.
struct Group<'a> {
    finding: &'a Finding,
    numbers: Vec<Measurement>,
}

impl Group<'_> {
    fn new(finding: &Finding) -> Group<'_> {
        let mut numbers: Vec<Measurement> = finding
            .probabilities
            .iter()
            .map(|(class, probability)| {
                let name = if Some(class) == finding.finding.as_ref() {
                    Code::new("122157", "DCM", "Probability")
                } else {
                    Code::private(&format!("Probability of {}", class.meaning))
                };
                Measurement::plain(name, *probability)
            })
            .collect();
        numbers.extend(finding.measurements.iter().cloned());
        if let Some(ood) = finding.out_of_distribution {
            numbers.push(Measurement::plain(Code::private("Out-of-distribution score"), ood.score));
            numbers.push(Measurement::plain(Code::private("Out-of-distribution threshold"), ood.threshold));
        }
        Group { finding, numbers }
    }

    /// Contents of the group, for deriving UIDs.
    fn identity(&self) -> Vec<u8> {
        let mut said =
            format!("{}\n{:?}", self.finding.name, self.finding.out_of_distribution.map(|o| o.outside));
        let codes = self.finding.finding.iter().chain(self.numbers.iter().flat_map(|n| [&n.name, &n.unit]));
        codes.for_each(|code| said.extend(["\n", &code.scheme, " ", &code.value]));
        let mut said = said.into_bytes();
        self.numbers.iter().for_each(|number| said.extend(number.value.to_bits().to_le_bytes()));
        said
    }

    /// TID 1501 with the algorithm identification of TID 4019.
    fn container(&self, sources: &Sources, object: &str, index: usize) -> Item {
        let Finding { name, algorithm, finding, out_of_distribution, .. } = self.finding;
        let tracking = uid::derive(&[b"group", object.as_bytes(), &index.to_le_bytes()]);
        let mut content = vec![
            text(OBSERVATION, ("112039", "Tracking Identifier"), name),
            uid_reference(("112040", "Tracking Unique Identifier"), &tracking),
        ];
        content.extend(finding.as_ref().map(|code| coded(CONTAINS, &dcm("121071", "Finding"), code)));
        content.push(text(MODIFIER, ("111001", "Algorithm Name"), &algorithm.name));
        content.push(text(MODIFIER, ("111003", "Algorithm Version"), &algorithm.version));
        for parameter in algorithm.parameters() {
            content.push(text(MODIFIER, ("111002", "Algorithm Parameters"), &parameter));
        }
        let source = dcm("121112", "Source of Measurement");
        content.extend(sources.instances.iter().map(|instance| {
            content_item(CONTAINS, "IMAGE")
                .code(tags::CONCEPT_NAME_CODE_SEQUENCE, &source)
                .items(tags::REFERENCED_SOP_SEQUENCE, [modules::reference(instance)])
        }));
        content.extend(self.numbers.iter().map(number));
        if let Some(ood) = out_of_distribution {
            let answer = match ood.outside {
                true => Code::new("373066001", "SCT", "Yes"),
                false => Code::new("373067005", "SCT", "No"),
            };
            content.push(coded(CONTAINS, &Code::private("Out of distribution"), &answer));
        }
        container(("125007", "Measurement Group"), Some("1501"), content)
    }
}

/// Relationships of a content item to its parent (PS3.3, C.17.3.2.4).
const CONTAINS: &str = "CONTAINS";
const OBSERVATION: &str = "HAS OBS CONTEXT";
const ACQUISITION: &str = "HAS ACQ CONTEXT";
const MODIFIER: &str = "HAS CONCEPT MOD";

/// Attributes of the document as a whole (PS3.3, C.17.1 and C.17.2).
fn document(object: Item, sources: &Sources) -> Item {
    let evidence = Item::new().with(tags::STUDY_INSTANCE_UID, VR::UI, &*sources.first().study).items(
        tags::REFERENCED_SERIES_SEQUENCE,
        modules::referenced_series(sources, tags::REFERENCED_SOP_SEQUENCE),
    );
    object
        .items(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, [])
        .items(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, [])
        .items(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, [evidence])
        .with(tags::COMPLETION_FLAG, VR::CS, "COMPLETE")
        .with(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED")
        .with(tags::PRELIMINARY_FLAG, VR::CS, "PRELIMINARY")
}

/// Content tree (TID 1500).
fn content(object: Item, sources: &Sources, groups: &[Group], uid: &str) -> Item {
    let algorithm = &groups[0].finding.algorithm;
    let modality = sources.first().text(tags::MODALITY).unwrap_or_default();
    let device = uid::derive(&[b"device", algorithm.version.as_bytes(), algorithm.model_sha256.as_bytes()]);
    let mut children = vec![
        coded(
            MODIFIER,
            &dcm("121049", "Language of Content Item and Descendants"),
            &Code::new("en", "RFC5646", "English"),
        ),
        coded(OBSERVATION, &dcm("121005", "Observer Type"), &dcm("121007", "Device")),
        uid_reference(("121012", "Device Observer UID"), &device),
        text(OBSERVATION, ("121013", "Device Observer Name"), "Microraptor"),
        text(OBSERVATION, ("121014", "Device Observer Manufacturer"), "Microraptor"),
        text(OBSERVATION, ("121015", "Device Observer Model Name"), &algorithm.version),
        coded(MODIFIER, &dcm("121058", "Procedure reported"), &procedure(&modality)),
        library(sources, &modality),
    ];
    let containers = groups.iter().enumerate().map(|(i, group)| group.container(sources, uid, i));
    children.push(container(("126010", "Imaging Measurements"), None, containers.collect()));
    as_container(object, ("126000", "Imaging Measurement Report"), Some("1500"), children)
}

/// Image library (TID 1600): the images that were analysed.
fn library(sources: &Sources, modality: &str) -> Item {
    let kind = modality_meaning(modality)
        .map(|meaning| coded(ACQUISITION, &dcm("121139", "Modality"), &dcm(modality, meaning)));
    let images = sources.instances.iter().map(|instance| {
        content_item(CONTAINS, "IMAGE").items(tags::REFERENCED_SOP_SEQUENCE, [modules::reference(instance)])
    });
    let group = container(("126200", "Image Library Group"), None, kind.into_iter().chain(images).collect());
    container(("111028", "Image Library"), Some("1600"), vec![group])
}

/// The procedure that produces images of a modality, from CID 100 and similar.
fn procedure(modality: &str) -> Code {
    let (value, meaning) = match modality {
        "US" => ("16310003", "Diagnostic ultrasonography"),
        "CT" => ("77477000", "Computed tomography"),
        "MR" => ("113091000", "Magnetic resonance imaging"),
        _ => ("363679005", "Imaging procedure"),
    };
    Code::new(value, "SCT", meaning)
}

/// Meaning of a modality's code in CID 29.
fn modality_meaning(modality: &str) -> Option<&'static str> {
    Some(match modality {
        "US" => "Ultrasound",
        "CT" => "Computed Tomography",
        "MR" => "Magnetic Resonance",
        "CR" => "Computed Radiography",
        "DX" => "Digital Radiography",
        "MG" => "Mammography",
        "XA" => "X-Ray Angiography",
        "ES" => "Endoscopy",
        _ => return None,
    })
}

fn dcm(value: &str, meaning: &str) -> Code {
    Code::new(value, "DCM", meaning)
}

fn content_item(relationship: &str, value_type: &str) -> Item {
    Item::new().with(tags::RELATIONSHIP_TYPE, VR::CS, relationship).with(tags::VALUE_TYPE, VR::CS, value_type)
}

fn container(name: (&str, &str), template: Option<&str>, children: Vec<Item>) -> Item {
    as_container(Item::new().with(tags::RELATIONSHIP_TYPE, VR::CS, CONTAINS), name, template, children)
}

fn as_container(item: Item, name: (&str, &str), template: Option<&str>, children: Vec<Item>) -> Item {
    let mut item = item
        .with(tags::VALUE_TYPE, VR::CS, "CONTAINER")
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, &dcm(name.0, name.1))
        .with(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")
        .items(tags::CONTENT_SEQUENCE, children);
    if let Some(template) = template {
        let template = Item::new().with(tags::MAPPING_RESOURCE, VR::CS, "DCMR").with(
            tags::TEMPLATE_IDENTIFIER,
            VR::CS,
            template,
        );
        item = item.items(tags::CONTENT_TEMPLATE_SEQUENCE, [template]);
    }
    item
}

fn coded(relationship: &str, name: &Code, value: &Code) -> Item {
    content_item(relationship, "CODE")
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, name)
        .code(tags::CONCEPT_CODE_SEQUENCE, value)
}

fn text(relationship: &str, (value, meaning): (&str, &str), text: &str) -> Item {
    // Type 1: must not be empty, even if the name is blank.
    let text = Some(limited(text, 1024)).filter(|text| !text.is_empty()).unwrap_or_else(|| "unnamed".into());
    content_item(relationship, "TEXT").code(tags::CONCEPT_NAME_CODE_SEQUENCE, &dcm(value, meaning)).with(
        tags::TEXT_VALUE,
        VR::UT,
        text,
    )
}

fn uid_reference((value, meaning): (&str, &str), uid: &str) -> Item {
    content_item(OBSERVATION, "UIDREF").code(tags::CONCEPT_NAME_CODE_SEQUENCE, &dcm(value, meaning)).with(
        tags::UID,
        VR::UI,
        uid,
    )
}

fn number(measurement: &Measurement) -> Item {
    let (text, rounded) = decimal(measurement.value);
    let mut value = Item::new().code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, &measurement.unit).with(
        tags::NUMERIC_VALUE,
        VR::DS,
        text,
    );
    if rounded {
        // Type 1C: required if the text is not exact (PS3.3, C.18.1).
        value = value.with(tags::FLOATING_POINT_VALUE, VR::FD, PrimitiveValue::from(measurement.value));
    }
    content_item(CONTAINS, "NUM")
        .code(tags::CONCEPT_NAME_CODE_SEQUENCE, &measurement.name)
        .items(tags::MEASURED_VALUE_SEQUENCE, [value])
}
