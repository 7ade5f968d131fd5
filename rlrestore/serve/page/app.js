// Photographs go to the server one after another; what came back is shown, and downloaded at any strength.

import { fillFormats, fillOptions, listItem, showOthers, showWhatWasDone } from "./panel.js";
import { showBlend, showSize, start, zoomToFit } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const POLL_MS = 400;
const photos = [];
let about, readOptions, showKept, chosen = null, sending = false;

function say(text, bad = false) {
  byId("say").textContent = text;
  byId("say").className = bad ? "bad" : "";
}

function add(files) {
  const fresh = [...files].map((file) => ({ file, state: "queued", strength: 1, detail: 0, options: {}, thumb: URL.createObjectURL(file) }));
  for (const photo of fresh) {
    photo.item = listItem(photo, choose);
    byId("strip").append(photo.item);
    photos.push(photo);
    if (photo.file.size > about.bounds.megabytes * 1e6) fail(photo, `larger than ${about.bounds.megabytes} megabytes`);
    else show(photo);
  }
  byId("drop").hidden = photos.length > 0;
  byId("add").hidden = photos.length === 0;
  if (fresh.length && (!chosen || chosen.state === "failed")) choose(fresh.find((photo) => photo.state === "queued") ?? fresh[0]);
  sendNext();
}

function queue(photo, options) {
  Object.assign(photo, { state: "queued", options, result: undefined });
  show(photo);
  sendNext();
}

// One at a time: the server works on one at a time, and several pages share its line.
async function sendNext() {
  const photo = photos.find(({ state }) => state === "queued");
  if (sending || !photo) return;
  sending = true;
  try {
    await restore(photo);
  } finally {
    sending = false;
  }
  sendNext();
}

function restore(photo) {
  const form = new FormData(), job = crypto.getRandomValues(new Uint32Array(4)).join("-");
  for (const [name, value] of Object.entries(photo.options)) form.append(name, value);
  form.append("file", photo.file, photo.file.name);
  photo.state = "sending";
  photo.told = { state: "uploading", share: 0 };
  show(photo);
  const request = photo.request = new XMLHttpRequest();
  let poll;
  request.upload.onprogress = ({ loaded, total }) => { photo.told.share = loaded / total; show(photo); };
  request.upload.onload = () => { poll = setInterval(() => ask(photo, job), POLL_MS); };
  request.open("POST", `/api/restore?job=${job}`);
  request.setRequestHeader("Accept", "application/json");
  return new Promise((resolve) => {
    request.onloadend = () => {
      clearInterval(poll);
      finish(photo, request);
      resolve();
    };
    request.send(form);
  });
}

async function ask(photo, job) {
  const answer = await fetch(`/api/jobs/${job}`).catch(() => null);
  if (!answer?.ok || photo.state !== "sending") return;
  const { state, before, elapsed_s, share } = await answer.json();
  photo.told = { state, before, share: state === "working" ? share : null, elapsed_s };
  show(photo);
}

function finish(photo, request) {
  if (!photos.includes(photo)) return;
  const answer = parsed(request.responseText);
  if (request.status === 200) {
    Object.assign(photo, { state: "done", result: answer });
    say(`${photo.file.name} is restored: ${stateText(photo)}`);
    show(photo);
  } else if (photo.state === "failed") {
    show(photo);  // it was cancelled
  } else if (request.status === 0) {
    fail(photo, "the server cannot be reached");
  } else {
    fail(photo, answer.error ?? `the server answered ${request.status}`);
  }
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return {}; }
}

function fail(photo, why) {
  Object.assign(photo, { state: "failed", why });
  say(`${photo.file.name}: ${why}`, true);
  show(photo);
}

function stateText({ state, told, why, result }) {
  if (state === "done") return result.trace.tools.length ? result.trace.tools.join(" > ") : "unchanged";
  if (state === "failed") return why;
  if (state === "queued") return "waits";
  if (told.state === "uploading") return "being sent";
  if (told.state === "waiting") return told.before ? `waits, ${told.before} before it` : "waits";
  return `being restored, ${Math.round(told.elapsed_s)} s`;
}

function show(photo) {
  const share = { queued: 0, sending: photo.told?.share }[photo.state];
  photo.item.update(stateText(photo), photo.state === "failed", share);
  photo.item.mark(photo === chosen);
  if (photo !== chosen) return showArchive();
  const { result, state } = photo;
  byId("work").hidden = false;
  byId("done").hidden = !result;
  byId("wait").hidden = state === "done";
  byId("wait-bar").hidden = state === "failed";
  byId("cancel").hidden = state === "failed";
  byId("wait-text").textContent = `${photo.file.name}: ${stateText(photo)}`;
  if (share === null) byId("wait-bar").removeAttribute("value"); else byId("wait-bar").value = share ?? 0;
  byId("split").hidden = byId("tag-before").hidden = byId("tag-after").hidden = !result;
  byId("redo").disabled = state === "queued" || state === "sending";
  if (result) showResult(photo); else showOriginal(photo);
  showArchive();
}

function showResult(photo) {
  showWhatWasDone(photo);
  showOthers(photo, (options) => {
    queue(photo, options);
    byId("viewport").focus({ preventScroll: true });  // the button is hidden now, and would take the focus along
  });
  showKept(photo.result.keep);
  setSource("before", preview(photo, 0, 0));
  setSource("after", preview(photo, 1, 0));
  if (!photo.detail) byId("detailed").removeAttribute("src");
  showSize(photo.result.width, photo.result.height);
  showShares(photo);
}

