// The page of one experiment: levels, figures, curves, samples, attempts, recipes, and the commands that concern it.

let textsShown = false;

async function showExperiment(text) {
  const place = document.getElementById("one");
  const [groupNumber, id] = text.split("/");
  const group = groups[Number(groupNumber)];
  const row = group ? (await group.identities()).indexOf(decodeURIComponent(id ?? "")) : -1;
  if (row < 0) {
    place.replaceChildren(element("h1", {}, "No such experiment"), element("p", {}, link("experiments", "All experiments")));
    return;
  }
  const facts = await factsOf(group, row);
  place.replaceChildren(
    element("p", { class: "crumbs" }, link(`experiments/group=${group.place}`, group.label), " › ", facts.id),
    element("h1", {}, facts.name),
    element("p", {}, element("span", { class: `status ${facts.status}` }, facts.status), ` scale ${facts.plan[1]}, preset ${facts.plan[2]}`),
    element("div", { class: "columns" }, levelsOf(facts), commandsOf(group, facts)),
    ...(await figuresOf(group, row)),
  );
  const stages = await stagesOf(group, row);
  if (stages === null) {
    place.append(element("p", { class: "note" }, `Curves, samples, attempts and recipes of ${counted(group.details.held)} of ${counted(group.count)} experiments fit into this file, not this one's. \`yates report --max-mb\` raises the limit.`));
    return;
  }
  place.append(...stagesShown(stages));
  await showCurves(place, stages);
}

async function factsOf(group, row) {
  const [ids, names, statuses, plans] = await Promise.all([group.identities(), group.titles(), group.statuses(), chunkCodes(group.plans)]);
  const levels = [];
  for (const factor of group.factors) {
    const code = (await group.levels(factor.name))[row];
    if (code) levels.push([factor.name, factor.levels[code - 1]]);
  }
  return { id: ids[row], name: names[row], status: group.status.levels[statuses[row]], plan: group.plans.levels[plans[row]], levels };
}

function levelsOf({ levels }) {
  return element(
    "dl",
    { class: "levels" },
    levels.flatMap(([name, level]) => [element("dt", {}, name), element("dd", {}, levelText(level))]),
  );
}

