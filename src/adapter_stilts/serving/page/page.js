"use strict";
// Whatever comes from a module or a model is put on the page as text, never as HTML.

const at = (id) => document.getElementById(id);

function make(name, text, more = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return Object.assign(made, more);
}

const EXAMPLES = {
  span: [
    { lang: "de", question: "Wo steht das Schloss?", context: "Die Stadt liegt an einem breiten Fluss. Das alte Schloss steht auf dem Hügel über der Brücke, und im Sommer spielen dort Musiker." },
    { lang: "sw", question: "Juma anafanya kazi wapi?", context: "Juma alizaliwa Mombasa mwaka wa 1985. Sasa anafanya kazi katika hospitali kubwa ya Nairobi, na dada yake ni mwalimu." },
    { lang: "es", question: "¿Cuándo abrió la biblioteca?", context: "La biblioteca del barrio abrió en 1998. Cada martes, los niños escuchan cuentos en la sala grande." },
  ],
  classification: [
    { lang: "fr", text_a: "Ana joue du violoncelle dans un orchestre.", text_b: "Ana joue d'un instrument." },
    { lang: "ru", text_a: "Все магазины сегодня закрыты.", text_b: "Сегодня можно купить хлеб в магазине." },
  ],
  choice: [
    { lang: "en", prompt: "Where would you keep plates?", options: ["cupboard", "river", "cloud", "engine", "sentence"] },
    { lang: "it", prompt: "Dove si conservano i piatti?", options: ["credenza", "fiume", "nuvola", "motore", "frase"] },
  ],
  tagging: [
    { lang: "en", words: "She reads old letters in the garden ." },
    { lang: "tr", words: "Ayşe dün Ankara'da eski bir kitap aldı ." },
  ],
  embedding: [
    { lang: "vi", text: "Trời hôm nay rất đẹp.", context: "" },
  ],
};

const LABELS = {
  question: "Question", context: "Text", text_a: "First text", text_b: "Second text",
  prompt: "What comes before", options: "Options, one a line", words: "Words, with spaces between",
  text: "Text",
};

let modules = [];
let turn = 0;

const chosen = () => modules.find((each) => each.name === at("module").value);

function fill() {
  const module = chosen();
  const example = EXAMPLES[module.kind][turn % EXAMPLES[module.kind].length];
  const fields = at("fields");
  fields.replaceChildren();
  for (const name of [...module.needs, ...module.takes]) {
    if (module.kind === "choice" && name === "question") continue;
    const box = make("textarea", undefined, { id: `field-${name}`, name, dir: "auto" });
    let value = example[name] ?? "";
    if (name === "options") value = Array.from({ length: module.choices }, (_, n) => value[n] ?? `option ${n + 1}`).join("\n");
    box.value = value;
    box.rows = name === "options" ? module.choices : 2;
    if (name === "context" && module.kind === "span") box.className = "tall";
    const label = make("label", LABELS[name] ?? name);
    label.append(box);
    fields.append(label);
  }
  at("lang").value = example.lang;
  at("result").hidden = true;
}

function describe() {
  const module = chosen();
  const score = Object.entries(module.scores)[0];
  const parts = [`${module.task}, ${module.method}`, `${module.parameters.toLocaleString("en")} parameters`];
  if (score) parts.push(`dev ${score[0]} ${score[1].toFixed(1)}`);
  parts.push(`data: ${module.licence}`);
  if (module.composition !== module.name) parts.push(module.composition);
  at("about").textContent = parts.join(" · ");
}

function given() {
  const module = chosen();
  const body = { module: module.name };
  if (at("lang").value) body.lang = at("lang").value;
  for (const box of at("fields").querySelectorAll("textarea")) {
    if (!box.value && !module.needs.includes(box.name)) continue;
    if (box.name === "options") body.options = box.value.split("\n").filter((line) => line.trim());
    else if (box.name === "words") body.text = box.value;
    else body[box.name] = box.value;
  }
  return body;
}

function bars(pairs) {
  const grid = make("div", undefined, { className: "bars" });
  const best = Math.max(...pairs.map(([, share]) => share));
  for (const [name, share] of pairs) {
    grid.append(
      make("span", name, { className: share === best ? "first" : "", dir: "auto" }),
      make("meter", undefined, { value: share, min: 0, max: 1 }),
      make("span", `${(100 * share).toFixed(1)} %`),
    );
  }
  return grid;
}

const SHOWN = {
  span(answer, body) {
    if (!answer.answer) return [make("p", "No answer in this text", { className: "answer quiet" })];
    const passage = make("p", undefined, { className: "passage", dir: "auto" });
    // Characters are counted as Python counts them: a pair of surrogates is one.
    const text = Array.from(body.context);
    let first = answer.start;
    while (text[first] !== undefined && !text[first].trim()) first += 1;
    const end = first + Array.from(answer.answer).length;
    passage.append(text.slice(0, first).join(""), make("mark", text.slice(first, end).join("")), text.slice(end).join(""));
    return [make("p", answer.answer, { className: "answer", dir: "auto" }), passage];
  },
  classification: (answer) => [bars(Object.entries(answer.labels))],
  choice: (answer, body) => [
    make("p", answer.option, { className: "answer", dir: "auto" }),
    bars(body.options.map((option, n) => [option, answer.probabilities[n]])),
  ],
  tagging(answer) {
    const line = make("p", undefined, { className: "tags", dir: "auto" });
    for (const [word, tag] of answer.tags) {
      const both = make("span", word);
      both.append(make("small", tag));
      line.append(both);
    }
    return [line];
  },
  regression: (answer) => [make("p", answer.score.toFixed(3), { className: "answer" })],
  embedding: (answer) => [
    make("p", `${answer.vector.length} numbers`, { className: "answer" }),
    make("p", `${answer.vector.slice(0, 12).map((value) => value.toFixed(4)).join("  ")} …`, { className: "passage" }),
  ],
};

function show(parts) {
  at("result").replaceChildren(...parts);
  at("result").hidden = false;
}

async function ask(event) {
  event.preventDefault();
  const body = given();
  at("ask").disabled = true;
  at("state").textContent = "…";
  const began = performance.now();
  try {
    const response = await fetch("predict", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    show(SHOWN[found.kind](found.answer, body));
    at("state").textContent = `${Math.round(performance.now() - began)} ms`;
  } catch (error) {
    show([make("p", error.message, { className: "bad passage" })]);
    at("state").textContent = "";
  } finally {
    at("ask").disabled = false;
  }
}

async function begin() {
  const found = await (await fetch("modules")).json();
  modules = found.modules;
  at("backbone").textContent = found.backbone;
  at("count").textContent = modules.length === 1 ? "One module" : `${modules.length} modules`;
  at("module").append(...modules.map((each) => make("option", each.name, { value: each.name })));
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  const codes = found.languages.map((code) => [names.of(code), code]).sort();
  at("lang").append(...codes.map(([name, code]) => make("option", `${name} (${code})`, { value: code })));
  at("module").addEventListener("change", () => { turn = 0; fill(); describe(); });
  at("example").addEventListener("click", () => { turn += 1; fill(); });
  at("form").addEventListener("submit", ask);
  fill();
  describe();
}

begin().catch((error) => show([make("p", `The service does not answer: ${error.message}`, { className: "bad" })]));
