//! The pictures that a file holds, and which of them is meant.

use std::path::Path;

use crate::input::InputError;

/// The pictures that a file holds.
pub(super) struct Pages {
    /// Where each begins in the file, for formats in which one file may follow another; else just zero.
    pub(super) starts: Vec<usize>,
    /// How many there are.
    pub(super) count: usize,
    /// Whether they build on each other, and how many stand before the animation.
    pub(super) animated: Option<usize>,
}

impl Pages {
    /// One picture.
    pub(super) const ONE: Pages = Pages { starts: Vec::new(), count: 1, animated: None };
}

/// Which page is meant, from 0.
pub(super) fn choose(path: &Path, page: Option<usize>, count: usize) -> Result<usize, InputError> {
    match page {
        None if count == 1 => Ok(0),
        None => {
            let problem = format!("holds {count} pictures: say which is meant (--page 1 to --page {count})");
            Err(InputError::unreadable(path, problem))
        }
        Some(page) if (1..=count).contains(&page) => Ok(page - 1),
        Some(page) => {
            let problem = format!("has no page {page}: it holds {count}, counted from 1 (--page)");
            Err(InputError::unreadable(path, problem))
        }
    }
}
