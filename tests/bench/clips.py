"""Clusters clips warm and cold with the edge, checks its reports against the pixels, and prints a table.

A clip is decoded once, to a Y4M file, by ffmpeg with the edge's own arguments. The edge clusters that file, and this script
converts the same samples to RGB by the edge's integer formula, so both see the same pixels. This is checked in every frame:
the sum of squared distances, the pixels beyond lambda and the missed colours, all recounted from pixels, labels and
palette, must be those of the report. The script fails if one is not.
"""
import argparse, json, pathlib, statistics as st, subprocess, sys, tempfile

import numpy as np
from PIL import Image
from missed import missed

STILL_LEVELS = 6  # A pixel rests if no channel moves by more than this from one frame to the next.
LARGE_PART = 0.02  # Identity changes are counted for colours with more than this part of the pixels.
AHEAD = 1.1  # The retained topic `state` names another dominant colour only with a tenth more pixels (edge/src/send/state.rs).
# ffmpeg's arguments in edge/src/camera/replay.rs.
DECODE = "-map 0:v:0 -fps_mode passthrough -vf scale=out_color_matrix=bt601:out_range=tv -pix_fmt yuv420p -f yuv4mpegpipe"


def decode(clip, y4m, frames):
    limit = ["-frames:v", str(frames)]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", clip, *DECODE.split(), *limit, y4m], check=True)


def read(y4m):
    """The frames of a 4:2:0 file as RGB, each (height, width, 3): BT.601 in limited range, as firmware's ycbcr.rs."""
    with open(y4m, "rb") as f:
        head = f.readline().decode().split()
        w, h = (next(int(t[1:]) for t in head if t[0] == tag) for tag in "WH")
        assert any(t.startswith("C420") for t in head) and "XCOLORRANGE=FULL" not in head, head
        cw, ch = (w + 1) // 2, (h + 1) // 2
        while f.readline():
            luma = np.frombuffer(f.read(w * h), np.uint8).reshape(h, w).astype(np.int32)
            planes = (np.frombuffer(f.read(cw * ch), np.uint8).reshape(ch, cw).astype(np.int32) - 128 for _ in "uv")
            u, v = (p.repeat(2, 0).repeat(2, 1)[:h, :w] for p in planes)
            y = (luma - 16) * 76_309 + 32_768
            rgb = (y + 104_597 * v, y - 25_675 * u - 53_279 * v, y + 132_201 * u)
            yield np.stack([np.clip(c >> 16, 0, 255).astype(np.uint8) for c in rgb], -1)


