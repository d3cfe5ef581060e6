#!/usr/bin/env python3
"""NIfTI as nibabel reads it: what `tests/input` compares with.

    python make_nifti.py --data ../../../shared/data/hippocampus

Writes `../golden/nifti/*.nii.gz`: 9 x 11 x 13 voxels of noise (ours) with the affines that volumes come with, and
`../golden/nifti.json`: of each, and of some volumes of the data folder, the size of voxels and for every axis the SHA-256
of its slices as 16-bit numbers, [slices, rows, columns] turned as DICOM's are on a screen.

Made with nibabel 5.4.2.
"""
import argparse
import gzip
import hashlib
import json
import pathlib

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
SHAPE = (9, 11, 13)


def rotation(a, b, c):
    """Euler angles in degrees."""
    a, b, c = np.radians([a, b, c])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def affine(linear, sizes=(1, 1, 1), origin=(-3, 5, 7)):
    out = np.eye(4)
    out[:3, :3] = np.asarray(linear) @ np.diag(sizes)
    out[:3, 3] = origin
    return out


def volumes():
    """Name and image; values are whole numbers from 0 on, so that slices compare exactly."""
    data = lambda seed, kind, top=60000: np.random.default_rng(seed).integers(0, top, SHAPE).astype(kind)
    ras = np.eye(3)
    las = np.diag([-1, 1, 1])
    psr = np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]])
    yield "ras_uint16", nib.Nifti1Image(data(1, np.uint16), affine(ras, (0.5, 0.7, 2)))
    yield "las_int16", nib.Nifti1Image(data(2, np.int16, 30000), affine(las, (1, 1, 3)))
    yield "psr_int32", nib.Nifti1Image(data(3, np.int32), affine(psr, (1.5, 1, 1)))
    yield "oblique_float32", nib.Nifti1Image(data(4, np.float32), affine(rotation(25, -30, 50), (0.8, 0.9, 1.1)))
    sheared = rotation(10, 5, -40) @ np.array([[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]])
    yield "sheared_uint8", nib.Nifti1Image(data(5, np.uint8, 256), affine(sheared, (1, 2, 1)))
    only_q = nib.Nifti1Image(data(6, np.float64), None)
    only_q.set_qform(affine(rotation(80, 15, 100), (0.6, 1.2, 1)), code=1)
    only_q.set_sform(None, code=0)
    yield "qform_float64", only_q
    left_handed = nib.Nifti1Image(data(7, np.int16, 30000), None)
    left_handed.set_qform(affine(np.diag([1, 1, -1]) @ rotation(5, 8, 3), (1, 1, 2)), code=1)
    left_handed.set_sform(None, code=0)
    yield "qfac_int16", left_handed
    nothing = nib.Nifti1Image(data(8, np.uint32), None)
    nothing.header.set_zooms((1, 2, 3))
    nothing.set_sform(None, code=0)
    nothing.set_qform(None, code=0)
    yield "bare_uint32", nothing
    big = nib.Nifti1Image(data(9, np.int16, 30000), affine(ras), header=nib.Nifti1Header(endianness=">"))
    big.set_sform(affine(psr), code=1)
    yield "big_endian_int16", big
    scaled = nib.Nifti1Image(data(10, np.uint8, 200), affine(las))
    scaled.header.set_slope_inter(3, 7)
    yield "scaled_uint8", scaled


def slices(image):
    """For each axis the array [slices, rows, columns], from nibabel's closest canonical (right, anterior, superior)."""
    canonical = nib.as_closest_canonical(image)
    ras = np.floor(canonical.get_fdata() + 0.5).clip(0, 65535).astype("<u2")
    return {
        "axial": ras.transpose(2, 1, 0)[:, ::-1, ::-1],
        "coronal": ras.transpose(1, 2, 0)[:, ::-1, ::-1],
        "sagittal": ras.transpose(0, 2, 1)[:, ::-1, ::-1],
    }


def describe(image):
    # What the file says without a form, nibabel takes from its shape: the header is read again.
    out = {"affine": np.asarray(image.affine)[:3].tolist(), "sizes": voxel_sizes(image.affine).tolist()}
    for axis, array in slices(image).items():
        array = np.ascontiguousarray(array)
        out[axis] = {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    data = parser.parse_args().data
    folder = GOLDEN / "nifti"
    folder.mkdir(exist_ok=True)
    out = {"data": {}, "golden": {}}
    for name, image in volumes():
        path = folder / f"{name}.nii.gz"
        # Without a time in the gzip header the same bytes come out each time.
        path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
        out["golden"][path.name] = describe(nib.load(path))
    for path in sorted((data / "images").glob("*.nii.gz"))[::12]:
        out["data"][f"images/{path.name}"] = describe(nib.load(path))
    (GOLDEN / "nifti.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
