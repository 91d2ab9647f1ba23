/** The forms: a question with its documents, the server's key, and the confirmation before a reading is deleted. */

import { stamp } from "./reading.js";
import { ServerError, harmlessName, post, upload } from "./server.js";

const UNITS = [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "KB"]];
const MISSING = "Choose a file or paste some text first.";
const REFUSED = "Remove the refused file, or replace it with another one.";
const READERS = {
  overwrite: "rewrites the whole memory after each segment",
  gated: "rewrites the memory only if a segment is relevant",
  extract: "keeps only lines from the document",
  collect: "collects quotes from the document",
  exit: "stops when the memory answers the question",
  parallel: "reads all segments at once and merges the notes",
  search: "reads only the segments that match the question",
  reread: "reads some segments again to find what is missing",
};

const part = id => document.getElementById(id);

export class QuestionForm {
  /** `asked` is called with each reading that the server has accepted. */
  constructor(asked) {
    this.asked = asked;
    this.files = []; // {file, row, document, refused, abort}
    this.documents = null; // documents of the open reading; null if the person chooses them
    this.largest = Infinity;
    part("ask").addEventListener("submit", event => {
      event.preventDefault();
      this.submit();
    });
    part("question").addEventListener("keydown", event => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.submit();
      }
    });
    part("question").addEventListener("input", () => showProblem("question", ""));
    part("text").addEventListener("input", () => showProblem("documents", ""));
    part("file").addEventListener("change", event => {
      this.add(event.target.files);
      event.target.value = "";
    });
    part("text").addEventListener("paste", event => {
      if (event.clipboardData.files.length) {
        event.preventDefault();
        this.add(event.clipboardData.files);
      }
    });
    this.takeDrops();
  }

  /** Show the readers and the largest file that the server accepts. */
  offer({ reader, readers, max_document_bytes: largest }) {
    this.largest = largest;
    part("file-hint").textContent = `PDF, DOCX, EPUB, HTML or text, up to ${size(largest)} each`;
    // Names with an underscore are combinations. A short name chooses the combination that suits the model.
    const short = readers.filter(name => !name.includes("_"));
    const names = short.map(name => new Option(READERS[name] ? `${name}: ${READERS[name]}` : name, name));
    part("reader").replaceChildren(new Option(`Default (${reader})`, ""), ...names);
  }

  /** Ask about these documents from now on. If there are none, let the person choose documents. */
  about(documents) {
    if (documents?.[0].id !== this.documents?.[0].id) {
      ["documents", "question", "ask"].forEach(field => showProblem(field, ""));
    }
    this.documents = documents;
    part("documents").hidden = documents !== null;
    part("ask-title").textContent = documents ? "Ask another question" : "Ask a question";
    part("ask").classList.toggle("another", documents !== null);
  }

  /** Upload files, and add them to the documents of the next question. */
  add(files) {
    showProblem("documents", "");
    for (const file of files) {
      const name = harmlessName(file.name);
      const entry = { file, row: stamp("file-item"), abort: new AbortController() };
      this.files.push(entry);
      part("files").append(entry.row);
      entry.row.querySelector(".file-name").textContent = name;
      entry.row.querySelector("button").setAttribute("aria-label", `Remove ${name}`);
      entry.row.querySelector("button").addEventListener("click", () => this.drop(entry));
      entry.upload = this.send(entry);
    }
  }

  /** Accept files that are dropped anywhere on the page. */
  takeDrops() {
    const withFiles = listener => event => event.dataTransfer.types.includes("Files") && listener(event);
    const dragging = on => document.body.classList.toggle("dragging", on);
    addEventListener("dragover", withFiles(event => {
      event.preventDefault();
      dragging(true);
    }));
    addEventListener("dragleave", event => event.relatedTarget ?? dragging(false));
    addEventListener("drop", withFiles(event => {
      event.preventDefault();
      dragging(false);
      location.hash = "#/";
      this.add(event.dataTransfer.files);
    }));
  }

  async send(entry) {
    const { file, row, abort } = entry;
    const state = row.querySelector(".file-state");
    const bar = row.querySelector("progress");
    state.textContent = size(file.size);
    const progress = share => {
      bar.value = share;
      state.textContent = `${size(file.size)}, ${share < 1 ? `${Math.floor(share * 100)} % sent` : "checking…"}`;
    };
    try {
      if (file.size > this.largest) {
        throw new ServerError(`This file is ${size(file.size)}. The server accepts up to ${size(this.largest)}.`, 413);
      }
      await readable(file);
      entry.document = await upload(file, progress, abort.signal);
      state.textContent = size(file.size);
    } catch (error) {
      entry.refused = true;
      row.classList.add("refused");
      state.textContent = "not uploaded";
      row.querySelector(".problem").textContent = error.message;
    }
    bar.hidden = true;
  }

  drop(entry) {
    const place = this.files.indexOf(entry);
    entry.abort.abort();
    entry.row.remove();
    this.files.splice(place, 1);
    const next = this.files[Math.min(place, this.files.length - 1)];
    (next?.row.querySelector("button") ?? part("file")).focus();
  }

  async submit() {
    const question = part("question").value.trim();
    const known = this.documents;
    if (this.busy || !this.complete(question)) {
      return;
    }
    this.setBusy(true);
    try {
      const documents = known?.map(({ id }) => ({ id })) ?? (await this.chosen());
      const reading = await post("api/readings", { question, documents, reader: part("reader").value || null });
      this.clear(!known);
      this.asked(reading);
    } catch (error) {
      this.refuse(error);
    } finally {
      this.setBusy(false);
    }
  }

  /** Return whether the form is complete. If it is not, show what is missing and focus that field. */
  complete(question) {
    const missing = !this.documents && !this.files.length && !part("text").value.trim();
    const refused = !this.documents && this.files.find(each => each.refused);
    const problem = missing ? MISSING : refused ? REFUSED : "";
    const unasked = question ? null : part("question");
    const faulty = refused ? refused.row.querySelector("button") : missing ? part("text") : unasked;
    showProblem("documents", problem);
    showProblem("question", question ? "" : "Type a question first.");
    showProblem("ask", "");
    faulty?.focus();
    return !faulty;
  }

  /** Wait until all files are uploaded, and return the chosen documents in the form that the server expects. */
  async chosen() {
    while (this.uploading()) {
      await Promise.all(this.files.map(each => each.upload)); // meanwhile the person may add and remove files
    }
    const text = part("text").value;
    const pasted = text.trim() ? [{ text, name: "Pasted text" }] : [];
    if (this.files.some(each => each.refused) || !(this.files.length + pasted.length)) {
      throw new ServerError(this.files.length ? REFUSED : MISSING, 0, "document");
    }
    return [...this.files.map(({ document }) => ({ id: document.id })), ...pasted];
  }

  uploading() {
    return this.files.some(each => !each.document && !each.refused);
  }

  refuse(error) {
    const about = name => error.parameter?.startsWith(name);
    const field = about("question") ? "question" : about("document") && !this.documents ? "documents" : "ask";
    showProblem(field, error.message);
    ({ documents: part("text"), question: part("question"), ask: part("ask-button") })[field].focus();
  }

  clear(documentsToo) {
    part("question").value = "";
    if (documentsToo) {
      part("text").value = "";
      part("files").replaceChildren();
      this.files = [];
    }
  }

  setBusy(busy) {
    const uploading = !this.documents && this.uploading();
    this.busy = busy;
    part("ask-button").setAttribute("aria-disabled", busy);
    part("ask-button").textContent = busy ? (uploading ? "Uploading…" : "Asking…") : "Ask";
  }
}

