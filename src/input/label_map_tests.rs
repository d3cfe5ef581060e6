//! Class numbers from pictures and volumes.

use super::*;

#[test]
fn is_placed_where_it_was_cropped() {
    let map = LabelMap::new(2, 1, 2, vec![1, 2, 3, 4]).unwrap();
    assert_eq!(map.placed((1, 1), (2, 3)).labels, [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4]);
    assert_eq!(map.placed((0, 2), (1, 3)).labels, [0, 0, 1, 0, 0, 3]);
    let region = Region { top: 1, left: 1, height: 1, width: 2 };
    assert_eq!(map.placed((1, 1), (2, 3)).cropped(region), map);
    assert_eq!(map.placed((5, 5), (1, 1)).labels, [0, 0]);
    assert!(LabelMap::new(2, 2, 2, vec![0; 7]).is_err());
}