const preview = (photo, strength, detail) => `/api/results/${photo.result.id}?strength=${strength}&detail=${detail}&format=png`;

// All of the detail is fetched once it is asked for; from then on both answer at once.
function showShares(photo) {
  for (const name of ["strength", "detail"]) {
    byId(name).value = Math.round(100 * photo[name]);
    byId(`${name}-value`).textContent = `${byId(name).value} %`;
  }
  if (photo.detail) setSource("detailed", preview(photo, 1, 1));
  showBlend(photo.strength, photo.detail);
}

// While there is no result: the file itself, if the browser knows its kind.
function showOriginal(photo) {
  setSource("before", photo.thumb);
  for (const id of ["after", "detailed"]) byId(id).removeAttribute("src");
  showBlend(0, 0);
}

function setSource(id, url) {
  byId("stage").hidden = false;
  const picture = byId(id);
  if (picture.getAttribute("src") !== url) picture.src = url;
}

function showArchive() {
  const done = photos.filter(({ result }) => result).length;
  byId("save-all").hidden = byId("strength-all").hidden = done < 2;
}

function choose(photo) {
  const before = chosen;
  chosen = photo;
  if (before && photos.includes(before)) show(before);
  show(photo);
}

function written(photo) {
  const quality = byId("quality-label").hidden ? "" : byId("quality").value;
  return new URLSearchParams({ strength: photo.strength, detail: photo.detail, format: byId("format").value, ...(quality && { quality }) });
}

async function save(answer, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  say(`${name} is downloaded`);
}

// What the server has forgotten in the meantime is restored again, as it was.
async function refused(answer, wanted) {
  const { error, missing } = parsed(await answer.text());
  if (answer.status !== 404) return say(error ?? `the server answered ${answer.status}`, true);
  const gone = wanted.filter(({ result }) => !missing || missing.includes(result.id));
  for (const photo of gone) queue(photo, photo.options);
  return say(`${gone.length} of the results are no longer kept and are restored again; then download once more`, true);
}

// A picture of a result does not come: its answer says why.
async function lost(photo) {
  const answer = await fetch(byId("before").src).catch(() => null);
  if (answer && !answer.ok && photo.result) refused(answer, [photo]);
}

async function download() {
  const answer = await fetch(`/api/results/${chosen.result.id}?${written(chosen)}`).catch(() => null);
  if (!answer) return say("the server cannot be reached", true);
  if (!answer.ok) return refused(answer, [chosen]);
  return save(answer, decodeURIComponent(answer.headers.get("Content-Disposition").split("''")[1]));
}

async function downloadAll() {
  const done = photos.filter(({ result }) => result), fields = written(chosen);
  const body = {
    results: done.map(({ result, strength, detail }) => ({ id: result.id, strength, detail })),
    format: fields.get("format"),
    quality: fields.has("quality") ? Number(fields.get("quality")) : null,
  };
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/zip", { method: "POST", headers, body: JSON.stringify(body) }).catch(() => null);
  if (!answer) return say("the server cannot be reached", true);
  return answer.ok ? save(answer, "restored.zip") : refused(answer, done);
}

function cancel() {
  const photo = chosen;
  fail(photo, "cancelled");
  photo.request?.abort();
}

function remove() {
  const place = photos.indexOf(chosen), [photo] = photos.splice(place, 1);
  photo.request?.abort();
  if (photo.result) fetch(`/api/results/${photo.result.id}`, { method: "DELETE" }).catch(() => null);
  photo.item.remove();
  URL.revokeObjectURL(photo.thumb);
  chosen = null;
  byId("work").hidden = byId("add").hidden = photos.length === 0;
  byId("drop").hidden = photos.length > 0;
  if (photos.length) choose(photos[Math.min(place, photos.length - 1)]); else byId("files").focus();
  say(`${photo.file.name} is removed`);
}


function listen() {
  for (const id of ["files", "more"]) {
    byId(id).addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
  }
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    add(event.dataTransfer.files);
  });
  byId("before").addEventListener("load", ({ target }) => {
    if (chosen && !chosen.result) showSize(target.naturalWidth, target.naturalHeight);
  });
  byId("before").addEventListener("error", () => {
    if (chosen?.result) lost(chosen);
    else byId("stage").hidden = true;  // a kind of file that the browser does not show
  });
  for (const name of ["strength", "detail"]) {
    byId(name).addEventListener("input", ({ target }) => {
      chosen[name] = target.value / 100;
      showShares(chosen);
    });
  }
  byId("strength-all").addEventListener("click", () => {
    const { strength, detail } = chosen;
    for (const photo of photos) Object.assign(photo, { strength, detail });
    say(`strength ${Math.round(100 * strength)} %, detail ${Math.round(100 * detail)} % for all`);
  });
  byId("save").addEventListener("click", download);
  byId("save-all").addEventListener("click", downloadAll);
  byId("cancel").addEventListener("click", cancel);
  byId("redo").addEventListener("click", () => queue(chosen, readOptions()));
  byId("remove").addEventListener("click", remove);
}

async function begin() {
  about = await (await fetch("/api/tools")).json();
  const { megabytes, megapixels } = about.bounds;
  byId("limits").textContent = `JPEG, PNG, TIFF, WebP and more, up to ${megapixels} megapixels and ${megabytes} megabytes. `
    + "Noise, blur and JPEG traces are taken away; nothing is enlarged or invented. They are sent to this server and nowhere else.";
  readOptions = fillOptions(about);
  showKept = fillFormats(about.options);
  start();
  zoomToFit();
  listen();
  document.body.dataset.ready = "yes";
}

begin();
