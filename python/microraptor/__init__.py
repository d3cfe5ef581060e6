"""Frozen vision transformers and light heads on small machines.

>>> import numpy as np, microraptor
>>> model = microraptor.Model.open("demo")
>>> features = model.embed(np.zeros((64, 64), np.uint8), size=64)
>>> features.cls.shape, features.grid
((1, 192), (4, 4))
"""

import json as _json

import numpy as _np

from . import _microraptor
from ._microraptor import Features, Head, MicroraptorError, Model, __version__

__all__ = ["Features", "Head", "LinearProbe", "MicroraptorError", "Model", "__version__", "evaluate", "profile"]


def evaluate(head, images, labels):
    """What `microraptor evaluate --json` says of a head's classes: a dict of metrics with intervals of confidence."""
    return _json.loads(head.evaluate_json(images, list(labels)))


def profile(model, sizes=(224,), threads=(1,), runs=50, seconds=1.0):
    """Latency of a model on this machine, a dict for each size and number of threads: `pandas.DataFrame(profile(model))`.

    At least `runs` runs, and for at least `seconds`, from pixels to features. `detail` is the whole row of the program's
    report (docs/results-schema.json): the times of the operators, each run, what makes a time INVALID.

    >>> rows = profile(microraptor.Model.open("demo"), sizes=[64], runs=3, seconds=0)
    >>> rows[0]["width"], rows[0]["p50_ms"] > 0
    (64, True)
    """
    rows = _json.loads(_microraptor.profile_json(model, list(sizes), list(threads), runs, seconds))
    keys = ("model", "backend", "precision", "isa", "height", "width", "threads", "macs", "gmacs")
    return [{**{key: row[key] for key in keys}, **row["latency"], "detail": row} for row in rows]


class LinearProbe:
    """Logistic regression on rows of features, with the methods of a classifier of scikit-learn.

    `C` is the inverse strength of regularisation; None chooses it on a quarter of the rows.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 8)).astype(np.float32); y = np.where(X[:, 0] > 0, "mass", "normal")
    >>> LinearProbe(C=1.0).fit(X, y).score(X, y) > 0.9
    True
    """

    _estimator_type = "classifier"

    def __init__(self, C=None, seed=0):
        self.C = C
        self.seed = seed

    def get_params(self, deep=True):
        return {"C": self.C, "seed": self.seed}

    def set_params(self, **params):
        for name, value in params.items():
            if name not in ("C", "seed"):
                raise ValueError(f"LinearProbe has no parameter {name}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(estimator_type="classifier", target_tags=TargetTags(required=True),
                    classifier_tags=ClassifierTags(), input_tags=InputTags())

    def __sklearn_is_fitted__(self):
        return hasattr(self, "classes_")

    def fit(self, X, y):
        X = _np.ascontiguousarray(X, _np.float32)
        self.classes_, numbers = _np.unique(_np.asarray(y), return_inverse=True)
        self.n_features_in_ = X.shape[1]
        self._model, self.C_ = _microraptor.fit_linear(
            X, numbers.astype(_np.int64), len(self.classes_), self.C, self.seed)
        return self

    def predict_proba(self, X):
        return self._model.probabilities(_np.ascontiguousarray(X, _np.float32))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def score(self, X, y):
        return float((self.predict(X) == _np.asarray(y)).mean())
