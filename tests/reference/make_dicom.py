#!/usr/bin/env python3
"""DICOM as pydicom reads it: what `tests/input` compares with.

    python make_dicom.py --data ../../../shared/data/dicom

Writes `../golden/dicom.json`: for every file of the data folder's index and for the small files below, the shape and the
SHA-256 of pydicom's pixel array, and 64 pixels of the picture (palette and colour space applied, grey values windowed),
each as [frame, row, column, values in 0..1].

Writes `../golden/dicom/*.dcm`: 48 x 40 px of made-up texture, so they are ours, in encodings that the data folder lacks.

Made with pydicom 3.0.2, pillow 13, pylibjpeg 2.1, pylibjpeg-openjpeg 2.6, pyjpegls 1.5.
"""
import argparse
import csv
import hashlib
import io
import json
import pathlib

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
ROWS, COLUMNS = 40, 48


def texture(seed, channels=1):
    """[rows, columns, channels] in 0..1: smooth with some noise, so that every codec has something to do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS] / 10.0
    planes = [0.5 + 0.3 * np.sin(x * (c + 1) + seed) * np.cos(y - c) + 0.1 * rng.standard_normal(x.shape) for c in range(channels)]
    return np.clip(np.stack(planes, -1), 0, 1)


def dataset(array, photometric, syntax, **attributes):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "2.25.4711"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless) else syntax
    meta.ImplementationClassUID = "2.25.1"
    ds = Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, "OT"
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.SamplesPerPixel = array.shape[-1] if array.ndim == 3 and array.shape[-1] == 3 else 1
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = array.dtype.itemsize * 8
    ds.BitsStored = attributes.pop("BitsStored", ds.BitsAllocated)
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    for name, value in attributes.items():
        setattr(ds, name, value)
    big = syntax == ExplicitVRBigEndian
    raw = array.astype(array.dtype.newbyteorder(">")).tobytes() if big else array.tobytes()
    ds.PixelData = raw
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        ds.compress(syntax, generate_instance_uid=False)
    return ds


def small_files():
    grey12 = (texture(1)[..., 0] * 4095).astype(np.uint16)
    signed = (texture(2)[..., 0] * 4000 - 1000).astype(np.int16)
    colour = (texture(3, 3) * 255).astype(np.uint8)
    window = {"WindowCenter": "40", "WindowWidth": "1500", "RescaleSlope": "1", "RescaleIntercept": "-24"}
    yield "jpegls_grey12", dataset(grey12, "MONOCHROME2", JPEGLSLossless, BitsStored=12)
    yield "jpegls_rgb", dataset(colour, "RGB", JPEGLSLossless)
    yield "rle_ybr", dataset(colour, "YBR_FULL", RLELossless)
    yield "rle_signed", dataset(signed, "MONOCHROME2", RLELossless, **window)
    yield "j2k_signed", dataset(signed, "MONOCHROME2", JPEG2000Lossless, **window)
    yield "monochrome1", dataset(grey12, "MONOCHROME1", ImplicitVRLittleEndian, BitsStored=12, WindowCenter=2000, WindowWidth=3000)
    yield "big_endian16", dataset(signed, "MONOCHROME2", ExplicitVRBigEndian, **window)
    yield "sigmoid", dataset(grey12, "MONOCHROME2", ExplicitVRLittleEndian, BitsStored=12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    yield "exact", dataset(grey12, "MONOCHROME2", ExplicitVRLittleEndian, BitsStored=12, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    pairs = colour[:, ::2].astype(np.uint16)
    pairs = ((pairs + colour[:, 1::2]) // 2).astype(np.uint8)
    packed = np.stack([colour[:, ::2, 0], colour[:, 1::2, 0], pairs[..., 1], pairs[..., 2]], -1)
    ds = dataset(colour, "YBR_FULL_422", ExplicitVRLittleEndian)
    ds.PixelData = packed.tobytes()
    yield "ybr422", ds
    # JPEG that keeps RGB and says so in its Adobe marker.
    yield "jpeg_rgb", jpeg(dataset(colour, "RGB", ExplicitVRLittleEndian), [colour], keep_rgb=True)
    # Three frames in two fragments each, found by the offset table.
    frames = [(texture(n, 3) * 255).astype(np.uint8) for n in range(3)]
    ds = dataset(frames[0], "YBR_FULL_422", ExplicitVRLittleEndian, NumberOfFrames=3)
    yield "jpeg_fragments", jpeg(ds, frames, fragments=2, subsampling="4:2:2")


def jpeg(ds, frames, fragments=1, **options):
    streams = []
    for frame in frames:
        out = io.BytesIO()
        Image.fromarray(frame).save(out, "JPEG", quality=95, **options)
        streams.append(out.getvalue())
    ds.PixelData = encapsulate(streams, fragments_per_frame=fragments, has_bot=True)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return ds


def picture(ds):
    """[frames, rows, columns, channels] in 0..1 as it is displayed."""
    array = ds.pixel_array
    photometric = ds.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, ds) / 65535.0
    elif photometric in ("YBR_FULL", "YBR_FULL_422"):
        # pydicom 3 converts these to RGB by itself.
        array = array / 255.0
    elif photometric.startswith("MONOCHROME"):
        array = apply_modality_lut(array, ds)
        if "WindowWidth" in ds:
            # pydicom's output spans what the rescaled values could be.
            low, high = (-(2 ** (ds.BitsStored - 1)), 2 ** (ds.BitsStored - 1) - 1) if ds.PixelRepresentation else (0, 2**ds.BitsStored - 1)
            slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
            low, high = low * slope + intercept, high * slope + intercept
            array = (apply_voi_lut(array, ds, prefer_lut=False) - low) / (high - low)
        else:
            array = (array - array.min()) / (array.max() - array.min())
        if photometric == "MONOCHROME1":
            array = 1 - array
    else:
        array = array / 255.0
    frames = int(ds.get("NumberOfFrames", 1))
    return np.asarray(array, np.float64).reshape(frames, ds.Rows, ds.Columns, -1)


def describe(ds, seed):
    array = ds.pixel_array
    shown = picture(ds)
    rng = np.random.default_rng(seed)
    places = zip(*(rng.integers(0, n, 64).tolist() for n in shown.shape[:3]))
    pixels = [[f, r, c, [round(float(v), 5) for v in shown[f, r, c]]] for f, r, c in places]
    return {
        "shape": list(array.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest(),
        "pixels": pixels,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    data = parser.parse_args().data
    folder = GOLDEN / "dicom"
    folder.mkdir(exist_ok=True)
    out = {"data": {}, "golden": {}}
    for seed, row in enumerate(csv.DictReader(open(data / "index.csv"))):
        out["data"][row["file"]] = describe(pydicom.dcmread(data / row["file"]), seed)
    for seed, (name, ds) in enumerate(small_files()):
        path = folder / f"{name}.dcm"
        ds.save_as(path, enforce_file_format=True)
        out["golden"][path.name] = describe(pydicom.dcmread(path), seed)
    text = json.dumps(out, separators=(",", ":"))
    (GOLDEN / "dicom.json").write_text(text.replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
