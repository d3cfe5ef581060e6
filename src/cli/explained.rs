//! Why a head says what it says, in JSON (docs/output-schema.json).

use microraptor::heads::{
    Against, Contributions, Explanation, HeadModel, Logit, Neighbour, Neighbours, Shown, Summed,
};
use microraptor::names::shown;
use serde_json::{Map, Value, json};

/// So many of the nearest training images are named.
const NEAREST: usize = 10;

/// What terms of a logit are, and what they are not.
const CONTRIBUTIONS: &str = "the exact terms of this head's logit, before calibration: what each patch token adds, compared \
    with an average training image; a token has seen the whole picture, so a term is no cause, and the map is no mask of a finding";

/// What weights of frames add to that.
const WEIGHTED: &str = "the exact terms of this head's logit, before calibration, for its weights of the frames (attention), which \
    the terms do not explain; a token has seen the whole picture, so a term is no cause, and the map is no mask of a finding";

/// What neighbours are, and what they are not.
const NEIGHBOURS: &str = "the training images that voted, by cosine similarity of the CLS token, with their shares of the vote; \
    alike to the model need not be alike to a reader";

/// The record of an explanation by a head, whose predicted classes are `predicted`.
///
/// `order` lists the frames in the order of their source. The values of the patches of several frames are there only with
/// `whole`; those of one frame always are.
pub fn record(
    explanation: &Explanation,
    model: &HeadModel,
    predicted: &[usize],
    order: &[usize],
    whole: bool,
) -> Value {
    match explanation {
        Explanation::Contributions(all) => contributions(all, model, predicted, order, whole),
        Explanation::Neighbours(neighbours) => voters(neighbours, model),
        Explanation::Nothing(why) => json!({"method": "none", "why": why.to_string()}),
    }
}

fn contributions(
    all: &Contributions,
    model: &HeadModel,
    predicted: &[usize],
    order: &[usize],
    whole: bool,
) -> Value {
    let names = model.classes();
    let Contributions { grid: (rows, cols), summed, .. } = *all;
    let note = if summed == Summed::Weighted { WEIGHTED } else { CONTRIBUTIONS };
    let logit = |logit: &Logit| logit_record(logit, all, names, order, whole);
    let map = all.shown(predicted);
    let mut record = json!({
        "method": "contributions",
        "note": note,
        "grid": [rows, cols],
        "logits": all.logits.iter().map(logit).collect::<Vec<Value>>(),
        "shown": shown_record(&map, names),
    });
    if all.frames > 1 {
        let summed = match summed {
            Summed::EachFrame => "each frame",
            Summed::Mean => "mean",
            Summed::Weighted => "attention",
        };
        record["frames"] = summed.into();
    }
    record
}

fn logit_record(logit: &Logit, all: &Contributions, names: &[String], order: &[usize], whole: bool) -> Value {
    let positions = all.grid.0 * all.grid.1;
    let frame = |n: &usize| &logit.patches[n * positions..(n + 1) * positions];
    let mut record = Map::new();
    record.insert("class".into(), json!(names[logit.class]));
    if let Some(against) = logit.against {
        record.insert("against".into(), json!(names[against]));
    }
    let of_frames = |values: &[f64]| order.iter().map(|&n| rounded(values[n])).collect::<Vec<f64>>();
    let sums: Vec<f64> = (0..all.frames).map(|n| frame(&n).iter().sum()).collect();
    let single = |values: Vec<f64>| if let [only] = values[..] { json!(only) } else { json!(values) };
    let values = match logit.values[..] {
        [only] => json!(rounded(only)),
        ref each => json!(of_frames(each)),
    };
    record.insert("logit".into(), values);
    record.insert("bias".into(), json!(rounded(logit.bias)));
    record.insert("cls".into(), single(of_frames(&logit.cls)));
    record.insert("patches".into(), single(of_frames(&sums)));
    let numbers = |n: &usize| frame(n).iter().map(|&value| rounded(value)).collect::<Vec<f64>>();
    match order {
        [only] => drop(record.insert("values".into(), json!(numbers(only)))),
        all if whole => {
            record.insert("values".into(), json!(all.iter().map(numbers).collect::<Vec<_>>()));
        }
        _ => {}
    }
    if let Some([scale, offset]) = logit.calibration {
        record.insert("calibration".into(), json!({"scale": scale, "offset": offset}));
    }
    Value::Object(record)
}

/// What a map shows: the class for which positive values speak, and what negative ones speak for.
pub fn shown_record(map: &Shown, names: &[String]) -> Value {
    let mut record = json!({"class": names[map.class], "scale": rounded(map.scale())});
    match map.against {
        Against::Nothing => {}
        Against::Class(other) => record["against"] = json!(names[other]),
        Against::Others => record["against_others"] = true.into(),
    }
    record
}

fn voters(neighbours: &Neighbours, model: &HeadModel) -> Value {
    let names = model.classes();
    let one = |neighbour: &Neighbour| {
        let classes: Vec<&String> = neighbour.classes.iter().map(|&class| &names[class]).collect();
        let mut record = json!({
            "image": neighbour.image,
            "classes": classes,
            "cosine": neighbour.cosine,
            "share": rounded(neighbour.share),
        });
        if let Some(name) = &neighbour.name {
            record["name"] = json!(shown(name));
        }
        record
    };
    let nearest: Vec<Value> = neighbours.all.iter().take(NEAREST).map(one).collect();
    let others: f64 = neighbours.all.iter().skip(NEAREST).map(|neighbour| neighbour.share).sum();
    json!({
        "method": "neighbours",
        "note": NEIGHBOURS,
        "voters": neighbours.all.len(),
        "neighbours": nearest,
        "others": rounded(others),
    })
}

/// To nine decimals: the sum of ten thousand such numbers is exact to 5e-6.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}
