"""Makes what each runtime loads, once, under a work directory; a process of its own, since the converters are heavy.

    python prepare.py --work DIR --model s|b|FOLDER --size 224 --runtimes onnxruntime-int8,... [--image FILE]

The last line printed is JSON: for each runtime its file or the error, and what all of them share.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import inputs
from inputs import atomically


class Bench:
    """One model at one size, and where its files are."""

    def __init__(self, work, model, size, image):
        self.work, self.size = work, size
        self.checkpoint = inputs.checkpoint(work, model)
        self.folder = work / Path(model).name / str(size)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.image, self.calibration = inputs.images(work, image)
        self.pixels = inputs.pixels([self.image], size)

    def shared(self):
        """Pixels and the f32 answer: made anew each time, as the image may be another one."""
        pixels = atomically(self.folder / "pixels.f32", lambda out: self.pixels.tofile(out))
        reference = inputs.reference(self.checkpoint, self.pixels, self.folder / "reference.f32")
        files = dict(checkpoint=self.checkpoint, image=self.image, calibration=self.calibration, pixels=pixels)
        files.update(reference=reference, folder=self.folder)
        return {key: str(path) for key, path in files.items()} | {"dim": inputs.width(self.checkpoint)}

    @functools.cached_property
    def network(self):
        return inputs.network(self.checkpoint)

    @functools.cached_property
    def calibration_pixels(self):
        return inputs.pixels(sorted(self.calibration.glob("*.png")), self.size)


def onnx_f32(bench):
    import torch

    def write(out):
        options = dict(input_names=["pixel_values"], output_names=["last_hidden_state"], verbose=False)
        example = (torch.from_numpy(bench.pixels),)
        with torch.no_grad():
            torch.onnx.export(bench.network, example, str(out), dynamo=True, external_data=False, **options)

    path = bench.folder / "f32.onnx"
    return path if path.exists() else atomically(path, write)


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
    import openvino
    import torch

    shape = [1, 3, bench.size, bench.size]
    example = torch.from_numpy(bench.pixels)
    return save_openvino(openvino.convert_model(bench.network, example_input=example, input=shape), path)


def openvino_int8(bench):
    """NNCF's post-training quantisation with its preset for transformers."""
    path = bench.folder / "openvino-int8.xml"
    if path.exists():
        return path
    import nncf
    import openvino

    model = openvino.Core().read_model(openvino_f32(bench))
    examples = [image[None] for image in bench.calibration_pixels]
    options = dict(model_type=nncf.ModelType.TRANSFORMER, subset_size=len(examples))
    return save_openvino(nncf.quantize(model, nncf.Dataset(examples), **options), path)


def ncnn_f32(bench):
    """pnnx translates a TorchScript trace."""
    path = bench.folder / "ncnn_f32.ncnn.param"  # pnnx turns '-' into '_'
    if path.exists():
        return path
    import pnnx
    import torch

    trace = bench.folder / "ncnn_f32.pt"
    with torch.no_grad():
        torch.jit.trace(bench.network, torch.from_numpy(bench.pixels), check_trace=False).save(str(trace))
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
    bench = Bench(args.work, args.model, args.size, args.image)
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
