/** A reading on the page, with its progress, memory, answer and passages, and the panel that shows one passage. */

import { get, harmless, harmlessName, hashOf, isActive, shareRead } from "./server.js";

const CELLS = 200; // width of the ribbon in its own units
const ESTIMATE_AFTER = 5; // seconds of reading before the page estimates how long the rest will take
const LONG = 240; // characters from which a question or an answer is set in smaller type

const number = new Intl.NumberFormat("en");
const shown = new WeakMap();

/** Show one reading: in full if it is open, otherwise only its question, answer and state. */
export class ReadingView {
  /** `act` is called with the name of an action, and `cite` with the view and the number of a citation. */
  constructor(act, cite) {
    this.element = stamp("reading-template");
    this.cite = cite;
    this.change = null; // the last turn that changed the memory
    this.began = null; // when the reading started, in milliseconds of the page's clock
    this.element.querySelectorAll("[data-action]").forEach(button => {
      button.addEventListener("click", () => act(button.dataset.action));
    });
  }

  update(reading, open) {
    this.reading = reading;
    this.element.classList.toggle("open", open);
    this.element.classList.toggle("long-question", reading.question.length > LONG);
    this.element.classList.toggle("long-answer", reading.answer?.length > LONG);
    this.element.dataset.state = reading.state;
    this.part(".asked a").textContent = harmless(reading.question);
    this.part(".asked a").href = hashOf(reading.id);
    this.part(".state").textContent = stateSentence(reading);
    this.part(".answer").textContent = harmless(reading.answer?.trim() ?? "");
    fill(this.part(".warnings"), reading.warnings, each => textElement("li", harmless(each)));
    fill(this.part(".passages ol"), reading.citations, (each, place) => this.citation(each, place));
    this.began = reading.state === "reading" ? (this.began ?? performance.now() - reading.seconds * 1000) : null;
    this.tick();
    this.showRibbon();
    this.showMemory();
    this.offer("resume", ["stopped", "failed", "cancelled"].includes(reading.state));
    this.offer("cancel", isActive(reading));
    this.offer("download", !isActive(reading) && reading.progress.turns > 0);
    this.offer("delete", !isActive(reading));
  }

  /** Record a turn's change to the memory. */
  turn(turn) {
    if (turn.added || turn.removed) {
      this.change = turn;
      this.part(".marks").append(mark(shareRead(this.reading), `level-${level(turn)}`));
    }
  }

  /** Show the figures, some of which change with time. */
  tick() {
    const seconds = this.began === null ? this.reading.seconds : Math.floor((performance.now() - this.began) / 1000);
    fill(this.part(".figures"), figures(this.reading, seconds), ([value, name]) => {
      const pair = document.createElement("div");
      pair.append(textElement("dt", name), textElement("dd", value));
      return pair;
    });
  }

  /** Mark the citation whose passage is open, or none if `place` is null. */
  point(place) {
    const marks = this.part(".marks").children;
    [...this.part(".passages ol").children].forEach((item, each) => {
      item.firstElementChild.setAttribute("aria-current", each === place);
      marks[each]?.classList.toggle("current", each === place);
    });
  }

