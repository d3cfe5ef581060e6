"""Makes what each runtime loads, once, under a work directory; a process of its own, since the converters are heavy.

    python prepare.py --work DIR --model s|b|FOLDER|FILE.onnx --size 224 --runtimes onnxruntime-int8,... [--image FILE]

The last line printed is JSON: for each runtime its file or the error, and what all of them share.
"""

import argparse
import functools
import hashlib
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np

import inputs
from inputs import atomically


class Bench:
    """One model at one size, and where its files are."""

    def __init__(self, work, name, size, image, preprocessing):
        self.work, self.size, self.preprocessing = work, size, preprocessing
        self.folder = work / name / str(size)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.image, self.calibration = inputs.images(work, image)
        self.pixels = self.pixels_of([self.image])

    def pixels_of(self, files):
        return inputs.pixels(files, self.size, self.preprocessing)

    def shared(self):
        """Pixels and the f32 answer: made anew each time, as the image may be another one."""
        pixels = atomically(self.folder / "pixels.f32", lambda out: self.pixels.tofile(out))
        reference = self.reference()
        files = dict(checkpoint=self.source, image=self.image, calibration=self.calibration, pixels=pixels)
        files.update(reference=reference, folder=self.folder)
        return {key: str(path) for key, path in files.items()} | {"shape": self.pixels.shape, "graph": self.graph}

    @functools.cached_property
    def calibration_pixels(self):
        return self.pixels_of(sorted(self.calibration.glob("*.png")))


class Checkpoint(Bench):
    """DINOv3 of transformers: s, b, or a folder."""

    graph = False

    def __init__(self, work, model, size, image):
        self.source = inputs.checkpoint(work, model)
        super().__init__(work, Path(model).name, size, image, {})

    def reference(self):
        return inputs.reference(self.source, self.pixels, self.folder / "reference.npz")

    @functools.cached_property
    def network(self):
        return inputs.network(self.source)

    def onnx(self):
        import torch

        def write(out):
            options = dict(input_names=["pixel_values"], output_names=["last_hidden_state"], verbose=False)
            example = (torch.from_numpy(self.pixels),)
            with torch.no_grad():
                torch.onnx.export(self.network, example, str(out), dynamo=True, external_data=False, **options)

        path = self.folder / "f32.onnx"
        return path if path.exists() else atomically(path, write)

    def openvino(self):
        import openvino
        import torch

        shape = [1, 3, self.size, self.size]
        return openvino.convert_model(self.network, example_input=torch.from_numpy(self.pixels), input=shape)

    def ncnn(self):
        """A trace, which pnnx reads."""
        import torch

        trace = self.folder / "ncnn_f32.pt"
        with torch.no_grad():
            torch.jit.trace(self.network, torch.from_numpy(self.pixels), check_trace=False).save(str(trace))
        return trace


