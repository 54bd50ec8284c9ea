"""Compares our methods and those of other projects on the same stills, as a table and a picture.

It needs stills, our binary and that of the peers, and writes results.json, table.md and front.svg. The methods run in turn:
in a round every method runs once, one after another, on one thread. Ratios are taken inside a round; results are medians
over the rounds and then over the stills. The error is a channel's mean squared error in sRGB, with the palette rounded to
8 bits, against the best of ten k-means runs at the same number of colours. Missed colours: see missed.py.
"""
import argparse, json, os, pathlib, statistics as st, subprocess, sys, tempfile, time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"
import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
import tutorial
from front import draw
from missed import missed

ap = argparse.ArgumentParser()
ap.add_argument("--edge", required=True)
ap.add_argument("--peers", required=True)
ap.add_argument("--out", required=True)
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--lam", type=float, default=50)
ap.add_argument("--seeds", type=int, default=9)
ap.add_argument("stills", nargs="+")
a = ap.parse_args()
out = pathlib.Path(a.out)
out.mkdir(parents=True, exist_ok=True)
scratch = tempfile.TemporaryDirectory()
peers = subprocess.Popen([a.peers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def mse(x, labels, palette):
    d = x.astype(np.int32) - np.clip(np.rint(palette), 0, 255).astype(np.int32)[labels]
    return float((d * d).mean())


def count(x, palette):
    return missed(x, palette, a.lam)[0]


def ours(still, x, *flags):
    """Medians of our own clock, from pixels in memory to labels in memory."""
    args = [a.edge, "cluster", still, "--json", "--lambda", str(a.lam), "--repeat", "5", "--labels", scratch.name, *flags]
    line = json.loads(subprocess.run(args, capture_output=True, text=True, check=True).stdout)
    labels = np.asarray(Image.open(scratch.name + "/000000.png")).ravel()
    palette = np.array([c["rgb"] for c in line["palette"]])
    label_ns = line["micros"]["label"] * 1000 / len(x)
    return dict(ms=line["micros"]["total"] / 1000, k=line["clusters"], mse=mse(x, labels, palette), missed=count(x, palette), label_ns=label_ns)


def timed(run, x):
    started = time.perf_counter()
    labels, palette = run()
    ms = (time.perf_counter() - started) * 1e3
    return dict(ms=ms, k=len(np.unique(labels)), mse=mse(x, np.asarray(labels).astype(np.int64), palette), missed=count(x, palette))


def peer(method, raw, x, w, h, k):
    peers.stdin.write(f"{method} {raw} {w} {h} {k}\n")
    answer = json.loads(peers.stdout.readline())
    return dict(answer, missed=count(x, answer.pop("palette")))


def numpy_tutorial(x, seed):
    return lambda: tutorial.run(x, a.lam, seed=seed)[:2]


def sklearn(x, k, sample=None):
    def run():
        f = x.astype(np.float32)
        km = KMeans(k, n_init=1, random_state=0)
        if sample is None:
            km.fit(f)
            return km.labels_, km.cluster_centers_
        km.fit(f[np.random.default_rng(0).choice(len(f), sample, replace=False)])
        return km.predict(f), km.cluster_centers_

    return run


def optional(name):
    try:
        return __import__(name)
    except ImportError:
        print(f"compare: {name} is not installed: left out", file=sys.stderr)


cv2, pdc = optional("cv2"), optional("pdc_dp_means")
if cv2:
    cv2.setNumThreads(0)


def opencv(x, k):
    def run():
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
        _, labels, centroids = cv2.kmeans(x.astype(np.float32), k, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
        return labels.ravel(), centroids

    return run


def pdc_dp_means(x, seed):
    def run():
        f = x.astype(np.float32)
        model = pdc.DPMeans(n_clusters=1, n_init=1, delta=a.lam * a.lam, random_state=seed)
        model.fit(f[np.random.default_rng(seed).choice(len(f), 1000, replace=False)])
        return model.predict(f), model.cluster_centers_

    return run


def best(x, k):
    """The best of ten k-means runs on all pixels."""
    colours, counts = np.unique(x, axis=0, return_counts=True)
    km = KMeans(k, n_init=10, random_state=0).fit(colours.astype(np.float64), sample_weight=counts)
    d = colours - np.rint(km.cluster_centers_)[km.labels_]
    return float(((d * d).sum(1) * counts).sum() / len(x) / 3)


def median(values):
    return st.median(list(values))


def predict_ns(x, k):
    """What scikit-learn takes to label a pixel."""
    f = x.astype(np.float32)
    km = KMeans(k, n_init=1, random_state=0).fit(f[::97])
    started = time.perf_counter()
    km.predict(f)
    return (time.perf_counter() - started) * 1e9 / len(x)


# What the peers' program calls a method, and what the table does.
PEERS = {
    "quantette-wu": "quantette Wu, sRGB",
    "quantette-wu-oklab": "quantette Wu, OKLab",
    "wu-exact-labels": "Wu palette + exact labels",
    "quantette-kmeans": "quantette k-means, sRGB",
    "quantette-kmeans-oklab": "quantette k-means, OKLab",
    "imagequant-4": "libimagequant, speed 4",
    "imagequant-10": "libimagequant, speed 10",
}
rows, drawn, labelling, label_times = [], [], [], []
for still in a.stills:
    image = Image.open(still).convert("RGB")
    w, h = image.size
    x = np.asarray(image).reshape(-1, 3)
    raw = f"{scratch.name}/{pathlib.Path(still).stem}.rgb"
    x.tofile(raw)
    k = ours(still, x)["k"]
    runs = {
        "hueflow": lambda r: ours(still, x),
        "hueflow --refine mse": lambda r: ours(still, x, "--refine", "mse"),
        "hueflow --refine lloyd": lambda r: ours(still, x, "--refine", "lloyd"),
        "hueflow --refine none": lambda r: ours(still, x, "--refine", "none"),
        "hueflow --preset tutorial": lambda r: ours(still, x, "--preset", "tutorial", "--seed", str(r + 1)),
        "tutorial's pipeline, numpy": lambda r: timed(numpy_tutorial(x, r), x),
        "scikit-learn KMeans": lambda r: timed(sklearn(x, k), x),
        "scikit-learn KMeans on 1000": lambda r: timed(sklearn(x, k, 1000), x),
    }
    for method, name in PEERS.items():
        runs[name] = lambda r, method=method: peer(method, raw, x, w, h, k)
    if cv2:
        runs["OpenCV kmeans"] = lambda r: timed(opencv(x, k), x)
    if pdc:
        runs["pdc-dp-means on 1000"] = lambda r: timed(pdc_dp_means(x, r), x)
    optimum = {}
    found = {m: [] for m in runs}
    for r in range(a.rounds):
        for m, run in runs.items():
            found[m].append(run(r))
    label_times += found["hueflow"]
    labelling.append(median(predict_ns(x, k) / o["label_ns"] for o in found["hueflow"]))
    # The tutorial's way draws 1000 pixels: over seeds, the same K and MSE as the tutorial's, but not the same draws.
    for seed in range(1, a.seeds + 1):
        theirs = timed(numpy_tutorial(x, seed), x)
        drawn.append((ours(still, x, "--preset", "tutorial", "--seed", str(seed)), theirs))
    for m, results in found.items():
        for r in results:
            if r["k"] not in optimum:
                optimum[r["k"]] = best(x, r["k"])
            r["over_best"] = r["mse"] / optimum[r["k"]]
        of = {key: median(r[key] for r in results) for key in ("ms", "k", "mse", "over_best", "missed")}
        speed = median(o["ms"] / r["ms"] for r, o in zip(found["hueflow"], results))
        rows.append(dict(still=pathlib.Path(still).stem, method=m, ours_faster=speed, **of))
        print(rows[-1], file=sys.stderr, flush=True)
peers.stdin.close()
(out / "results.json").write_text(json.dumps(rows, indent=1))

methods = list(dict.fromkeys(r["method"] for r in rows))
of = lambda m, key: [r[key] for r in rows if r["method"] == m]
table = [
    "| method | ms a frame | MSE over best k-means at its K | worst | K | missed | ours is faster by |",
    "|---|--:|--:|--:|--:|--:|--:|",
]
points = []  # Name, median ms, median of MSE over the best, missed colours of all stills.
for m in sorted(methods, key=lambda m: st.median(of(m, "ms"))):
    ms, over = st.median(of(m, "ms")), st.median(of(m, "over_best"))
    lost = [round(n) for n in of(m, "missed")]
    on = sum(n > 0 for n in lost)
    misses = f"{sum(lost)} on {on}" if on else "0"
    points.append((m, ms, over, sum(lost)))
    table.append(
        f"| {m} | {ms:.2f} | {over:.3f} | {max(of(m, 'over_best')):.3f} | {st.median(of(m, 'k')):.0f} | {misses} | "
        f"{st.median(of(m, 'ours_faster')):.1f} |"
    )
mean = lambda side, key: st.mean(pair[side][key] for pair in drawn)
faster = [theirs["ms"] / mine["ms"] for mine, theirs in drawn]
nanoseconds = [r["label_ns"] for r in label_times]
table += [
    "",
    f"Missed: colours of {len(set(r['still'] for r in rows))} stills that no palette entry is within lambda = {a.lam:g} of, and the number of "
    "stills with any; of methods that draw, the median over the rounds.",
    f"The tutorial's way, {len(drawn)} draws: mean K {mean(0, 'k'):.2f} against {mean(1, 'k'):.2f}, mean MSE {mean(0, 'mse'):.1f} against "
    f"{mean(1, 'mse'):.1f}; faster by {median(faster):.1f}, at least {min(faster):.1f}.",
    f"Labels: {median(nanoseconds):.2f} ns a pixel, {max(nanoseconds):.2f} at most; scikit-learn's predict takes {median(labelling):.0f} times as long, "
    f"{min(labelling):.0f} at least.",
]
(out / "table.md").write_text("\n".join(table) + "\n")
print("\n".join(table))
draw(points, out / "front.svg")
