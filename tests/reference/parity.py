"""Full-size DINOv3 with random weights: `microraptor embed` on an image file against PyTorch, token by token.

PyTorch reads the file through transformers' own DINOv3ViTImageProcessor. Microraptor reads the same file and the model
in five forms: the folder of `save_pretrained`, and the four ONNX exports. A form passes when the cosine of every token
(CLS and patches) is above 0.99999. Exits with 1 when one does not, or when the program fails.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import DINOv3ViTImageProcessor

import export_onnx

LEAST_COSINE = 0.99999


def parse_size(text):
    sides = [int(side) for side in text.split("x")]
    return tuple(sides * 2 if len(sides) == 1 else sides)


def expected_tokens(model, image, size):
    """(cls [1, dim], patch [patches, dim]) of PyTorch in f32."""
    processor = DINOv3ViTImageProcessor(size={"height": size[0], "width": size[1]})
    pixels = processor(images=Image.open(image).convert("RGB"), return_tensors="pt")["pixel_values"]
    assert pixels.shape[2:] == size, pixels.shape
    with torch.no_grad():
        tokens = model(pixels).last_hidden_state[0]
    return tokens[:1], tokens[1 + model.config.num_register_tokens :]


def embed(binary, model, image, size, out):
    """Runs the program; (cls, patch, seconds), or a RuntimeError with what it said."""
    command = [binary, "embed", model, image, "-o", out, "--size", "x".join(map(str, size))]
    start = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    tensors = load_file(out)
    return tensors["cls"], tensors["patch"][0], time.perf_counter() - start


def compare(found, expected):
    """Least cosine over the tokens, and the largest difference over the largest value."""
    if found.shape != expected.shape:
        raise RuntimeError(f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    found, expected = found.double(), expected.double()
    cosine = torch.nn.functional.cosine_similarity(found, expected, dim=-1)
    return cosine.min().item(), ((found - expected).abs().max() / expected.abs().max()).item()


def forms(model, folder, size, ways):
    """Yields (name, path) of the model in each form, made when it is asked for: an export of B is 343 MB."""
    model.save_pretrained(folder)
    DINOv3ViTImageProcessor().save_pretrained(folder)
    yield "safetensors", folder
    for way in ways:
        path = folder.parent / f"{folder.name}-{way}.onnx"
        export_onnx.export(model, path, size, **export_onnx.WAYS[way])
        yield way, path
        path.unlink()


def check_model(name, args):
    """Prints a line for each form; how many failed."""
    failures = 0
    model = export_onnx.build(export_onnx.CONFIGS[name])
    cls, patch = expected_tokens(model, args.image, args.size)
    folder = args.work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for form, path in forms(model, folder, args.size, args.ways):
        try:
            found = embed(args.binary, path, args.image, args.size, args.work / "out.safetensors")
            cls_cosine, cls_error = compare(found[0], cls)
            patch_cosine, patch_error = compare(found[1], patch)
            passed = min(cls_cosine, patch_cosine) > LEAST_COSINE
            values = f"{1 - cls_cosine:11.1e} {1 - patch_cosine:11.1e} {max(cls_error, patch_error):11.1e} {found[2]:8.1f}"
        except RuntimeError as error:
            passed, values = False, str(error)
        failures += not passed
        print(f"{name:6} {form:20} {'pass' if passed else 'FAIL'} {values}", flush=True)
    shutil.rmtree(folder)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path, help="the microraptor program")
    parser.add_argument("--image", required=True, type=pathlib.Path, help="an image file, best of lossless format")
    parser.add_argument("--models", default="s,splus,b", help=f"of {','.join(export_onnx.CONFIGS)}")
    parser.add_argument("--ways", default=",".join(export_onnx.WAYS), help="ONNX exports to try; empty for none")
    parser.add_argument("--size", default="224", type=parse_size, help="224, or 224x352")
    parser.add_argument("--work", type=pathlib.Path, help="where models go, one at a time (1 GB free); default temporary")
    args = parser.parse_args()
    args.models = args.models.split(",")
    args.ways = [way for way in args.ways.split(",") if way]
    print(f"{'model':6} {'form':20} {'':4} {'1-cos CLS':>11} {'1-cos patch':>11} {'max rel':>11} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        args.work = args.work or pathlib.Path(temporary)
        args.work.mkdir(parents=True, exist_ok=True)
        failures = sum(check_model(name, args) for name in args.models)
    print(f"{failures} failed" if failures else f"every token's cosine is above {LEAST_COSINE}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
