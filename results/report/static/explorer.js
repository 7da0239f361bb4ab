// The explorer: any metric by any factors. Its state is in the page's address, so that a view can be shared.

const MOST_ROWS = 150;
const MOST_LISTED = 300;
const MOST_CHIPS = 40;
const INTERVALS = { "": "new seeds and new items", seeds: "new seeds, these items" };
const VIEWS = { points: "points with intervals", heat: "heat map" };

function defaultState(group) {
  const words = group.factors.filter((one) => one.name !== "seed" && one.levels.length > 1);
  const few = (most) => (one) => one.levels.length <= most;
  const colour = words.find((one) => one.name === "method") ?? words.slice(1).find(few(4)) ?? null;
  const rows = words.find((one) => one !== colour && few(MOST_ROWS)(one)) ?? group.factors[0];
  return {
    group: group.place,
    metric: group.metrics[0]?.name ?? "",
    view: "points",
    rows: rows?.name ?? "",
    colour: colour && colour !== rows ? colour.name : "",
    columns: "",
    facets: "",
    interval: "",
    runs: "",
    hide: "",
  };
}

function readState(text) {
  const given = Object.fromEntries(new URLSearchParams(text));
  const group = groups[Number(given.group ?? 0)] ?? groups[0];
  const state = { ...defaultState(group), ...given, group: group.place };
  if (!group.metric(state.metric)) state.metric = group.metrics[0]?.name ?? "";
  for (const part of PARTS) if (state[part] && !group.factor(state[part])) state[part] = "";
  return { group, state };
}

// `hide=model:1.3;seed:2` leaves out codes 1 and 3 of model and 2 of seed.
function hiddenOf(state) {
  const pairs = state.hide ? state.hide.split(";").map((part) => part.split(":")) : [];
  return Object.fromEntries(pairs.map(([name, codes]) => [decodeURIComponent(name), new Set(codes.split(".").map(Number))]));
}

function hideText(hidden) {
  return Object.entries(hidden)
    .filter(([, codes]) => codes.size)
    .map(([name, codes]) => `${encodeURIComponent(name)}:${[...codes].sort((a, b) => a - b).join(".")}`)
    .join(";");
}

const metricText = (metric) => plain(`${metric.name}${metric.unit ? `, ${metric.unit}` : ""}`);

function metricOptions(group) {
  return group.metrics.map((one) => ({
    value: one.name,
    text: `${metricText(one)} (${counted(one.known)})`,
    under: one.own ? "training itself" : one.primary ? "main figures" : one.task,
  }));
}

async function showExplorer(text) {
  const place = document.getElementById("explorer");
  const { group, state } = readState(text);
  const change = (changes) => {
    location.hash = `explore/${new URLSearchParams({ ...state, ...changes })}`;
  };
  const focused = document.activeElement?.dataset?.control;
  place.replaceChildren(controls(group, state, change));
  if (focused) place.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
  if (!state.metric) {
    place.append(element("p", {}, "No experiment of this study has a figure yet."));
    return;
  }
  await showPoints(place, group, state);
}

function controls(group, state, change) {
  const factorOptions = (none) => [
    ...(none ? [{ value: "", text: none }] : []),
    ...group.factors.map((one) => ({ value: one.name, text: `${one.name} (${one.levels.length})` })),
  ];
  const pick = (label, part, options) => {
    const made = choice(label, options, state[part], (value) => change({ [part]: value }));
    made.querySelector("select").dataset.control = part;
    return made;
  };
  const studies = groups.map((one) => ({ value: one.place, text: one.label }));
  const study = choice("Study", studies, state.group, (value) => {
    location.hash = `explore/group=${value}`;
  });
  study.querySelector("select").dataset.control = "group";
  const views = Object.entries(VIEWS).map(([value, text]) => ({ value, text }));
  return element(
    "form",
    { class: "controls", onsubmit: (event) => event.preventDefault() },
    groups.length > 1 ? study : null,
    pick("Metric", "metric", metricOptions(group)),
    pick("Show", "view", views),
    pick("Rows", "rows", factorOptions("")),
    pick(state.view === "heat" ? "Across" : "Colour", "colour", factorOptions("none")),
    pick("Columns", "columns", factorOptions("none")),
    pick("Facets", "facets", factorOptions("none")),
    pick("Interval for", "interval", Object.entries(INTERVALS).map(([value, text]) => ({ value, text }))),
    state.view === "points" ? runsBox(state, change) : null,
    filters(group, state, change),
  );
}