  problem(sentence) {
    this.part(".actions .problem").textContent = sentence;
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  citation(citation, place) {
    const item = stamp("citation-item");
    item.querySelector("button").addEventListener("click", () => this.cite(this, place));
    item.querySelector("b").append(place + 1);
    item.querySelector("q").textContent = harmless(citation.quote);
    item.querySelector(".where").textContent = placeOf(citation);
    return item;
  }

  /** Show how much was read and where the memory changed. When the reading is done, show where the passages are. */
  showRibbon() {
    const { citations, documents, progress, state } = this.reading;
    const ribbon = this.part(".ribbon");
    const done = state === "done";
    const share = shareRead(this.reading);
    const places = documents.length === 1 ? citations.map(({ start }) => start / progress.characters) : [];
    ribbon.hidden = !progress.characters || (done && !places.length);
    this.part(".read").setAttribute("width", share * CELLS);
    ribbon.setAttribute("role", done ? "img" : "progressbar");
    if (done) {
      const percents = places.map(each => `${Math.round(each * 100)} %`).join(", ");
      ribbon.setAttribute("aria-label", `The passages are at ${percents} of the document`);
      ribbon.removeAttribute("aria-valuenow");
      fill(this.part(".marks"), places, each => mark(each, "cited"));
    } else {
      ribbon.setAttribute("aria-valuenow", Math.floor(share * 100));
    }
  }

  showMemory() {
    const { memory, progress } = this.reading;
    const box = this.part(".memory-text");
    const live = isActive(this.reading) && this.change?.memory === memory;
    fill(box, live ? this.change.parts : memory ? [["same", memory]] : [], memoryPart);
    this.part(".memory .note").textContent = live ? changeSentence(this.change, progress.turns) : "";
    this.part(".memory").hidden = !memory && !isActive(this.reading);
    if (live && !box.matches(":hover, :focus")) {
      bringIntoView(box, box.querySelector("ins, del"));
    }
  }

  offer(action, offered) {
    const button = this.part(`[data-action="${action}"]`);
    if (!offered && button === document.activeElement) {
      this.part(".asked").focus();
    }
    button.hidden = !offered;
  }
}

/** The panel with a passage: beside the reading on a wide page, and over it on a narrow one. */
export class PassagePanel {
  constructor() {
    this.dialog = document.getElementById("passage");
    this.wide = matchMedia("(min-width: 72rem)");
    this.view = null;
    document.getElementById("passage-previous").addEventListener("click", () => this.step(-1));
    document.getElementById("passage-next").addEventListener("click", () => this.step(1));
    document.getElementById("passage-close").addEventListener("click", () => this.close());
    this.dialog.addEventListener("click", event => event.target === this.dialog && this.close());
    this.dialog.addEventListener("cancel", () => this.close());
    this.wide.addEventListener("change", () => this.view && this.open());
    document.addEventListener("keydown", event => {
      if (event.key === "Escape" && !document.querySelector("dialog:modal")) {
        this.close();
      }
    });
  }

  async show(view, place) {
    const { id, citations } = view.reading;
    const citation = citations[place];
    const text = document.getElementById("passage-text");
    const title = document.getElementById("passage-title");
    const first = !this.view;
    this.view?.point(null);
    [this.view, this.place] = [view, place];
    view.point(place);
    title.textContent = `Passage ${place + 1} of ${citations.length}`;
    document.getElementById("passage-where").textContent = placeInFull(citation);
    this.dialog.classList.toggle("single", citations.length === 1);
    text.replaceChildren(textElement("mark", harmless(citation.quote)));
    if (first) {
      this.open();
      title.focus();
    }
    const { before, quote, after } = await get(`api/readings/${encodeURIComponent(id)}/passages/${place}`)
      .catch(error => ({ before: "", quote: citation.quote, after: `\n\n${error.message}` }));
    if (this.view === view && this.place === place) {
      text.replaceChildren(harmless(before), textElement("mark", harmless(quote)), harmless(after));
      bringIntoView(text, text.querySelector("mark"));
    }
  }

  open() {
    this.dialog.close(); // an open dialog cannot become modal or stop being modal
    document.body.classList.toggle("with-passage", this.wide.matches);
    this.wide.matches ? this.dialog.show() : this.dialog.showModal();
  }

  close() {
    const { view, place } = this;
    if (view) {
      this.view = null;
      this.dialog.close();
      document.body.classList.remove("with-passage");
      view.point(null);
      view.part(`.passages li:nth-child(${place + 1}) button`)?.focus();
    }
  }

