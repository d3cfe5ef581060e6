"""Trains the demonstration backbone: python train.py images.npy demo/ [--steps N] [--seed S].

The student sees two large views (patches of half of them masked) and several small ones, the teacher, which is the
running mean of the student, the large views whole. Sizes change from step to step. The teacher is what is kept, as
transformers' DINOv3ViTModel saves it: `microraptor convert ./demo` reads it.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from dino import Head, cross_entropy, koleo, sinkhorn
from views import masks, views

# Side of the large views in pixels, its share of the steps, and pictures in a batch, so that no step takes much longer than
# another.
LARGE = [(64, 0.15, 64), (96, 0.35, 64), (128, 0.25, 48), (160, 0.15, 32), (224, 0.1, 16)]
SMALL = 48
SMALL_VIEWS = 4
PROTOTYPES = 1024


def backbone(seed, depth, dim):
    torch.manual_seed(seed)
    config = DINOv3ViTConfig(
        hidden_size=dim, num_hidden_layers=depth, num_attention_heads=dim // 64, intermediate_size=4 * dim,
        patch_size=16, num_register_tokens=4, key_bias=False, layerscale_value=0.5, image_size=224,
    )  # fmt: skip
    # Written out: on a CPU the backward pass of PyTorch's fused attention takes a quarter of a step.
    return DINOv3ViTModel._from_config(config, attn_implementation="eager")


def save(model, folder):
    """As transformers does, and what is to be done to pixels."""
    model.save_pretrained(folder)
    pixels = dict(do_resize=True, size=dict(height=224, width=224), resample=2, do_rescale=True, rescale_factor=1 / 255,
                  do_normalize=True, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])  # fmt: skip
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(pixels, indent=1))


class Network(torch.nn.Module):
    """The backbone and its two projections. With `half` the products of the backbone are of bfloat16."""

    def __init__(self, seed, depth, dim, half):
        super().__init__()
        self.half = half
        self.backbone = backbone(seed, depth, dim)
        self.cls_head, self.patch_head = Head(dim, PROTOTYPES), Head(dim, PROTOTYPES)

    def forward(self, pixels, masked=None):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            tokens = self.backbone(pixels, bool_masked_pos=masked).last_hidden_state.float()
        return tokens[:, 0], tokens[:, 5:]


def cosine(step, steps, first, last):
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * step / steps))


def losses(student, teacher, pictures, size, rng):
    """The three losses of one step."""
    large = views(rng, pictures, 2, size, (0.15, 1.0))
    small = views(rng, pictures, SMALL_VIEWS, SMALL, (0.05, 0.3))
    hidden = masks(rng, large.shape[0], size // 16)
    with torch.no_grad():
        cls, patch = teacher(large)
        first, second = sinkhorn(teacher.cls_head(cls)).chunk(2)
        patch_target = sinkhorn(teacher.patch_head(patch[hidden]))
    cls, patch = student(large, hidden)
    small_cls, _ = student(small)
    large_logits = student.cls_head(cls).chunk(2)
    small_logits = student.cls_head(small_cls).chunk(SMALL_VIEWS)
    pairs = [(large_logits[0], second), (large_logits[1], first)]
    pairs += [(logits, target) for logits in small_logits for target in (first, second)]
    dino = sum(cross_entropy(*pair) for pair in pairs) / len(pairs)
    ibot = cross_entropy(student.patch_head(patch[hidden]), patch_target)
    spread = sum(koleo(c) for c in cls.chunk(2)) / 2
    return dino, ibot, spread


def groups(network):
    """No weight decay on biases, norms and LayerScale."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    return [{"params": decayed}, {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0}]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images")
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=4400)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--float32", action="store_true", help="for a CPU without AVX512_BF16 or AMX, where bfloat16 is slow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    images = np.load(args.images, mmap_mode="r")
    student = Network(args.seed, args.depth, args.dim, not args.float32)
    teacher = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.AdamW(groups(student), betas=(0.9, 0.98), weight_decay=0.05)
    draw = np.random.default_rng(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    sizes, shares, batches = zip(*LARGE)
    begin, seen = time.time(), 0
    args.output.mkdir(parents=True, exist_ok=True)
    save(teacher.backbone, args.output / "untrained")
    log = open(args.output / "log.jsonl", "w")
    for step in range(args.steps):
        which = draw.choice(len(LARGE), p=np.array(shares) / sum(shares))
        indices = np.sort(draw.choice(len(images), batches[which], replace=False))
        pictures = torch.from_numpy(images[indices]).unsqueeze(1).float() / 255
        warm = min(1.0, (step + 1) / (0.08 * args.steps))
        rate = warm * cosine(step, args.steps, args.rate, args.rate / 50) * math.sqrt(batches[which] / 64)
        for group in optimizer.param_groups:
            group["lr"] = rate
        dino, ibot, spread = losses(student, teacher, pictures, sizes[which], rng)
        optimizer.zero_grad(set_to_none=True)
        (dino + ibot + 0.1 * spread).backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), 3.0)
        optimizer.step()
        momentum = cosine(step, args.steps, 0.99, 0.9995)
        with torch.no_grad():
            for mean, new in zip(teacher.parameters(), student.parameters()):
                mean.lerp_(new, 1 - momentum)
        seen += batches[which]
        entry = dict(step=step + 1, size=sizes[which], dino=dino.item(), ibot=ibot.item(), koleo=spread.item(),
                     norm=norm.item(), rate=rate, seen=seen, seconds=round(time.time() - begin, 1))  # fmt: skip
        print(json.dumps(entry), file=log, flush=True)
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            save(teacher.backbone, args.output)


if __name__ == "__main__":
    main()