// A word that a POSIX shell reads as it stands.
const quoted = (word) => (/^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

// The condition that holds for this experiment alone.
function conditionOf(levels) {
  const literal = (level) => (typeof level === "boolean" ? (level ? "True" : "False") : JSON.stringify(level));
  return levels
    .filter(([name]) => /^[A-Za-z_]\w*$/.test(name))
    .map(([name, level]) => `${name} == ${literal(level)}`)
    .join(" and ");
}

function commandsOf(group, { id, plan, levels }) {
  const [grid, scale, preset] = plan;
  const own = levels.filter(([name]) => name !== "scale" && name !== "preset");
  const run = ["yates", "run", grid, "--scale", scale, "--preset", preset, ...(own.length ? ["--where", conditionOf(own)] : [])];
  return element(
    "div",
    { class: "commands" },
    element("h2", {}, "Run it again"),
    copyable(run.map(quoted).join(" ")),
    element("p", { class: "note" }, "In another workspace (-w) it computes everything again; in this one only what is unfinished. Overrides by --set are not recorded and have to be given again."),
    copyable(["yates", "why", id].map(quoted).join(" ")),
    copyable(["yates", "logs", id].map(quoted).join(" ")),
  );
}

async function figuresOf(group, row) {
  const rows = [];
  for (const metric of group.metrics) {
    const { values, errors } = await group.numbers(metric.name);
    if (Number.isFinite(values[row])) {
      const error = errors && Number.isFinite(errors[row]) ? `±${short(errors[row])}` : "–";
      rows.push({ primary: metric.primary && !metric.own, cells: [metric.name, short(values[row]), error, metric.unit] });
    }
  }
  const headings = ["metric", "value", "standard error", "unit"];
  const main = rows.filter((one) => one.primary).map((one) => one.cells);
  const others = rows.filter((one) => !one.primary).map((one) => one.cells);
  return [
    element("h2", {}, "Figures"),
    main.length ? tableOf(headings, main) : element("p", {}, "None yet."),
    ...(others.length ? [element("details", {}, element("summary", {}, `${others.length} more`), tableOf(headings, others))] : []),
  ];
}

async function stagesOf(group, row) {
  const places = (await group.places())[row];
  if (!places) return null;
  return Promise.all(places.map(async ([role, number]) => ({ role, ...(await group.stage(number)) })));
}

function stagesShown(stages) {
  const attempts = stages.flatMap((stage) => stage.attempts.map((attempt) => ({ role: stage.role, ...attempt })));
  const samples = stages.flatMap((stage) => stage.samples.map((sample) => ({ role: stage.role, ...sample })));
  return [
    element("h2", {}, "Curves"),
    element("div", { id: "curves", class: "chart", role: "img", "aria-label": "What training logged, by step" }),
    ...(samples.length ? samplesShown(samples) : []),
    element("h2", {}, "Attempts"),
    attemptsTable(attempts),
    element("h2", {}, "Stages and their recipes"),
    ...stages.map(stageShown),
  ];
}

function attemptsTable(attempts) {
  if (!attempts.length) return element("p", {}, "None yet.");
  const rows = attempts.map((one) => [
    one.role,
    String(one.number ?? "–"),
    element("span", { class: `status ${one.ending}` }, one.ending ?? "–"),
    one.host ?? "–",
    duration((one.ended ?? NaN) - (one.started ?? NaN)),
    one.resumed_from ? `${one.resumed_from} to ${one.step}` : String(one.step ?? "–"),
    one.peak_memory_bytes ? `${(one.peak_memory_bytes / 1e9).toFixed(2)} GB` : "–",
    one.traceback ? element("details", {}, element("summary", {}, one.message ?? "traceback"), element("pre", {}, one.traceback)) : one.message ?? "",
  ]);
  return tableOf(["stage", "attempt", "ended", "node", "time", "step", "memory", "message"], rows);
}

function stageShown(stage) {
  return element(
    "details",
    { class: "stage" },
    element("summary", {}, element("b", {}, stage.role), ` ${stage.kind} `, element("code", {}, stage.id.slice(0, 12))),
    stage.parents.length ? element("p", { class: "small" }, `Stands on ${stage.parents.map(([kind, id]) => `${kind} ${id.slice(0, 12)}`).join(", ")}.`) : null,
    element("pre", { tabindex: 0 }, stage.recipe ? JSON.stringify(stage.recipe, null, 2) : "The recipe is no longer in the workspace."),
  );
}

// Every text that a model wrote or was given is masked until the reader asks for it.
function samplesShown(samples) {
  const words = (text) => text.trim().split(/\s+/).filter(Boolean).length;
  const shown = (text) => (text === undefined ? "–" : textsShown ? text : `[masked: ${words(text)} word${words(text) === 1 ? "" : "s"}]`);
  const body = element("div", {});
  const button = element("button", { type: "button", "aria-pressed": String(textsShown), id: "texts" });
  const fill = () => {
    button.textContent = textsShown ? "Mask the texts" : "Show the texts (some may be offensive)";
    button.setAttribute("aria-pressed", String(textsShown));
    body.replaceChildren(
      tableOf(
        ["task", "prompt", "answer", "reference", "verdict", "score"],
        samples.map((one) => [
          stagesOfSample(one),
          ...["prompt", "completion", "reference"].map((name) => element("span", { class: textsShown ? "text" : "masked" }, shown(one[name]))),
          one.verdict ?? "–",
          one.score === undefined || one.score === null ? "–" : short(one.score),
        ]),
      ),
    );
  };
  button.addEventListener("click", () => {
    textsShown = !textsShown;
    fill();
  });
  fill();
  return [element("h2", {}, "Samples"), button, body];
}

const stagesOfSample = (one) => (one.role === "evaluate" ? `${one.task} ${one.item}` : `${one.role}: ${one.task} ${one.item}`);

async function showCurves(place, stages) {
  const data = stages.flatMap((stage) =>
    stage.curves.flatMap(([name, steps, values]) =>
      steps.flatMap((step, at) => (values[at] === null ? [] : [{ panel: plain(name), series: plain(stage.role), style: "", place: step, mean: values[at] }])),
    ),
  );
  const chart = place.querySelector("#curves");
  if (!data.length) {
    chart.replaceWith(element("p", {}, "No stage of this experiment logged a curve."));
    return;
  }
  const panels = [...new Set(data.map((one) => one.panel))];
  const series = [...new Set(data.map((one) => one.series))];
  const tips = [["series", "stage"], ["place", "step"], ["mean", "value"]];
  await drawChart(chart, (width) => curvesSpec(width, { data, panels, series, styles: [""], across: "step", tips, least: 230 }));
}
