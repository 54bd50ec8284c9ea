"""Counts the colours that a palette misses in a frame.

The frame is cut into cells of 16 levels a side. A colour is missed if a cell has at least 0.02 % of the frame's pixels
that are all farther than lambda from every palette entry. Lambda is a Euclidean distance in 8-bit RGB. Palettes are taken
as a method gives them, fractions of a level included; ours have 1/64 levels, so the sums here are exact.
"""
import numpy as np

SUPPORT_PART = 5000  # A colour needs one pixel in this many, which is 0.02 %; the edge has the same default.


def missed(x, palette, lam):
    """Returns the missed colours and the pixels beyond lambda of one frame; x has shape (n, 3), palette (k, 3)."""
    packed = x[:, 0].astype(np.int32) << 16 | x[:, 1].astype(np.int32) << 8 | x[:, 2]
    colours, counts = np.unique(packed, return_counts=True)
    channels = [(colours >> shift & 255).astype(np.float64) for shift in (16, 8, 0)]
    near = np.zeros(len(colours), bool)
    for entry in np.asarray(palette, np.float64):
        near |= sum((c - e) ** 2 for c, e in zip(channels, entry)) <= lam * lam
    cell = (colours >> 20 & 15) << 8 | (colours >> 12 & 15) << 4 | colours >> 4 & 15
    far = np.bincount(cell[~near], counts[~near], 1 << 12).astype(np.int64)
    support = -(-len(x) // SUPPORT_PART)
    return int((far >= support).sum()), int(far.sum())
