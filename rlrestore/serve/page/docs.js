// The routes, drawn from the server's own OpenAPI description.

function make(kind, text = "", ...children) {
  const element = document.createElement(kind);
  element.textContent = text;
  element.append(...children);
  return element;
}

// Text in which `backquotes` mark code.
function prose(text) {
  const parts = text.split("`").map((part, place) => (place % 2 ? make("code", part) : part));
  return make("p", "", ...parts);
}

function limits({ type, enum: choices, minimum, maximum, default: fallback, format }) {
  const range = choices ? choices.join(", ") : minimum === undefined ? "" : maximum === undefined ? `from ${minimum}` : `${minimum} to ${maximum}`;
  return [format === "binary" ? "file" : type, range, fallback === undefined || fallback === "" ? "" : `default ${fallback}`].filter(Boolean).join("; ");
}

function table(rows) {
  const box = make("div", "", make("table", "", ...rows.map(([name, kind, text]) => make("tr", "", make("td", "", make("code", name)), make("td", kind), make("td", text)))));
  box.className = "scroll";
  return box;
}

function resolved(schema, all) {
  const found = schema?.$ref ? all.components.schemas[schema.$ref.split("/").pop()] : schema;
  return found?.anyOf ? { ...found.anyOf[0], ...found, anyOf: undefined } : found ?? {};
}

function route(path, method, about, all) {
  const section = make("section", "", make("h2", `${method.toUpperCase()} ${path}`));
  section.append(...(about.description ?? about.summary).split("\n\n").map(prose));
  const fields = (about.parameters ?? []).map((one) => [one.name, one.in, one.schema, one.description]);
  for (const [kind, { schema }] of Object.entries(about.requestBody?.content ?? {})) {
    const form = resolved(schema, all);
    for (const [name, one] of Object.entries(form.properties ?? {})) fields.push([name, kind === "application/json" ? "JSON" : "form", resolved(one, all)]);
  }
  if (fields.length) section.append(table(fields.map(([name, place, schema, text]) => [name, `${place}: ${limits(schema)}`, text ?? schema.description ?? ""])));
  const errors = Object.entries(about.responses).filter(([status, { description }]) => status >= "400" && description);
  if (errors.length) section.append(table(errors.map(([status, { description }]) => [status, "", description])));
  return section;
}

async function begin() {
  const all = await (await fetch("/openapi.json")).json();
  document.getElementById("example").textContent = [
    `curl -F file=@photo.jpg -F format=keep ${location.origin}/api/restore -o restored.jpg`,
    `curl -F file=@photo.jpg -H 'Accept: application/json' ${location.origin}/api/restore`,
  ].join("\n");
  const routes = Object.entries(all.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => route(path, method, about, all)));
  document.getElementById("routes").append(...routes);
}

begin();
