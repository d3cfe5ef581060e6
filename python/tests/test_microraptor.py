"""The module beside the program ($MICRORAPTOR) and beside transformers."""

import doctest
import json
import os
import subprocess
import threading
from pathlib import Path

import microraptor
import numpy as np
import pytest

PROGRAM = os.environ.get("MICRORAPTOR", "target/release/microraptor")
GOLDEN = Path(__file__).parents[2] / "tests/golden"


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """Pictures of two classes, a head for each and for lesions, from the program."""
    folder = tmp_path_factory.mktemp("gallery") / "gallery"
    run("demo", "-o", folder, "--phantoms", 12, "--seed", 11, "--sizes", 64)
    return folder


@pytest.fixture(scope="session")
def model():
    return microraptor.Model.open("demo", threads=2)


def grey(path):
    from PIL import Image

    return np.asarray(Image.open(path))


def labelled(gallery):
    import csv

    with (gallery / "phantoms/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [gallery / "phantoms" / row["image"] for row in rows], [row["label"] for row in rows]


def test_features_are_the_programs_to_the_bit(model, gallery, tmp_path):
    pictures = sorted((gallery / "phantoms").rglob("*.png"))[:3]
    run("embed", "demo", *pictures, "-o", tmp_path / "f.npz", "--size", "64x96")
    expected = np.load(tmp_path / "f.npz")
    for given in (pictures, [grey(path) for path in pictures]):
        found = model.embed(given, size=(64, 96))
        assert found.grid == (4, 6) and len(found) == 3
        assert np.array_equal(found.cls, expected["cls"].reshape(found.cls.shape))
        assert np.array_equal(found.patch, expected["patch"].reshape(found.patch.shape))
    colour = np.repeat(np.stack([grey(path) for path in pictures])[..., None], 3, -1)
    assert np.array_equal(model.embed(colour, size=(64, 96)).cls, found.cls)
    rows = np.concatenate([found.cls, found.patch.astype(np.float64).mean(1).astype(np.float32)], 1)
    assert np.allclose(found.rows(), rows, rtol=0, atol=1e-6)


def test_features_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = GOLDEN / "vit/hf_s"
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    inputs = torch.tensor(((pixels / 255 - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    with torch.no_grad():
        expected = theirs(inputs).last_hidden_state[0].numpy()
    found = microraptor.Model.open(folder).embed(pixels, size=64)
    tokens = found.patch.shape[1]
    for ours, other in ((found.cls[0], expected[0]), (found.patch[0], expected[-tokens:])):
        assert np.abs(ours - other).max() < 1e-3 * np.abs(other).max()


def test_heads_answer_as_the_program_does(model, gallery):
    pictures = sorted((gallery / "phantoms").rglob("*.png"))[:4]
    for name in ("class", "lesion"):
        path = gallery / f"{name}.safetensors"
        lines = [json.loads(line) for line in run("predict", "demo", "--head", path, *pictures).splitlines()]
        head = microraptor.Head.load(path, model)
        answers = head.predict(pictures)
        for line, answer in zip(lines, answers):
            (expected,) = line["heads"]
            if head.kind == "linear":
                assert answer == expected["class"]
            else:
                areas = {name: int((answer == i).sum()) for i, name in enumerate(head.classes) if i}
                assert areas == {name: area["pixels"] for name, area in expected["areas"].items()}
        if head.kind == "linear":
            found = head.predict_proba([grey(path) for path in pictures])
            expected = [[line["heads"][0]["probabilities"][c] for c in head.classes] for line in lines]
            assert np.array_equal(found, expected)


def test_a_head_is_trained_saved_and_evaluated(model, gallery, tmp_path):
    pictures, labels = labelled(gallery)
    head = microraptor.Head.train(model, pictures, labels, size=64)
    assert head.classes == sorted(set(labels)) and head.size == (64, 64)
    head.save(tmp_path / "head.safetensors")
    again = microraptor.Head.load(tmp_path / "head.safetensors", model)
    assert np.array_equal(head.predict_proba(pictures), again.predict_proba(pictures))
    line = json.loads(run("predict", "demo", "--head", tmp_path / "head.safetensors", pictures[0]))
    expected = [line["heads"][0]["probabilities"][c] for c in head.classes]
    assert head.predict_proba(pictures[0]).tolist() == [expected]
    report = microraptor.evaluate(head, pictures, labels)
    right = np.mean([found == label for found, label in zip(head.predict(pictures), labels)])
    assert report["accuracy"]["value"] == pytest.approx(right)


def test_sets_hold_what_the_program_says(model, gallery, tmp_path):
    pictures, labels = labelled(gallery)
    head = microraptor.Head.train(model, pictures, labels, size=64, calibrate=True)
    head.save(tmp_path / "head.safetensors")
    line = json.loads(run("predict", "demo", "--head", tmp_path / "head.safetensors", "--coverage", "0.8", pictures[0]))
    assert head.predict_set(pictures[0], coverage=0.8) == [line["heads"][0]["set"]]
    expected = [line["heads"][0]["probabilities"][c] for c in head.classes]
    assert head.predict_proba(pictures[0]).tolist() == [expected]
    with pytest.raises(ValueError, match="say a coverage"):
        head.predict_set(pictures[0])
    with pytest.raises(microraptor.MicroraptorError, match="held out in training"):
        head.predict_set(pictures[0], coverage=0.9999)


def test_a_profile_is_a_table(model):
    rows = microraptor.profile(model, sizes=[64, (64, 96)], threads=[1, 2], runs=3, seconds=0)
    assert [(row["height"], row["width"], row["threads"]) for row in rows] == [
        (64, 64, 1), (64, 64, 2), (64, 96, 1), (64, 96, 2)]
    for row in rows:
        assert 0 < row["min_ms"] <= row["p50_ms"] and row["detail"]["operators"]


def test_a_probe_is_a_classifier_of_scikit_learn(model, gallery):
    selection = pytest.importorskip("sklearn.model_selection")
    linear = pytest.importorskip("sklearn.linear_model")
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    pictures, labels = labelled(gallery)
    rows = model.embed(pictures, size=64).rows()
    scores = selection.cross_val_score(microraptor.LinearProbe(C=0.01), rows, labels, cv=3)
    assert scores.shape == (3,) and scores.min() >= 0
    ours = microraptor.LinearProbe(C=0.01).fit(rows, labels)
    theirs = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear.LogisticRegression(C=0.01, tol=1e-10, max_iter=10000)
    ).fit(rows.astype(np.float64), labels)
    assert np.abs(ours.predict_proba(rows) - theirs.predict_proba(rows.astype(np.float64))).max() < 1e-4
    assert ours.predict(rows).tolist() == theirs.predict(rows).tolist()


def test_the_interpreter_is_free_meanwhile(model):
    """Two threads embed at once, each on a model of its own, while a third one counts."""
    count, done = [0], threading.Event()

    def tick():
        while not done.is_set():
            count[0] += 1

    others = [microraptor.Model.open("demo") for _ in range(2)]
    picture = np.zeros((224, 224), np.uint8)
    ticker = threading.Thread(target=tick)
    ticker.start()
    threads = [threading.Thread(target=lambda m=m: m.embed([picture] * 40)) for m in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    ticker.join()
    assert count[0] > 1000


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda m: microraptor.Model.open("/nonexistent"), microraptor.MicroraptorError, "nonexistent"),
        (lambda m: microraptor.Model.open("demo", isa="mmx"), microraptor.MicroraptorError, "mmx"),
        (lambda m: m.embed(np.zeros((64, 64))), TypeError, "float64"),
        (lambda m: m.embed(np.zeros((64, 64, 2), np.uint8)), ValueError, "shape"),
        (lambda m: m.embed(np.zeros((4, 4), np.uint8)), microraptor.MicroraptorError, "4x4"),
        (lambda m: m.embed(3), TypeError, "int"),
        (lambda m: m.embed("/nonexistent.png"), microraptor.MicroraptorError, "nonexistent.png"),
        (lambda m: m.embed(np.zeros((64, 64), np.uint8), size=63), microraptor.MicroraptorError, "multiple"),
        (lambda m: m.embed(np.zeros((64, 64), np.uint8), layers=[99]), microraptor.MicroraptorError, "layer"),
        (lambda m: microraptor.Head.train(m, [np.zeros((64, 64), np.uint8)], ["a", "b"]), ValueError, "labels"),
    ],
)
def test_errors_are_exceptions(model, call, error, text):
    with pytest.raises(error, match=text):
        call(model)


def test_the_documentation_runs():
    found = doctest.testmod(microraptor, extraglobs={"np": np, "microraptor": microraptor})
    assert found.attempted > 6 and found.failed == 0
