#!/usr/bin/env python3
"""Export DINOv3ViTModel (transformers, random weights) to ONNX in the four ways that torch offers.

  python export_onnx.py --config s --size 224 --out DIR            # all four ways, about 350 MB for ViT-S
  python export_onnx.py --config tiny,splus --ways dynamo-dynamic --size 64x96 --out DIR
  python export_onnx.py --goldens tests/golden/onnx                # what tests/onnx.rs reads

DIR/<config>/ gets config.json and model.safetensors (save_pretrained); for each way <way>.onnx; and
reference.safetensors: `pixels` [1, 3, h, w] and `last_hidden_state` [1, tokens, dim] at --size, and the same with
the suffix `_other` at another, non-square size, for exports of dynamic size.

Versions: requirements.txt.
"""
import argparse
from pathlib import Path

import onnx
import onnxruntime
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import DINOv3ViTConfig, DINOv3ViTModel

SEED = 20250813
REGISTERS = dict(num_register_tokens=4)
S = dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
SWIGLU = dict(use_gated_mlp=True, hidden_act="silu")
TINY = dict(hidden_size=16, num_hidden_layers=2, intermediate_size=24, patch_size=4)
CONFIGS = {
    "tiny": dict(REGISTERS, **TINY, num_attention_heads=2),
    "tinyglu": dict(REGISTERS, **TINY, **SWIGLU, num_attention_heads=4, layer_norm_eps=1e-6),
    "s": dict(REGISTERS, **S),
    "splus": dict(REGISTERS, **S, **SWIGLU),
    "b": dict(REGISTERS, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}
WAYS = {
    "dynamo-fixed": dict(dynamo=True, dynamic=False),
    "dynamo-dynamic": dict(dynamo=True, dynamic=True),
    "torchscript-fixed": dict(dynamo=False, dynamic=False),
    "torchscript-dynamic": dict(dynamo=False, dynamic=True),
}


def build(config, seed=SEED):
    """A DINOv3ViTModel in which no parameter is an identity: every norm, bias and LayerScale is perturbed, so that
    one that is dropped, swapped or applied twice changes the output."""
    torch.manual_seed(seed)
    model = DINOv3ViTModel(DINOv3ViTConfig(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if name.endswith("lambda1"):
                parameter.copy_(0.5 + 0.2 * noise)
            elif "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 2:
                # Attention that is far from uniform: with the default deviation of 0.02 its logits are about 0.
                parameter.copy_(noise * parameter.shape[1] ** -0.5)
            else:
                parameter.copy_(0.1 * noise)
    return model


class LastHiddenState(nn.Module):
    """The model with its two tensors as a plain tuple, which the TorchScript tracer asks for."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        output = self.model(pixel_values)
        return output.last_hidden_state, output.pooler_output


def export(model, path, size, dynamo, dynamic):
    """Writes `model` to `path`. `dynamic` frees batch, height and width; else they are 1 and `size` (height, width)."""
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    names = dict(input_names=["pixel_values"], output_names=["last_hidden_state", "pooler_output"])
    if dynamic and dynamo:
        dim = torch.export.Dim
        names["dynamic_shapes"] = {"pixel_values": {0: dim("batch"), 2: dim("height"), 3: dim("width")}}
    elif dynamic:
        names["dynamic_axes"] = {"pixel_values": {0: "batch", 2: "height", 3: "width"},
                                 "last_hidden_state": {0: "batch", 1: "tokens"}, "pooler_output": {0: "batch"}}
    with torch.no_grad():
        wrapped = LastHiddenState(model).eval()
        if dynamo:
            torch.onnx.export(wrapped, (pixels,), str(path), dynamo=True, external_data=False, verbose=False, **names)
        else:
            torch.onnx.export(wrapped, (pixels,), str(path), dynamo=False, opset_version=18, **names)


def reference(model, size, seed=2):
    """Pixels like preprocessed ones, and what PyTorch makes of them."""
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return pixels, model(pixels).last_hidden_state


def other_size(config, size):
    """A non-square size that differs from `size` on both sides."""
    patch = config.get("patch_size", 16)
    return size[0] + 2 * patch, size[1] + 3 * patch


def export_all(config, size, out, ways=tuple(WAYS)):
    out.mkdir(parents=True, exist_ok=True)
    model = build(config)
    model.save_pretrained(out)
    tensors = {}
    for suffix, at in (("", size), ("_other", other_size(config, size))):
        pixels, hidden = reference(model, at)
        tensors |= {"pixels" + suffix: pixels, "last_hidden_state" + suffix: hidden.contiguous()}
    save_file(tensors, out / "reference.safetensors")
    for way in ways:
        export(model, out / f"{way}.onnx", size, **WAYS[way])
        print(out / f"{way}.onnx", (out / f"{way}.onnx").stat().st_size, flush=True)


class Cnn(nn.Module):
    """Something else: a few convolutions. `pooled` gives [1, 8], else the map [1, 8, h/4, w/4]."""

    def __init__(self, pooled):
        super().__init__()
        torch.manual_seed(SEED)
        self.pooled = pooled
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
                                    nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Hardswish()).eval()

    def forward(self, image):
        maps = self.layers(image)
        return maps.mean((2, 3)) if self.pooled else maps


def strip(path):
    """Drops what exporters write for people to read, most of a small file."""
    model = onnx.load(path)
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        item.ClearField("doc_string")
        if "metadata_props" in item.DESCRIPTOR.fields_by_name:
            item.ClearField("metadata_props")
    graph.ClearField("value_info")
    onnx.save(model, path)


def goldens(out):
    for name, ways in (("tiny", tuple(WAYS)), ("tinyglu", ("dynamo-fixed", "torchscript-dynamic"))):
        export_all(CONFIGS[name], (16, 24), out / name, ways)
    # Almost DINOv3: another activation, and rotary periods that are not in the file.
    for name, change in (("tanh", dict(hidden_act="gelu_pytorch_tanh")), ("theta", dict(rope_theta=30.0))):
        export(build(CONFIGS["tiny"] | change), out / f"{name}.onnx", (16, 24), dynamo=True, dynamic=False)
    size = (24, 32)
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    common = dict(dynamo=False, opset_version=18, input_names=["image"], output_names=["features"])
    torch.onnx.export(Cnn(pooled=True), (image,), str(out / "cnn-fixed.onnx"), **common)
    torch.onnx.export(Cnn(pooled=False), (image,), str(out / "cnn-dynamic.onnx"), **common,
                      dynamic_axes={"image": {0: "n", 2: "h", 3: "w"}})
    for path in out.rglob("*.onnx"):
        strip(path)
    model = onnx.load(out / "cnn-fixed.onnx")
    onnx.save(model, out / "cnn-external.onnx", save_as_external_data=True, location="cnn-external.data", size_threshold=64)
    tensors = {"image": image}
    for name in ("cnn-fixed", "cnn-dynamic", "cnn-external"):
        session = onnxruntime.InferenceSession(out / f"{name}.onnx", providers=["CPUExecutionProvider"])
        tensors[name] = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
    for name in ("tanh", "theta"):
        session = onnxruntime.InferenceSession(out / f"{name}.onnx", providers=["CPUExecutionProvider"])
        pixels = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(4))
        hidden, pooled = session.run(None, {"pixel_values": pixels.numpy()})
        tensors |= {f"{name}-pixels": pixels, name: torch.from_numpy(hidden), f"{name}-pooled": torch.from_numpy(pooled)}
    save_file(tensors, out / "others.safetensors")


def parse_size(text):
    sides = [int(side) for side in text.split("x")]
    return tuple(sides * 2 if len(sides) == 1 else sides)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tiny", help=",".join(CONFIGS))
    parser.add_argument("--size", default="224", type=parse_size)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--goldens", type=Path)
    args = parser.parse_args()
    if args.goldens:
        return goldens(args.goldens)
    if not args.out:
        parser.error("--out DIR or --goldens DIR")
    for name in args.config.split(","):
        export_all(CONFIGS[name], args.size, args.out / name, args.ways.split(","))


if __name__ == "__main__":
    main()
