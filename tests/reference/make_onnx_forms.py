#!/usr/bin/env python3
"""Vision transformers as ONNX in the forms that hubs offer, with what onnxruntime makes of them.

  python make_onnx_forms.py --out tests/golden/onnx/forms           # tiny ones, what tests/onnx_forms.rs reads
  python make_onnx_forms.py --width s --out DIR                     # ViT-S (or b): about 90 MB a form
  python make_onnx_forms.py --width s --forms opset17,fp16 --out DIR

DIR/<form>.onnx, and DIR/expected.safetensors with, for each output of the graph, `<form>/<batch>x3x<height>x<width>/<output>`
for the pixels `pixels/<batch>x3x<height>x<width>`.
What a quantised file stands for is the same network with the weights that its codes stand for: expected are the outputs
of that one, from onnxruntime in f32 (`floated`), not those of the file, whose activations are rounded too.

Versions: requirements.txt.
"""
import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from torch import nn

SEED = 20261130
WIDTHS = {
    "tiny": dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32),
    "s": dict(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536),
    "b": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}


def shake(model):
    """Random parameters none of which is an identity, so that one that is dropped or swapped changes the output."""
    torch.manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if "lambda" in name or "gamma" in name:
                parameter.copy_(0.5 + 0.2 * noise)
            elif "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 2:
                parameter.copy_(noise * parameter.shape[1] ** -0.5)
            elif "token" in name or "pos" in name:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(0.1 * noise)
    return model.eval()


class Wrapped(nn.Module):
    """`model` called as `f(model, pixel_values)`, with further modules beside it."""

    def __init__(self, model, f, **more):
        super().__init__()
        self.model, self.f = model, f
        for name, module in more.items():
            setattr(self, name, module)

    def forward(self, pixel_values):
        return self.f(self, pixel_values)


def hidden_and_pooled(m, x):
    out = m.model(x)
    return out.last_hidden_state, out.pooler_output


HIDDEN = ("last_hidden_state", "pooler_output")


