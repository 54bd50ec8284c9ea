// A device over time: colours, RMS, missed colours and stage times, live or over a range that the address carries.
//
// Live, the last 300 frames are shown and each report adds one. A range comes from the server, which answers with the reports
// themselves or, for a long one, with sums by minute or hour.

import { el, once } from "./dom.js";
import { deviceUrl, explain, getJson, isAbort } from "./api.js";
import { chart, chartGroup } from "./chart.js";
import { eventsPart } from "./events.js";
import { hexOf, moment, unitOf } from "./format.js";
import { saveButton } from "./save.js";

const LIVE_REPORTS = 300;
const RANGES = [["live", null], ["10 min", 600e3], ["1 hour", 3600e3], ["6 hours", 6 * 3600e3], ["24 hours", 86400e3], ["7 days", 7 * 86400e3], ["30 days", 30 * 86400e3]];
// A range that ends now is asked for again this often.
const REFRESH_MS = 15000;
const STRIP_MAX = 150, STRIP_COLOURS = 12;

export function historyPart(device, query, go, signal) {
  let series = [], strips = [], range = null, timer = 0, data = null, buffered = null;
  const group = chartGroup(device, (from, to) => choose(Math.round(from), Math.round(to)));
  const charts = [
    chart(group, "curve", "Colours a frame", "", [
      { label: "frames with missed colours", cls: "c-missed", of: p => p.missed, mark: true },
      { label: "colours (K)", cls: "c-k", of: p => p.k, low: p => p.k_min, high: p => p.k_max }], { least: 4, file: "colours" }),
    chart(group, "rms-curve", "RMS distance", "levels", [{ label: "RMS", cls: "c-rms", of: p => p.rms, low: p => p.rms, high: p => p.rms_max }], { least: 1, file: "rms" }),
    chart(group, "missed-curve", "Missed colours", "", [{ label: "missed", cls: "c-missed", of: p => p.missed }], { least: 1, file: "missed" }),
    chart(group, "times", "Stage times", "ms", [
      { label: "total", cls: "c-total", of: p => p.total }, { label: "coreset", cls: "c-coreset", of: p => p.coreset },
      { label: "cluster", cls: "c-cluster", of: p => p.cluster }, { label: "label", cls: "c-label", of: p => p.label }], { least: 1, clip: true, file: "times" }),
  ];
  const [, rms] = charts;
  const events = eventsPart(group);
  const canvas = el("canvas", { class: "strip", id: "strip", role: "img", height: 48, "aria-label": "Palette over time" });
  const saveStrip = saveButton(device, "history-palette", "Palette over time", () => canvas, { when: () => group.to });
  const note = el("p", { class: "note", id: "history-note", role: "status" });
  const buttons = RANGES.map(([label, ms]) => el("button", { type: "button", text: label, on: { click: () => ms === null ? go("") : choose(Date.now() - ms, Date.now()) } }));
  const back = el("button", { type: "button", text: "earlier", on: { click: () => shift(-1) } }), forth = el("button", { type: "button", text: "later", on: { click: () => shift(1) } });
  const nodes = [el("div", { class: "tools", role: "group", "aria-label": "Range of time" }, ...buttons, back, forth), note, el("figure", { class: "chart-box wide" }, el("figcaption", { text: "Palette over time" }), saveStrip, canvas), ...events.nodes, el("div", { class: "charts" }, ...charts.map(c => c.node))];

  function choose(from, to) { if (to - from >= 1000) go(`from=${Math.max(0, Math.round(from))}&to=${Math.round(to)}`); }
  function shift(by) { const [from, to] = range ?? [group.from, group.to], span = to - from; choose(from + by * span / 2, to + by * span / 2); }

  const pointOf = r => ({ t: r.captured_at_ms, frame: r.frame, k: r.clusters, k_min: r.clusters, k_max: r.clusters, rms: r.rms, rms_max: r.rms, missed: r.missed, coreset: r.micros.coreset / 1000, cluster: r.micros.cluster / 1000, label: r.micros.label / 1000, total: r.micros.total / 1000 });

  function stripeOf(r) {
    const { rgb_q6, pixels } = r.palette, all = pixels.reduce((n, p) => n + p, 0) || 1;
    const order = pixels.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, STRIP_COLOURS);
    return { t: r.captured_at_ms, colours: order.map(([p, i]) => [hexOf(rgb_q6[i]).slice(1), p / all]) };
  }

  function drawStrip(stripes) {
    const width = canvas.clientWidth || 600, height = 48, ratio = devicePixelRatio || 1, pen = canvas.getContext("2d");
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    pen.scale(ratio, ratio);
    stripes.forEach((s, i) => {
      const x = group.x(s.t, width), next = i + 1 < stripes.length ? group.x(stripes[i + 1].t, width) : x + width / Math.max(20, stripes.length);
      // Over a gap there is nothing to show.
      const until = stripes[i + 1]?.t ?? s.t, isGap = until - s.t > Math.max(10 * group.step, (group.to - group.from) / 30);
      const w = isGap ? 3 : next - x;
      let y = 0;
      // Sorted by colour, so that neighbours in time stay neighbours.
      for (const [hex, share] of [...s.colours].sort((a, b) => a[0] < b[0] ? -1 : 1)) {
        pen.fillStyle = "#" + hex;
        pen.fillRect(x, y * height, w + .5, share * height + .5);
        y += share;
      }
    });
    canvas.setAttribute("aria-label", stripes.length ? `Palette over time: ${stripes.length} palettes` : "Palette over time: no reports of this range are kept");
  }

  const show = once(() => {
    if (signal.aborted) return;
    if (range === null) {
      const points = series;
      [group.from, group.to] = points.length ? [points[0].t, Math.max(points.at(-1).t, points[0].t + 1000)] : [Date.now() - 10000, Date.now()];
      group.step = points.length > 1 ? (group.to - group.from) / (points.length - 1) : 1000;
      charts.forEach(c => c.show(points));
      drawStrip(strips.filter(s => s.t >= group.from));
      events.show();
      note.textContent = points.length ? `Live: frames ${points[0].frame} to ${points.at(-1).frame}.` : "No reports yet.";
    } else if (data) {
      [group.from, group.to] = range;
      group.step = data.step_ms;
      charts.forEach(c => c.show(data.points));
      drawStrip(data.strip);
      events.show();
      const what = { reports: "from the reports themselves", minute: "sums by minute", hour: "sums by hour" }[data.unit];
      note.textContent = `${moment(range[0])} to ${moment(range[1])}, ${what}.${data.points.length ? "" : " Nothing was reported in this range: choose another one."}`;
    }
  });

  // What changed in a range, and before it what is active when it begins.
  async function loadEvents(from, to) {
    try {
      const found = await getJson(deviceUrl(device, `events?from=${Math.floor(from)}&to=${Math.ceil(to)}`), signal);
      events.set(found);
    } catch { /* The lanes then begin with the next change. */ }
  }

  async function loadRange() {
    clearTimeout(timer);
    const [from, to] = range;
    loadEvents(from, to);
    try {
      const found = await getJson(deviceUrl(device, `history?from=${from}&to=${to}&points=400`), signal);
      if (!range || range[0] !== from || range[1] !== to) return;
      data = found;
      show();
    } catch (error) {
      if (isAbort(error)) return;
      if (range && range[0] === from) note.textContent = `The range cannot be shown: ${explain(error)}.`;
    }
    if (range && Date.now() - range[1] < 60e3) timer = setTimeout(loadRange, REFRESH_MS);
  }

  async function loadLive() {
    buffered = [];
    try {
      const points = (await getJson(deviceUrl(device, `reports?last=${LIVE_REPORTS}`), signal)).map(pointOf);
      const key = p => `${p.t} ${p.frame}`, seen = new Set(points.map(key));
      series = [...points, ...buffered.filter(p => !seen.has(key(p)))].slice(-LIVE_REPORTS);
    } catch (error) {
      if (isAbort(error)) return;
      series = [...series, ...buffered].slice(-LIVE_REPORTS);
    }
    buffered = null;
    show();
    if (series.length) loadEvents(series[0].t, series.at(-1).t + 1000);
    loadStrip().catch(() => { /* The strip then begins with the first event. */ });
  }

  // The palettes of the reports that were there before.
  async function loadStrip() {
    if (series.length < 2) return;
    const [from, to] = [series[0].t, series.at(-1).t + 1];
    const { strip } = await getJson(deviceUrl(device, `history?from=${from}&to=${to}&points=1`), signal);
    strips = [...strip, ...strips.filter(s => s.t >= to)];
    show();
  }

  function setQuery(now) {
    const from = Number(now.get("from")), to = Number(now.get("to"));
    range = now.has("from") && now.has("to") && from < to ? [from, to] : null;
    data = null;
    clearTimeout(timer);
    const live = range === null, span = live ? null : to - from;
    buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(RANGES[i][1] === span)));
    if (live) show(); else { note.textContent = "Loading the range."; loadRange(); }
  }

  const onResize = () => show();
  addEventListener("resize", onResize);
  signal.addEventListener("abort", () => { removeEventListener("resize", onResize); clearTimeout(timer); });
  setQuery(query);
  return {
    nodes, setQuery, reload: loadLive,
    noteContact: events.noteContact,
    setSpace(space) { rms.setUnit(unitOf(space)); },
    addEvent(change) { if (range === null) events.add(change); },
    add(r) {
      const point = pointOf(r);
      if (buffered) buffered.push(point); else series.push(point);
      if (series.length > LIVE_REPORTS) series = series.slice(-LIVE_REPORTS);
      strips.push(stripeOf(r));
      if (strips.length > LIVE_REPORTS) strips = strips.filter((_, i) => i % 2).slice(-STRIP_MAX);
      if (range === null) show();
    },
    fps() {
      const last = series.slice(-60), ms = last.length > 1 ? last.at(-1).t - last[0].t : 0;
      return ms > 0 ? (last.length - 1) * 1000 / ms : null;
    },
  };
}
