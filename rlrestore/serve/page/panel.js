// The controls: only those that the server says it has.

const byId = (id) => document.getElementById(id);

function make(kind, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(kind), attributes);
  element.append(...children);
  return element;
}

export function fillFormats(options) {
  const select = byId("format"), lossy = ["jpg", "webp", "avif"];
  select.replaceChildren(...options.format.enum.map((name) => make("option", { value: name, textContent: name.toUpperCase() })));
  select.value = "keep";
  const quality = byId("quality"), keeps = () => select.selectedOptions[0].dataset.format ?? select.value;
  const show = () => { byId("quality-label").hidden = !lossy.includes(keeps()); };
  select.addEventListener("change", () => { quality.value = ""; show(); });
  return (kept) => {
    const first = [...select.options].find((option) => option.value === "keep");
    first.textContent = `As it came (${kept.toUpperCase()})`;
    first.dataset.format = kept;
    show();
  };
}

// A control for each option of the restoring that the server takes; returns what reads them.
export function fillOptions(about) {
  const box = byId("options"), { options, tools } = about, readers = {};
  if (options.mode) {
    const texts = { global: "one chain for the whole photograph", local: "other chains for regions that differ" };
    const select = make("select", { id: "mode" }, ...options.mode.enum.map((name) => make("option", { value: name, textContent: texts[name] ?? name })));
    box.append(make("label", {}, "How", select));
    readers.mode = () => select.value;
  }
  if (options.max_steps) {
    const input = make("input", { type: "number", id: "max-steps", min: 1, max: 100, placeholder: "as the model" });
    box.append(make("label", {}, "Tools to apply at most", input));
    readers.max_steps = () => input.value;
  }
  if (options.views) {
    const texts = { 1: "as fast as possible", 2: "a little better, twice the time", 8: "better still, eight times" };
    const select = make("select", { id: "views" }, ...Object.entries(texts).map(([value, textContent]) => make("option", { value, textContent })));
    box.append(make("label", {}, "How carefully", select));
    readers.views = () => (select.value === "1" ? "" : select.value);
  }
  if (options.never) {
    const boxes = tools.map(({ name, purpose }) => [name, make("input", { type: "checkbox", checked: true, title: purpose })]);
    const list = make("div", { className: "tools" }, ...boxes.map(([name, tick]) => make("label", { title: tick.title }, tick, name)));
    box.append(make("div", {}, "Tools to choose among", list));
    readers.never = () => boxes.filter(([, tick]) => !tick.checked).map(([name]) => name).join(",");
  }
  if (options.chain) {
    const input = make("input", { type: "text", id: "chain", placeholder: "let the agent choose", spellcheck: false });
    const names = make("small", {}, `Such as ${tools.slice(0, 2).map(({ name }) => name).join(",")}`);
    box.append(make("label", {}, "Apply exactly these tools", input, names));
    readers.chain = () => input.value.replaceAll(" ", "");
  }
  byId("again").hidden = Object.keys(readers).length === 0;
  return () => Object.fromEntries(Object.entries(readers).map(([name, read]) => [name, String(read())]).filter(([, text]) => text !== ""));
}

export function showWhatWasDone(photo) {
  const { result } = photo, bits = result.depth_bits === 16 ? ", 16 bits" : "";
  byId("name").textContent = photo.file.name;
  byId("size").textContent = `${result.width} × ${result.height} pixels${bits}`;
  byId("inspection").textContent = result.inspection ? `As it came: ${result.inspection}` : "";
  byId("words").replaceChildren(...result.words.map((text) => make("li", { textContent: text })));
  showMaps(result);
  byId("notes").replaceChildren(...result.notes.map((text) => make("li", { textContent: `Note: ${text}` })));
}

// The few best other chains, each a button that restores the photograph so.
export function showOthers({ result, options }, restoreSo) {
  const local = result.trace.mode === "local";
  const ways = result.others.map(({ name, options }) => [name, options]);
  const asked = Object.entries(options).filter(([name, value]) => !["max_steps", "views"].includes(name) && (name !== "mode" || value === "local"));
  if (asked.length) ways.unshift([local ? "one chain for all of it" : "as the agent chooses", {}]);
  if (!local) ways.push(["region by region", { mode: "local" }]);
  const limit = (so) => ({ ...(options.views && { views: options.views }), ...(options.max_steps && !so.chain && { max_steps: options.max_steps }) });
  byId("others").replaceChildren("Try instead: ", ...ways.map(([name, so]) => {
    const button = make("button", { type: "button", className: "small", textContent: name });
    button.addEventListener("click", () => restoreSo({ ...limit(so), ...so }));
    return button;
  }));
}

function showMaps({ id, legends }) {
  byId("where").hidden = legends.length === 0;
  byId("maps").replaceChildren(...legends.map((legend, step) => {
    const picture = make("img", { loading: "lazy", src: `/api/results/${id}/maps/${step + 1}`, alt: `Map of step ${step + 1}` });
    const lines = legend.map(({ tool, share, colour }) => {
      const mark = make("i");
      mark.style.background = colour;
      return make("span", {}, mark, `${tool} ${Math.round(100 * share)} %`);
    });
    return make("figure", {}, picture, make("figcaption", {}, `${step + 1}: `, ...lines));
  }));
}

export function listItem(photo, choose) {
  const item = make("li"), button = make("button", { type: "button" });
  const picture = make("img", { alt: "", src: photo.thumb });
  picture.addEventListener("error", () => picture.replaceWith(make("div", { className: "none" })));
  const label = make("span"), bar = make("progress", { max: 1 });
  button.append(picture, make("b", { textContent: photo.file.name, title: photo.file.name }), label, bar);
  button.addEventListener("click", () => choose(photo));
  item.append(button);
  item.update = (text, bad, share) => {
    label.textContent = label.title = text;
    label.className = bad ? "bad" : "";
    bar.hidden = share === undefined;
    if (share === null) bar.removeAttribute("value"); else bar.value = share ?? 0;
  };
  item.mark = (current) => button.setAttribute("aria-current", current);
  return item;
}
