"""The first three principal components of the patch features of each image as red, green and blue, beside it:

    microraptor embed ../demo.safetensors IMAGE... --size 448 -o features.npz
    python picture.py features.npz picture.png IMAGE...
"""

import sys

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA

SIDE = 448


def main():
    features, output, *images = sys.argv[1:]
    patches = np.load(features)["patch"].astype(np.float64)
    side = round(patches.shape[1] ** 0.5)
    rows = []
    for path, tokens in zip(images, patches, strict=True):
        components = PCA(3, random_state=0).fit_transform(tokens)
        low, high = np.percentile(components, [2, 98], axis=0)
        colour = np.clip((components - low) / (high - low), 0, 1).reshape(side, side, 3)
        picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.BILINEAR)
        colour = Image.fromarray((255 * colour).round().astype(np.uint8)).resize((SIDE, SIDE), Image.NEAREST)
        rows.append(np.hstack([np.asarray(picture), np.asarray(colour)]))
    Image.fromarray(np.hstack(rows)).save(output)


if __name__ == "__main__":
    main()