class Forms:
    """What is made, by name."""

    def __init__(self, width, patch, size):
        self.width, self.patch, self.size = width, patch, size
        self.side = max(size)
        self.dinov2_side, self.dinov2_size = (56, (56, 84)) if width == "tiny" else (224, (224, 224))

    # Networks.

    def dinov3(self, **options):
        from transformers import DINOv3ViTConfig, DINOv3ViTModel
        options = dict(WIDTHS[self.width], num_register_tokens=4, patch_size=self.patch, **options)
        return shake(DINOv3ViTModel(DINOv3ViTConfig(**options)))

    def dinov2(self, registers):
        from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel
        ratio = WIDTHS[self.width]["intermediate_size"] / WIDTHS[self.width]["hidden_size"]
        common = {k: v for k, v in WIDTHS[self.width].items() if k != "intermediate_size"}
        common |= dict(patch_size=14, image_size=self.dinov2_side, mlp_ratio=int(ratio) or 1)
        if registers:
            return shake(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(num_register_tokens=4, **common)))
        return shake(Dinov2Model(Dinov2Config(**common)))

    def hf_vit(self, kind):
        import transformers
        config = getattr(transformers, f"{kind}Config")(**WIDTHS[self.width], patch_size=self.patch, image_size=self.side)
        return shake(getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False))

    def timm_vit(self, **options):
        from timm.models.vision_transformer import VisionTransformer
        w = WIDTHS[self.width]
        ratio = w["intermediate_size"] / w["hidden_size"]
        return shake(VisionTransformer(img_size=self.size, patch_size=self.patch, embed_dim=w["hidden_size"],
                                       depth=w["num_hidden_layers"], num_heads=w["num_attention_heads"], mlp_ratio=ratio,
                                       num_classes=0, **options))

    def timm_dinov3(self):
        from timm.models.eva import Eva
        w = WIDTHS[self.width]
        return shake(Eva(img_size=self.size, patch_size=self.patch, embed_dim=w["hidden_size"], depth=w["num_hidden_layers"],
                         num_heads=w["num_attention_heads"], mlp_ratio=w["intermediate_size"] / w["hidden_size"],
                         num_classes=0, qkv_bias=False, init_values=1e-5, rope_type="dinov3", rope_temperature=100,
                         use_rot_pos_emb=True, use_abs_pos_emb=False, num_reg_tokens=4, use_fc_norm=False, swiglu_mlp=False,
                         rope_rotate_half=True, norm_layer=torch.nn.LayerNorm, global_pool="token"))

    # Exports.

    def export(self, model, f, names, opset, dynamo=False, dynamic=True, batch=1, size=None, dtype=torch.float32):
        module = f if isinstance(f, nn.Module) else Wrapped(model, f)
        pixels = torch.randn(batch, 3, *(size or self.size), generator=torch.Generator().manual_seed(1)).to(dtype)
        options = dict(input_names=["pixel_values"], output_names=list(names), opset_version=opset)
        if dynamic and dynamo:
            dim = torch.export.Dim
            options["dynamic_shapes"] = {"pixel_values": {0: dim("batch"), 2: dim.AUTO, 3: dim.AUTO}}
        elif dynamic:
            options["dynamic_axes"] = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}
        if dynamo:
            options |= dict(external_data=False, verbose=False)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder) / "m.onnx"
            torch.onnx.export(module.eval().to(dtype), (pixels,), str(path), dynamo=dynamo, **options)
            loaded = onnx.load(path)
        # The tracer's notes are larger than a tiny network.
        for node in loaded.graph.node:
            del node.metadata_props[:]
            node.doc_string = node.name = ""
        del loaded.graph.value_info[:]
        return loaded

    def plain(self, opset=17, dynamo=False, dynamic=True, **options):
        return self.export(self.dinov3(**options), hidden_and_pooled, HIDDEN, opset, dynamo, dynamic)

    def made(self):
        """(name, model, size) of every form, one at a time."""
        size, patch = self.size, self.patch
        small, square = self.dinov2_size, (self.dinov2_side,) * 2
        # The tracer has no fused attention in opset 13.
        yield "opset13", lambda: self.plain(13, attn_implementation="eager"), size
        yield "opset14", lambda: self.plain(14), size
        yield "opset17", lambda: self.plain(17), size
        yield "dynamo18", lambda: self.plain(18, True), size
        yield "dynamo20", lambda: self.plain(20, True), size
        yield "dynamo23", lambda: self.plain(23, True), size
        yield "dynamo24", lambda: self.plain(24, True), size
        yield "theta", lambda: self.plain(20, True, rope_theta=10000.0), size
        yield "splus", lambda: self.plain(20, True, use_gated_mlp=True, hidden_act="silu"), size
        yield "fp16", lambda: half(self.plain(17), False), size
        yield "fp16-inside", lambda: half(self.plain(20, True), True), size
        yield "bf16", lambda: brain(self.plain(18, True)), size
        yield "int8", lambda: dynamic_int8(self.plain(17), "QInt8", False), size
        yield "uint8-channels", lambda: dynamic_int8(self.plain(18, True), "QUInt8", True), size
        yield "int8-fused", lambda: optimised(dynamic_int8(self.plain(18, True), "QInt8", True), "ORT_ENABLE_EXTENDED"), size
        yield "qdq", lambda: static_int8(self.plain(17, dynamic=False), size), size
        yield "q4", lambda: nbits(self.plain(17), 4), size
        yield "q8", lambda: nbits(self.plain(18, True), 8), size
        yield "onnxsim", lambda: simplified(self.plain(17, dynamic=False)), size
        yield "ort-basic", lambda: optimised(self.plain(17), "ORT_ENABLE_BASIC"), size
        yield "ort-extended", lambda: optimised(self.plain(20, True), "ORT_ENABLE_EXTENDED"), size
        yield "ort-transformers", lambda: fused(self.timm_classes(14)), size
        yield "batch2", lambda: self.export(self.dinov3(), hidden_and_pooled, HIDDEN, 17, dynamic=False, batch=2), size
        yield "unused-input", lambda: with_unused(self.plain(17)), size
        yield "dinov2", lambda: self.export(self.dinov2(False), hidden_and_pooled, HIDDEN, 18, size=small), small
        yield "dinov2-dynamo", lambda: self.export(self.dinov2(False), hidden_and_pooled, HIDDEN, 18, True, size=small), small
        yield "dinov2-registers", lambda: self.export(self.dinov2(True), hidden_and_pooled, HIDDEN, 18, True, False, size=square), square
        yield "vit", lambda: self.export(self.hf_vit("ViT"), lambda m, x: m.model(x, interpolate_pos_encoding=True).last_hidden_state, HIDDEN[:1], 17), size
        yield "vit-fixed", lambda: self.export(self.hf_vit_square(), lambda m, x: m.model(x).last_hidden_state, HIDDEN[:1], 18, True, False, size=(self.side,) * 2), (self.side,) * 2
        yield "deit", lambda: self.export(self.hf_vit("DeiT"), lambda m, x: m.model(x, interpolate_pos_encoding=True).last_hidden_state, HIDDEN[:1], 14), size
        yield "timm", lambda: self.export(self.timm_vit(), lambda m, x: m.model.forward_features(x), ("tokens",), 17, dynamic=False), size
        yield "timm-registers", lambda: self.export(self.timm_vit(reg_tokens=4, no_embed_class=True, init_values=1e-5), lambda m, x: m.model.forward_features(x), ("tokens",), 18, True, False), size
        yield "timm-dinov3", lambda: self.export(self.timm_dinov3(), lambda m, x: m.model.forward_features(x), ("tokens",), 17, dynamic=False), size
        yield "biomedclip", lambda: self.clip(), size
        yield "classifier", lambda: self.classifier(), size
        yield "normalised", lambda: self.normalised(), size
        yield "hidden-states", lambda: self.hidden_states(), size
        yield "intermediate", lambda: self.intermediate(), size
        yield "to-block", lambda: self.to_block(), size
        yield "segmenter", lambda: self.segmenter(), size
        yield "mask-transformer", lambda: self.mask_transformer(), size
        yield "patches", lambda: self.export(self.dinov3(), lambda m, x: m.model(x).last_hidden_state[:, 5:], ("patch_tokens",), 20, True), size

    def hf_vit_square(self):
        return self.hf_vit("ViT")

    def timm_classes(self, opset):
        return self.export(self.timm_vit(), lambda m, x: m.model.forward_features(x), ("tokens",), opset, dynamic=False)

    def clip(self):
        """The image tower of a CLIP whose trunk is timm's: pooled, projected and of length one."""
        trunk = self.timm_vit()
        torch.manual_seed(4)
        project = nn.Linear(trunk.embed_dim, 16, bias=False)
        f = lambda m, x: nn.functional.normalize(m.project(m.model(x)), dim=-1)
        return self.export(None, Wrapped(trunk, f, project=project), ("image_embeddings",), 17, dynamic=False)

    def classifier(self):
        model = self.dinov3()
        torch.manual_seed(3)
        head = nn.Linear(2 * WIDTHS[self.width]["hidden_size"], 3)

        def f(m, x):
            tokens = m.model(x).last_hidden_state
            return m.head(torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], -1))
        return self.export(None, Wrapped(model, f, head=head), ("logits",), 18, True)

    def normalised(self):
        """Takes pixels from 0 to 1."""
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        f = lambda m, x: m.model((x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)).last_hidden_state
        return self.export(self.dinov3(), f, ("tokens",), 18, True)

    def hidden_states(self):
        f = lambda m, x: m.model(x, output_hidden_states=True).hidden_states
        names = [f"hidden_{i}" for i in range(WIDTHS[self.width]["num_hidden_layers"] + 1)]
        return self.export(self.dinov3(), f, names, 18, True)

    def intermediate(self):
        """Two layers through the final norm, as maps: `get_intermediate_layers(reshape=True)`."""
        depth = WIDTHS[self.width]["num_hidden_layers"]
        rows, cols = self.size[0] // self.patch, self.size[1] // self.patch

        def f(m, x):
            states = m.model(x, output_hidden_states=True).hidden_states
            maps = [m.model.norm(states[i])[:, 5:].transpose(1, 2).reshape(1, -1, rows, cols) for i in (1, depth)]
            return tuple(maps)
        return self.export(self.dinov3(), f, ("early", "late"), 17, dynamic=False)

    def to_block(self):
        """Everything after the first block is cut off."""
        f = lambda m, x: m.model(x, output_hidden_states=True).hidden_states[1]
        return self.export(self.dinov3(), f, ("stream",), 18, True)

    def segmenter(self):
        """A decoder of convolutions on a map of patch tokens, and its classes."""
        model, dim = self.dinov3(), WIDTHS[self.width]["hidden_size"]
        torch.manual_seed(5)
        decoder = nn.Sequential(nn.Conv2d(dim, 16, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, 2), nn.GELU(),
                                nn.Conv2d(8, 3, 1))
        rows, cols = self.size[0] // self.patch, self.size[1] // self.patch

        def f(m, x):
            tokens = m.model(x).last_hidden_state[:, 5:].transpose(1, 2).reshape(1, -1, rows, cols)
            logits = nn.functional.interpolate(m.decoder(tokens), size=self.size, mode="bilinear", align_corners=False)
            return logits, logits.argmax(1)
        return self.export(None, Wrapped(model, f, decoder=decoder), ("logits", "classes"), 17, dynamic=False)

    def mask_transformer(self):
        """A transformer decoder whose queries look at the patch tokens: its Softmaxes are not the backbone's."""
        model, dim = self.dinov3(), WIDTHS[self.width]["hidden_size"]
        torch.manual_seed(6)
        # The tracer does not know the fast path.
        torch.backends.mha.set_fastpath_enabled(False)
        layer = nn.TransformerDecoderLayer(dim, 2, 64, 0.0, batch_first=True)
        queries = nn.Embedding(3, dim)

        def f(m, x):
            tokens = m.model(x).last_hidden_state[:, 5:]
            found = m.layer(m.queries.weight[None], tokens)
            return found @ tokens.transpose(1, 2)
        return self.export(None, Wrapped(model, f, layer=layer, queries=queries), ("masks",), 17, dynamic=False)


