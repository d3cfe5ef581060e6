#!/usr/bin/env python3
"""DICOM files that say something unusual of their pixels, as pydicom reads them.

    python make_dicom_kinds.py

Writes `../golden/dicom_kinds/*.dcm`, 48 x 40 px of made-up texture, and `../golden/dicom_kinds.json`: of each the shape, the
SHA-256 of pydicom's pixel array, and 32 pixels of the picture, each as [frame, row, column, values in 0..1]. The picture is
made by pydicom's own functions, but for white, black and padding, which pydicom leaves to who shows it.

Made with pydicom 3.0.2, pylibjpeg 2.1 (libjpeg 2.5, openjpeg 2.6), imagecodecs 2026.3.6, pillow 13,
OpenJPEG 2.5.0 (opj_compress of Debian's libopenjp2-tools).
"""
import hashlib
import io
import json
import pathlib
import subprocess
import tempfile

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
)

from make_dicom import COLUMNS, GOLDEN, ROWS, dataset, texture

FOLDER = GOLDEN / "dicom_kinds"
GREY8 = (texture(11)[..., 0] * 255).astype(np.uint8)
GREY12 = (texture(12)[..., 0] * 4095).astype(np.uint16)
COLOUR = (texture(13, 3) * 255).astype(np.uint8)


def frames(array, count, channels):
    return np.asarray(array, np.float64).reshape(count, ROWS, COLUMNS, channels)


def item(entries, first, bits, data):
    it = Dataset()
    it.LUTDescriptor = [entries, first, bits]
    it.LUTData = np.asarray(data, "<u2").tobytes()
    it["LUTData"].VR = "OW"
    return it


def grey12(**attributes):
    return dataset(GREY12, "MONOCHROME2", ExplicitVRLittleEndian, BitsStored=12, **attributes)


def compressed(ds, syntax, streams, **options):
    ds.PixelData = encapsulate(streams, **options)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def jpeg(array, **options):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def bare(stream, names):
    """A JPEG without APP markers, whose three components are called `names`."""
    out, at, old = stream[:2], 2, None
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        part = bytearray(stream[at:end])
        if stream[at + 1] == 0xC0:
            old = [part[10 + 3 * n] for n in range(3)]
            for n in range(3):
                part[10 + 3 * n] = names[n]
        if not 0xE0 <= stream[at + 1] <= 0xEF:
            out += bytes(part)
        at = end
    scan = bytearray(stream[at:])
    for n in range(3):
        assert scan[5 + 2 * n] == old[n]
        scan[5 + 2 * n] = names[n]
    return out + bytes(scan)


