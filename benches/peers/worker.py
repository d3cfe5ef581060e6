"""A resident worker of compare.py: one model in one runtime, timed on demand.

    python worker.py SPEC.json      # runtime, model, threads, shape, pixels, features

The same orders and answers as rten/src/main.rs: one line of JSON when the model is ready; then for a line `N` one run
untimed and N timed ones, for `features` its outputs as raw f32, one after the other. Between orders it sleeps.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np


def onnxruntime(spec):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = spec["threads"], 1
    options.log_severity_level = 3
    session = ort.InferenceSession(spec["model"], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return ort.__version__, lambda pixels: session.run(None, {name: pixels})


def openvino(spec):
    import openvino as ov

    # f32 unless asked otherwise: on a CPU with bf16 OpenVINO would use it unasked.
    precision = "bf16" if spec["runtime"].endswith("bf16") else "f32"
    options = {
        "INFERENCE_NUM_THREADS": spec["threads"],
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = ov.Core().compile_model(spec["model"], "CPU", options).create_infer_request()
    version = ov.__version__.split("-")[0]
    return version, lambda pixels: list(request.infer([pixels], share_inputs=True, share_outputs=True).values())


def ncnn(spec):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = spec["threads"]
    net.opt.use_vulkan_compute = False
    net.opt.use_bf16_storage = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(spec["model"]) or net.load_model(str(Path(spec["model"]).with_suffix(".bin"))):
        raise RuntimeError("ncnn could not load the model")

    def run(pixels):
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(pixels[0]))
        code, output = extractor.extract("out0")
        if code:
            raise RuntimeError(f"ncnn failed with code {code}")
        return [np.array(output)]

    return ncnn.__version__, run


def timed(run, pixels, runs):
    run(pixels)
    ms = []
    for _ in range(runs):
        start = time.perf_counter()
        run(pixels)
        ms.append(1e3 * (time.perf_counter() - start))
    return {"ms": ms}


def write(outputs, spec):
    outputs = [np.asarray(output, dtype=np.float32) for output in outputs]
    np.concatenate([output.ravel() for output in outputs]).tofile(spec["features"])
    return {"shapes": [output.shape for output in outputs]}


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    pixels = np.fromfile(spec["pixels"], np.float32).reshape(spec["shape"])
    version, run = {"onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn}[spec["runtime"].split("-")[0]](spec)
    print(json.dumps({"version": version}), flush=True)
    for order in sys.stdin:
        order = order.strip()
        answer = write(run(pixels), spec) if order == "features" else timed(run, pixels, int(order))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
