#!/usr/bin/env python3
"""Golden input tensors: what transformers' DINOv3 image processor makes of image files.

    python make_pixels.py                        writes ../golden/pixels_rgb8.png, pixels_grey16.png, pixels.safetensors
    python make_pixels.py --size 224x352 OUT IMAGES...    one tensor an image, called as the file is, for larger trials

Made with torch 2.15, transformers 5.23, pillow 13. 16-bit images go through torch's resize in float, since Pillow's
convert("RGB") clips them.
"""
import argparse
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import DINOv3ViTImageProcessor
from transformers.image_utils import load_image

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
# Height x width: smaller, larger and not square; the sources are 40 x 31 and 23 x 37 (width x height).
SIZES = [(16, 16), (32, 48), (64, 48)]


def tensor(path, height, width):
    """[3, height, width], f32."""
    processor = DINOv3ViTImageProcessor(size={"height": height, "width": width})
    image = Image.open(path)
    if not image.mode.startswith("I"):
        return processor(load_image(str(path)), return_tensors="pt")["pixel_values"][0]
    grey = torch.from_numpy(np.asarray(image).astype(np.float32) / 65535)[None, None]
    resized = torch.nn.functional.interpolate(
        grey, size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )
    mean, std = (torch.tensor(v)[:, None, None] for v in (processor.image_mean, processor.image_std))
    return (resized[0].expand(3, -1, -1) - mean) / std


def make_golden():
    GOLDEN.mkdir(exist_ok=True)
    random = np.random.default_rng(5)
    rgb = random.integers(0, 256, (31, 40, 3), dtype=np.uint8)
    rgb[8:20, 10:30] = [255, 0, 90]
    grey = random.integers(0, 65536, (37, 23), dtype=np.uint16)
    grey[10:30, 5:12] = 65535
    Image.fromarray(rgb).save(GOLDEN / "pixels_rgb8.png")
    Image.fromarray(grey).save(GOLDEN / "pixels_grey16.png")
    tensors = {}
    for name in ["pixels_rgb8", "pixels_grey16"]:
        for height, width in SIZES:
            golden = tensor(GOLDEN / f"{name}.png", height, width)
            tensors[f"{name}.{height}x{width}"] = golden.contiguous()
    save_file(tensors, GOLDEN / "pixels.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", help="height x width, as in 224x352")
    parser.add_argument("paths", nargs="*")
    arguments = parser.parse_args()
    if not arguments.paths:
        make_golden()
    else:
        out, *images = arguments.paths
        height, width = map(int, arguments.size.split("x"))
        save_file({path: tensor(path, height, width).contiguous() for path in images}, out)
