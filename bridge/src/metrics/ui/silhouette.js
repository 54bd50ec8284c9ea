// The silhouette of the last census: the diagram, the score, and the mean of each cluster.
//
// The server computes it when it is asked, and the exact one takes it seconds. So it is asked only while this part is in view,
// and not again within `EVERY_MS`. A census that comes meanwhile is shown later.

import { el } from "./dom.js";
import { deviceUrl, explain, getJson, isAbort } from "./api.js";
import { count, fixed, percent } from "./format.js";
import { saveButton } from "./save.js";

// From an answer to the next question. The exact score of 96,000 colours takes six seconds of a processor: an open page then has
// a server compute for a sixth of the time at most.
const EVERY_MS = 30e3;
// How far below the window this part may be to be loaded: a person scrolls so far while it is computed.
const NEAR = "300px";

export function silhouettePart(device, signal) {
  const img = el("img", { id: "knife", alt: "", hidden: true }), box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Mean silhouette of each cluster" });
  const note = el("p", { class: "note", text: "Waiting for a census." });
  const save = saveButton(device, "silhouette", "silhouette diagram", () => img, { title: () => `silhouette of frame ${img.dataset.frame}` });
  const tools = el("div", { class: "tools", hidden: true }, save), part = el("div", {}, note, tools, img, box);
  let loading = false, again = false, url = null, isNear = false, isStale = false, next = 0, timer = 0;

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
    if (again) { again = false; load(); } else look();
  }

  // Loads what is new, if it is in view and it is time.
  function look() {
    clearTimeout(timer);
    if (!isStale || loading || signal.aborted || !isNear || document.visibilityState !== "visible") return;
    const wait = next - Date.now();
    if (wait > 0) { timer = setTimeout(look, wait); return; }
    isStale = false;
    load();
  }
  const watch = new IntersectionObserver(entries => { isNear = entries.at(-1).isIntersecting; look(); }, { rootMargin: NEAR });
  watch.observe(part);
  document.addEventListener("visibilitychange", look, { signal });
  signal.addEventListener("abort", () => { watch.disconnect(); clearTimeout(timer); });

  function draw(s) {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([s.knife], { type: "image/svg+xml" }));
    img.src = url;
    img.alt = `Silhouette diagram of frame ${s.frame}: ${s.clusters.length} knives, mean ${fixed(s.score, 3)}. The table has the mean of each.`;
    img.hidden = tools.hidden = false;
  }

  function show(s, dark) {
    draw(s);
    next = Date.now() + EVERY_MS;
    [img.dataset.dark, img.dataset.frame] = [dark, s.frame];
    const bound = s.error_bound ? ` ± ${fixed(s.error_bound, 3)} (95 %), estimated from ${count(s.sampled_pixels)} pixels of ${count(s.colours)} colours` : ", exact";
    note.textContent = `Score ${fixed(s.score, 4)}${bound}: frame ${count(s.frame)}, ${count(s.pixels)} pixels, lambda ${fixed(s.lambda, 0)}. 1 is best; a cluster below 0 lies nearer to another one.`;
    const rows = s.clusters.map(c => el("tr", {}, el("th", { scope: "row" }, el("i", { style: { background: c.hex ?? "transparent" }, "aria-hidden": "true" }), `${c.label}`),
      el("td", { text: c.hex ?? "" }), el("td", { text: `${c.id}` }), el("td", { text: percent(c.pixels / s.pixels) }), el("td", { class: c.mean < 0 ? "wrong" : "", text: fixed(c.mean, 3) })));
    const head = ["cluster", "colour", "id", "share", "mean"].map(t => el("th", { scope: "col", text: t }));
    box.replaceChildren(el("table", { id: "means" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (!img.hidden) load(); }, { signal });
  return { nodes: [part], census() { isStale = true; look(); } };
}
