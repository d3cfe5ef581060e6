"""Writes tests/golden/heads.safetensors: what scikit-learn says of two of its bundled data sets.

    python tests/reference/make_heads.py        # scikit-learn, numpy, safetensors

wine: 178 wines, 13 chemical measurements each, 3 classes. digits: the first 200 images, 8 x 8 pixels, 10 classes. Every
third row is kept for validation. The binary cases are wine 1 against the rest and digits from 5 against those below;
the multi-label one asks of a digit whether it is odd, above 4, and a multiple of 3.

Features are cast to f32 first, so that both sides see the same numbers. The solver is newton-cholesky with a tolerance
at the limit of f64: it ends on the minimum itself, so that all the difference that a test sees is ours.
"""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from safetensors.numpy import save_file
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, log_loss,
                             roc_auc_score)
from sklearn.preprocessing import StandardScaler

warnings.filterwarnings("ignore")  # a line search that cannot improve on rounding ends with a warning


def fit(x, y, c, balanced):
    model = LogisticRegression(C=c, class_weight="balanced" if balanced else None, solver="newton-cholesky",
                               tol=1e-13, max_iter=1000)
    return model.fit(x, y)


def metrics(y, p):
    binary = p.shape[1] == 2
    predicted = (p[:, 1] >= 0.5).astype(int) if binary else p.argmax(1)
    auc = roc_auc_score(y, p[:, 1]) if binary else roc_auc_score(y, p, multi_class="ovr", average="macro")
    return {
        "accuracy": accuracy_score(y, predicted),
        "balanced_accuracy": balanced_accuracy_score(y, predicted),
        "macro_f1": f1_score(y, predicted, average="macro"),
        "auc": auc,
        "log_loss": log_loss(y, p),
        "class_auc": [roc_auc_score(y == k, p[:, k]) for k in range(p.shape[1])],
        "confusion": confusion_matrix(y, predicted).tolist(),
    }


def label_metrics(y, p):
    return {
        "accuracy": accuracy_score(y, p >= 0.5),
        "balanced_accuracy": float(np.mean([balanced_accuracy_score(a, b >= 0.5) for a, b in zip(y.T, p.T)])),
        "macro_f1": f1_score(y, p >= 0.5, average="macro"),
        "auc": roc_auc_score(y, p, average="macro"),
        "log_loss": float(np.mean([log_loss(a, b) for a, b in zip(y.T, p.T)])),
        "class_auc": [roc_auc_score(a, b) for a, b in zip(y.T, p.T)],
    }


def main():
    wine, digits = load_wine(), load_digits()
    sets = {"wine": (wine.data, wine.target), "digits": (digits.data[:200], digits.target[:200])}
    tensors, cases = {}, []
    for name, (x, y) in sets.items():
        tensors[f"{name}.x"], tensors[f"{name}.y"] = x.astype(np.float32), y.astype(np.int32)

    def case(data, kind, c, balanced):
        x, y = tensors[f"{data}.x"].astype(np.float64), tensors[f"{data}.y"]
        if kind == "binary":
            y = (y >= 5).astype(np.int32) if data == "digits" else (y == 1).astype(np.int32)
        val = np.arange(len(x)) % 3 == 2
        scaler = StandardScaler().fit(x[~val])
        a, b = scaler.transform(x[~val]), scaler.transform(x[val])
        if kind == "labels":
            y = np.stack([y % 2 == 1, y > 4, y % 3 == 0], 1)
            p = np.stack([fit(a, y[~val][:, k], c, balanced).predict_proba(b)[:, 1] for k in range(3)], 1)
            numbers = label_metrics(y[val], p)
        else:
            p = fit(a, y[~val], c, balanced).predict_proba(b)
            numbers = metrics(y[val], p)
        key = f"p{len(cases)}"
        tensors[key] = p
        cases.append({"data": data, "kind": kind, "c": c, "balanced": balanced, "probabilities": key, **numbers})

    case("wine", "classes", 1.0, False)
    case("wine", "classes", 0.01, True)
    case("wine", "binary", 100.0, True)
    case("digits", "classes", 0.1, False)
    case("digits", "classes", 1.0, True)
    case("digits", "binary", 1.0, False)
    case("digits", "labels", 0.3, True)
    path = pathlib.Path(__file__).parent.parent / "golden" / "heads.safetensors"
    # One entry: safetensors writes several in an order that changes from run to run.
    save_file(tensors, path, {"golden": json.dumps({"sklearn": sklearn.__version__, "cases": cases})})
    print(path.name, path.stat().st_size, "bytes, scikit-learn", sklearn.__version__)


main()
