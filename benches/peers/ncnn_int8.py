"""int8 weights for an ncnn model: what ncnn's own quantisation tools write, which its Python package lacks.

Only Gemm layers with constant weights change (`18=2`, quantize_term): int8 weights with one scale a matrix;
activations are quantised by the row at run time. The rest stays f32.
"""

import numpy as np

INT8_TAG = 0x000D4B38  # ncnn's marker of int8 data in a .bin file (modelbin.cpp)


def quantise(param, weights, param_out, weights_out):
    reader, parts, lines = Reader(weights.read_bytes()), [], []
    for line in param.read_text().splitlines():
        layer = Layer.parse(line)
        if layer and layer.kind == "Gemm" and layer.get(5):
            parts += gemm(layer, reader)
            line += " 18=2"
        elif layer:
            parts.append(reader.take(layer.bytes()))
        lines.append(line)
    reader.finish()
    weights_out.write_bytes(b"".join(parts))
    param_out.write_text("\n".join(lines) + "\n")


def gemm(layer, reader):
    """A [n, k] matrix B, transposed and constant, and perhaps a constant bias C of n values."""
    n, k = layer.get(8), layer.get(9)
    assert layer.get(3) == 1 and not layer.get(4), "only x @ B.T with constant B is known"
    assert reader.take(4) == bytes(4), "weights of another type than f32"
    matrix = np.frombuffer(reader.take(4 * n * k), np.float32).reshape(n, k)
    bias = reader.take(4 + 4 * n) if layer.get(6) and layer.get(10) == 4 else b""
    scale = np.float32(127.0 / np.abs(matrix).max())
    whole = np.round(matrix * scale).astype(np.int8)
    return [INT8_TAG.to_bytes(4, "little"), whole.tobytes(), bias, scale.tobytes()]


class Layer:
    """A line of a .param file: type, name, counts of inputs and outputs, their names, then `id=value`."""

    def __init__(self, kind, arguments):
        self.kind, self.arguments = kind, arguments

    @classmethod
    def parse(cls, line):
        fields = line.split()
        if len(fields) < 4:
            return None  # the magic number, and the counts of layers and blobs
        named = 4 + int(fields[2]) + int(fields[3])
        return cls(fields[0], dict(field.split("=", 1) for field in fields[named:]))

    def get(self, key, default=0):
        return int(self.arguments.get(str(key), default))

    def bytes(self):
        """Bytes of this layer's weights in the .bin file."""
        if self.kind == "Convolution":
            return 4 + 4 * self.get(6) + 4 * self.get(0) * self.get(5)
        if self.kind == "LayerNorm":
            return 8 * self.get(0) * self.get(2, 1)
        if self.kind == "MemoryData":
            return 4 * int(np.prod([max(self.get(key), 1) for key in (0, 1, 11, 2)]))
        return 0


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data), "the .bin file ends too soon"
        return self.data[self.at - count : self.at]

    def finish(self):
        assert self.at == len(self.data), f"{len(self.data) - self.at} bytes of the .bin file belong to no known layer"
