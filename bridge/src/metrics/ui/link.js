// The stream of events: opened again by itself whatever ends it, with each interruption shown in words.
//
// `connect(path, handlers)` calls a handler for each kind of event. After each connection the server sends `hello`; a view then
// loads its state, since events may have been missed. Numbered events that leave a gap call `missed` too.

import { byId } from "./dom.js";

const RETRY_MS = 1000, RETRY_MS_MAX = 10000;
// Four of the server's signs of life.
const SILENCE_MS = 40000;
const KINDS = ["hello", "health", "ledger", "fleet", "report", "event", "picture", "original", "status", "census", "missed", "alive"];
// Those of one device, which are numbered.
const NUMBERED = ["report", "event", "picture", "original", "status", "census"];

function show(text, state) {
  const link = byId("link");
  if (link.textContent !== text) link.textContent = text;
  link.dataset.state = state;
}

export function connect(path, handlers) {
  let source = null, timer = 0, retry = RETRY_MS, last = null, lastMessageAt = Date.now(), closed = false;

  function open() {
    lastMessageAt = Date.now();
    source = new EventSource(path);
    source.onerror = again;
    for (const kind of KINDS) source.addEventListener(kind, event => take(kind, event));
  }

  function take(kind, event) {
    if (closed) return;
    lastMessageAt = Date.now();
    let data;
    try { data = JSON.parse(event.data); } catch { return; }
    if (kind === "hello") {
      retry = RETRY_MS;
      last = data.last;
      show("live", "live");
    } else if (event.lastEventId && kind !== "missed") {
      const n = Number(event.lastEventId);
      if (NUMBERED.includes(kind)) {
        if (last !== null && n !== last + 1) handlers.missed?.({ events: n - last - 1 });
        last = n;
      }
    }
    if (kind === "missed") last = null;
    handlers[kind]?.(data);
  }

  // EventSource gives up after an answer that is not 200, and waits without an end on a dead connection.
  function again() {
    if (closed) return;
    source?.close();
    source = null;
    clearTimeout(timer);
    show("reconnecting", "away");
    handlers.away?.();
    timer = setTimeout(open, retry * (0.75 + Math.random() / 2));
    retry = Math.min(retry * 2, RETRY_MS_MAX);
  }

  const watch = setInterval(() => { if (source && Date.now() - lastMessageAt > SILENCE_MS) again(); }, 5000);
  const online = () => { if (!source) { clearTimeout(timer); open(); } };
  addEventListener("online", online);
  show("connecting", "away");
  open();
  return () => {
    closed = true;
    source?.close();
    clearTimeout(timer);
    clearInterval(watch);
    removeEventListener("online", online);
  };
}
