//! What is said of an answer.

/// Why a head answers as it does.
#[derive(Clone, Debug, PartialEq)]
pub enum Explanation {
    /// What each patch adds to the logits.
    Contributions(Contributions),
    /// The training images that voted.
    Neighbours(Neighbours),
    /// Nothing exact can be said.
    Nothing(Unexplained),
}

/// Why nothing exact can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// A mask shows by itself where something was found.
    #[error("the mask itself says where")]
    Mask,
    /// A model that tract runs.
    #[error("a graph computes this answer, and nothing says that it is linear in the patch tokens")]
    Graph,
    /// The model gives one vector for a picture.
    #[error("the model gives no patch tokens")]
    NoPatches,
    /// Tokens whose positions are unknown.
    #[error("nothing says which of the model's tokens are patches and where they lie")]
    NoGrid,
}

/// The exact terms of the logits of a head that is linear in the patch tokens (`linear`, `volume`), or is so for given
/// weights of the frames (`abmil`).
///
/// The features of a picture are its CLS token and the mean of its N patch tokens, and a logit is a weighted sum of
/// them, so token t adds `w . (t - mean) / (std N)`: mean and standard deviation are those of the training images, so 0
/// is what a patch of an average training image would add. Rounding of the features to f32 leaves a difference between
/// a logit and the sum of its terms of at most `2^-24` of the sum of its terms' magnitudes, feature by feature: 1e-6
/// where logits are of the order of 10.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    /// Number of frames.
    pub frames: usize,
    /// Rows and columns of patches in a frame.
    pub grid: (usize, usize),
    /// How the frames make the answer.
    pub summed: Summed,
    /// Whether the logits are those of labels, of which a picture may have several.
    pub multi_label: bool,
    /// The logits, before calibration: of two exclusive classes one, the second's minus the first's (the logarithm of
    /// the odds); of more, and of labels, one for each.
    pub logits: Vec<Logit>,
}

/// How the frames of a scan make an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summed {
    /// Each frame has logits of its own (`linear`); the answer is the mean of the frames' probabilities.
    EachFrame,
    /// The logits are those of the mean over the frames (`volume`).
    Mean,
    /// The logits are those of a weighted mean of the frames (`abmil`). The weights are taken as they are: the terms do
    /// not say how they came about.
    Weighted,
}

/// The terms of one logit.
#[derive(Clone, Debug, PartialEq)]
pub struct Logit {
    /// The class for which positive terms speak.
    pub class: usize,
    /// The class for which negative terms speak, of two exclusive ones.
    pub against: Option<usize>,
    /// The logit as the head computes it, before calibration; with [`Summed::EachFrame`] one for each frame.
    pub values: Vec<f64>,
    /// The logit of an average training image.
    pub bias: f64,
    /// What the CLS token of each frame adds, `[frames]`.
    pub cls: Vec<f64>,
    /// What each patch adds, `[frames, rows, columns]`.
    pub patches: Vec<f64>,
    /// Scale and offset: the calibrated logit is `scale * logit + offset`. `None` if the head is not calibrated.
    pub calibration: Option<[f64; 2]>,
}

/// What a map of an answer shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The class for which positive values speak.
    pub class: usize,
    /// What negative values speak for.
    pub against: Against,
    /// What the CLS token of each frame adds, `[frames]`; it has no place in the map.
    pub cls: Vec<f64>,
    /// `[frames, rows, columns]`
    pub patches: Vec<f64>,
}

/// What a class is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// A label stands for itself.
    Nothing,
    /// The other of two classes.
    Class(usize),
    /// The mean of the logits of all other classes: a softmax depends on the differences of logits alone.
    Others,
}

/// Training images that voted, by cosine similarity of CLS (`knn`).
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// All that voted, in the order of their shares: of an image the nearest first.
    pub all: Vec<Neighbour>,
}

/// A training image that voted.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Its place among the head's training images, from 0.
    pub image: usize,
    /// Its name in the training data, if the head keeps names.
    pub name: Option<String>,
    /// Its classes.
    pub classes: Vec<usize>,
    /// Cosine similarity of the CLS tokens; of several frames the largest.
    pub cosine: f32,
    /// Its share of the votes; of several frames the mean. The probability of a class is the sum of the shares of the
    /// neighbours that have it.
    pub share: f64,
}

impl Contributions {
    /// Which logit's terms a map shows, for predicted `classes`: of two classes the one logit that there is; of more
    /// exclusive ones that of the predicted class minus the mean of the others; of labels the one with the largest
    /// logit, on average over frames.
    pub fn shown(&self, classes: &[usize]) -> Shown {
        if let [only] = &self.logits[..] {
            let against = only.against.map_or(Against::Nothing, Against::Class);
            return Shown {
                class: only.class,
                against,
                cls: only.cls.clone(),
                patches: only.patches.clone(),
            };
        }
        let mean = |logit: &Logit| logit.values.iter().sum::<f64>() / logit.values.len().max(1) as f64;
        let largest =
            (0..self.logits.len()).max_by(|&a, &b| mean(&self.logits[a]).total_cmp(&mean(&self.logits[b])));
        let class = match classes {
            &[class] if !self.multi_label => class,
            _ => largest.unwrap_or(0),
        };
        let own = &self.logits[class];
        let (mut cls, mut patches) = (own.cls.clone(), own.patches.clone());
        if self.multi_label {
            return Shown { class, against: Against::Nothing, cls, patches };
        }
        let others = (self.logits.len() - 1) as f64;
        for other in self.logits.iter().filter(|logit| logit.class != class) {
            patches.iter_mut().zip(&other.patches).for_each(|(value, other)| *value -= other / others);
            cls.iter_mut().zip(&other.cls).for_each(|(value, other)| *value -= other / others);
        }
        Shown { class, against: Against::Others, cls, patches }
    }
}

impl Shown {
    /// The largest magnitude, at which a map has its full colour.
    pub fn scale(&self) -> f64 {
        self.patches.iter().fold(0.0, |most, value| value.abs().max(most))
    }
}
