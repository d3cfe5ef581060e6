//! The pictures in a file, and the choice of one of them.

use std::path::Path;

use crate::input::InputError;

/// The pictures in a file.
pub(super) struct Pages {
    /// Offset of each picture, for formats whose files may hold consecutive pictures; otherwise empty.
    pub(super) starts: Vec<usize>,
    /// Number of pictures.
    pub(super) count: usize,
    /// For an animation, whose frames build on each other, the number of pictures before it; otherwise `None`.
    pub(super) animated: Option<usize>,
}

impl Pages {
    /// One picture.
    pub(super) const ONE: Pages = Pages { starts: Vec::new(), count: 1, animated: None };
}

/// Index of the chosen page, from 0.
pub(super) fn choose(path: &Path, page: Option<usize>, count: usize) -> Result<usize, InputError> {
    match page {
        None if count == 1 => Ok(0),
        None => {
            let problem =
                format!("holds {count} pictures: choose one by the option `page`, from 1 to {count}");
            Err(InputError::unreadable(path, problem))
        }
        Some(page) if (1..=count).contains(&page) => Ok(page - 1),
        Some(page) => {
            let problem = format!("has no page {page}: it holds {count}, counted from 1 (option `page`)");
            Err(InputError::unreadable(path, problem))
        }
    }
}
