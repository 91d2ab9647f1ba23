/** The page: the open reading, its thread, and the list of readings. Start here. */

import { QuestionForm, confirmed, keyFrom } from "./forms.js";
import { PassagePanel, ReadingView, stamp } from "./reading.js";
import { connection, download, events, get, onKeyNeeded, post, remove, tryNow } from "./server.js";
import { harmless, harmlessName, hashOf, isActive, shareRead } from "./server.js";

const PAGE = 50; // readings to list at first, and to add each time
const POLL = 3; // seconds between updates of readings that are active but not watched
const FRAME = 200; // milliseconds between updates while turns arrive
const STEP = 10; // percent of the document between announcements to screen readers
const NAMED = 3; // documents to name where there is little room
const QUIET = 10_000; // milliseconds without another announcement after each one
const BLANK = { memory: "", answer: null, citations: [], warnings: [], usage: null };
const STATES = {
  queued: "Queued", reading: "Reading", done: "Answered", stopped: "Stopped", failed: "Failed", cancelled: "Cancelled",
};

const part = id => document.getElementById(id);
const readings = new Map();
const views = new Map();
const items = new Map();
const passage = new PassagePanel();
const form = new QuestionForm(asked);

let openId = null;
let missing = ""; // reason why the reading in the address cannot be shown
let limit = PAGE;
let watching = new AbortController();
let announced = { percent: 0, at: -QUIET };

/** Keep news from the server about a reading. Fields that it leaves out stay, unless the reading has just ended. */
function keep(news) {
  const known = readings.get(news.id);
  const old = known && (known.state === news.state || isActive(news)) ? known : BLANK;
  readings.set(news.id, { ...old, ...news, full: "citations" in news || Boolean(old.full) });
}

/** Load the list. An open reading that has ended stays as it is, because the list may be older. */
async function refresh() {
  try {
    const { readings: listed } = await get(`api/readings?limit=${limit}`);
    const known = new Set([openId, ...listed.map(each => each.id)]);
    [...readings.keys()].filter(id => !known.has(id)).forEach(id => readings.delete(id));
    listed.filter(({ id }) => id !== openId || !readings.has(id) || isActive(readings.get(id))).forEach(keep);
    part("readings-more").hidden = listed.length < limit;
    part("readings-note").textContent = listed.length ? "" : "Your questions and their answers will be listed here.";
    render();
    await complete();
  } catch (error) {
    part("readings-note").textContent = error.message;
  }
}

/** Load the details that the list leaves out, for the open reading and then for its thread. */
async function complete() {
  for (const { id } of [{ id: openId }, ...thread()]) {
    const reading = readings.get(id);
    if (reading && !reading.full && !isActive(reading)) {
      await get(path(id)).then(keep, error => views.get(id).problem(error.message));
      render();
    }
  }
}

/** Return all readings of the open reading's documents. */
function thread() {
  const documents = reading => reading.documents.map(each => each.id).join("\n");
  const open = readings.get(openId);
  return open ? newestFirst().filter(each => documents(each) === documents(open)) : [];
}

function newestFirst() {
  return [...readings.values()].sort((one, other) => other.created - one.created);
}

function path(id, rest = "") {
  return `api/readings/${encodeURIComponent(id)}${rest}`;
}

/** Open the reading that the address names. */
async function route(focus) {
  const id = location.hash.startsWith("#/r/") ? location.hash.slice(4) : null;
  watching.abort();
  passage.close();
  toggleList(false);
  [openId, missing, announced] = [id, "", { percent: 0, at: -QUIET }];
  render();
  if (id && !readings.has(id)) {
    await get(path(id)).then(keep, error => (missing = error.message));
  }
  if (openId !== id) {
    return; // the person opened something else while the reading was loading
  }
  render();
  scrollTo(0, 0);
  if (focus) {
    (views.get(openId)?.part(".asked") ?? part(openId ? "thread-title" : "welcome-title")).focus();
  }
  await Promise.all([watch(id), complete()]);
}

/** Follow a reading until it ends or another one is opened. */
async function watch(id) {
  watching.abort();
  watching = new AbortController();
  const { signal } = watching;
  let timer = null;
  if (!readings.has(id) || !isActive(readings.get(id))) {
    return;
  }
  try {
    for await (const { type, data } of events(path(id, "/events"), signal)) {
      if (type === "turn") {
        views.get(id).turn(data);
      }
      keep(type === "turn" ? { ...readings.get(id), memory: data.memory } : data);
      timer ??= setTimeout(() => {
        timer = null;
        render();
        signal.aborted || announceProgress(readings.get(id));
      }, FRAME);
    }
    refresh();
  } catch (error) {
    signal.aborted || views.get(id).problem(error.message);
  }
}

function announceProgress(reading) {
  const percent = Math.floor((shareRead(reading) * 100) / STEP) * STEP;
  if (reading.state === "done") {
    announce(`Answer: ${harmless(reading.answer)}`);
  } else if (!isActive(reading)) {
    announce(`Reading ${reading.state}.`);
  } else if (percent > announced.percent && performance.now() > announced.at + QUIET) {
    announced = { percent, at: performance.now() };
    announce(`${percent} percent read.`);
  }
}

function announce(sentence) {
  part("announcer").textContent = sentence;
}

/** Show a reading that was just started, but do not leave an open reading that is still in progress. */
function asked(reading) {
  const busy = readings.has(openId) && isActive(readings.get(openId));
  keep(reading);
  if (reading.id === openId) {
    route(true);
  } else if (busy) {
    announce("Your question is in the queue.");
    part("question").focus();
  } else {
    location.hash = hashOf(reading.id);
  }
  refresh();
}

