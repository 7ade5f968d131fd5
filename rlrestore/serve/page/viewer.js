// Before and after in one stage: the same place and size, so that they stay aligned at every zoom.

const byId = (id) => document.getElementById(id);
const viewport = byId("viewport"), stage = byId("stage"), clip = byId("clip"), split = byId("split");
const MOST_ZOOM = 16, KEY_STEP_PX = 60, WHEEL = 0.0016;

const view = { width: 1, height: 1, x: 0, y: 0, zoom: 1, fit: true, split: 0.5 };
const pointers = new Map();

// Screen pixels for each of the photograph's at zoom 1: one of the device's, whatever CSS calls a pixel.
const css = () => 1 / window.devicePixelRatio;

function fitZoom() {
  return Math.min(viewport.clientWidth / view.width, viewport.clientHeight / view.height, css()) / css();
}

function draw() {
  if (view.fit) view.zoom = fitZoom();
  const scale = view.zoom * css(), width = view.width * scale, height = view.height * scale;
  view.x = place(view.x, width, viewport.clientWidth, view.fit);
  view.y = place(view.y, height, viewport.clientHeight, view.fit);
  Object.assign(stage.style, { width: `${width}px`, height: `${height}px` });
  stage.style.transform = `translate(${view.x}px, ${view.y}px)`;
  const border = view.split * viewport.clientWidth;
  clip.style.clipPath = `inset(0 0 0 ${Math.min(Math.max(border - view.x, 0), width)}px)`;
  split.style.left = `${border}px`;
  split.setAttribute("aria-valuenow", Math.round(100 * view.split));
  split.setAttribute("aria-valuetext", `${Math.round(100 * view.split)} % before`);
  stage.classList.toggle("pixels", view.zoom >= 2);
  viewport.classList.toggle("fits", fits());
  byId("zoom").textContent = `${Math.round(100 * view.zoom)} %`;
  for (const button of document.querySelectorAll("[data-zoom]")) {
    const wanted = button.dataset.zoom;
    button.setAttribute("aria-pressed", wanted === "fit" ? view.fit : !view.fit && Number(wanted) === view.zoom);
  }
}

// Where an axis of the stage begins: in the middle if there is room, else no further in than the border; on whole
// device pixels, so that at 100 % none is blurred.
function place(start, length, room, centred) {
  const wanted = length <= room || centred ? (room - length) / 2 : Math.min(0, Math.max(room - length, start));
  return Math.round(wanted / css()) * css();
}

function fits() {
  const scale = view.zoom * css();
  return view.width * scale <= viewport.clientWidth + 1 && view.height * scale <= viewport.clientHeight + 1;
}

// Zoom so that what lies at a point of the viewport stays there.
export function zoomTo(zoom, at) {
  const point = at ?? { x: viewport.clientWidth / 2, y: viewport.clientHeight / 2 };
  const least = Math.min(fitZoom(), 1);
  const next = Math.min(Math.max(zoom, least), MOST_ZOOM), ratio = next / view.zoom;
  view.x = point.x - (point.x - view.x) * ratio;
  view.y = point.y - (point.y - view.y) * ratio;
  view.zoom = next;
  view.fit = false;
  draw();
}

export function zoomToFit() { view.fit = true; draw(); }

function moveSplit(share) { view.split = Math.min(Math.max(share, 0), 1); draw(); }

function pan(dx, dy) { view.fit = view.fit && fits(); view.x += dx; view.y += dy; draw(); }

const local = (event) => {
  const box = viewport.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
};

function pointerMoved(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = { ...local(event), split: before.split };
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    zoomTo(view.zoom * apart(now) / Math.max(apart(before), 1), middle);
  } else if (before.split || fits()) {
    moveSplit(now.x / viewport.clientWidth);
  } else {
    pan(now.x - before.x, now.y - before.y);
  }
  pointers.set(event.pointerId, now);
}

function key(event) {
  const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const zooms = { "+": 1.25, "=": 1.25, "-": 0.8 };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (moves[event.key] && !fits()) pan(...moves[event.key].map((way) => way * KEY_STEP_PX));
  else if (zooms[event.key]) zoomTo(view.zoom * zooms[event.key]);
  else if (event.key === "0") zoomToFit();
  else if (event.key === "1" || event.key === "2") zoomTo(Number(event.key));
  else return;
  event.preventDefault();
}

function splitKey(event) {
  const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 };
  if (event.key in steps) moveSplit(view.split + steps[event.key]);
  else if (event.key === "Home" || event.key === "End") moveSplit(event.key === "End" ? 1 : 0);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

export function start() {
  viewport.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;  // whose click a capture would take
    viewport.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { ...local(event), split: split.contains(event.target) });
    if (fits() && pointers.size === 1) pointerMoved(event);
  });
  viewport.addEventListener("pointermove", pointerMoved);
  for (const end of ["pointerup", "pointercancel"]) {
    viewport.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  viewport.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomTo(view.zoom * Math.exp(-event.deltaY * WHEEL), local(event));
  }, { passive: false });
  viewport.addEventListener("dblclick", (event) => {
    if (view.fit) zoomTo(1, local(event)); else zoomToFit();
  });
  viewport.addEventListener("keydown", key);
  split.addEventListener("keydown", splitKey);
  for (const button of document.querySelectorAll("[data-zoom]")) {
    const wanted = button.dataset.zoom;
    button.addEventListener("click", () => (wanted === "fit" ? zoomToFit() : zoomTo(Number(wanted))));
  }
  new ResizeObserver(draw).observe(viewport);
}

// Show a photograph of so many pixels; the zoom and place stay if it has the size of the one before.
export function showSize(width, height) {
  if (width !== view.width || height !== view.height) Object.assign(view, { width, height, fit: true });
  draw();
}

// The picture with all of its detail lies over the one without, so that what is seen is the blend of the two.
export function showBlend(strength, detail) {
  byId("made").style.opacity = strength;
  byId("detailed").style.opacity = detail;
}
