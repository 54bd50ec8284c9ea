// Numbers and times as people read them, with their units. What is not known is a dash, never 0.

export const DASH = "–";
const known = x => x !== null && x !== undefined && Number.isFinite(x);

export const fixed = (x, digits = 1) => known(x) ? x.toFixed(digits) : DASH;
export const count = x => known(x) ? x.toLocaleString("en") : DASH;
export const plural = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
export const unit = (x, digits, name) => known(x) ? `${x.toFixed(digits)} ${name}` : DASH;

// At most three significant digits: 1234 is 1.23k.
export function short(x) {
  if (!known(x)) return DASH;
  const size = Math.abs(x);
  if (size >= 1e6) return `${+(x / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(x / 1e3).toPrecision(3)}k`;
  return `${+x.toPrecision(3)}`;
}

export function percent(share) {
  if (!known(share)) return DASH;
  const p = 100 * share;
  if (p > 0 && p < 0.01) return "<0.01 %";
  return `${+p.toFixed(p < 1 ? 2 : 1)} %`;
}

export function duration(ms) {
  if (!known(ms)) return DASH;
  if (ms < 0) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60e3) return `${(ms / 1000).toFixed(ms < 10e3 ? 1 : 0)} s`;
  if (ms < 3600e3) return `${Math.floor(ms / 60e3)} min`;
  if (ms < 48 * 3600e3) return `${Math.floor(ms / 3600e3)} h`;
  return `${Math.floor(ms / 86400e3)} days`;
}

// The unit of distances in a colour space: of lambda, RMS and largest distances. Edges before version 3 of the report know RGB only.
export const unitOf = space => space === "cielab" ? "Delta E" : "levels";

// A component of 1/64 levels as two hexadecimal digits, rounded as the edge draws it.
export const hexOf = q6 => "#" + q6.map(c => Math.min(255, (c + 32) >> 6).toString(16).padStart(2, "0")).join("");

const two = n => String(n).padStart(2, "0");
export const clockTime = ms => { const d = new Date(ms); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };
export const day = ms => { const d = new Date(ms); return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`; };
// Minutes as files' names have them: 20261127T0700.
export const stamp = ms => `${day(ms).replaceAll("-", "")}T${clockTime(ms).slice(0, 5).replace(":", "")}`;
export const moment = ms => `${day(ms)} ${clockTime(ms)}`;

// A state in words; the page never shows one by colour alone.
export const STATES = { online: "online", offline: "stream interrupted", unknown: "state unknown" };
export const stateWord = state => STATES[state] ?? state;

// Black or white, whichever is read better on `hex`.
export function inkOn(hex) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b > .179 ? "#000" : "#fff";
}

// Steps of an axis: 1, 2 or 5 times a power of ten, about `wanted` of them up to `top`.
export function steps(top, wanted = 3) {
  const raw = top / wanted, power = 10 ** Math.floor(Math.log10(raw || 1)), lead = raw / power;
  const step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => +(i * step).toPrecision(12));
}
