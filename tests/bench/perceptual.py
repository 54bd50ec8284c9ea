"""Compares `--space cielab` with quantette's k-means in OKLab and with our own RGB mode, in Delta E 2000.

It needs stills, our binary and that of the peers, and prints a table. K is what lambda gives in CIELAB; the peers get the same
number. In a round each method runs once, one after another, on one thread; ratios are taken inside a round, results are medians
over the rounds. Colours are compared in double precision, palettes rounded to 8 bits, each pixel with its label's colour.
"""
import argparse, json, pathlib, statistics as st, subprocess, tempfile

import numpy as np
from PIL import Image


def lab(rgb):
    c = np.asarray(rgb, np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    m = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    t = linear @ (m / m.sum(1, keepdims=True)).T
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * 841 / 108 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def oklab(rgb):
    c = np.asarray(rgb, np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]])
    to = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]])
    return np.cbrt(linear @ lms.T) @ to.T


def de00(x, y):
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0)
    weight = lambda c: np.sqrt(c**7 / (c**7 + 25.0**7))
    g = 0.5 * (1 - weight((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    d = h2 - h1
    dh = np.where(grey, 0, np.where(d > 180, d - 360, np.where(d < -180, d + 360, d)))
    s = h1 + h2
    mean = np.where(grey, s, np.where(np.abs(d) <= 180, s / 2, np.where(s < 360, s / 2 + 180, s / 2 - 180)))
    cos = lambda times, shift: np.cos(np.radians(times * mean + shift))
    lm, cm = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    t = 1 - 0.17 * cos(1, -30) + 0.24 * cos(2, 0) + 0.32 * cos(3, 6) - 0.20 * cos(4, -63)
    l = (l2 - l1) / (1 + 0.015 * lm * lm / np.sqrt(20 + lm * lm))
    c = (c2 - c1) / (1 + 0.045 * cm)
    h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh / 2)) / (1 + 0.015 * cm * t)
    turn = -np.sin(np.radians(60 * np.exp(-(((mean - 275) / 25) ** 2)))) * 2 * weight(cm)
    return np.sqrt(np.maximum(l * l + c * c + h * h + turn * c * h, 0))


ap = argparse.ArgumentParser()
ap.add_argument("--edge", required=True)
ap.add_argument("--peers", required=True)
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--lam", type=float, default=18)
ap.add_argument("--flags", default="", help="more flags for our own, such as \"--refine mse\"")
ap.add_argument("stills", nargs="+")
a = ap.parse_args()
scratch = tempfile.TemporaryDirectory()
peers = subprocess.Popen([a.peers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def score(x, colours):
    d = de00(x, lab(np.clip(np.rint(colours), 0, 255)))
    return float(d.mean()), float(np.quantile(d, 0.95))


def ours(still, x, *flags):
    args = [a.edge, "cluster", still, "--json", "--repeat", "5", "--labels", scratch.name, *flags]
    line = json.loads(subprocess.run(args, capture_output=True, text=True, check=True).stdout)
    labels = np.asarray(Image.open(scratch.name + "/000000.png")).ravel()
    colours = np.array([c["rgb"] for c in line["palette"]])[labels]
    mean, p95 = score(x, colours)
    return dict(ms=line["micros"]["total"] / 1000, k=line["clusters"], mean=mean, p95=p95, missed=line["missed"], micros=line["micros"])


def quantette(raw, x, pixels, w, h, k):
    peers.stdin.write(f"quantette-kmeans-oklab {raw} {w} {h} {k}\n")
    answer = json.loads(peers.stdout.readline())
    # Its labels are not among its answers: it labels by the nearest in OKLab, its own space.
    palette = np.array(answer["palette"])
    colours, inverse = np.unique(pixels, axis=0, return_inverse=True)
    of, centres = oklab(colours), oklab(palette)
    nearest = np.argmin(((of[:, None] - centres) ** 2).sum(-1), 1)
    mean, p95 = score(x, palette[nearest][inverse.ravel()])
    return dict(ms=answer["ms"], k=answer["k"], mean=mean, p95=p95)


print("| still | K | Delta E 2000 | over quantette's | p95 over its | missed | faster than it | time over RGB's |")
print("|---|--:|--:|--:|--:|--:|--:|--:|")
all_rows = []
for still in a.stills:
    image = Image.open(still).convert("RGB")
    pixels = np.asarray(image).reshape(-1, 3)
    x, raw = lab(pixels), f"{scratch.name}/{pathlib.Path(still).stem}.rgb"
    pixels.tofile(raw)
    rounds = []
    for _ in range(a.rounds):
        mine = ours(still, x, *a.flags.split(), "--space", "cielab", "--lambda", str(a.lam))
        theirs = quantette(raw, x, pixels, *image.size, mine["k"])
        rgb = ours(still, x)
        rounds.append((mine, theirs, rgb))
    ratio = lambda pick: st.median(pick(*r) for r in rounds)
    row = [
        ratio(lambda m, t, r: m["k"]),
        ratio(lambda m, t, r: m["mean"]),
        ratio(lambda m, t, r: m["mean"] / t["mean"]),
        ratio(lambda m, t, r: m["p95"] / t["p95"]),
        ratio(lambda m, t, r: m["missed"]),
        ratio(lambda m, t, r: t["ms"] / m["ms"]),
        ratio(lambda m, t, r: m["ms"] / r["ms"]),
    ]
    all_rows.append(row)
    print(f"| {pathlib.Path(still).stem} | {row[0]:.0f} | " + " | ".join(f"{v:.3f}" for v in row[1:4]) + f" | {row[4]:.0f} | {row[5]:.1f} | {row[6]:.2f} |", flush=True)
mean = [st.mean(c) for c in zip(*all_rows)]
print(f"| mean | {mean[0]:.1f} | " + " | ".join(f"{v:.3f}" for v in mean[1:4]) + f" | {sum(r[4] for r in all_rows):.0f} | {mean[5]:.1f} | {mean[6]:.2f} |")
peers.stdin.close()
