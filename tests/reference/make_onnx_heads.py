"""Writes tests/golden/onnx_heads: two small ONNX heads, and what onnxruntime says with them on made features."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

DIM, CLASSES, ROWS, COLUMNS = 32, 3, 2, 3
OUT = Path(__file__).parents[1] / "golden" / "onnx_heads"
rng = np.random.default_rng(5)


def save(name, nodes, weights, input_shape, output_shape):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        name,
        [value("features", TensorProto.FLOAT, input_shape)],
        [value("scores", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, OUT / f"{name}.onnx")
    return onnxruntime.InferenceSession(str(OUT / f"{name}.onnx"))


OUT.mkdir(exist_ok=True)
row = save(
    "row",
    [helper.make_node("Gemm", ["features", "w", "b"], ["scores"], transB=1)],
    {"w": rng.normal(0, 0.3, (CLASSES, 2 * DIM)), "b": rng.normal(0, 0.3, CLASSES)},
    ["n", 2 * DIM],
    ["n", CLASSES],
)
grid = save(
    "map",
    [helper.make_node("Conv", ["features", "w", "b"], ["scores"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
    {"w": rng.normal(0, 0.2, (CLASSES, DIM, 3, 3)), "b": rng.normal(0, 0.3, CLASSES)},
    ["n", DIM, "h", "w_"],
    ["n", CLASSES, "h", "w_"],
)
names = ["background", "cyst", "solid"]
(OUT / "row.json").write_text(json.dumps({"classes": names, "size": "32x48"}) + "\n")
(OUT / "map.json").write_text(json.dumps({"classes": names, "size": "32x48"}) + "\n")

# Features that Rust can make as well: sin(0.1 i), and for tokens sin(0.2 i) rounded to half precision.
features = np.sin(0.1 * np.arange(2 * DIM)).astype(np.float32)[None]
logits = row.run(None, {"features": features})[0][0].astype(np.float64)
probabilities = np.exp(logits - logits.max())
probabilities /= probabilities.sum()
tokens = np.sin(0.2 * np.arange(ROWS * COLUMNS * DIM)).astype(np.float16).astype(np.float32)
tokens = tokens.reshape(ROWS, COLUMNS, DIM).transpose(2, 0, 1)[None]
scores = grid.run(None, {"features": tokens})[0][0]
expected = {
    "probabilities": probabilities.tolist(),
    # At the grid's own size the mask is the largest score of each patch.
    "mask": scores.argmax(0).ravel().tolist(),
}
(OUT / "expected.json").write_text(json.dumps(expected) + "\n")
print(expected)
