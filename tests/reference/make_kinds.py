"""Makes tests/golden/kinds: small pictures of every kind that is read or refused, and kinds.json with what Pillow, tifffile and
imagecodecs decode them to: the SHA-256 of the samples (rows of pixels, little-endian) or a picture to be near to.

    pip install pillow numpy tifffile imagecodecs; python tests/reference/make_kinds.py
"""

import hashlib
import json
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

import progressive

OUT = Path(__file__).resolve().parent.parent / "golden" / "kinds"
OUT.mkdir(exist_ok=True)
WIDTH, HEIGHT = 29, 19
KINDS = {}

y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
grey = ((x * 7 + y * 5 + (x * y) % 17) % 256).astype(np.uint8)
rgb = np.stack([grey, 255 - grey, grey // 2 + x * 2], -1).astype(np.uint8)
grey16 = (grey.astype(np.uint32) * 257 - np.minimum(x, grey)).astype(np.uint16)
rgb16 = np.stack([grey16, 65535 - grey16, grey16 // 3], -1)
real = (grey16 / 65535).astype(np.float32)
black = grey > 128


def expect(name, samples):
    """The file decodes to exactly these samples; floating point is grey in three channels."""
    if samples.dtype == np.float32 and samples.ndim == 2:
        samples = np.repeat(samples[..., None], 3, 2)
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    KINDS[name] = {"size": [samples.shape[1], samples.shape[0]], "sha256": hashlib.sha256(data).hexdigest()}


def near(name, samples, within):
    """The file decodes to within so many of these samples' values, which are beside it."""
    Image.fromarray(samples).save(OUT / f"{name}.png") if samples.dtype == np.uint8 else imwrite16(name, samples)
    KINDS[name] = {"size": [samples.shape[1], samples.shape[0]], "within": within}


def imwrite16(name, samples):
    (OUT / f"{name}.png").write_bytes(imagecodecs.png_encode(samples))


def tiff(name, data, samples, refused=None, **how):
    tifffile.imwrite(OUT / name, data, metadata=None, software=False, **how)
    if refused:
        KINDS[name] = {"refused": refused}
    else:
        expect(name, samples)


def pillow(name, picture, **how):
    """What Pillow reads back of what it wrote."""
    picture.save(OUT / name, **how)
    read = ImageOps.exif_transpose(Image.open(OUT / name))
    mode = {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(read.mode, read.mode)
    return np.array(read.convert(mode) if mode != read.mode else read)


plain, strips = {"photometric": "minisblack"}, {"photometric": "rgb", "rowsperstrip": 5}
planes = {"photometric": "rgb", "planarconfig": "separate"}
tiff("be16.tif", grey16, grey16, byteorder=">", **plain)
tiff("lzw_predictor16.tif", rgb16, rgb16, compression="lzw", predictor=True, **strips)
tiff("deflate_predictor.tif", rgb, rgb, compression="zlib", predictor=True, **strips)
tiff("big.tif", rgb, rgb, bigtiff=True, photometric="rgb")
tiff("big_be16.tif", grey16, grey16, bigtiff=True, byteorder=">", **plain)
tiff("planar.tif", rgb.transpose(2, 0, 1).copy(), rgb, rowsperstrip=9, **planes)
tiff("planar_tiles.tif", rgb.transpose(2, 0, 1).copy(), rgb, compression="zlib", tile=(16, 16), **planes)
tiff("tiles16.tif", grey16, grey16, tile=(16, 16), **plain)
tiff("white_is_zero.tif", 255 - grey, grey, photometric="miniswhite")
tiff("packbits.tif", grey // 32 * 32, grey // 32 * 32, compression="packbits", rowsperstrip=6, **plain)
tiff("float.tif", real, real)
tiff("float16.tif", real.astype(np.float16), real.astype(np.float16).astype(np.float32))
tiff("float64.tif", real.astype(np.float64), real)
tiff("float_predictor_be.tif", real, real, compression="zlib", predictor=3, byteorder=">", tile=(16, 16))
tiff("alpha.tif", np.dstack([rgb, grey]), rgb, photometric="rgb", extrasamples=["unassalpha"])
tiff("grey_alpha.tif", np.dstack([grey, 255 - grey]), grey, extrasamples=["unassalpha"], **plain)
tiff("bit1.tif", black, black.astype(np.uint8) * 255, **plain)
tiff("bits2.tif", grey >> 6, (grey >> 6) * 85, bitspersample=2, **plain)
tiff("bits4.tif", grey >> 4, (grey >> 4) * 17, bitspersample=4, **plain)
twelve = (grey16 >> 4).astype(np.uint32)
tiff("bits12.tif", grey16 >> 4, ((twelve * 65535 + 2047) // 4095).astype(np.uint16), bitspersample=12, **plain)
tiff("signed.tif", grey16.view(np.int16), None, refused="signed integers", **plain)
tiff("integers32.tif", grey16.astype(np.uint32), None, refused="integers of 32 bits", **plain)
tiff("float_above.tif", real * 2, None, refused="scale a floating-point image to 0..1")
tiff("premultiplied.tif", np.dstack([rgb, grey]), None, refused="opacity", photometric="rgb", extrasamples=["assocalpha"])

picture, small = Image.fromarray(rgb), Image.fromarray(rgb).quantize(5)
exif = Image.Exif()
exif[0x0112] = 8
for name, image, how in [
    ("turned.tif", picture, {"exif": exif}),
    ("group4.tif", Image.fromarray(grey).convert("1"), {"compression": "group4"}),
    ("palette.tif", small, {}),
    ("cmyk.tif", picture.convert("CMYK"), {}),
    ("bit1.png", Image.fromarray(grey).convert("1"), {}),
    ("lossless.webp", picture, {"lossless": True}),
    ("bit1.bmp", Image.fromarray(grey).convert("1"), {}),
    ("turned.png", picture, {"exif": exif}),
    ("turned.webp", picture, {"exif": exif, "lossless": True}),
]:
    samples = pillow(name, image, **how)
    # This program makes RGB of all BMP files.
    expect(name, np.repeat(samples[..., None], 3, 2) if name.endswith("bmp") else samples)
opaque = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
for name, image in [("palette.gif", small), ("interlaced.gif", small)]:
    # This program keeps a GIF's transparency.
    expect(name, np.dstack([pillow(name, image, interlace=int(name[0] == "i")), opaque]))
for name, image, how in [
    ("progressive.jpg", picture, {"progressive": True, "quality": 90}),
    ("restart.jpg", picture, {"restart_marker_blocks": 1}),
    ("rgb_components.jpg", picture, {"keep_rgb": True, "quality": 95}),
    ("ycck.jpg", picture.convert("CMYK"), {"quality": 95}),
    ("jpeg.tif", picture, {"compression": "jpeg"}),
]:
    # Decoders differ in the rounding of the IDCT, of the colours and of the interpolation between coarse colours.
    near(name, pillow(name, image, **how), 4)
# 12 bits: one step for the IDCT's rounding; in colour, that of each of three components and their factors (1.772).
for name, data, within in [("grey12.jpg", grey16 >> 4, 1), ("colour12.jpg", rgb16 >> 4, 4)]:
    how = {"subsampling": "444", "colorspace": "RGB", "outcolorspace": "YCBCR"} if data.ndim == 3 else {}
    (OUT / name).write_bytes(imagecodecs.jpeg8_encode(data, level=92, bitspersample=12, **how))
    near(name, imagecodecs.jpeg8_decode((OUT / name).read_bytes()), within)
(OUT / "progressive_grey12.jpg").write_bytes(progressive.encode(grey16 >> 4, 12, 5))
near("progressive_grey12.jpg", imagecodecs.jpeg8_decode((OUT / "progressive_grey12.jpg").read_bytes()), 1)
# The orientation 8: what is stored is to be turned by a quarter, against the clock (Exif 3.0, 4.6.5.1.6).
plain12 = (OUT / "grey12.jpg").read_bytes()
(OUT / "turned_grey12.jpg").write_bytes(plain12[:2] + progressive.segment(0xE1, exif.tobytes()) + plain12[2:])
near("turned_grey12.jpg", np.rot90(imagecodecs.jpeg8_decode(plain12)).copy(), 1)
assert np.array_equal(ImageOps.exif_transpose(Image.open(OUT / "turned.png")), np.rot90(rgb))

# Rows from the top, which a negative height says; Pillow writes them from the bottom and reads both.
pillow("topdown.bmp", picture)
bmp = bytearray((OUT / "topdown.bmp").read_bytes())
start, stride = int.from_bytes(bmp[10:14], "little"), -(-WIDTH * 3 // 4) * 4
rows = [bmp[start + n * stride : start + (n + 1) * stride] for n in range(HEIGHT)]
bmp[22:26] = (-HEIGHT).to_bytes(4, "little", signed=True)
bmp[start:] = b"".join(rows[::-1])
(OUT / "topdown.bmp").write_bytes(bmp)
expect("topdown.bmp", np.array(Image.open(OUT / "topdown.bmp")))
turned = [Image.fromarray(rgb[::-1].copy()), Image.fromarray(rgb[:, ::-1].copy())]
for name, how in [("pages.tif", {}), ("frames.png", {}), ("frames.webp", {"lossless": True}), ("frames.gif", {})]:
    picture.quantize(16).convert("RGB").save(OUT / name, save_all=True, append_images=turned, **how)
    KINDS[name] = {"refused": "holds 3 pictures: choose one by the option `page`, from 1 to 3"}
    if name != "frames.gif":
        # A frame drawn over others may differ by one where the decoder blends it in.
        near(f"{name}.2", rgb[::-1].copy(), 1)

(OUT.parent / "kinds.json").write_text(json.dumps(KINDS, indent=1) + "\n")