  step(by) {
    const count = this.view.reading.citations.length;
    this.show(this.view, (this.place + by + count) % count);
  }
}

/** Return a copy of a template's element. */
export function stamp(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}

/** Return a sentence that says what a reading is doing, or why it ended. */
function stateSentence({ state, error, progress: { ahead, characters, read } }) {
  const first = ahead === 1 ? "one reading is ahead" : `${number.format(ahead)} readings are ahead`;
  const sentences = {
    queued: `In the queue: ${ahead ? first : "this reading is next"}.`,
    reading: !characters ? "Opening the document…" : read < characters ? "Reading…" : "Answering…",
    stopped: "Stopped.",
    failed: "Failed.",
    cancelled: "Cancelled. You can resume it where it stopped.",
  };
  return [sentences[state], error && harmless(error)].filter(Boolean).join(" ");
}

function figures({ state, progress, usage, reader }, seconds) {
  const done = state === "done";
  const share = [`${Math.floor(shareRead({ progress }) * 100)} %`, "read"];
  const length = [number.format(progress.characters), "characters"];
  const segments = [number.format(progress.segments), progress.segments === 1 ? "segment" : "segments"];
  const tokens = usage && [number.format(usage.prompt_tokens + usage.completion_tokens), "tokens"];
  const time = [duration(seconds), done ? "reading" : "so far"];
  const left = Math.round((seconds * (progress.characters - progress.read)) / progress.read);
  const estimated = state === "reading" && seconds > ESTIMATE_AFTER && left > 0;
  const last = done ? [reader, "reader"] : estimated && [`about ${duration(left)}`, "left"];
  return [progress.characters && (done ? length : share), segments, tokens, time, last].filter(Boolean);
}

/** Return a duration as the command line shows it: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min. */
function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : whole} s`;
  }
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function changeSentence({ turn, segment, added, removed }, turns) {
  const place = Number.isInteger(segment) ? `Segment ${segment + 1}` : `Turn ${turn + 1}`;
  const changes = `${number.format(added)} words added, ${number.format(removed)} removed`;
  return `${place}: ${changes}${turns > turn + 1 ? "; unchanged since" : ""}`;
}

/** Return how much of the memory a turn changed, from 1 to 4. */
function level({ parts, added, removed }) {
  const words = parts.reduce((sum, [, text]) => sum + text.trim().split(/\s+/).length, 0);
  return Math.min(Math.ceil(Math.sqrt((added + removed) / words) * 4), 4);
}

function mark(share, name) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const x = Math.min(Math.floor(share * CELLS), CELLS - 1);
  Object.entries({ x, width: 1, height: 10, class: name }).forEach(each => rect.setAttribute(...each));
  return rect;
}

/** Return an element with a part of the memory. White space before a change is not marked. */
function memoryPart([kind, text]) {
  const part = document.createElement("span");
  const words = text.trimStart();
  const space = text.slice(0, text.length - words.length);
  part.append(kind === "removed" ? space.slice(-1) : space);
  part.append(kind === "same" ? harmless(words) : textElement(kind === "added" ? "ins" : "del", harmless(words)));
  return part;
}

function placeOf({ document, page }) {
  return harmlessName(document) + (page ? `, page ${page}` : "");
}

function placeInFull(citation) {
  const characters = `characters ${number.format(citation.start)}–${number.format(citation.end)}`;
  return `${placeOf(citation)} · ${characters} · read in turn ${citation.turn + 1}`;
}

/** Scroll a box so that an element in it can be seen. */
function bringIntoView(box, element) {
  const top = element ? element.getBoundingClientRect().top - box.getBoundingClientRect().top : 0;
  if (top < 0 || top + 24 > box.clientHeight) {
    box.scrollTop += top - box.clientHeight / 3;
  }
}

/** Build the children of an element from values, unless it shows these values already. */
function fill(parent, values, build) {
  const signature = JSON.stringify(values);
  if (shown.get(parent) !== signature) {
    shown.set(parent, signature);
    parent.replaceChildren(...values.map(build));
  }
}

function textElement(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}