function runsBox(state, change) {
  const box = element("input", {
    type: "checkbox",
    id: "each-run",
    checked: Boolean(state.runs),
    "data-control": "runs",
    onchange: (event) => change({ runs: event.target.checked ? "1" : "" }),
  });
  return element("div", { class: "field check" }, box, element("label", { for: "each-run" }, "each experiment too"));
}

function filters(group, state, change) {
  const hidden = hiddenOf(state);
  const count = Object.values(hidden).reduce((sum, codes) => sum + codes.size, 0);
  const sets = group.factors
    .filter((factor) => factor.levels.length > 1 && factor.levels.length <= MOST_CHIPS)
    .map((factor) => filterOf(factor, hidden, change));
  const clear = element("button", { type: "button", onclick: () => change({ hide: "" }) }, "Show all again");
  const kept = sessionOpen("filters");
  const made = element(
    "details",
    { class: "filters", open: kept || count > 0 },
    element("summary", {}, count ? `Filter: ${count} level${count > 1 ? "s" : ""} left out` : "Filter"),
    sets,
    count ? clear : null,
  );
  made.addEventListener("toggle", () => openParts.set("filters", made.open));
  return made;
}

const openParts = new Map();
const sessionOpen = (name) => openParts.get(name) ?? false;

function filterOf(factor, hidden, change) {
  const left = hidden[factor.name] ?? new Set();
  const toggle = (code) => {
    const next = new Set(left);
    if (!next.delete(code)) next.add(code);
    change({ hide: hideText({ ...hidden, [factor.name]: next }) });
  };
  return element(
    "fieldset",
    {},
    element("legend", {}, factor.name),
    factor.levels.map((level, place) =>
      element(
        "label",
        { class: "chip" },
        element("input", {
          type: "checkbox",
          checked: !left.has(place + 1),
          "data-control": `filter ${factor.name} ${place}`,
          onchange: () => toggle(place + 1),
        }),
        levelText(level),
      ),
    ),
  );
}

async function showPoints(place, group, state) {
  const points = await pointsOf(group, { ...state, hidden: hiddenOf(state) });
  const experiments = points.reduce((sum, point) => sum + point.n, 0);
  place.append(
    element("p", { class: "summary", "aria-live": "polite" }, `${counted(experiments)} experiments in ${counted(points.length)} points.`),
  );
  if (!points.length) return;
  const ids = await group.identities();
  const texts = PARTS.map((part, position) => textsOf(group, state[part], points, position));
  const chart = element("div", { class: "chart", role: "img", "aria-label": `${state.metric} by ${PARTS.map((part) => state[part]).filter(Boolean).join(", ")}` });
  const below = element("div", { class: "picked", "aria-live": "polite" });
  place.append(chart, below, pointsTable(group, state, points, ids));
  if (texts[0] && texts[0].length > MOST_ROWS) {
    chart.replaceWith(element("p", { class: "note" }, `${texts[0].length} rows are too many to draw; the table has the first ones. Choose another factor for the rows, or filter.`));
    return;
  }
  const data = points.flatMap((point, number) => marksOf(group, state, point, number, ids));
  const tips = pointTips(state);
  await drawChart(chart, (width) => explorerSpec(width, group, state, texts, data, tips), (datum) => {
    if (datum.id) location.hash = experimentTarget(group, datum.id);
    else if (points[datum.number]) pickPoint(below, group, state, points[datum.number], ids);
  });
}