async function act(action, id) {
  views.get(id).problem("");
  try {
    await { cancel: change, resume: change, download: save, delete: forget }[action](id, action);
  } catch (error) {
    views.get(id)?.problem(error.message);
  }
}

async function change(id, action) {
  keep(await post(path(id, `/${action}`)));
  render();
  await watch(id);
}

async function save(id) {
  const words = readings.get(id).question.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["reading"];
  await download(path(id, "/page.html"), `${words.slice(0, 8).join("-")}.html`);
}

async function forget(id) {
  if (await confirmed()) {
    await remove(path(id));
    const others = thread().filter(each => each.id !== id);
    readings.delete(id);
    views.delete(id);
    location.replace(others.length ? hashOf(others[0].id) : "#/");
    announce("The reading was deleted.");
  }
}

function render() {
  const open = readings.get(openId);
  part("welcome").hidden = openId !== null;
  part("thread").hidden = openId === null;
  part("ask").hidden = openId !== null && !open;
  form.about(open?.documents ?? null);
  part("thread-title").textContent = open ? namesOf(open) : "Reading";
  part("thread-note").textContent = open ? "" : missing || "Loading…";
  const others = thread().filter(each => each !== open);
  part("others").hidden = !others.length;
  arrange(part("open-reading"), open ? [open] : [], views, newView, (view, each) => view.update(each, true));
  arrange(part("other-readings"), others, views, newView, (view, each) => view.update(each, false));
  arrange(part("readings-list"), newestFirst(), items, () => ({ element: stamp("reading-item") }), updateItem);
  const progress = open && isActive(open) ? `${percentRead(open)} · ` : "";
  document.title = open ? `${progress}${harmless(open.question)} – memagent` : "memagent";
}

/** Show one element for each reading. Existing elements stay, so they keep the focus. */
function arrange(parent, wanted, known, create, update) {
  const elements = wanted.map(reading => {
    const each = known.get(reading.id) ?? create(reading);
    known.set(reading.id, each);
    update(each, reading);
    return each.element;
  });
  if (elements.length !== parent.children.length || elements.some((each, place) => each !== parent.children[place])) {
    parent.replaceChildren(...elements);
  }
}

function newView({ id }) {
  return new ReadingView(action => act(action, id), (view, place) => passage.show(view, place));
}

function updateItem({ element }, reading) {
  const link = element.querySelector("a");
  const time = element.querySelector("time");
  const created = new Date(reading.created * 1000);
  const today = created.toDateString() === new Date().toDateString();
  const shape = today ? { hour: "numeric", minute: "2-digit" } : { month: "short", day: "numeric" };
  const share = reading.state === "reading" ? `, ${percentRead(reading)}` : "";
  link.href = hashOf(reading.id);
  link.dataset.state = reading.state;
  link.setAttribute("aria-current", reading.id === openId ? "page" : "false");
  link.querySelector(".item-question").textContent = harmless(reading.question);
  link.querySelector(".item-state").textContent = STATES[reading.state] + share;
  link.querySelector(".item-document").textContent = namesOf(reading);
  time.dateTime = created.toISOString();
  time.textContent = created.toLocaleString("en", shape);
}

function namesOf({ documents }) {
  const names = documents.slice(0, NAMED).map(each => harmlessName(each.name)).join(", ");
  return documents.length > NAMED ? `${names} and ${documents.length - NAMED} more` : names;
}

function percentRead(reading) {
  return `${Math.floor(shareRead(reading) * 100)} %`;
}

function toggleList(open) {
  part("readings-toggle").setAttribute("aria-expanded", open);
  part("readings").classList.toggle("expanded", open);
}

function showConnection(wait) {
  const sentence = "The server is not responding.";
  if (wait && part("connection").hidden) {
    announce(sentence);
  }
  part("connection").hidden = !wait;
  part("connection-message").textContent = `${sentence} ${wait}`;
}

/** Update everything that changes without an event: the time, and readings that are not watched. */
function everySecond() {
  const waiting = reading => reading.state === "queued" || (isActive(reading) && reading.id !== openId);
  if ([...readings.values()].some(waiting) && !document.hidden && Math.floor(performance.now() / 1000) % POLL === 0) {
    refresh();
  }
  views.get(openId)?.tick();
}

part("readings-toggle").addEventListener("click", () => toggleList(!part("readings").classList.contains("expanded")));
part("readings-more").addEventListener("click", () => {
  limit += PAGE;
  refresh();
});
part("skip").addEventListener("click", event => {
  event.preventDefault(); // the link would change the address, which names the open reading
  part("main").focus();
});
part("connection-retry").addEventListener("click", tryNow);
connection.addEventListener("lost", event => showConnection(`Trying again in ${event.detail} s.`));
connection.addEventListener("trying", () => showConnection("Trying again now."));
connection.addEventListener("back", () => showConnection(""));
connection.addEventListener("back", refresh);
addEventListener("hashchange", () => route(true));
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(everySecond, 1000);
onKeyNeeded(keyFrom);
route(false);
refresh();
get("api/about").then(({ model, version, window, ...offer }) => {
  const size = window ? `Context window of ${window.toLocaleString("en")} tokens\n` : "";
  part("about").textContent = `${harmless(model)}\n${size}memagent ${harmless(version)}`;
  form.offer(offer);
});
