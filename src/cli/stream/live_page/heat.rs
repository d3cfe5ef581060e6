//! Why a head says what it says, as the page shows it. Names of training images stay away.

use microraptor::heads::{Explanation, Outcome};
use microraptor::output::{HEAT, PatchMap, heat};
use serde_json::{Value, json};

use crate::cli::explained::shown_record;
use crate::cli::stream::outlet::Seen;

/// So many neighbours are shown.
const NEAREST: usize = 5;

/// A number for each patch of a picture.
pub struct Heat {
    map: PatchMap,
    values: Vec<f64>,
    scale: f64,
}

/// What the heads say of their answers, into `said`; the map of the first head that has one.
pub fn heat_of(seen: &Seen, said: &mut Value) -> Option<Heat> {
    let mut first = None;
    for (place, (loaded, explanation)) in seen.heads.iter().zip(seen.explanations).enumerate() {
        let names = loaded.head.model.classes();
        let record = match explanation {
            Some(Explanation::Contributions(all)) if first.is_none() => {
                let outcome = seen.outcomes.get(place).copied().flatten();
                let predicted = outcome.map_or(&[][..], Outcome::predicted);
                let mut map = all.shown(predicted);
                // Of a window of frames the newest, which is the one that is seen.
                let (rows, cols) = all.grid;
                map.patches.drain(..map.patches.len().saturating_sub(rows * cols));
                let record = shown_record(&map, names);
                let (size, how) = (loaded.head.size, &loaded.head.preprocess);
                let scale = map.scale();
                let patches = PatchMap::new(all.grid, size, how, seen.frame.geometry.seen());
                first = Some(Heat { map: patches, values: map.patches, scale });
                record
            }
            Some(Explanation::Neighbours(neighbours)) => {
                let one = |n: &microraptor::heads::Neighbour| {
                    let classes: Vec<&String> = n.classes.iter().map(|&class| &names[class]).collect();
                    json!({"image": n.image, "classes": classes, "share": n.share})
                };
                json!({"neighbours": neighbours.all.iter().take(NEAREST).map(one).collect::<Vec<Value>>()})
            }
            _ => continue,
        };
        said["heads"][place]["explanation"] = record;
    }
    let [positive, negative] = HEAT.map(|[r, g, b]| format!("rgb({r},{g},{b})"));
    said["heat"] = json!([negative, positive]);
    first
}

impl Heat {
    /// A picture to lay over one of `width` columns and `height` rows: RGBA.
    pub fn layer(&self, (width, height): (usize, usize)) -> Vec<u8> {
        let (rows, columns) = self.map.size();
        let from = |at: usize, length: usize, whole: usize| (2 * at + 1) * whole / (2 * length);
        let pixel = |at: usize| {
            let patch = self.map.patch(from(at / width, height, rows), from(at % width, width, columns));
            patch.map_or([0; 4], |patch| heat(self.values[patch], self.scale))
        };
        (0..width * height).flat_map(pixel).collect()
    }
}