# Rewritten forms.


def half(model, keep):
    from onnxruntime.transformers.float16 import convert_float_to_float16
    return convert_float_to_float16(model, keep_io_types=keep)


def brain(model):
    """Every float in bf16: what `model.to(torch.bfloat16)` gives where torch's exporter can."""
    model = copy.deepcopy(model)
    float_, bfloat = TensorProto.FLOAT, TensorProto.BFLOAT16

    def convert(tensor):
        if tensor.data_type == float_:
            bits = (numpy_helper.to_array(tensor).astype(np.float32).view(np.uint32) + 0x8000 >> 16).astype(np.uint16)
            name, dims = tensor.name, list(tensor.dims)
            tensor.CopyFrom(TensorProto(name=name, dims=dims, data_type=bfloat, raw_data=bits.tobytes()))
    for tensor in model.graph.initializer:
        convert(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                convert(attribute.t)
            if attribute.name in ("to", "dtype") and attribute.i == float_:
                attribute.i = bfloat
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == float_:
            value.type.tensor_type.elem_type = bfloat
    return model


def through_files(change, model):
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        onnx.save(model, before)
        change(str(before), str(after))
        return onnx.load(after)


def dynamic_int8(model, kind, per_channel):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    kind = getattr(QuantType, kind)
    return through_files(lambda a, b: quantize_dynamic(a, b, weight_type=kind, per_channel=per_channel), model)


def static_int8(model, size):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"pixel_values": pixels(1, size)}])

        def get_next(self):
            return next(self.left, None)
    return through_files(lambda a, b: quantize_static(a, b, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                                                      activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8), model)


