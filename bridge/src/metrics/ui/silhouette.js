// The silhouette of the last census: the diagram, the score, and the mean of each cluster.

import { el } from "./dom.js";
import { deviceUrl, explain, getJson, isAbort } from "./api.js";
import { count, fixed, percent } from "./format.js";

export function silhouettePart(device, signal) {
  const img = el("img", { id: "knife", alt: "", hidden: true }), box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Mean silhouette of each cluster" });
  const note = el("p", { class: "note", text: "Waiting for a census." });
  let loading = false, again = false, url = null;

  // An estimate at once, then the exact one, which may take seconds.
  async function load() {
    if (loading) { again = true; return; }
    loading = true;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches ? 1 : 0;
    try {
      const quick = await getJson(deviceUrl(device, `silhouette?quick=1&knife=1&dark=${dark}`), signal);
      show(quick, dark);
      if (!quick.is_exact) show(await getJson(deviceUrl(device, `silhouette?knife=1&dark=${dark}`), signal), dark);
    } catch (error) {
      if (isAbort(error)) return;
      note.textContent = error.status === 404 ? `No silhouette yet: ${explain(error)}. An edge sends a census every few seconds (--census-every).` : `The silhouette cannot be shown: ${explain(error)}.`;
    } finally { loading = false; }
    if (again) { again = false; load(); }
  }

  function draw(s) {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([s.knife], { type: "image/svg+xml" }));
    img.src = url;
    img.alt = `Silhouette diagram of frame ${s.frame}: ${s.clusters.length} knives, mean ${fixed(s.score, 3)}. The table has the mean of each.`;
    img.hidden = false;
  }

  function show(s, dark) {
    draw(s);
    img.dataset.dark = dark;
    const bound = s.error_bound ? ` ± ${fixed(s.error_bound, 3)} (95 %), estimated from ${count(s.sampled_pixels)} pixels of ${count(s.colours)} colours` : ", exact";
    note.textContent = `Score ${fixed(s.score, 4)}${bound}: frame ${count(s.frame)}, ${count(s.pixels)} pixels, lambda ${fixed(s.lambda, 0)}. 1 is best; a cluster below 0 lies nearer to another one.`;
    const rows = s.clusters.map(c => el("tr", {}, el("th", { scope: "row" }, el("i", { style: { background: c.hex ?? "transparent" }, "aria-hidden": "true" }), `${c.label}`),
      el("td", { text: c.hex ?? "" }), el("td", { text: `${c.id}` }), el("td", { text: percent(c.pixels / s.pixels) }), el("td", { class: c.mean < 0 ? "wrong" : "", text: fixed(c.mean, 3) })));
    const head = ["cluster", "colour", "id", "share", "mean"].map(t => el("th", { scope: "col", text: t }));
    box.replaceChildren(el("table", { id: "means" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", load, { signal });
  return { nodes: [note, img, box], load };
}
