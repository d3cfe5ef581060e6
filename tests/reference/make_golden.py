"""Writes tests/golden/vit: tiny checkpoints as their publishers' tools save them, and what PyTorch computes with them.

A folder holds one checkpoint and, for each input size, `expected_HxW.safetensors` (all f32):
  pixels    [3, H, W]       the input, already preprocessed
  embedded  [tokens, dim]   after patch embedding, with CLS, registers and learned positions
  block.N   [tokens, dim]   the residual stream after block N
  output    [tokens, dim]   after the final LayerNorm

Nothing here is at its default: LayerScale, norms, biases and tokens are far from zero and one, and queries and keys are
large enough that attention is peaked. `check_sensitivity` proves for each model that a likely fault (positions, epsilon,
GELU by tanh) moves the output by more than five times the tolerance of the test that reads these files.
"""

import argparse
import pathlib

import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from timm.models.eva import checkpoint_filter_fn
from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel
from transformers.activations import GELUActivation

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "golden" / "vit"
DIM, DEPTH, HEADS, REGISTERS = 32, 2, 2, 4
SQUARE, WIDE, WIDER = (32, 32), (32, 48), (48, 80)
TRAINED = (48, 48)


def randomise(model, seed):
    """Draws every parameter so that each one matters to the output."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like, mean, std):
        return mean + std * torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            # A residual stream that starts small (variance about 0.002) makes LayerNorm's epsilon show.
            small = 0.05 if any(part in name for part in ("token", "pos_embed", "patch_embed")) else 1.0
            if "layer_scale" in name or "gamma_" in name:
                p.copy_(normal(p, 0.5, 0.3))
            elif "norm" in name and name.endswith("weight"):
                p.copy_(normal(p, 1.0, 0.3))
            elif name.endswith("bias"):
                p.copy_(normal(p, 0.0, 0.3 * small))
            elif "token" in name or "pos_embed" in name:
                p.copy_(normal(p, 0.0, small))
            else:
                fan_in = p[0].numel()
                # Scores of q.k / sqrt(head_dim) with a deviation of about 2.
                gain = 1.5 if any(part in name for part in ("q_proj", "k_proj", "qkv")) else 1.0
                p.copy_(normal(p, 0.0, small * gain * fan_in**-0.5))
    return model.eval()


def trace(model, blocks, norm, pixels):
    """Runs `model` on `pixels` [3, H, W]; what passes between `blocks` and out of `norm`, by hooks."""
    seen = {"pixels": pixels}
    first = lambda value: value[0] if isinstance(value, tuple) else value
    handles = [blocks[0].register_forward_pre_hook(lambda _, args: seen.__setitem__("embedded", args[0][0]))]
    for i, block in enumerate(blocks):
        handles.append(block.register_forward_hook(lambda *a, i=i: seen.__setitem__(f"block.{i}", first(a[2])[0])))
    handles.append(norm.register_forward_hook(lambda *a: seen.__setitem__("output", a[2][0])))
    with torch.no_grad():
        model(pixels[None])
    for handle in handles:
        handle.remove()
    return {name: value.detach().clone().contiguous() for name, value in seen.items()}


def hf_trace(model, pixels):
    return trace(model, model.model.layer, model.norm, pixels)


def timm_trace(model, pixels):
    return trace(model, model.blocks, model.norm, pixels)


def pixels_of(size, seed):
    return torch.randn((3, *size), generator=torch.Generator().manual_seed(seed))


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def check_sensitivity(name, model, run, positions, norm_eps, pixels):
    """A likely fault must move the output five times further than the tolerance of tests/golden_vit.rs (2e-5 of the largest value)."""
    before = run(pixels)["output"]
    kept = positions.clone()
    moved = {}
    with torch.no_grad():
        positions.copy_(kept.flip(-1 if kept.dim() == 1 else 1))
        moved["positions in another order"] = relative(run(pixels)["output"], before)
        positions.copy_(kept)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {m.eps for m in norms} == {norm_eps}
    for m in norms:
        m.eps = 1e-6 if norm_eps == 1e-5 else 1e-5
    moved["another epsilon"] = relative(run(pixels)["output"], before)
    for m in norms:
        m.eps = norm_eps
    gelus = [m for m in model.modules() if isinstance(m, (torch.nn.GELU, GELUActivation))]
    forwards = [m.forward for m in gelus]
    for m in gelus:
        m.forward = lambda x: torch.nn.functional.gelu(x, approximate="tanh")
    if gelus:
        moved["GELU by tanh"] = relative(run(pixels)["output"], before)
    for m, forward in zip(gelus, forwards):
        m.forward = forward
    assert torch.equal(run(pixels)["output"], before)
    print(name, ", ".join(f"{fault} {by:.1e}" for fault, by in moved.items()))
    assert min(moved.values()) > 1e-4, f"{name} would not show a fault"


def write_expected(folder, run, sizes):
    for number, size in enumerate(sizes):
        expected = run(pixels_of(size, 100 + number))
        save_file(expected, folder / f"expected_{size[0]}x{size[1]}.safetensors")


def fresh(name):
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


def hf_model(swiglu, seed):
    config = DINOv3ViTConfig(
        hidden_size=DIM,
        intermediate_size=96 if swiglu else 128,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        num_register_tokens=REGISTERS,
        hidden_act="silu" if swiglu else "gelu",
        use_gated_mlp=swiglu,
    )
    return randomise(DINOv3ViTModel(config), seed)


def write_hf(name, model, sizes, dtype=torch.float32):
    """`save_pretrained` in `dtype`; the expected values are those of the same weights cast back to f32."""
    folder = fresh(name)
    model.to(dtype).save_pretrained(folder)
    DINOv3ViTImageProcessor().save_pretrained(folder)
    model = DINOv3ViTModel.from_pretrained(folder, dtype=torch.float32).eval()
    run = lambda pixels: hf_trace(model, pixels)
    check_sensitivity(name, model, run, model.rope_embeddings.inv_freq, 1e-5, pixels_of(WIDE, 1))
    write_expected(folder, run, sizes)


def write_timm(name, architecture, sizes, seed, **args):
    folder = fresh(name)
    args = dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS, img_size=TRAINED[0], **args)
    model = randomise(timm.create_model(architecture, **args), seed)
    # timm names what a caller changed in `model_args`; `dynamic_img_size` is a matter of running it.
    saved = {k: v for k, v in args.items() if k != "dynamic_img_size"}
    save_for_hf(model, folder, model_args=saved, safe_serialization=True)
    run = lambda pixels: timm_trace(model, pixels)
    positions = model.rope.periods if getattr(model, "rope", None) is not None else model.pos_embed
    check_sensitivity(name, model, run, positions, 1e-6 if positions is model.pos_embed else 1e-5, pixels_of(WIDE, 1))
    write_expected(folder, run, sizes)


def meta_names(model, seed):
    """The tensors of a transformers model under the names that Meta's published checkpoints give them.

    Facts of those files: q, k and v are one `qkv`; its bias covers all three, and `bias_mask` says that k's third is not
    used (drawn at random here, so that whoever uses it is found out); the mask token is [1, dim]; the rotary periods are
    stored, rounded to bf16; S+ calls gate, up and down w1, w2 and w3.
    """
    generator = torch.Generator().manual_seed(seed)
    hf = {name.removeprefix("model."): value.detach() for name, value in model.state_dict().items()}
    periods = (1.0 / model.rope_embeddings.inv_freq).to(torch.bfloat16)
    meta = {
        "cls_token": hf["embeddings.cls_token"],
        "storage_tokens": hf["embeddings.register_tokens"],
        "mask_token": hf["embeddings.mask_token"][0],
        "patch_embed.proj.weight": hf["embeddings.patch_embeddings.weight"],
        "patch_embed.proj.bias": hf["embeddings.patch_embeddings.bias"],
        "rope_embed.periods": periods,
        "norm.weight": hf["norm.weight"],
        "norm.bias": hf["norm.bias"],
    }
    mlp = [("gate_proj", "w1"), ("up_proj", "w2"), ("down_proj", "w3")]
    if not model.config.use_gated_mlp:
        mlp = [("up_proj", "fc1"), ("down_proj", "fc2")]
    for i in range(model.config.num_hidden_layers):
        old, new = f"layer.{i}", f"blocks.{i}"
        attention = lambda part: hf[f"{old}.attention.{part}"]
        meta[f"{new}.attn.qkv.weight"] = torch.cat([attention(f"{p}_proj.weight") for p in "qkv"])
        unused = torch.randn(DIM, generator=generator)
        meta[f"{new}.attn.qkv.bias"] = torch.cat([attention("q_proj.bias"), unused, attention("v_proj.bias")])
        mask = torch.ones(3 * DIM)
        mask[DIM : 2 * DIM] = 0.0
        meta[f"{new}.attn.qkv.bias_mask"] = mask
        pairs = [("attention.o_proj", "attn.proj"), ("norm1", "norm1"), ("norm2", "norm2")]
        pairs += [(f"mlp.{a}", f"mlp.{b}") for a, b in mlp]
        for a, b in pairs:
            for kind in ("weight", "bias"):
                meta[f"{new}.{b}.{kind}"] = hf[f"{old}.{a}.{kind}"]
        for n in (1, 2):
            meta[f"{new}.ls{n}.gamma"] = hf[f"{old}.layer_scale{n}.lambda1"]
    return {name: value.contiguous().clone() for name, value in meta.items()}


def write_meta(name, swiglu, sizes, seed):
    """A bare file in Meta's names; timm's own reader of those names computes the expected values."""
    folder = fresh(name)
    save_file(meta_names(hf_model(swiglu, seed), seed), folder / "model.safetensors")
    architecture = "vit_small_plus_patch16_dinov3_qkvb" if swiglu else "vit_small_patch16_dinov3_qkvb"
    args = dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=0, img_size=TRAINED[0])
    model = timm.create_model(architecture, mlp_ratio=3.0 if swiglu else 4.0, **args).eval()
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict(checkpoint_filter_fn(tensors, model))
    with torch.no_grad():
        # timm discards the stored periods; the published model uses them.
        model.rope.periods.copy_(tensors["rope_embed.periods"].float())
    run = lambda pixels: timm_trace(model, pixels)
    check_sensitivity(name, model, run, model.rope.periods, 1e-5, pixels_of(WIDE, 1))
    write_expected(folder, run, sizes)


def compare_timm_with_transformers():
    """Our renaming, timm and transformers must agree on one model before any of them is believed."""
    for swiglu in (False, True):
        hf = hf_model(swiglu, 1)
        architecture = "vit_small_plus_patch16_dinov3_qkvb" if swiglu else "vit_small_patch16_dinov3_qkvb"
        args = dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS, num_classes=0, img_size=TRAINED[0])
        other = timm.create_model(architecture, mlp_ratio=3.0 if swiglu else 4.0, **args).eval()
        other.load_state_dict(checkpoint_filter_fn(meta_names(hf, 1), other))
        a, b = hf_trace(hf, pixels_of(WIDE, 1)), timm_trace(other, pixels_of(WIDE, 1))
        worst = max(relative(a[name], b[name]) for name in a)
        assert worst < 1e-5, f"timm and transformers differ by {worst:.2g}"
        print(f"timm and transformers agree to {worst:.1e} ({'SwiGLU' if swiglu else 'GELU'})")


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    torch.set_num_threads(1)
    compare_timm_with_transformers()
    write_hf("hf_s", hf_model(False, 1), [SQUARE, WIDER])
    write_hf("hf_s_f16", hf_model(False, 1), [SQUARE], torch.float16)
    write_hf("hf_s_bf16", hf_model(False, 1), [SQUARE], torch.bfloat16)
    write_hf("hf_splus", hf_model(True, 2), [WIDE])
    write_timm("timm_s", "vit_small_patch16_dinov3", [WIDE], 3, num_classes=0)
    write_timm("timm_splus_qkvb", "vit_small_plus_patch16_dinov3_qkvb", [WIDE], 4, num_classes=0, mlp_ratio=3.0)
    # Trained on a 3 x 3 grid: run at it, at one that grows, at one that shrinks.
    plain = dict(num_classes=3, dynamic_img_size=True)
    write_timm("timm_vit", "vit_tiny_patch16_224", [TRAINED, (48, 64), (32, 32)], 5, **plain)
    write_meta("meta_s", False, [WIDE], 6)
    write_meta("meta_splus", True, [WIDE], 7)
    total = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{total / 1e6:.2f} MB in {FOLDER}")
    assert total < 2_000_000


if __name__ == "__main__":
    main()