/** Ask whether to delete a reading, and return whether the person agreed. */
export function confirmed() {
  const dialog = part("confirm");
  return new Promise(resolve => {
    dialog.returnValue = "";
    part("confirm-no").onclick = () => dialog.close();
    part("confirm-yes").onclick = () => dialog.close("delete");
    dialog.onclose = () => resolve(dialog.returnValue === "delete");
    dialog.showModal();
    part("confirm-no").focus();
  });
}

/** Ask for the server's key. */
export function keyFrom(refused) {
  const dialog = part("key");
  const field = part("key-field");
  part("key-problem").textContent = refused ? "The server does not accept this key." : "";
  field.value = "";
  return new Promise(resolve => {
    let key = "";
    part("key-form").onsubmit = event => {
      event.preventDefault();
      key = field.value.trim();
      if (key) {
        dialog.close();
      }
    };
    dialog.onclose = () => (key ? resolve(key) : dialog.showModal()); // nothing works without the key
    dialog.showModal();
    field.focus();
  });
}

function showProblem(field, sentence) {
  part(`${field}-problem`).textContent = sentence;
  const control = { documents: part("text"), question: part("question") }[field];
  control?.setAttribute("aria-invalid", Boolean(sentence));
}

/** Throw an error with a sentence for people if a dropped file is a folder or cannot be read. */
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new ServerError("This is a folder or an unreadable file. If it is a folder, choose the files in it.", 0);
  }
}

function size(bytes) {
  const [unit, name] = UNITS.find(([least]) => bytes >= least) ?? [1, "bytes"];
  const amount = bytes / unit;
  return `${amount.toLocaleString("en", { maximumFractionDigits: amount < 10 && unit > 1 ? 1 : 0 })} ${name}`;
}
