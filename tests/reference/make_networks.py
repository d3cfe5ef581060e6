"""Writes tests/golden/networks and tests/golden/processors: members of the family beside DINOv3, and image processors.

A folder of networks holds a checkpoint as transformers or timm saves it (weights rounded to f16, so that files stay
small), and for each input size `HxW.safetensors` with the preprocessed `pixels` [3, H, W] and the tokens after the final
LayerNorm, `output` [tokens, dim], both f32.

processors/picture.png goes through transformers' AutoImageProcessor with each preprocessor_config.json of the folder;
`pixels.safetensors` beside it has what comes out.
"""
import json
import pathlib
import shutil

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models import save_for_hf
from transformers import (
    AutoImageProcessor,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
DIM, DEPTH, HEADS, PATCH = 16, 1, 4, 4


def randomise(model, seed):
    """Draws every parameter so that each one matters, and rounds it to f16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            draw = torch.randn(p.shape, generator=generator)
            if "lambda" in name or "gamma" in name:
                p.copy_(0.5 + 0.3 * draw)
            elif "norm" in name and name.endswith("weight"):
                p.copy_(1.0 + 0.3 * draw)
            elif name.endswith("bias"):
                p.copy_(0.3 * draw)
            elif "token" in name or "pos" in name:
                p.copy_(draw)
            else:
                p.copy_(1.5 * draw * p[0].numel() ** -0.5)
            p.copy_(p.half().float())
    return model.eval()


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def halve(folder):
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    save_file({n: t.half().contiguous() for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})


def expect(folder, run, sizes):
    for number, (height, width) in enumerate(sizes):
        pixels = torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(50 + number))
        with torch.no_grad():
            tokens = run(pixels)
        expected = {"pixels": pixels[0], "output": tokens[0]}
        save_file({n: t.contiguous().clone() for n, t in expected.items()}, folder / f"{height}x{width}.safetensors")


def transformers_model(name, model, seed, sizes, **forward):
    folder = fresh(GOLDEN / "networks" / name)
    model = randomise(model, seed)
    model.save_pretrained(folder)
    halve(folder)
    expect(folder, lambda pixels: model(pixels, **forward).last_hidden_state, sizes)


def timm_model(name, architecture, seed, sizes, **args):
    folder = fresh(GOLDEN / "networks" / name)
    args = dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS, patch_size=PATCH, num_classes=0) | args
    model = randomise(timm.create_model(architecture, **args), seed)
    save_for_hf(model, folder, model_args=args, safe_serialization=True)
    halve(folder)
    expect(folder, model.forward_features, sizes)


def networks():
    base = dict(
        hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, patch_size=PATCH, image_size=3 * PATCH
    )
    sizes = [(12, 12), (16, 8), (8, 28)]
    transformers_model("dinov2", Dinov2Model(Dinov2Config(**base)), 1, sizes)
    transformers_model("dinov2_swiglu", Dinov2Model(Dinov2Config(**base, use_swiglu_ffn=True)), 2, sizes[:1])
    registers = Dinov2WithRegistersConfig(**base, num_register_tokens=2)
    transformers_model("dinov2_registers", Dinov2WithRegistersModel(registers), 3, sizes)
    vit = ViTModel(ViTConfig(**base, intermediate_size=24), add_pooling_layer=True)
    transformers_model("vit", vit, 4, sizes, interpolate_pos_encoding=True)
    # 16 positions of 2 x 8 patches, which are as many as 4 x 4 have.
    oblong = dict(img_size=(8, 32), dynamic_img_size=True)
    timm_model("timm_oblong", "vit_small_patch16_224", 5, [(8, 32), (16, 16)], **oblong)
    # CLS, two registers and 3 x 3 patches, all with positions.
    timm_model("timm_registers", "vit_small_patch16_224", 6, [(12, 12)], img_size=12, reg_tokens=2)
    timm_model("timm_giant", "vit_giant_patch14_dinov2", 7, [(12, 12)], img_size=12, mlp_ratio=3.0)


def processors():
    folder = fresh(GOLDEN / "processors")
    rng = np.random.default_rng(7)
    small = rng.integers(0, 256, (7, 11, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((40, 27), Image.BICUBIC)
    picture.save(folder / "picture.png")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    bit = dict(
        image_processor_type="BitImageProcessor",
        do_resize=True,
        size={"shortest_edge": 16},
        do_center_crop=True,
        crop_size={"height": 12, "width": 12},
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=mean,
        image_std=std,
        do_convert_rgb=True,
        resample=3,
    )
    vit = dict(image_processor_type="ViTImageProcessor", size={"height": 12, "width": 16}, resample=2)
    dino = dict(image_processor_type="DINOv3ViTImageProcessor", size={"height": 12, "width": 16})
    cases = {
        "bit": bit,
        "bit_oblong_crop": bit | dict(crop_size={"height": 12, "width": 20}),
        "bit_crop_larger_than_the_picture": bit | dict(crop_size={"height": 20, "width": 32}),
        "bit_no_resize": bit | dict(do_resize=False),
        "bit_exact_then_crop": bit | dict(size={"height": 20, "width": 30}),
        "vit": vit,
        "vit_not_rescaled": vit | dict(do_rescale=False),
        "vit_rescaled_to_two": vit | dict(rescale_factor=2 / 255),
        "vit_not_normalised": vit | dict(do_normalize=False),
        "vit_bicubic": vit | dict(resample=3),
        "vit_nearest": vit | dict(resample=0),
        "vit_lanczos": vit | dict(resample=1),
        "vit_box": vit | dict(resample=4),
        "vit_hamming": vit | dict(resample=5),
        "dinov3": dino,
        "dinov3_bicubic": dino | dict(resample=3),
    }
    pixels = {}
    for name, config in cases.items():
        case = fresh(folder / name)
        (case / "preprocessor_config.json").write_text(json.dumps(config, indent=1) + "\n")
        # torchvision has no box nor Hamming filter, and Lanczos from 0.27 on only.
        pillow = config.get("resample") in (1, 4, 5)
        processor = (ViTImageProcessorPil if pillow else AutoImageProcessor).from_pretrained(case)
        pixels[name] = processor(images=picture, return_tensors="pt")["pixel_values"][0].float().contiguous()
    save_file(pixels, folder / "pixels.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    networks()
    processors()
