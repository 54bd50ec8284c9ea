// Elements: small helpers to make HTML and SVG without strings of markup.
//
// `el` and `svg` take a tag, properties and children. What comes from a device is always text here, never markup.

const SVG = "http://www.w3.org/2000/svg";

function set(node, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name === "on") for (const [event, then] of Object.entries(value)) node.addEventListener(event, then);
  else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
  else if (name === "text") node.textContent = value;
  else if (name === "value" || name === "checked") node[name] = value;
  else node.setAttribute(name, value === true ? "" : value);
}

function make(node, props, children) {
  for (const [name, value] of Object.entries(props)) set(node, name, value);
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}

export const el = (tag, props = {}, ...children) => make(document.createElement(tag), props, children);
export const svg = (tag, props = {}, ...children) => make(document.createElementNS(SVG, tag), props, children);
export const byId = id => document.getElementById(id);

// A card of the page, with a heading.
export function section(name, title, ...children) {
  const id = `${name}-title`;
  return el("section", { class: name, "aria-labelledby": id }, el("h2", { id, text: title }), ...children);
}

// Calls `then` at most once a frame of the screen, with the last state there is.
export function once(then) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; then(); });
  };
}

// Calls `then` when `wait` milliseconds have passed without another call.
export function settled(wait, then) {
  let timer = 0;
  const call = (...args) => { clearTimeout(timer); timer = setTimeout(() => then(...args), wait); };
  call.cancel = () => clearTimeout(timer);
  return call;
}
