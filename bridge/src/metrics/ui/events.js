// Named events over time: a lane for each, with a bar while it is active, and the last changes in words.
//
// Changes come from the server for a range, and one by one while the page is open. A bar that blinks is hatched. The range of
// time is that of the charts above. An event that is active when its edge stops has a bar to where the edge last sent something: what
// became of it afterwards is not known.

import { el } from "./dom.js";
import { clockTime, moment } from "./format.js";

const CHANGES_MAX = 2000, WORDS_MAX = 8, STREAMS_MAX = 64;

export function patternWord({ pattern, rate_hz }) {
  return pattern === "blinking" && rate_hz ? `blinking at ${rate_hz.toFixed(2)} Hz` : pattern ?? "";
}

export function eventsPart(group) {
  let changes = [], now = null;
  // When each stream, which is a boot of the edge, last sent something.
  const lastContact = new Map();
  const lanes = el("div", { class: "lanes", id: "events", role: "img", "aria-label": "Events over time" }), words = el("ul", { class: "changes", id: "event-changes" });
  const node = el("figure", { class: "chart-box wide", hidden: true }, el("figcaption", { text: "Events over time" }), lanes, words);
  const timeOf = c => Date.parse(c.captured_at);

  // Whether nothing arrives any more from the edge's run that a change belongs to.
  const isOver = c => now !== null && (now.stream !== c.stream || now.state === "offline");
  const contactOf = (c, otherwise) => Math.max(timeOf(c), lastContact.get(c.stream) ?? otherwise);

  // [change, end, kind of end]: `end` is a change, `open` where the edge last sent something, `now` an event that is active.
  function spans(of) {
    const all = [];
    let on = null;
    for (const c of of) {
      if (on) all.push(on.stream === c.stream ? [on, timeOf(c), "end"] : [on, Math.min(timeOf(c), contactOf(on, timeOf(c))), "open"]);
      on = c.change === "end" ? null : c;
    }
    if (on) all.push(isOver(on) ? [on, contactOf(on, timeOf(on)), "open"] : [on, group.to, "now"]);
    return all.filter(([c, until]) => until >= group.from && timeOf(c) < group.to);
  }

  function bars(of, width) {
    return spans(of).map(([c, until, end]) => {
      const [left, right] = [Math.max(group.from, timeOf(c)), Math.min(group.to, until)].map(t => group.x(t, width));
      const from = `${c.event} ${patternWord(c)} from ${moment(timeOf(c))}`;
      const bar = el("i", { "data-pattern": c.pattern ?? "on", "data-end": end, title: end === "open" ? `${from}; not known since ${moment(until)}` : from });
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
    const open = names.flatMap(name => spans(changes.filter(c => c.event === name)).slice(-1)).filter(([, , end]) => end === "open");
    words.replaceChildren(...open.map(([c, until]) => el("li", {}, el("time", { text: clockTime(until) }), ` ${c.event} is not known since: the device sent nothing more`)), ...last.map(c => el("li", {}, el("time", { text: clockTime(timeOf(c)) }), ` ${c.event} ${does[c.change] ?? c.change}${c.change === "end" ? "" : ` ${patternWord(c)}`} with frame ${c.frame}`)));
    lanes.setAttribute("aria-label", `Events over time: ${names.join(", ")}; ${changes.length} changes, the last ones below`);
  }

  return {
    nodes: [node], show,
    // Those of a range, oldest first.
    set(all) { changes = all.slice(-CHANGES_MAX); show(); },
    // The last report of the device, and its state.
    noteContact(stream, t, state) {
      const isNews = now?.stream !== stream || now.state !== state;
      lastContact.set(stream, Math.max(t, lastContact.get(stream) ?? t));
      now = { stream, state };
      if (lastContact.size > STREAMS_MAX) lastContact.delete(lastContact.keys().next().value);
      if (isNews) show();
    },
    add(change) { if (!changes.some(c => c.stream === change.stream && c.seq === change.seq)) { changes = [...changes, change].slice(-CHANGES_MAX); show(); } },
  };
}
