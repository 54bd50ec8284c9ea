// This frame: the numbers of the last report, each with its unit, and the settings in force.

import { el } from "./dom.js";
import { DASH, count, duration, fixed, percent, short } from "./format.js";

const FIGURES = [
  ["clusters", "colours (K)", "the number of clusters; + if the cap was reached"],
  ["missed", "colours missed", null],
  ["beyond", "of the pixels beyond lambda", null],
  ["lambda", "lambda in force (levels)", "the largest distance of a colour to its palette entry, in 8-bit levels"],
  ["rms", "RMS distance (levels)", "root of the mean squared distance of a pixel to its palette entry"],
  ["silhouette", "silhouette (estimate)", "from the coreset; the exact one is below"],
  ["fps", "frames/s", "by the capture times of the last 60 frames"],
  ["total", "ms a frame", "coreset, clustering and labels at the edge"],
  ["iterations", "iterations", "of DC-DP-means; 0 if a warm frame did not need it"],
  ["lag", "lag to the store", "from the capture to the store"],
];

export function framePart() {
  const figures = Object.fromEntries(FIGURES.map(([key, label, title]) => {
    const value = el("dd", { id: key, text: DASH });
    return [key, { value, node: el("div", { title, "data-figure": key }, el("dt", { text: label }), value) }];
  }));
  const settings = el("p", { class: "note", id: "settings" });
  const put = (key, text, title, wrong = false) => {
    const { value, node } = figures[key];
    if (value.textContent !== text) value.textContent = text;
    if (title) node.title = title;
    node.classList.toggle("wrong", wrong);
  };

  function show(r, lagMs, fps) {
    put("clusters", r.clusters + (r.saturated ? "+" : ""));
    put("lambda", short(r.lambda));
    put("rms", fixed(r.rms));
    put("silhouette", fixed(r.silhouette_estimate, 3));
    put("fps", fixed(fps));
    put("total", fixed(r.micros.total / 1000));
    put("iterations", count(r.iterations));
    put("lag", duration(lagMs));
    // Edges before version 3 of the report do not count these: unknown is not 0.
    if (r.missed === null || r.beyond_px === null || r.missed === undefined || r.beyond_px === undefined) {
      ["missed", "beyond"].forEach(key => put(key, DASH, "not counted by this edge's version"));
    } else {
      put("missed", count(r.missed), `colours of at least ${count(r.w_open)} pixels that no palette entry is within lambda of`, r.missed > 0);
      put("beyond", percent(r.beyond_px / (r.pixels || 1)), `${count(r.beyond_px)} of ${count(r.pixels)} pixels are farther than lambda from their palette entry`);
    }
    const text = `Lambda ${short(r.lambda)}, coreset of ${count(r.coreset_points)} points by ${r.method}, refinement ${r.refine}, a colour needs ${count(r.w_open)} pixels. Frame ${count(r.frame)} of ${r.width} × ${r.height} pixels, ${r.warm ? "warm" : "cold"} start.`;
    if (settings.textContent !== text) settings.textContent = text;
  }
  return { nodes: [el("dl", { class: "figures" }, ...Object.values(figures).map(f => f.node)), settings], show };
}
