/** Requests to the server, and text from outside made harmless. */

const KEY = "memagent-key";
const DELAYS = [1, 2, 4, 8, 15, 30]; // seconds between attempts to reach a server that does not respond
const SILENCE = 60; // seconds after which a stream without a keep-alive counts as broken
const GONE = 0; // status of an error without a reply
const UNREACHABLE = new Set([502, 504]); // statuses that a proxy sends when the server is down

/** Sends "lost" every second, with the seconds until the next attempt, then "trying", and finally "back". */
export const connection = new EventTarget();

/** An error with a sentence for people. `parameter` names the part of the request that is wrong, if the server says. */
export class ServerError extends Error {
  constructor(message, status, parameter = null) {
    super(message);
    this.status = status;
    this.parameter = parameter;
  }
}

let key = sessionStorage.getItem(KEY) ?? "";
let keyWanted = null;
let outage = null;
let impatient = false;
let wake = () => {};
let askForKey = () => Promise.reject(new ServerError("This server needs a key.", 401));

/** Set the function that asks the person for a key. The function is told whether the server has refused a key. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** Return the reply to a GET request. If the server is down or busy, wait and try again. */
export async function get(path, signal) {
  for (;;) {
    try {
      return await (await send(path, { signal })).json();
    } catch (error) {
      await endOf(error, signal);
    }
  }
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return await (await send(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) })).json();
}

export async function remove(path) {
  await send(path, { method: "DELETE" });
}

/** Save the reply to a GET request as a file. */
export async function download(path, name) {
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(await (await send(path)).blob());
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Upload a file and return the document. `onProgress` is called with the share that was sent. */
export async function upload(file, onProgress, signal) {
  for (;;) {
    const used = key;
    const { status, text, retryAfter } = await sendFile(file, used, onProgress, signal);
    if (status === 401) {
      await newKey(used);
    } else if (status >= 400) {
      throw problem(status, text, retryAfter);
    } else {
      return JSON.parse(text);
    }
  }
}

/** Yield the events of a reading as {type, data} until its state is final. Reconnect if the connection breaks. */
export async function* events(path, signal) {
  while (!signal.aborted) {
    try {
      for await (const event of stream(path, signal)) {
        yield event;
        if (event.type === "reading" && !isActive(event.data)) {
          return;
        }
      }
      await pause(1);
    } catch (error) {
      await endOf(error, signal);
    }
  }
}

export function isActive(reading) {
  return reading.state === "queued" || reading.state === "reading";
}

export function shareRead({ progress }) {
  return progress.characters ? Math.min(progress.read / progress.characters, 1) : 0;
}

/** Return the part of the page's address that names a reading. */
export function hashOf(id) {
  return `#/r/${id}`;
}

/** Try to reach the server now instead of after the wait. */
export function tryNow() {
  impatient = true;
  wake();
}

// Characters that could hide or reorder text: bidirectional and terminal control characters.
const TREACHEROUS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u202a-\u202e\u2066-\u2069]/g;
const INVISIBLE = /[\t\n\u200b\u200e\u200f\u2028\u2029\ufeff]/g;

/** Return a text from outside with its control characters made visible. */
export function harmless(text) {
  return String(text).replaceAll("\r\n", "\n").replace(TREACHEROUS, sign);
}

/** Return a name from outside with control characters, line breaks and invisible characters made visible. */
export function harmlessName(name) {
  return String(name).replace(TREACHEROUS, sign).replace(INVISIBLE, sign);
}

function sign(character) {
  const code = character.codePointAt(0);
  const hexadecimal = code.toString(16).toUpperCase().padStart(4, "0");
  return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `⟨${hexadecimal}⟩`;
}

