"""Features, a head, and its answers, on the built-in backbone and pictures that are drawn here."""

import microraptor
import numpy as np


def picture(rng, mass):
    """Speckle, with a dark disc in it if `mass`."""
    y, x = np.mgrid[:96, :96]
    image = 110 + 40 * rng.normal(size=(96, 96))
    if mass:
        image[(y - 48) ** 2 + (x - 48) ** 2 < 20**2] -= 80
    return np.clip(image, 0, 255).astype(np.uint8)


rng = np.random.default_rng(0)
labels = ["mass" if i % 2 else "normal" for i in range(40)]
pictures = [picture(rng, label == "mass") for label in labels]

model = microraptor.Model.open("demo", threads=2)
features = model.embed(pictures, size=96)
print(features)  # features.cls, features.patch: arrays of float32

head = microraptor.Head.train(model, pictures[:30], labels[:30], size=96)
print(head.predict(pictures[30:33]), head.predict_proba(pictures[30:33]).round(3).tolist())
report = microraptor.evaluate(head, pictures[30:], labels[30:])
print("accuracy", report["accuracy"]["value"])
