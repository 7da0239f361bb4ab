// Elements of the page. Text goes in as text: nothing here or elsewhere reads a string as markup.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

let lastField = 0;

function choice(label, options, chosen, onchange) {
  const id = `field-${++lastField}`;
  const select = element("select", { id, onchange: (event) => onchange(event.target.value) });
  for (const { value, text, under } of options) {
    let parent = select;
    if (under) {
      parent = [...select.children].find((one) => one.label === under) ?? element("optgroup", { label: under });
      select.append(parent);
    }
    parent.append(element("option", { value, selected: String(value) === String(chosen) }, text));
  }
  return element("div", { class: "field" }, element("label", { for: id }, label), select);
}

function tableOf(headings, rows) {
  const cell = (name, value) =>
    element(name, { class: typeof value === "string" && /^[-+±[\d.–]/.test(value) ? "number" : null }, value);
  return element(
    "div",
    { class: "scroll", tabindex: 0 },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, headings.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((value) => cell("td", value))))),
    ),
  );
}

function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

const counted = (number) => number.toLocaleString("en");

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const link = (target, text) => element("a", { href: `#${target}` }, text);

const experimentTarget = (group, id) => `experiment/${group.place}/${encodeURIComponent(id)}`;

function copyable(text) {
  const button = element("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousSibling);
      button.textContent = "Selected";
    }
  });
  return element("div", { class: "command" }, element("code", { tabindex: 0 }, text), button);
}