class OnnxFile(Bench):
    """A graph as somebody exported it. Every runtime gets the same file, with the input's shape fixed."""

    graph = True

    def __init__(self, work, model, size, image):
        self.source = Path(model).resolve()
        digest = self.digest()
        options = inputs.preprocessing(self.source.parent)
        super().__init__(work, f"{self.source.stem}-{digest}", size, image, options)
        self.pixels = np.repeat(self.pixels, self.dimensions[0], axis=0)

    def pixels_of(self, files):
        """A greyscale graph gets the mean of the channels."""
        pixels = super().pixels_of(files)
        return pixels if self.dimensions[1] == 3 else pixels.mean(axis=1, keepdims=True)

    def digest(self):
        """Of the file, of external data beside it, and of what says how images are normalised."""
        import onnx

        tensors = onnx.load(self.source, load_external_data=False).graph.initializer
        names = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
        beside = [self.source.parent / name for name in sorted(names) + ["preprocessor_config.json"]]
        digest = hashlib.sha256()
        for path in [self.source, *(path for path in beside if path.exists())]:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:8]

    @functools.cached_property
    def input(self):
        import onnx

        graph = onnx.load(self.source, load_external_data=False).graph
        constants = {tensor.name for tensor in graph.initializer}
        (image,) = [value for value in graph.input if value.name not in constants]
        return image

    @property
    def dimensions(self):
        """The shape of its input at this size: a batch of one if the file leaves it open."""
        batch, channels = (dim.dim_value for dim in self.input.type.tensor_type.shape.dim[:2])
        return [batch or 1, channels or 3, self.size, self.size]

    def reference(self):
        """What onnxruntime makes of the file in f32."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.source, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found = session.run(None, {self.input.name: self.pixels})
        found = {name: np.asarray(values, np.float32) for name, values in zip(names, found)}

        def write(out):
            with out.open("wb") as file:
                np.savez(file, **found)

        return atomically(self.folder / "reference.npz", write)

    def onnx(self):
        import onnx
        from onnxruntime.tools.onnx_model_utils import fix_output_shapes, make_input_shape_fixed

        def write(out):
            model = onnx.load(self.source)
            make_input_shape_fixed(model.graph, self.input.name, self.dimensions)
            fix_output_shapes(model)
            onnx.save(model, out)

        path = self.folder / "f32.onnx"
        return path if path.exists() else atomically(path, write)

    def openvino(self):
        import openvino

        return openvino.convert_model(self.onnx())

    def ncnn(self):
        raise RuntimeError("ncnn is timed on checkpoints only")


def bench_of(work, model, size, image):
    kind = OnnxFile if str(model).endswith(".onnx") else Checkpoint
    return kind(work, model, size, image)


def onnx_f32(bench):
    return bench.onnx()


def onnx_int8(bench):
    """onnxruntime's dynamic quantisation: weights int8 by the channel, activations u8 with one scale a tensor."""
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    def write(out):
        prepared = bench.folder / "pre.onnx"
        quant_pre_process(str(onnx_f32(bench)), str(prepared), skip_symbolic_shape=True)
        constant_only = {"MatMulConstBOnly": True}
        options = dict(op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
        quantize_dynamic(str(prepared), str(out), extra_options=constant_only, **options)
        prepared.unlink()

    path = bench.folder / "int8.onnx"
    return path if path.exists() else atomically(path, write)


def save_openvino(model, path):
    """The weights first: the .xml is there only when both are."""
    import openvino

    temporary = path.with_name("tmp-" + path.name)
    openvino.save_model(model, temporary, compress_to_fp16=False)
    temporary.with_suffix(".bin").rename(path.with_suffix(".bin"))
    temporary.rename(path)
    return path


def openvino_f32(bench):
    path = bench.folder / "openvino-f32.xml"
    if path.exists():
        return path
    return save_openvino(bench.openvino(), path)


def openvino_int8(bench):
    """NNCF's post-training quantisation with its preset for transformers."""
    path = bench.folder / "openvino-int8.xml"
    if path.exists():
        return path
    import nncf
    import openvino

    model = openvino.Core().read_model(openvino_f32(bench))
    examples = [np.broadcast_to(image, bench.pixels.shape).copy() for image in bench.calibration_pixels]
    options = dict(model_type=nncf.ModelType.TRANSFORMER, subset_size=len(examples))
    return save_openvino(nncf.quantize(model, nncf.Dataset(examples), **options), path)


def ncnn_f32(bench):
    """pnnx translates it."""
    path = bench.folder / "ncnn_f32.ncnn.param"  # pnnx turns '-' into '_'
    if path.exists():
        return path
    import pnnx

    trace = bench.ncnn()
    program = pnnx_program(Path(pnnx.__file__))
    shape = f"inputshape=[1,3,{bench.size},{bench.size}]f32"
    done = subprocess.run([program, trace, shape, "fp16=0"], capture_output=True, text=True, cwd=bench.folder)
    trace.unlink()
    for leftover in [*bench.folder.glob("ncnn_f32.pnnx.*"), *bench.folder.glob("ncnn_f32_*.py")]:
        leftover.unlink()
    if not path.exists():
        raise RuntimeError("pnnx wrote no model: " + (done.stderr or done.stdout)[-300:])
    return path


def pnnx_program(module):
    """The wheel puts it into the environment's bin folder."""
    found = [parent / "bin" / "pnnx" for parent in module.parents if (parent / "bin" / "pnnx").exists()]
    return found[0] if found else "pnnx"


def ncnn_int8(bench):
    from ncnn_int8 import quantise

    path = bench.folder / "ncnn_int8.ncnn.param"
    if not path.exists():
        source = ncnn_f32(bench)
        atomically(path, lambda out: quantise(source, source.with_suffix(".bin"), out, path.with_suffix(".bin")))
    return path


MAKERS = {
    "onnxruntime-f32": onnx_f32,
    "onnxruntime-int8": onnx_int8,
    "openvino-f32": openvino_f32,
    "openvino-int8": openvino_int8,
    "openvino-int8-bf16": openvino_int8,
    "ncnn-f32": ncnn_f32,
    "ncnn-int8": ncnn_int8,
    "rten-f32": onnx_f32,
    "rten-int8": onnx_int8,
    "tract-f32": onnx_f32,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", required=True, type=int)
    parser.add_argument("--runtimes", required=True)
    parser.add_argument("--image")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    bench = bench_of(args.work, args.model, args.size, args.image)
    files, errors = {}, {}
    for runtime in filter(None, args.runtimes.split(",")):
        try:
            files[runtime] = str(MAKERS[runtime](bench))
        except Exception as error:  # a peer that fails is a row that says so
            traceback.print_exc()
            errors[runtime] = f"{type(error).__name__}: {str(error)[:200]}"
    sys.stdout.flush()
    print(json.dumps({"shared": bench.shared(), "files": files, "errors": errors}), flush=True)


if __name__ == "__main__":
    main()
