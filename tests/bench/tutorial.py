"""The tutorial's pipeline on numpy: a uniform coreset, DC-DP-means with one cluster opened at most a sweep, labels.

Inputs are RGB pixels, lambda, coreset size and seed; results are labels, centroids and iterations. There is no Python loop
over pixels: this is the pipeline at its best, not the notebook's.
"""
import numpy as np


def squared_distances(x, centroids):
    out = np.empty((len(x), len(centroids)))
    for k, c in enumerate(centroids):
        d = x - c
        out[:, k] = np.einsum("ij,ij->i", d, d)
    return out


def dcdp(x, w, lam):
    centroids = (w[:, None] * x).sum(0, keepdims=True) / w.sum()
    before, iterations = None, 0
    while True:
        iterations += 1
        d = squared_distances(x, centroids)
        labels = d.argmin(1)
        nearest = d[np.arange(len(x)), labels]
        far = int(nearest.argmax())
        opens = nearest[far] > lam * lam
        if opens:
            labels[far] = len(centroids)
        elif before is not None and np.array_equal(labels, before):
            return centroids, iterations
        k = len(centroids) + int(opens)
        mass = np.bincount(labels, w, k)
        kept = mass > 0
        sums = np.stack([np.bincount(labels, w * x[:, c], k) for c in range(3)], 1)
        centroids = sums[kept] / mass[kept, None]
        before = (np.cumsum(kept) - 1)[labels]


def label(x, centroids, rows=1 << 15):
    c = centroids.astype(np.float32)
    norms = (c * c).sum(1)
    out = np.empty(len(x), np.uint8)
    for at in range(0, len(x), rows):
        f = x[at : at + rows].astype(np.float32)
        out[at : at + rows] = (f @ (-2 * c.T) + norms).argmin(1)
    return out


def run(x, lam, size=1000, seed=0):
    rng = np.random.default_rng(seed)
    drawn = x[rng.choice(len(x), size, replace=False)].astype(np.float64)
    centroids, iterations = dcdp(drawn, np.full(size, len(x) / size), lam)
    return label(x, centroids), centroids, iterations