def kinds():
    """Name, data set, and how its pixel array becomes a picture in 0..1: [frames, rows, columns, channels]."""
    curve = np.round((np.arange(4096) / 4095.0) ** 0.5 * 4095)
    for bits in (12, 16):
        ds = grey12(VOILUTSequence=[item(4096, 0, bits, curve)])
        yield f"voi_lut_12_in_{bits}", ds, lambda a, ds: apply_voi_lut(a, ds) / 4095.0
    ds = grey12(VOILUTSequence=[item(4096, 0, 16, np.round(curve / 4095 * 255))])
    yield "voi_lut_8_in_16", ds, lambda a, ds: apply_voi_lut(a, ds) / 255.0
    ds = grey12(ModalityLUTSequence=[item(3000, 500, 16, np.arange(3000) ** 2 // 200)])
    ds.ModalityLUTSequence[0].ModalityLUTType = "US"
    spread = lambda v: (v - v.min()) / (v.max() - v.min())
    yield "modality_lut", ds, lambda a, ds: spread(apply_modality_lut(a, ds).astype(float))
    # PS3.3 C.11.2.1.2: pydicom refuses a width below 1 with LINEAR; LINEAR_EXACT is what dcmtk and fo-dicom take it for.
    narrow = {"RescaleSlope": "0.0002442", "RescaleIntercept": "0", "WindowCenter": "0.4565", "WindowWidth": "0.513"}
    ds = grey12(**narrow)
    x = lambda a: (a * 0.0002442 - 0.4565) / 0.513
    yield "window_narrow", ds, lambda a, ds: np.clip(x(a) + 0.5, 0, 1)
    yield "window_narrow_sigmoid", grey12(VOILUTFunction="SIGMOID", **narrow), lambda a, ds: 1 / (1 + np.exp(-4 * x(a)))
    # Padding: from the value to the limit, left out of the range that is shown.
    padded = GREY12.copy().astype(np.int16) - 1000
    padded[:6], padded[6:9] = -2000, -1900
    ds = dataset(padded, "MONOCHROME2", ImplicitVRLittleEndian)
    ds.add_new(0x00280120, "SS", -2000)
    ds.add_new(0x00280121, "SS", -1900)
    seen = padded[9:]
    yield "padding_range", ds, lambda a, ds: np.clip((a - float(seen.min())) / (float(seen.max()) - float(seen.min())), 0, 1)
    # An overlay in the bits above those that are stored (retired, but in archives).
    ds = grey12(WindowCenter="2048", WindowWidth="4096")
    ds.PixelData = (GREY12 | ((np.indices(GREY12.shape).sum(0) % 2) << 15).astype(np.uint16)).tobytes()
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 15)
    yield "overlay_bits", ds, lambda a, ds: (a & 4095) / 4095.0

    # Palettes. Of 16 bits, blue is almost black throughout; the first index is signed; one is in segments.
    index = (texture(14)[..., 0] * 200).astype(np.uint8)
    ramp = np.arange(256)
    tables = [ramp * 257, 65535 - ramp * 200, ramp // 2]

    def coloured(index, first, bits, data, syntax=ExplicitVRLittleEndian, segmented=False):
        ds = dataset(index, "PALETTE COLOR", syntax)
        for name, table in zip(("Red", "Green", "Blue"), data):
            setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, first, bits])
            tag = f"{'Segmented' if segmented else ''}{name}PaletteColorLookupTableData"
            setattr(ds, tag, np.asarray(table, "<u2").tobytes())
            ds[tag].VR = "OW"
        return ds

    shown = lambda a, ds: apply_color_lut(a, ds) / 65535.0
    yield "palette_dark_blue", coloured(index, 0, 16, tables), shown
    signed = index.astype(np.int16) - 100
    yield "palette_signed", coloured(signed, -100, 16, tables), shown
    segments = [
        [0, 1, 0, 1, 255, 65280],
        [0, 2, 60000, 50000, 1, 100, 10000, 0, 1, 7, 1, 153, 65535],
        [0, 1, 200, 1, 126, 30000, 2, 2, 0, 0, 0, 2, 1, 2],
    ]
    yield "palette_segmented", coloured(index, 0, 16, segments, segmented=True), shown

    # YBR_FULL_422 that holds every sample.
    ds = dataset(COLOUR, "YBR_FULL", ExplicitVRLittleEndian)
    ds.PhotometricInterpretation = "YBR_FULL_422"

    def all_samples(_, ds):
        return convert_color_space(COLOUR, "YBR_FULL", "RGB") / 255.0

    yield "ybr422_all_samples", ds, all_samples
    # JPEG without markers, whose components are called R, G and B, or 1, 2, 3 of RGB, or of YCbCr.
    keep = jpeg(COLOUR, keep_rgb=True)
    rgb = np.asarray(Image.open(io.BytesIO(keep))) / 255.0
    for name, stream, photometric in (
        ("jpeg_named_rgb", bare(keep, b"RGB"), "YBR_FULL_422"),
        ("jpeg_bare_rgb", bare(keep, b"\1\2\3"), "RGB"),
    ):
        yield name, compressed(dataset(COLOUR, photometric, ExplicitVRLittleEndian), JPEGBaseline8Bit, [stream]), lambda a, ds: rgb
    stream = jpeg(COLOUR, subsampling="4:4:4")
    ycc = np.asarray(Image.open(io.BytesIO(stream))) / 255.0
    ds = compressed(dataset(COLOUR, "YBR_FULL_422", ExplicitVRLittleEndian), JPEGBaseline8Bit, [bare(stream, b"\1\2\3")])
    yield "jpeg_bare_ycc", ds, lambda a, ds: ycc
    # Three frames of two fragments, none of which any table tells; and the extended table.
    many = [np.roll(GREY8, 9 * n, 1) for n in range(3)]
    streams = [jpeg(frame) for frame in many]
    back = np.stack([np.asarray(Image.open(io.BytesIO(s))) for s in streams]) / 255.0
    ds = dataset(GREY8, "MONOCHROME2", ExplicitVRLittleEndian, NumberOfFrames=3)
    yield "jpeg_two_fragments", compressed(ds, JPEGBaseline8Bit, streams, fragments_per_frame=2, has_bot=False), lambda a, ds: back
    ds = dataset(GREY8, "MONOCHROME2", ExplicitVRLittleEndian)
    yield "jpeg_not_announced", compressed(ds, JPEGBaseline8Bit, streams, has_bot=False), lambda a, ds: back
    ds = dataset(GREY8, "MONOCHROME2", ExplicitVRLittleEndian, NumberOfFrames=3)
    data, offsets, lengths = encapsulate_extended(streams)
    compressed(ds, JPEGBaseline8Bit, streams)
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = data, offsets, lengths
    yield "jpeg_extended_table", ds, lambda a, ds: back
    # 12 bits: process 4, and lossless with 16 in the stream; windowed to all that 12 bits hold.
    whole = {"WindowCenter": "2048", "WindowWidth": "4096"}
    stream = imagecodecs.jpeg_encode(GREY12, level=98, bitspersample=12)
    deep = imagecodecs.jpeg_decode(stream) / 4095.0
    yield "jpeg_12", compressed(grey12(**whole), JPEGExtended12Bit, [stream]), lambda a, ds: deep
    stream = imagecodecs.ljpeg_encode(GREY12, bitspersample=16)
    yield "jpeg_lossless_16", compressed(grey12(**whole), JPEGLosslessSV1, [stream]), lambda a, ds: GREY12 / 4095.0
    # JPEG 2000: tiles, precincts, layers and every progression; what the packets of each are.
    for order, extra in (
        ("LRCP", {"tile": (16, 16), "resolutions": 3}),
        ("RLCP", {"resolutions": 4}),
        ("RPCL", {"tile": (32, 24), "resolutions": 3}),
        ("PCRL", {"resolutions": 3}),
        ("CPRL", {"tile": (40, 48), "resolutions": 4}),
    ):
        stream = j2k(COLOUR, order, **extra)
        ds = dataset(COLOUR, "YBR_RCT", ExplicitVRLittleEndian)
        yield f"j2k_{order.lower()}", compressed(ds, JPEG2000Lossless, [stream]), lambda a, ds: COLOUR / 255.0
    # Elements: implicit where explicit is said, and deflated.
    ds = dataset(GREY8, "MONOCHROME2", DeflatedExplicitVRLittleEndian)
    yield "deflated", ds, lambda a, ds: GREY8 / 255.0


def j2k(array, order, tile=None, resolutions=None):
    """Lossless, in three layers, by OpenJPEG's command (2.5.0), which sets progressions, precincts and layers."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "a.ppm", pathlib.Path(folder) / "a.j2k"
        Image.fromarray(array).save(source)
        command = ["opj_compress", "-i", source, "-o", target, "-p", order, "-mct", "1", "-b", "16,16"]
        command += ["-c", "[32,32],[16,16]", "-r", "8,3,1", "-SOP", "-EPH"]
        if tile:
            command += ["-t", f"{tile[0]},{tile[1]}"]
        if resolutions:
            command += ["-n", str(resolutions)]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        return target.read_bytes()


def describe(path, show, seed):
    ds = pydicom.dcmread(path)
    if path.stem == "jpeg_not_announced":
        # Without a number pydicom takes the first alone.
        ds.NumberOfFrames = 3
    # pydicom says that this one holds a third more than it should.
    array = COLOUR if path.stem == "ybr422_all_samples" else ds.pixel_array
    # As many frames as there are, also where they are not announced.
    count = array.shape[0] if array.ndim == 4 or array.ndim == 3 and ds.SamplesPerPixel == 1 else 1
    shown = np.asarray(show(array, ds), np.float64)
    channels = shown.size // (count * ROWS * COLUMNS)
    shown = frames(shown, count, channels)
    rng = np.random.default_rng(seed)
    places = zip(*(rng.integers(0, n, 32).tolist() for n in shown.shape[:3]))
    return {
        "shape": list(array.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest(),
        "pixels": [[f, r, c, [round(float(v), 5) for v in shown[f, r, c]]] for f, r, c in places],
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    out = {}
    for seed, (name, ds, show) in enumerate(kinds()):
        path = FOLDER / f"{name}.dcm"
        ds.save_as(path, enforce_file_format=True)
        out[path.name] = describe(path, show, seed)
    text = json.dumps({"kinds": out}, separators=(",", ":"))
    (GOLDEN / "dicom_kinds.json").write_text(text.replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
