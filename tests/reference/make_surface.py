"""Dice, IoU, HD95 and ASSD of MONAI on made and on real masks: writes tests/golden/surface.json for tests/output.rs.

    python tests/reference/make_surface.py --data ../shared/data
"""

import argparse
import json
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
)
from PIL import Image
from scipy.ndimage import binary_erosion


def ellipsoid(shape, centre, radii):
    """Whole-number arithmetic, so that Rust draws the same."""
    inside = np.zeros(shape, np.int64)
    rest = np.prod([r * r for r in radii])
    for axis, (c, r) in enumerate(zip(centre, radii)):
        index = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
        inside = inside + (index - c) ** 2 * (rest // (r * r))
    return inside <= rest


def shift(mask, by):
    """`mask` moved by `by` = (slices, rows, columns); what moves in is background."""
    out = np.zeros_like(mask)
    source = tuple(slice(max(0, -b), n - max(0, b)) for b, n in zip(by, mask.shape))
    target = tuple(slice(max(0, b), n - max(0, -b)) for b, n in zip(by, mask.shape))
    out[target] = mask[source]
    return out


def erode(mask, times):
    """4-neighbourhood, slice by slice; the border erodes too."""
    cross = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
    return binary_erosion(mask, cross, iterations=times).astype(mask.dtype)


def measures(truth, predicted, label, spacing):
    if truth.shape[0] == 1:
        truth, predicted, spacing = truth[0], predicted[0], spacing[1:]
    t, p = (torch.from_numpy(m == label)[None, None].float() for m in (truth, predicted))
    kinds = dict(include_background=True, spacing=list(spacing))
    return {
        "dice": compute_dice(p, t, include_background=True).item(),
        "iou": compute_iou(p, t, include_background=True).item(),
        "hd95": compute_hausdorff_distance(p, t, percentile=95, **kinds).item(),
        "assd": compute_average_surface_distance(p, t, symmetric=True, **kinds).item(),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    cases = []

    def add(source, change, truth, predicted, label, spacing):
        found = measures(truth, predicted, label, spacing)
        cases.append({"source": source, "change": change, "class": label, "spacing": spacing, **found})

    for shape, one, two, spacing in [
        ((12, 30, 25), ((5, 14, 12), (4, 11, 7)), ((6, 16, 10), (5, 9, 9)), [3.0, 0.7, 0.9]),
        ((1, 40, 50), ((0, 20, 25), (1, 15, 12)), ((0, 22, 40), (1, 12, 20)), [1.0, 1.0, 1.0]),
        ((5, 9, 9), ((2, 0, 0), (3, 4, 4)), ((2, 8, 8), (3, 6, 5)), [1.0, 2.0, 0.5]),
    ]:
        truth, predicted = ellipsoid(shape, *one), ellipsoid(shape, *two)
        source = {"ellipsoids": {"shape": shape, "truth": one, "predicted": two}}
        add(source, {}, truth.astype(np.uint8), predicted.astype(np.uint8), 1, spacing)

    for number in (1, 10, 100, 200):
        for kind in ("benign", "malignant"):
            path = data / f"busi/masks/{kind}/{kind}_{number}_mask.png"
            if not path.exists():
                continue
            truth = (np.asarray(Image.open(path)) > 0).astype(np.uint8)[None]
            source = {"busi": str(path.relative_to(data))}
            moved, smaller = shift(truth, (0, 3, -5)), erode(truth, 4)
            add(source, {"shift": [0, 3, -5]}, truth, moved, 1, [1.0, 0.2, 0.25])
            if smaller.any():
                add(source, {"erode": 4}, truth, smaller, 1, [1.0, 1.0, 1.0])

    for path in sorted((data / "hippocampus/labels").glob("*.nii.gz"))[::12]:
        # In file order, the first axis runs fastest: read backwards it is [slices, rows, columns].
        truth = np.asarray(nibabel.load(path).dataobj).astype(np.uint8).T
        for by, spacing in [((1, 2, -1), [1.0, 1.0, 1.0]), ((-2, 1, 3), [2.5, 0.8, 0.6])]:
            for label in (1, 2):
                source = {"hippocampus": str(path.relative_to(data))}
                add(source, {"shift": by}, truth, shift(truth, by), label, spacing)

    out = Path(__file__).parents[1] / "golden/surface.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    out.write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases in {out}")


main()
