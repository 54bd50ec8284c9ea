// A device: its pictures, numbers, palette, history, silhouette and ledger.
//
// The view subscribes to the device first and then loads its state, so nothing falls between the two. Whatever was missed, after
// a slow moment or a lost connection, is loaded again.

import { el, once, section } from "./dom.js";
import { deviceUrl, explain, getJson, isAbort } from "./api.js";
import { connect } from "./link.js";
import { showAway, showHealth } from "./banner.js";
import { count, duration, stateWord } from "./format.js";
import { drawPart } from "./draw.js";
import { framePart } from "./frame.js";
import { historyPart } from "./history.js";
import { ledgerPart } from "./ledger.js";
import { offerOutages } from "./outage.js";
import { palettePart, swatchesOf } from "./palette.js";
import { overlay, sharesPart } from "./regions.js";
import { silhouettePart } from "./silhouette.js";
import { whatIfPart } from "./whatif.js";

export function deviceView(root, device, query, go) {
  const abort = new AbortController(), signal = abort.signal;
  const frame = framePart(), palette = palettePart("frame"), ledger = ledgerPart(), silhouette = silhouettePart(device, signal);
  const whatIf = whatIfPart(device, signal);
  const over = { original: overlay(), clustered: overlay() }, shares = sharesPart(), drawing = drawPart(over.clustered);
  const past = historyPart(device, query, go, signal);
  let report = null, offset = 0, lag = null, state = "unknown", session = "";

  const word = el("span", { class: "state", id: "state", text: "loading" }), age = el("span", { id: "age" });
  const original = picture("original", "original.jpg"), clustered = picture("clustered", "picture.png");
  const health = el("ul", { class: "health" }), about = el("div", { class: "about-device" });
  root.append(
    el("div", { class: "title" }, el("h2", { text: device }), word, age),
    section("pictures", "Picture", el("div", { class: "pair" }, original.node, clustered.node), ...drawing.nodes, ...palette.nodes, ...shares.nodes),
    section("numbers", "This frame", ...frame.nodes),
    section("history", "Over time", ...past.nodes),
    section("silhouettes", "Silhouette of the last census", ...silhouette.nodes),
    section("what-if", "What if lambda were another", ...whatIf.nodes),
    section("ledger", "Ledger: every record, exactly once", ...ledger.nodes),
    section("device", "The device", health, about));

  // One picture on its way at a time: a slow link skips pictures instead of queueing them.
  function picture(id, file) {
    const img = el("img", { id, alt: id === "original" ? "original picture" : "clustered picture", hidden: true }), caption = el("figcaption", { text: id === "original" ? "no original: start the edge with --original" : "waiting for a picture (--video latest)" });
    let busy = false, again = false;
    function load(text) {
      if (signal.aborted) return;
      if (busy) { again = text; return; }
      busy = true;
      const next = new Image(), end = shown => {
        busy = false;
        if (signal.aborted) return;
        if (shown) { img.src = next.src; img.hidden = false; caption.textContent = text; }
        if (again) { const then = again; again = false; load(then); }
      };
      next.onload = () => end(true);
      next.onerror = () => end(false);
      next.src = deviceUrl(device, `${file}?${Date.now()}`);
    }
    return { node: el("figure", {}, el("div", { class: "under" }, img, ...over[id].nodes), caption), load };
  }

  const showReport = once(() => {
    if (signal.aborted || !report) return;
    frame.show(report, lag, past.fps());
    past.setSpace(report.space);
    palette.show(swatchesOf(report.palette));
    shares.show(report);
  });

  const noteContact = () => { if (report) past.noteContact(report.stream, report.captured_at_ms, state); };

  function showState(now, status) {
    state = now ?? state;
    word.textContent = stateWord(state);
    word.dataset.state = state;
    noteContact();
    if (status) showStatus(status);
  }

  function showStatus(s) {
    Object.values(over).forEach(o => o.show(s));
    shares.setStatus(s);
    health.replaceChildren(...(s.health ?? []).map(h => el("li", { "data-state": h.state }, el("strong", { text: h.child ?? h.name ?? "" }), ` ${h.state ?? ""}`, h.reason ? `: ${h.reason}` : "")));
    const facts = [["version", s.version], ["boot", s.boot], ["records held on the device", s.records_held === null || s.records_held === undefined ? null : count(s.records_held)], ["clock", s.clock_synchronised === undefined || s.clock_synchronised === null ? null : s.clock_synchronised ? "synchronised" : "not synchronised: times are the device's own"]];
    const rows = Object.entries(s.config ?? {}).map(([key, c]) => el("tr", {}, el("th", { scope: "row", text: key }), el("td", { text: typeof c.value === "string" ? c.value : JSON.stringify(c.value) }), el("td", { text: c.from })));
    const table = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Configuration in force" }, el("table", {}, el("thead", {}, el("tr", {}, ...["key", "value", "from"].map(t => el("th", { scope: "col", text: t })))), el("tbody", {}, ...rows)));
    about.replaceChildren(el("dl", { class: "facts" }, ...facts.filter(f => f[1]).map(([k, v]) => el("div", {}, el("dt", { text: k }), el("dd", { text: v })))), rows.length ? el("details", {}, el("summary", { text: `Configuration in force (${rows.length} values)` }), table) : "");
  }

  function showAge() {
    if (!report) return;
    const old = Date.now() + offset - report.captured_at_ms;
    age.textContent = `last frame ${duration(old)} ago`;
  }

  async function load() {
    try {
      const now = await getJson(deviceUrl(device), signal);
      offset = now.now_ms - Date.now();
      showHealth(now.health);
      showState(now.state, now.status);
      ledger.show(now.ledger);
      lag = now.latency_ms;
      if (now.report) { report = now.report; noteContact(); showReport(); showAge(); }
      if (now.picture !== null) clustered.load(`clustered, frame ${count(now.picture)}`);
      if (now.original) original.load("original");
      silhouette.census();
      whatIf.setCommands(now.commands, session);
      if (now.report) whatIf.start(now.report.lambda, now.report.space);
    } catch (error) {
      if (isAbort(error)) return;
      word.textContent = error.status === 404 ? "unknown device" : "cannot be shown";
      age.textContent = explain(error) + (error.status === 404 ? ". Check the name, or go back to the fleet." : ".");
    }
    await past.reload();
    showReport();
  }

  const disconnect = connect("/api/events?device=" + encodeURIComponent(device), {
    hello(h) { session = h.session; showAway(false); offerOutages(h); load(); },
    missed: load,
    health: showHealth,
    report(r) { report = r; noteContact(); whatIf.start(r.lambda, r.space); lag = Date.now() + offset - r.captured_at_ms; past.add(r); showReport(); },
    event: past.addEvent,
    picture: p => clustered.load(`clustered, frame ${count(p.frame)}`),
    original: () => original.load("original"),
    status: s => showState(s.state, s.status),
    census: () => { silhouette.census(); whatIf.census(); },
    ledger: ledger.show,
    away: () => showAway(true),
  });
  const ages = setInterval(showAge, 1000);
  return { setQuery: past.setQuery, close() { abort.abort(); disconnect(); clearInterval(ages); } };
}
