// Named events over time: a lane for each, with a bar while it is active, and the last changes in words.
//
// Changes come from the server for a range, and one by one while the page is open. A bar that blinks is hatched. The range of
// time is that of the charts above.

import { el } from "./dom.js";
import { clockTime, moment } from "./format.js";

const CHANGES_MAX = 2000, WORDS_MAX = 8;

export function patternWord({ pattern, rate_hz }) {
  return pattern === "blinking" && rate_hz ? `blinking at ${rate_hz.toFixed(2)} Hz` : pattern ?? "";
}

export function eventsPart(group) {
  let changes = [];
  const lanes = el("div", { class: "lanes", id: "events", role: "img", "aria-label": "Events over time" }), words = el("ul", { class: "changes", id: "event-changes" });
  const node = el("figure", { class: "chart-box wide", hidden: true }, el("figcaption", { text: "Events over time" }), lanes, words);
  const timeOf = c => Date.parse(c.captured_at);

  function bars(of, width) {
    const all = [];
    let on = null;
    for (const c of of) {
      if (on && timeOf(c) > group.from) all.push([on, timeOf(c)]);
      on = c.change === "end" ? null : c;
    }
    if (on && timeOf(on) < group.to) all.push([on, group.to]);
    return all.map(([c, until]) => {
      const [left, right] = [Math.max(group.from, timeOf(c)), Math.min(group.to, until)].map(t => group.x(t, width));
      const bar = el("i", { "data-pattern": c.pattern ?? "on", title: `${c.event} ${patternWord(c)} from ${moment(timeOf(c))}` });
      [bar.style.left, bar.style.width] = [`${left}px`, `${Math.max(2, right - left)}px`];
      return bar;
    });
  }

  function show() {
    const names = [...new Set(changes.map(c => c.event))].sort();
    node.hidden = names.length === 0;
    if (node.hidden) return;
    const width = lanes.clientWidth || 600;
    lanes.replaceChildren(...names.map(name => el("div", { class: "lane" }, ...bars(changes.filter(c => c.event === name), width), el("span", { text: name }))));
    const last = changes.slice(-WORDS_MAX).reverse(), does = { begin: "begins", end: "ends", turn: "turns" };
    words.replaceChildren(...last.map(c => el("li", {}, el("time", { text: clockTime(timeOf(c)) }), ` ${c.event} ${does[c.change] ?? c.change}${c.change === "end" ? "" : ` ${patternWord(c)}`} with frame ${c.frame}`)));
    lanes.setAttribute("aria-label", `Events over time: ${names.join(", ")}; ${changes.length} changes, the last ones below`);
  }

  return {
    nodes: [node], show,
    // Those of a range, oldest first.
    set(now) { changes = now.slice(-CHANGES_MAX); show(); },
    add(change) { if (!changes.some(c => c.stream === change.stream && c.seq === change.seq)) { changes = [...changes, change].slice(-CHANGES_MAX); show(); } },
  };
}
