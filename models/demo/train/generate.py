"""Makes the training images: python generate.py images.npy [--phantoms N] [--textures N] [--seed S]."""

import argparse
from multiprocessing import Pool

import numpy as np
import torch
from tqdm import tqdm

from phantoms import phantom
from textures import texture

SIDE = 224


def one(job):
    make, seed, index = job
    return make(np.random.default_rng([seed, index]), SIDE)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--phantoms", type=int, default=10_000)
    parser.add_argument("--textures", type=int, default=1_500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    jobs = [(phantom, args.seed, i) for i in range(args.phantoms)]
    jobs += [(texture, args.seed + 1, i) for i in range(args.textures)]
    images = np.lib.format.open_memmap(args.output, "w+", np.uint8, (len(jobs), SIDE, SIDE))
    with Pool(args.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for i, image in enumerate(tqdm(pool.imap(one, jobs, chunksize=16), total=len(jobs))):
            images[i] = image
    images.flush()


if __name__ == "__main__":
    main()
