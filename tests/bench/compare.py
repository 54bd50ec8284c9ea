"""Ours and the field's on the same stills, in turn: a table and a picture.

Takes stills, our binary and the peers'. Gives results.json, table.md and front.svg.
Touches the output directory.
Never two at once: in a round every method runs once, one after another, on one thread; ratios are taken inside a round.
"""
import argparse, json, os, pathlib, statistics as st, subprocess, sys, tempfile, time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"
import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
import tutorial

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


def ours(still, x, *flags):
    """medians of our own clock, from pixels in memory to labels in memory."""
    args = [a.edge, "cluster", still, "--json", "--lambda", str(a.lam), "--repeat", "5", "--labels", scratch.name, *flags]
    line = json.loads(subprocess.run(args, capture_output=True, text=True, check=True).stdout)
    labels = np.asarray(Image.open(scratch.name + "/000000.png")).ravel()
    palette = np.array([c["rgb"] for c in line["palette"]])
    return dict(ms=line["micros"]["total"] / 1000, k=line["clusters"], mse=mse(x, labels, palette), label_ns=line["micros"]["label"] * 1000 / len(x))


def timed(run, x):
    started = time.perf_counter()
    labels, palette = run()
    ms = (time.perf_counter() - started) * 1e3
    return dict(ms=ms, k=len(np.unique(labels)), mse=mse(x, np.asarray(labels).astype(np.int64), palette))


def peer(method, raw, w, h, k):
    peers.stdin.write(f"{method} {raw} {w} {h} {k}\n")
    return json.loads(peers.stdout.readline())


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
        print(f"compare: {name} could not be had here: left out", file=sys.stderr)


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
        "hueflow --refine lloyd": lambda r: ours(still, x, "--refine", "lloyd"),
        "hueflow --preset tutorial": lambda r: ours(still, x, "--preset", "tutorial", "--seed", str(r + 1)),
        "tutorial's pipeline, numpy": lambda r: timed(numpy_tutorial(x, r), x),
        "scikit-learn KMeans": lambda r: timed(sklearn(x, k), x),
        "scikit-learn KMeans on 1000": lambda r: timed(sklearn(x, k, 1000), x),
    }
    for method in ("quantette-wu", "quantette-kmeans", "imagequant-4", "imagequant-10"):
        runs[method] = lambda r, method=method: peer(method, raw, w, h, k)
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
        of = {key: median(r[key] for r in results) for key in ("ms", "k", "mse", "over_best")}
        speed = median(o["ms"] / r["ms"] for r, o in zip(found["hueflow"], results))
        rows.append(dict(still=pathlib.Path(still).stem, method=m, ours_faster=speed, **of))
        print(rows[-1], file=sys.stderr, flush=True)
peers.stdin.close()
(out / "results.json").write_text(json.dumps(rows, indent=1))

methods = list(dict.fromkeys(r["method"] for r in rows))
of = lambda m, key: [r[key] for r in rows if r["method"] == m]
table = ["| method | ms a frame | MSE over best k-means at its K | worst | K | ours is faster by |", "|---|--:|--:|--:|--:|--:|"]
points = []  # name, median ms, median of MSE over the best
for m in sorted(methods, key=lambda m: st.median(of(m, "ms"))):
    ms, over = st.median(of(m, "ms")), st.median(of(m, "over_best"))
    points.append((m, ms, over))
    table.append(f"| {m} | {ms:.2f} | {over:.3f} | {max(of(m, 'over_best')):.3f} | {st.median(of(m, 'k')):.0f} | {st.median(of(m, 'ours_faster')):.1f} |")
mean = lambda side, key: st.mean(pair[side][key] for pair in drawn)
faster = [theirs["ms"] / mine["ms"] for mine, theirs in drawn]
nanoseconds = [r["label_ns"] for r in label_times]
table += [
    "",
    f"The tutorial's way, {len(drawn)} draws: mean K {mean(0, 'k'):.2f} against {mean(1, 'k'):.2f}, mean MSE {mean(0, 'mse'):.1f} against "
    f"{mean(1, 'mse'):.1f}; faster by {median(faster):.1f}, at least {min(faster):.1f}.",
    f"Labels: {median(nanoseconds):.2f} ns a pixel, {max(nanoseconds):.2f} at most; scikit-learn's predict takes {median(labelling):.0f} times as long, "
    f"{min(labelling):.0f} at least.",
]
(out / "table.md").write_text("\n".join(table) + "\n")
print("\n".join(table))

# The picture: time against what is lost, both logarithmic; down and left is better.
import math

W, H, M = 760, 440, 70
span = lambda values: (math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.25)
(x0, x1), (y0, y1) = span([p[1] for p in points]), span([max(p[2] - 1, 0.001) for p in points])
px = lambda ms: M + (math.log10(ms) - x0) / (x1 - x0) * (W - 2 * M)
py = lambda over: H - M - (math.log10(max(over - 1, 0.001)) - y0) / (y1 - y0) * (H - 2 * M)
svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="12"><rect width="{W}" height="{H}" fill="white"/>']
for e in range(math.ceil(x0), math.floor(x1) + 1):
    svg.append(f'<path d="M{px(10**e):.0f} {M // 2}V{H - M}" stroke="#ddd"/><text x="{px(10**e):.0f}" y="{H - M + 18}" text-anchor="middle">{10**e:g} ms</text>')
for e in range(math.ceil(y0), math.floor(y1) + 1):
    svg.append(f'<path d="M{M} {py(1 + 10**e):.0f}H{W - M // 2}" stroke="#ddd"/><text x="{M - 6}" y="{py(1 + 10**e) + 4:.0f}" text-anchor="end">+{100 * 10**e:g} %</text>')
taken = []
for m, ms, over in sorted(points, key=lambda p: -p[2]):
    ink = "#c0392b" if m.startswith("hueflow") else "#34495e"
    x, y, width = px(ms), py(over), 6.4 * len(m)
    # The first place beside the point where no other name is.
    places = [(x + 9, y + 4), (x - 9 - width, y + 4), (x + 9, y - 10), (x + 9, y + 18), (x - 9 - width, y - 10), (x - 9 - width, y + 18)]
    free = lambda at: at[0] > 4 and at[0] + width < W - 4 and all(at[0] + width < t[0] or t[0] + t[2] < at[0] or abs(at[1] - t[1]) > 13 for t in taken)
    tx, ty = next((at for at in places if free(at)), places[0])
    taken += [(tx, ty, width), (x - 5, y + 4, 10)]
    svg.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{ink}"/><text x="{tx:.1f}" y="{ty:.1f}" fill="{ink}">{m}</text>')
svg.append(f'<text x="{W / 2}" y="{H - 18}" text-anchor="middle">time a frame of 96,000 pixels, one thread</text>')
svg.append(f'<text x="16" y="{H / 2}" text-anchor="middle" transform="rotate(-90 16 {H / 2})">MSE above the best k-means at the same K</text></svg>')
(out / "front.svg").write_text("\n".join(svg))
