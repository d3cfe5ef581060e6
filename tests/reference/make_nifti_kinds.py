#!/usr/bin/env python3
"""Kinds of NIfTI beyond one gzipped volume of version 1, as nibabel reads them: what `tests/input/nifti_kinds.rs` compares with.

    python make_nifti_kinds.py

Writes `../golden/nifti_kinds/`: 8 x 9 x 10 voxels of noise (ours), and `../golden/nifti_kinds.json`: of each file the volume
that is read, the value that is subtracted, the affine, and the SHA-256 of its axial slices as 16-bit numbers (of colours as
bytes), [slices, rows, columns] turned as DICOM's are on a screen.

Made with nibabel 5.4.2.
"""
import gzip
import hashlib
import io
import json

import nibabel as nib
import numpy as np

from make_nifti import GOLDEN, affine, rotation

FOLDER = GOLDEN / "nifti_kinds"
SHAPE = (8, 9, 10)
PLACE = affine(np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]]), (1.5, 1, 2))


def noise(seed, kind, top=60000, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, top, shape).astype(kind)


def write(name, image):
    """As nibabel writes it, but for the time in the gzip header."""
    if ".nii" in name:
        (FOLDER / name).write_bytes(gzip.compress(image.to_bytes(), mtime=0))
        return
    files = type(image).make_file_map({"header": "x.hdr", "image": "x.img"})
    for part in files.values():
        part.fileobj = io.BytesIO()
    image.to_file_map(files)
    for part, ending in (("header", ".hdr"), ("image", ".img")):
        data = files[part].fileobj.getvalue()
        path = FOLDER / name.replace(".hdr", ending)
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)


def describe(name, volume=None, low=0, unit=1, alike=None):
    """`alike`: a file of the same bytes whose name nibabel can make sense of."""
    image = nib.load(alike or FOLDER / name)
    data = np.asanyarray(image.dataobj)
    if data.dtype.fields:
        data = np.stack([data[channel] for channel in "RGB"], -1)
    else:
        data = np.asarray(image.dataobj, np.float64)
        data = data.reshape(SHAPE) if volume is None else data[..., volume]
    turn = nib.io_orientation(image.affine)
    ras = nib.apply_orientation(data, turn)
    axial = np.swapaxes(ras, 0, 2)[:, ::-1, ::-1]
    kind = np.uint8 if axial.ndim == 4 else "<u2"
    array = np.ascontiguousarray((axial - low).astype(kind))
    assert (array == axial - low).all()
    place = (np.diag([unit] * 3) @ np.asarray(image.affine)[:3]).tolist()
    return {"volume": volume, "low": low, "affine": place, "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest()}


def main():
    FOLDER.mkdir(exist_ok=True)
    out = {}
    one = nib.Nifti1Image(noise(1, np.uint16), PLACE).to_bytes()
    half = len(one) // 2
    (FOLDER / "members.nii.gz").write_bytes(
        gzip.compress(one[:half], mtime=0) + gzip.compress(one[half:], mtime=0) + bytes(512))
    out["members.nii.gz"] = describe("members.nii.gz")
    (FOLDER / "not_zipped.nii.gz").write_bytes(one)
    (FOLDER / "zipped.nii").write_bytes(gzip.compress(one, mtime=0))
    for name in ("not_zipped.nii.gz", "zipped.nii"):
        out[name] = describe(name, alike=FOLDER / "members.nii.gz")

    write("second.nii.gz", nib.Nifti2Image(noise(2, np.int16, 30000), affine(rotation(25, -30, 50), (0.8, 0.9, 1.1))))
    big = nib.Nifti2Image(noise(3, np.float32), PLACE, header=nib.Nifti2Header(endianness=">"))
    write("second_big.nii.gz", big)
    only_q = nib.Nifti2Image(noise(4, np.float64), None)
    only_q.set_qform(affine(np.diag([1, 1, -1]) @ rotation(80, 15, 100), (0.6, 1.2, 1)), code=1)
    only_q.set_sform(None, code=0)
    write("second_qform.nii.gz", only_q)
    scaled = nib.Nifti2Image(2 * noise(5, np.int32, 20000) + 6, PLACE)
    scaled.header.set_slope_inter(0.5, -3)
    write("second_scaled.nii.gz", scaled)
    write("pair.hdr", nib.Nifti1Pair(noise(6, np.uint16), PLACE))
    moved = nib.Nifti1Pair(noise(7, np.int16, 30000), PLACE)
    moved.header["vox_offset"] = 32
    write("pair_zipped.hdr.gz", moved)
    write("pair_second.hdr", nib.Nifti2Pair(noise(8, np.uint16), PLACE))
    for name in ("second", "second_big", "second_qform", "second_scaled"):
        out[f"{name}.nii.gz"] = describe(f"{name}.nii.gz")
    for name in ("pair.hdr", "pair_zipped.hdr.gz", "pair_second.hdr"):
        out[name] = describe(name)
        out[name.replace(".hdr", ".img")] = out[name]

    write("four.nii.gz", nib.Nifti1Image(noise(9, np.uint16, shape=SHAPE + (3,)), PLACE))
    out["four.nii.gz"] = describe("four.nii.gz", volume=1)
    write("fourth_of_one.nii.gz", nib.Nifti1Image(noise(10, np.uint16, shape=SHAPE + (1,)), PLACE))
    out["fourth_of_one.nii.gz"] = describe("fourth_of_one.nii.gz")
    colours = noise(11, np.uint8, 256, SHAPE + (3,))
    for name, channels in (("rgb", "RGB"), ("rgba", "RGBA")):
        kind = np.dtype([(channel, "u1") for channel in channels])
        data = np.zeros(SHAPE, kind)
        for n, channel in enumerate(channels):
            data[channel] = colours[..., n] if n < 3 else 255
        write(f"{name}.nii.gz", nib.Nifti1Image(data, PLACE))
        out[f"{name}.nii.gz"] = describe(f"{name}.nii.gz")
    for name, kind, low in (("int64", np.int64, 0), ("uint64", np.uint64, 0), ("uint32_high", np.uint32, 1 << 31)):
        image = nib.Nifti1Image(noise(12, np.uint32).astype(kind) + kind(low), PLACE, dtype=kind)
        write(f"{name}.nii.gz", image)
        out[f"{name}.nii.gz"] = describe(f"{name}.nii.gz", low=low)
    write("int8.nii.gz", nib.Nifti1Image(noise(13, np.int8, 128), PLACE))
    out["int8.nii.gz"] = describe("int8.nii.gz")
    extended = nib.Nifti1Image(noise(14, np.uint16), PLACE)
    extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a comment of some length"))
    write("extended.nii.gz", extended)
    out["extended.nii.gz"] = describe("extended.nii.gz")
    metres = nib.Nifti1Image(noise(15, np.uint16), affine(np.eye(3), (0.0005, 0.0007, 0.002), (0, 0, 0)))
    metres.header.set_xyzt_units("meter", "sec")
    write("metres.nii.gz", metres)
    # nibabel leaves the unit as it is; the program's is the millimetre.
    out["metres.nii.gz"] = describe("metres.nii.gz", unit=1000)
    (GOLDEN / "nifti_kinds.json").write_text(json.dumps({"golden": out}, indent=1) + "\n")


if __name__ == "__main__":
    main()