def cluster(a, y4m, *flags):
    command = [a.edge, "cluster", y4m, "--json", "--lambda", str(a.lam), *flags]
    return [json.loads(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]


def without_times(report):
    return {key: value for key, value in report.items() if key != "micros"}


class Pass:
    """One stream of a clip, warm or cold: the reports, and what was measured from pixels and labels."""

    def __init__(self, a, y4m, *flags):
        self.lam, self.flags = a.lam, " ".join(flags)
        with tempfile.TemporaryDirectory() as labels:
            self.reports = cluster(a, y4m, *flags, "--labels", labels)
            # Times are from a run of its own, which writes nothing between the frames.
            timed = cluster(a, y4m, *flags)
            self.micros = st.median(r["micros"]["total"] for r in timed)
            self.differences = [f"{self.flags}: a second run gives other reports"] * ([*map(without_times, timed)] != [*map(without_times, self.reports)])
            self.errors, self.recounted, changes, before = [], [], [], None
            for report, rgb in zip(self.reports, read(y4m), strict=True):
                of = np.asarray(Image.open(f"{labels}/{report['frame']:06d}.png"))
                before, change = self.check(report, rgb, of, before)
                changes.append(change)
        rested = sum(n for n, _ in changes)
        self.flicker = sum(s for _, s in changes) / rested if rested else 0.0

    def check(self, report, rgb, labels, before):
        """Recounts one frame. Returns what the next frame needs, and (channels at rest, their squared changes)."""
        palette = np.array([c["rgb"] for c in report["palette"]])
        sse = float(((rgb - palette[labels]) ** 2).sum())
        lost, beyond = missed(rgb.reshape(-1, 3), palette, self.lam)
        pixels = np.bincount(labels.ravel(), minlength=len(palette)).tolist()
        recount = dict(sse=sse, missed=lost, beyond_px=beyond, pixels=pixels)
        for key, mine in recount.items():
            theirs = [c["pixels"] for c in report["palette"]] if key == "pixels" else report[key]
            if mine != theirs:
                self.differences.append(f"{self.flags} frame {report['frame']}: {key} is {theirs} in the report, {mine} recounted")
        self.recounted.append(lost)
        shown = np.rint(palette).astype(np.int32)[labels]
        self.errors.append(float(((rgb - shown) ** 2).mean()))
        change = (0, 0)
        if before is not None:
            rests = (np.abs(rgb.astype(np.int32) - before[0]) <= STILL_LEVELS).all(-1)
            change = (3 * int(rests.sum()), int(((shown - before[1])[rests] ** 2).sum()))
        return (rgb.astype(np.int32), shown), change

    def k(self):
        return [r["clusters"] for r in self.reports]

    def missing(self):
        """Frames with missed colours: by the report, and recounted."""
        return sum(r["missed"] > 0 for r in self.reports), sum(n > 0 for n in self.recounted)

    def births(self):
        """Identities that appear after the first frame."""
        seen = [{c["id"] for c in r["palette"]} for r in self.reports]
        return len(set().union(*seen)) - len(seen[0])

    def identity_changes(self):
        """Large colours whose nearest colour in the next frame, within lambda / 4, has another identity."""
        changes = 0
        for before, after in zip(self.reports, self.reports[1:]):
            colours = np.array([c["rgb"] for c in after["palette"]])
            for c in before["palette"]:
                if c["pixels"] > LARGE_PART * before["pixels"]:
                    d2 = ((colours - c["rgb"]) ** 2).sum(1)
                    nearest = int(d2.argmin())
                    changes += d2[nearest] <= (self.lam / 4) ** 2 and after["palette"][nearest]["id"] != c["id"]
        return changes

    def flips(self, ahead=1.0):
        """How often another identity is dominant than in the frame before: one with over `ahead` times the other's pixels."""
        flips, dominant = 0, None
        for r in self.reports:
            most = max(r["palette"], key=lambda c: c["pixels"])
            pixels = next((c["pixels"] for c in r["palette"] if c["id"] == dominant), None)
            if pixels is None or most["pixels"] > ahead * pixels:
                flips += dominant not in (None, most["id"])
                dominant = most["id"]
        return flips


COLUMNS = [
    "clip", "refine", "frames", "K warm", "K cold", "worst K warm - cold", "missed warm", "missed cold", "MSE warm", "MSE cold",
    "births / 1000", "id changes / 1000", "flips", "flips in state", "flicker warm", "flicker cold", "µs warm", "µs cold",
]


def row(clip, mode, warm, cold):
    frames = len(warm.reports)
    spread = lambda k: f"{st.mean(k):.1f} ({min(k)} to {max(k)})"
    missing = lambda s: f"{s.missing()[0]}, {s.missing()[1]}"
    thousand = lambda n: f"{1000 * n / frames:.0f}"
    return [
        clip, mode, str(frames), spread(warm.k()), spread(cold.k()), f"{max(a - b for a, b in zip(warm.k(), cold.k())):+d}",
        missing(warm), missing(cold), f"{st.mean(warm.errors):.1f}", f"{st.mean(cold.errors):.1f}", thousand(warm.births()),
        thousand(warm.identity_changes()), str(warm.flips()), str(warm.flips(AHEAD)), f"{warm.flicker:.1f}", f"{cold.flicker:.1f}",
        f"{warm.micros:.0f}", f"{cold.micros:.0f}",
    ]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--edge", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--frames", type=int, default=200)
    ap.add_argument("--lambda", dest="lam", type=float, default=50)
    ap.add_argument("--refine", default="cover")
    ap.add_argument("clips", nargs="+")
    a = ap.parse_args()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * (len(COLUMNS) - 2)]
    print("\n".join(lines), flush=True)
    differences = []
    with tempfile.TemporaryDirectory() as scratch:
        for clip in a.clips:
            y4m = scratch + "/clip.y4m"
            decode(clip, y4m, a.frames)
            for mode in a.refine.split(","):
                warm, cold = (Pass(a, y4m, "--refine", mode, *more) for more in ([], ["--cold"]))
                differences += [f"{clip}: {d}" for d in warm.differences + cold.differences]
                lines.append("| " + " | ".join(row(pathlib.Path(clip).stem, mode, warm, cold)) + " |")
                print(lines[-1], flush=True)
    lines += [
        "",
        f"Lambda {a.lam:g}. Missed: frames with missed colours, by the report and recounted. K: mean (least to most). MSE: a channel's, palette "
        "rounded to 8 bits, mean of the frames. Births: new identities. Id changes: a colour above 2 % whose nearest colour in the next "
        "frame, within lambda / 4, has another identity. Flips: changes of the identity with the most pixels; in state: of the one that the topic "
        "`state` names, which needs a tenth more pixels to change. Flicker: a recoloured channel's mean "
        f"squared change where the source moves by at most {STILL_LEVELS} levels in every channel. µs: median, pixels in memory to labels in memory.",
    ]
    print("\n".join(lines[-2:]))
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "clips.md").write_text("\n".join(lines) + "\n")
    for d in differences[:20]:
        print(f"clips: {d}", file=sys.stderr)
    if differences:
        sys.exit(f"clips: {len(differences)} differences between reports and pixels")


if __name__ == "__main__":
    main()