def nbits(model, bits):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    quantiser = MatMulNBitsQuantizer(copy.deepcopy(model), bits=bits, block_size=16, is_symmetric=bits == 4)
    quantiser.process()
    return quantiser.model.model


def simplified(model):
    import onnxsim
    return onnxsim.simplify(model)[0]


def optimised(model, level):
    def change(before, after):
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.optimized_model_filepath = after
        ort.InferenceSession(before, options, providers=["CPUExecutionProvider"])
    return through_files(change, model)


def fused(model):
    """What `python -m onnxruntime.transformers.optimizer --model_type vit` writes."""
    from onnxruntime.transformers import optimizer
    return through_files(lambda a, b: optimizer.optimize_model(a, model_type="vit", opt_level=0).save_model_to_file(b), model)


def with_unused(model):
    model.graph.input.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [1]))
    return model


# What is expected.


def pixels(batch, size, seed=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed)).numpy()


def floated(model, original):
    """`original` with the weights that the codes of `model` stand for. Weights that are quantised per tensor or channel
    keep their names with a suffix."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    twin = copy.deepcopy(original)
    for tensor in twin.graph.initializer:
        codes = stored.get(tensor.name + "_quantized")
        if codes is None:
            continue
        bias = tensor.name + "_quantized_scale" in stored
        # A bias has 32 bits and no zero point.
        scale = stored[tensor.name + ("_quantized_scale" if bias else "_scale")]
        zero = stored.get(tensor.name + "_zero_point", np.int32(0))
        axis = [1] * codes.ndim
        if scale.ndim and scale.size > 1:
            # A matrix has a scale for each column, a kernel for each output.
            axis[0 if codes.ndim == 4 else codes.ndim - 1] = scale.size
            if scale.size != codes.shape[0 if codes.ndim == 4 else codes.ndim - 1]:
                raise ValueError(f"{tensor.name}: {codes.shape} codes, {scale.shape} scales")
        value = (codes.astype(np.float32) - zero.astype(np.float32).reshape(axis if zero.size > 1 else ())) * scale.reshape(axis if scale.size > 1 else ())
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    return twin


def run(model, inputs):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0]
    dtype = np.float16 if first.type == "tensor(float16)" else np.float32
    feeds = {first.name: inputs.astype(dtype)}
    feeds |= {more.name: np.zeros(1, np.float32) for more in session.get_inputs()[1:]}
    return {o.name: v for o, v in zip(session.get_outputs(), session.run(None, feeds))}


def widened(model):
    """A file in half precision in f32: onnxruntime's CPU kernels do not run bf16, and round fp16 between operators."""
    model = copy.deepcopy(model)
    half_types = (TensorProto.BFLOAT16, TensorProto.FLOAT16)
    for tensor in [*model.graph.initializer, *(a.t for n in model.graph.node for a in n.attribute if a.HasField("t"))]:
        if tensor.data_type == TensorProto.BFLOAT16:
            values = (np.frombuffer(tensor.raw_data, np.uint16).astype(np.uint32) << 16).view(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values.reshape(list(tensor.dims)), tensor.name))
        elif tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))

    def nodes(graph):
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    yield from nodes(attribute.g)
    for node in nodes(model.graph):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in half_types:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("g"):
                for value in attribute.g.output:
                    if value.type.tensor_type.elem_type in half_types:
                        value.type.tensor_type.elem_type = TensorProto.FLOAT
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type in half_types:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


