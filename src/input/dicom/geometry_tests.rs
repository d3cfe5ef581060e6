use super::*;

fn plane(position: [f64; 3]) -> Plane {
    let spacing = Spacing { slices: None, rows: 1.0, columns: 1.0 };
    // Coronal: row vectors point to the left and column vectors down, so the normal points to the back.
    Plane {
        position: Some(position),
        orientation: Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]),
        spacing: Some(spacing),
    }
}

fn message(planes: &[Plane]) -> String {
    stack(planes).unwrap_err().named(|n| format!("slice {n}"))
}

#[test]
fn slices_are_ordered_along_their_normal() {
    let planes = [plane([0.0, 6.0, 50.0]), plane([0.0, 0.0, 50.0]), plane([0.0, 3.0, 50.0])];
    let stack = stack(&planes).unwrap();
    assert_eq!((stack.order, stack.gap), (vec![1, 2, 0], 3.0));
    // A single slice is a volume of one slice.
    let single = super::stack(&planes[..1]).unwrap();
    assert_eq!((single.order, single.gap), (vec![0], 0.0));
}

#[test]
fn faults_name_the_slices() {
    let at = |y| plane([0.0, y, 0.0]);
    let missing = message(&[at(0.0), at(1.0), at(2.0), at(4.0)]);
    assert!(missing.contains("gap of 2.00 mm between slice 2 and slice 3"), "{missing}");
    let extra = message(&[at(0.0), at(1.0), at(2.0), at(2.5), at(3.0), at(4.0)]);
    assert!(extra.contains("a slice is too many"), "{extra}");
    // The position moves within the plane, not along the normal.
    let beside = message(&[plane([0.0, 0.0, 0.0]), plane([0.0, 0.0, 5.0])]);
    assert!(beside.contains("two slices in one place, slice 0 and slice 1"), "{beside}");
    let nowhere = message(&[at(0.0), Plane { position: None, ..at(1.0) }]);
    assert!(nowhere.contains("no position or orientation in slice 1"), "{nowhere}");
    let sizeless = message(&[Plane { spacing: None, ..at(1.0) }]);
    assert!(sizeless.contains("no PixelSpacing in slice 0"), "{sizeless}");
}
