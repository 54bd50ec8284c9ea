// The server's answers: JSON by GET and POST. Every request has a signal, so that nothing arrives for a view that is gone.

export class ApiError extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

export const deviceUrl = (device, what = "") => `/api/devices/${encodeURIComponent(device)}${what ? "/" + what : ""}`;

async function read(response) {
  if (response.ok) return response.json();
  // The token was changed: the server shows its form.
  if (response.status === 401) location.reload();
  let text = `the server answered ${response.status}`;
  try { text = (await response.json()).error ?? text; } catch { /* It was no JSON. */ }
  throw new ApiError(response.status, text);
}

export async function getJson(path, signal) {
  return read(await fetch(path, { signal, headers: { accept: "application/json" } }));
}

export async function postJson(path, body, session, signal) {
  const headers = { "content-type": "application/json", "x-hueflow-session": session };
  return read(await fetch(path, { method: "POST", signal, headers, body: JSON.stringify(body) }));
}

export const isAbort = error => error.name === "AbortError";

// The text for a person about a failed request.
export function explain(error) {
  if (error instanceof ApiError) return error.message;
  return "the server cannot be reached: is hueflow-metrics running?";
}
