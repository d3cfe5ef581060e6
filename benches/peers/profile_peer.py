#!/usr/bin/env python3
"""A peer for `microraptor profile --peer NAME=CMD`: reads a path a line, answers with features and its own milliseconds.

    profile_peer.py onnxruntime model.onnx SIZE THREADS [--prefix N]
    profile_peer.py timm deit_tiny_patch16_224 SIZE THREADS --weights model.safetensors --resize bicubic

The features are CLS ++ mean of the patch tokens, as our linear head reads them. `ms` is the model alone, without
decoding and resizing. An ONNX model has one input [1, 3, H, W] and gives tokens [1, n, dim] first, of which --prefix
are no patches (1: CLS; DINOv3: 5).
"""

import argparse
import json
import sys
import time

import numpy as np
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def pixels(path, height, width, resample=Image.BILINEAR):
    """/255, antialiased resize straight to the size in float, ImageNet's mean and deviation: [1, 3, H, W]."""
    image = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    planes = [Image.fromarray(image[..., c]).resize((width, height), resample) for c in range(3)]
    image = np.stack([np.asarray(plane) for plane in planes], -1)
    return np.ascontiguousarray(((image - MEAN) / STD).transpose(2, 0, 1)[None], np.float32)


def onnxruntime_model(args):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def timm_model(args):
    import timm
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(args.threads)
    model = timm.create_model(args.model, num_classes=0, img_size=args.size)
    state = {k: v for k, v in load_file(args.weights).items() if not k.startswith("head")}
    grown = timm.models.vision_transformer.checkpoint_filter_fn(state, model)
    model.load_state_dict(grown, strict=True)
    model.eval()

    @torch.inference_mode()
    def run(x):
        return model.forward_features(torch.from_numpy(x)).numpy()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", choices=["onnxruntime", "timm"])
    parser.add_argument("model")
    parser.add_argument("size", type=lambda text: tuple(int(side) for side in text.split("x")))
    parser.add_argument("threads", type=int)
    parser.add_argument("--prefix", type=int, default=1)
    parser.add_argument("--weights")
    parser.add_argument("--resize", choices=["bilinear", "bicubic"], default="bilinear", help="DeiT: bicubic")
    args = parser.parse_args()
    args.size = args.size * 2 if len(args.size) == 1 else args.size
    run = {"onnxruntime": onnxruntime_model, "timm": timm_model}[args.runtime](args)
    for path in iter(sys.stdin.readline, ""):
        x = pixels(path.rstrip("\n"), *args.size, Image.Resampling[args.resize.upper()])
        start = time.perf_counter()
        tokens = run(x)
        ms = (time.perf_counter() - start) * 1e3
        features = np.concatenate([tokens[0, 0], tokens[0, args.prefix :].mean(0)])
        print(json.dumps({"features": features.tolist(), "ms": ms}), flush=True)


if __name__ == "__main__":
    main()
