//! Properties of a model that its files do not state and the user supplies.

use clap::Args;
use microraptor::checkpoint::Hints;

/// Parses three numbers: `0.5,0.5,0.5`.
fn three(text: &str) -> Result<[f32; 3], String> {
    let values: Vec<f32> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    match (values.as_slice(), text.split(',').count()) {
        (&[red, green, blue], 3) => Ok([red, green, blue]),
        _ => Err(format!(
            "'{text}' is not three numbers: give one each for red, green and blue, as in 0.5,0.5,0.5"
        )),
    }
}

/// Parses rows and columns: `14x14`.
fn grid(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("'{text}' is no grid: give rows and columns of patches, as in 14x28");
    let (rows, cols) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    Ok((rows.trim().parse().map_err(|_| wrong())?, cols.trim().parse().map_err(|_| wrong())?))
}

/// Properties that the model's files do not state; those that they state cannot be changed
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What the model's files do not say")]
pub struct HintArgs {
    /// Number of attention heads
    #[arg(long = "heads", value_name = "N")]
    pub head_count: Option<usize>,
    /// Mean of red, green and blue, for pixels from 0 to 1
    #[arg(long, value_name = "R,G,B", value_parser = three, allow_hyphen_values = true)]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of red, green and blue
    #[arg(long, value_name = "R,G,B", value_parser = three)]
    pub std: Option<[f32; 3]>,
    /// Rows and columns of the patch grid of the learned position embeddings
    #[arg(long, value_name = "RxC", value_parser = grid)]
    pub grid: Option<(usize, usize)>,
}

impl HintArgs {
    /// These hints as the library's type.
    pub fn hints(&self) -> Hints {
        Hints { heads: self.head_count, mean: self.mean, std: self.std, grid: self.grid }
    }

    /// These hints merged with `kept`, the hints stored in a file.
    ///
    /// # Errors
    /// If both give a hint, with different values.
    pub fn joined(&self, kept: &Hints) -> Result<HintArgs, String> {
        fn both<T: PartialEq>(name: &str, given: Option<T>, kept: Option<T>) -> Result<Option<T>, String> {
            match (given, kept) {
                (Some(given), Some(kept)) if given != kept => {
                    Err(format!("was measured with another --{name}: leave it out, or profile again with it"))
                }
                (given, kept) => Ok(given.or(kept)),
            }
        }
        Ok(HintArgs {
            head_count: both("heads", self.head_count, kept.heads)?,
            mean: both("mean", self.mean, kept.mean)?,
            std: both("std", self.std, kept.std)?,
            grid: both("grid", self.grid, kept.grid)?,
        })
    }

    /// These hints as command-line arguments for a child process.
    pub fn arguments(&self) -> Vec<String> {
        let three = |[a, b, c]: [f32; 3]| format!("{a},{b},{c}");
        let given = [
            ("heads", self.head_count.map(|heads| heads.to_string())),
            ("mean", self.mean.map(three)),
            ("std", self.std.map(three)),
            ("grid", self.grid.map(|(rows, cols)| format!("{rows}x{cols}"))),
        ];
        given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_keeps_is_not_contradicted() {
        let kept = Hints { heads: Some(2), mean: Some([0.5; 3]), ..Hints::default() };
        let given = |head_count, grid| HintArgs { head_count, grid, ..HintArgs::default() };
        let joined = given(Some(2), Some((3, 3))).joined(&kept).unwrap();
        assert_eq!(joined.hints(), Hints { grid: Some((3, 3)), ..kept });
        assert!(given(Some(3), None).joined(&kept).unwrap_err().contains("another --heads"));
    }

    #[test]
    fn three_numbers_and_a_grid() {
        assert_eq!(three("0.5, 0.25,-1"), Ok([0.5, 0.25, -1.0]));
        for wrong in ["", "0.5", "0.5,0.5", "0.5,0.5,0.5,0.5", "a,b,c", "1,2,"] {
            assert!(three(wrong).unwrap_err().contains("three numbers"), "{wrong}");
        }
        assert_eq!(grid("14x28"), Ok((14, 28)));
        for wrong in ["", "14", "x", "14x", "-1x2"] {
            assert!(grid(wrong).unwrap_err().contains("is no grid"), "{wrong}");
        }
    }
}
