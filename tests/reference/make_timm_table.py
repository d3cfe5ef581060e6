"""Writes models/timm-architectures.csv: what timm's names of vision transformers say that tensors do not.

    python make_timm_table.py > ../../models/timm-architectures.csv
    python make_timm_table.py 8    # every eighth line, to see in less time that they are still the same

One line an architecture of timm's vision_transformer, eva, beit and deit modules, made on PyTorch's meta device, so
that no weight is allocated. `why` says what this program lacks to run it; empty where it can. `pixels` lists the
pretrained tags, the default first: tag:statistics:interpolation:crop:side, the statistics i (ImageNet), h (0.5
throughout), c (OpenAI's CLIP) or x (others, which only a config.json can say).
"""
import sys

import timm
import torch
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.models import beit, eva
from timm.models import vision_transformer as vit

MODULES = ["vision_transformer", "eva", "beit", "deit"]
STATISTICS = {
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "i",
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)): "h",
    ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)): "c",
}


def identity(module):
    return module is None or isinstance(module, torch.nn.Identity)


def kind_of_mlp(mlp):
    """The name of the feed-forward half as the program knows it, or why it does not."""
    act = mlp.act
    if isinstance(mlp, (GluMlp, SwiGLU)) and isinstance(act, torch.nn.SiLU) and identity(mlp.norm):
        packed = isinstance(mlp, GluMlp)
        return ("gate last" if packed and mlp.gate_last else None), "swiglu_packed" if packed else "swiglu"
    exact = isinstance(act, torch.nn.GELU) and getattr(act, "approximate", "none") == "none"
    if isinstance(mlp, Mlp) and identity(mlp.norm):
        return (None if exact else f"activation {type(act).__name__}"), "gelu"
    return f"feed-forward half {type(mlp).__name__}", "gelu"


def why_not(m):
    block = m.blocks[0]
    if not isinstance(m, (vit.VisionTransformer, eva.Eva, beit.Beit)):
        yield f"class {type(m).__name__}"
        return
    if type(block) not in (vit.Block, eva.EvaBlock, beit.Block):
        yield f"blocks of class {type(block).__name__}"
        return
    if getattr(m, "dist_token", None) is not None:
        yield "a distillation token"
    if m.cls_token is None:
        yield "no class token"
    if not identity(getattr(m, "norm_pre", None)):
        yield "a norm before the blocks"
    if getattr(m, "attn_pool", None) is not None:
        yield "attention pooling"
    if identity(m.norm):
        yield "its norm after pooling"
    attention = block.attn
    if not identity(getattr(attention, "q_norm", None)):
        yield "normed queries and keys"
    if not identity(getattr(attention, "norm", None)):
        yield "a norm within attention"
    if getattr(attention, "relative_position_bias_table", None) is not None or getattr(m, "rel_pos_bias", None) is not None:
        yield "relative positions"
    dinov3 = isinstance(m, eva.Eva) and m.rope is not None and type(m.rope).__name__ == "RotaryEmbeddingDinoV3"
    if getattr(m, "rope", None) is not None and not dinov3:
        yield "rotary positions other than DINOv3's"
    elif dinov3 and m.pos_embed is not None:
        yield "learned and rotary positions"
    if m.patch_embed.proj.bias is None:
        yield "no bias of the patches"
    if not identity(getattr(m.patch_embed, "norm", None)):
        yield "a norm of the patches"
    if getattr(attention, "gate", None) is not None:
        yield "gated attention"


def pixels(name):
    default, known = None, []
    for full in timm.list_pretrained(f"{name}.*") + [name]:
        cfg = timm.get_pretrained_cfg(full)
        if cfg is None:
            continue
        tag = cfg.tag or ""
        code = STATISTICS.get((tuple(cfg.mean), tuple(cfg.std)), "x")
        line = f"{tag}:{code}:{cfg.interpolation}:{cfg.crop_pct:g}:{cfg.input_size[-1]}"
        if full == name:
            default = line
        else:
            known.append(line)
    return " ".join([default] + [line for line in known if line != default])


def main():
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("name,dim,heads,patch,rows,cols,epsilon,mlp,why,pixels")
    known = lambda name: timm.models.model_entrypoint(name).__module__.rsplit(".", 1)[1] in MODULES
    for name in [name for name in timm.list_models() if known(name)][::every]:
        with torch.device("meta"):
            try:
                m = timm.create_model(name, pretrained=False, num_classes=0)
            except Exception:  # needs data on the CPU while it is made
                with torch.device("cpu"):
                    m = timm.create_model(name, pretrained=False, num_classes=0)
        block = m.blocks[0]
        why = list(why_not(m))
        mlp = "gelu"
        eps, heads = 1e-6, getattr(getattr(block, "attn", None), "num_heads", 0)
        if hasattr(block, "mlp") and hasattr(block, "norm1"):
            lacks, mlp = kind_of_mlp(block.mlp)
            why += [lacks] if lacks else []
            eps = getattr(block.norm1, "eps", 0)
            last = m.norm if not identity(m.norm) else m.fc_norm
            if last is not None and not identity(last) and last.eps != eps:
                why.append("norms of two epsilons")
            if "LayerNorm" not in type(block.norm1).__name__:
                why.append(f"norm {type(block.norm1).__name__}")
        rows, cols = getattr(m.patch_embed, "grid_size", None) or (0, 0)
        patch = m.patch_embed.patch_size
        if patch[0] != patch[1]:
            why.append("oblong patches")
        print(f"{name},{m.embed_dim},{heads},{patch[0]},{rows},{cols},{eps:g},{mlp},{'; '.join(why)},{pixels(name)}")


if __name__ == "__main__":
    main()