# Forms of dynamic size that are run at a second one, larger by 2 and 3 patches.
OTHER = {"opset17": 4, "dynamo20": 4, "classifier": 4, "dinov2": 14, "dinov2-dynamo": 14, "vit": 4, "deit": 4}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "golden/onnx/forms")
    parser.add_argument("--width", choices=WIDTHS, default="tiny")
    parser.add_argument("--forms", help="comma-separated; all by default")
    options = parser.parse_args()
    tiny = options.width == "tiny"
    forms = Forms(options.width, *((4, (16, 24)) if tiny else (16, (224, 224))))
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = options.forms.split(",") if options.forms else None
    expected = {}
    for name, make, size in forms.made():
        if wanted and name not in wanted:
            continue
        model = make()
        onnx.save(model, options.out / f"{name}.onnx")
        reference = model
        if name in ("bf16", "fp16", "fp16-inside"):
            reference = widened(model)
        elif name in ("int8", "int8-fused", "uint8-channels", "qdq"):
            original = {"int8": lambda: forms.plain(17), "uint8-channels": lambda: forms.plain(18, True),
                        "int8-fused": lambda: forms.plain(18, True),
                        "qdq": lambda: forms.plain(17, dynamic=False)}[name]()
            reference = floated(model, original)
        sizes = [size]
        if name in OTHER:
            patch = OTHER[name] if tiny else 14 if "dinov2" in name else 16
            sizes.append((size[0] + 2 * patch, size[1] + 3 * patch))
        for at in sizes:
            x = pixels(2 if name == "batch2" else 1, at)
            outputs = run(reference, x)
            shape = "x".join(map(str, x.shape))
            expected[f"pixels/{shape}"] = x
            expected |= {f"{name}/{shape}/{o}": np.ascontiguousarray(v.astype(np.float32)) for o, v in outputs.items()}
        print(name, (options.out / f"{name}.onnx").stat().st_size, {o: v.shape for o, v in outputs.items()}, flush=True)
    save_file(expected, options.out / "expected.safetensors")


if __name__ == "__main__":
    main()