function explorerSpec(width, group, state, texts, data, tips) {
  const [rows, series, panels, downs] = texts;
  const common = { data, rows: rows ?? [""], panels, downs, value: metricText(group.metric(state.metric)), tips };
  if (state.view === "heat") return heatSpec(width, { ...common, across: series ?? [""] });
  return rowsSpec(width, { ...common, series: series ?? [""], colour: plain(state.colour), shared: true });
}

const namedParts = (state) => [["row", "rows"], ["series", "colour"], ["panel", "columns"], ["down", "facets"]]
  .filter(([, part]) => state[part]).map(([field, part]) => [field, plain(state[part])]);
const pointTips = (state) => [...namedParts(state), ["shown", plain(state.metric)], ["interval", "95 % interval"], ["n", "n"], ["experiments", "experiments"]];

// The mean of a point and, if wanted, a mark for each of its experiments.
function marksOf(group, state, point, number, ids) {
  const named = Object.fromEntries(
    [["row", 0], ["series", 1], ["panel", 2], ["down", 3]].map(([field, position]) => [
      field,
      state[PARTS[position]] ? codeText(group.factor(state[PARTS[position]]), point.codes[position]) : "",
    ]),
  );
  const some = point.runs.slice(0, 3).map((run) => ids[run.row]).join(", ");
  const bounds = Number.isFinite(point.low) ? { low: point.low, high: point.high } : {};
  const mean = {
    ...named,
    ...bounds,
    number,
    mean: point.mean,
    shown: short(point.mean),
    interval: intervalText(point),
    n: point.n,
    experiments: point.n > 3 ? `${some} and ${point.n - 3} more` : some,
    ...(point.n === 1 ? { id: ids[point.runs[0].row] } : {}),
  };
  if (!state.runs || state.view !== "points" || point.n === 1) return [mean];
  const each = point.runs.map((run) => ({ ...named, run: run.value, shown: short(run.value), interval: "–", n: 1, experiments: ids[run.row], id: ids[run.row] }));
  return [mean, ...each];
}

async function pickPoint(place, group, state, point, ids) {
  const names = await group.titles();
  const rows = point.runs.slice(0, MOST_LISTED).map((run) => [
    link(experimentTarget(group, ids[run.row]), ids[run.row]),
    names[run.row],
    short(run.value),
    Number.isFinite(run.error) ? `±${short(run.error)}` : "–",
  ]);
  place.replaceChildren(
    element("h2", { tabindex: -1 }, `${point.n} experiments, mean ${short(point.mean)}, 95 % interval ${intervalText(point)}`),
    tableOf(["experiment", "name", state.metric, "standard error"], rows),
    point.n > MOST_LISTED ? element("p", { class: "note" }, `The first ${MOST_LISTED} of ${point.n}.`) : "",
  );
  place.querySelector("h2").focus();
}

// The same as the chart, for whoever reads by keyboard or by ear.
function pointsTable(group, state, points, ids) {
  const parts = PARTS.filter((part) => state[part]);
  const rows = points.slice(0, MOST_LISTED).map((point) => [
    ...parts.map((part) => codeText(group.factor(state[part]), point.codes[PARTS.indexOf(part)])),
    short(point.mean),
    intervalText(point),
    String(point.n),
    point.n === 1
      ? link(experimentTarget(group, ids[point.runs[0].row]), ids[point.runs[0].row])
      : element("button", { type: "button", onclick: (event) => pickPoint(event.target.closest("#explorer").querySelector(".picked"), group, state, point, ids) }, `show ${point.n}`),
  ]);
  const made = element(
    "details",
    { class: "as-table", open: sessionOpen("table") },
    element("summary", {}, "As a table"),
    tableOf([...parts.map((part) => state[part]), state.metric, "95 % interval", "n", "experiments"], rows),
    points.length > MOST_LISTED ? element("p", { class: "note" }, `The first ${MOST_LISTED} of ${points.length} points.`) : "",
    element("p", { class: "note" }, "A mean is that of its cells (all factors but the seed). What seeds do is pooled within cells; the error over items, which all runs share, does not shrink with more runs. Points on the same items are compared by the interval for new seeds alone."),
  );
  made.addEventListener("toggle", () => openParts.set("table", made.open));
  return made;
}
