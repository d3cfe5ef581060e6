import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

Picture = NDArray[np.uint8] | NDArray[np.uint16] | str | os.PathLike[str]
Size = int | tuple[int, int]

class MicroraptorError(Exception): ...

class Features:
    cls: NDArray[np.float32]
    patch: NDArray[np.float32]
    layers: list[NDArray[np.float32]]
    outputs: dict[str, NDArray[np.float32]]
    grid: tuple[int, int]
    def rows(self) -> NDArray[np.float32]: ...
    def __len__(self) -> int: ...

class Model:
    @staticmethod
    def open(
        path: str | os.PathLike[str], *, threads: int = 1, cores: str | None = None, isa: str | None = None
    ) -> Model: ...
    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def runs_on(self) -> str: ...
    @property
    def dim(self) -> int | None: ...
    @property
    def patch(self) -> int | None: ...
    @property
    def outputs(self) -> list[str]: ...
    def embed(
        self, images: Picture | Sequence[Picture], *, size: Size | None = None, layers: Sequence[int] = ()
    ) -> Features: ...

class Head:
    @staticmethod
    def load(path: str | os.PathLike[str], model: Model) -> Head: ...
    @staticmethod
    def train(
        model: Model,
        images: Sequence[Picture],
        labels: Sequence[str],
        *,
        kind: str = "linear",
        size: Size | None = None,
        validation: float = 0.25,
        seed: int = 0,
        calibrate: bool = False,
    ) -> Head: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def kind(self) -> str: ...
    @property
    def model(self) -> Model: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def predict(self, images: Picture | Sequence[Picture]) -> list[Any]: ...
    def predict_proba(self, images: Picture | Sequence[Picture]) -> NDArray[np.float64]: ...
    def predict_set(
        self, images: Picture | Sequence[Picture], coverage: float | None = None
    ) -> list[list[str]]: ...
    def evaluate_json(self, images: Sequence[Picture], labels: Sequence[str]) -> str: ...

class LinearModel:
    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float64]: ...

def fit_linear(
    rows: NDArray[np.float32], classes: NDArray[np.int64], count: int, c: float | None = None, seed: int = 0
) -> tuple[LinearModel, float]: ...
def profile_json(
    model: Model, sizes: Sequence[Size], threads: Sequence[int], runs: int, seconds: float
) -> str: ...