async function send(path, options = {}) {
  for (;;) {
    const used = key;
    const response = await reach(path, { ...options, headers: { ...options.headers, ...authorization(used) } });
    if (response.ok) {
      return response;
    }
    const error = problem(response.status, await response.text(), response.headers.get("Retry-After"));
    if (response.status !== 401) {
      throw error;
    }
    await newKey(used);
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store" });
  } catch (error) {
    throw options.signal?.aborted ? error : gone();
  }
}

function gone() {
  untilBack();
  return new ServerError("The server is not responding. Try again when it is back.", GONE);
}

function sendFile(file, used, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file, file.name);
    request.open("POST", "api/documents");
    Object.entries(authorization(used)).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.addEventListener("progress", event => onProgress(event.loaded / event.total));
    request.addEventListener("load", () => {
      const { status, responseText: text } = request;
      resolve({ status, text, retryAfter: request.getResponseHeader("Retry-After") });
    });
    request.addEventListener("error", () => reject(gone()));
    request.addEventListener("abort", () => reject(signal.reason));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

async function* stream(path, signal) {
  const watchdog = new AbortController();
  const response = await send(path, { signal: AbortSignal.any([signal, watchdog.signal]) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const timer = setTimeout(() => watchdog.abort(), SILENCE * 1000);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) {
        return;
      }
      const blocks = (buffer + value).replaceAll("\r\n", "\n").split("\n\n");
      buffer = blocks.pop();
      yield* blocks.map(parsed).filter(Boolean);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  const fields = { event: "message", data: [] };
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
    if (name === "event") {
      fields.event = value;
    } else if (name === "data") {
      fields.data.push(value);
    }
  }
  return fields.data.length ? { type: fields.event, data: JSON.parse(fields.data.join("\n")) } : null;
}

/** Wait until it makes sense to repeat a failed GET request. Throw the error if repeating it would be pointless. */
async function endOf(error, signal) {
  if (signal?.aborted || error instanceof SyntaxError) {
    throw error;
  } else if (error.status === GONE) {
    await untilBack();
  } else if (error.status === 429) {
    await pause(error.retryAfter);
  } else if (error instanceof ServerError) {
    throw error;
  } else {
    await pause(1); // the connection broke in the middle of the reply
  }
}

function untilBack() {
  outage ??= knock().finally(() => {
    outage = null;
  });
  return outage;
}

async function knock() {
  for (let attempt = 0; ; attempt++) {
    impatient = false;
    for (let left = DELAYS[Math.min(attempt, DELAYS.length - 1)]; left > 0 && !impatient; left--) {
      connection.dispatchEvent(new CustomEvent("lost", { detail: left }));
      await Promise.race([pause(1), new Promise(resolve => (wake = resolve))]);
    }
    connection.dispatchEvent(new Event("trying"));
    const response = await fetch("api/about", { cache: "no-store" }).catch(() => null);
    if (response && !UNREACHABLE.has(response.status)) {
      connection.dispatchEvent(new Event("back"));
      return;
    }
  }
}

async function newKey(used) {
  if (key !== used) {
    return; // another request has already asked for the key
  }
  keyWanted ??= askForKey(used !== "").finally(() => {
    keyWanted = null;
  });
  key = await keyWanted;
  sessionStorage.setItem(KEY, key);
}

function authorization(used) {
  return used ? { Authorization: `Bearer ${used}` } : {};
}

function problem(status, text, retryAfter) {
  const reported = reportedIn(text);
  if (!reported && UNREACHABLE.has(status)) {
    return gone();
  }
  const seconds = Number(retryAfter) || 5;
  const later = status === 429 ? ` Try again in ${seconds} s.` : "";
  const message = reported?.message ?? `The server refused the request (HTTP status ${status}).`;
  const error = new ServerError(harmless(message) + later, status, reported?.param ?? reported?.code);
  error.retryAfter = seconds;
  return error;
}

function reportedIn(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return null; // a proxy may reply with a page instead of JSON
  }
}

function pause(seconds) {
  return new Promise(resolve => setTimeout(resolve, seconds * 1000));
}
