// The list of experiments: found by name or id, by status, sorted by any metric, a page at a time.

const PAGE = 50;

async function showExperiments(text) {
  const place = document.getElementById("list");
  const given = Object.fromEntries(new URLSearchParams(text));
  const group = groups[Number(given.group ?? 0)] ?? groups[0];
  const state = { group: group.place, status: "", find: "", metric: group.metrics[0]?.name ?? "", sort: "", page: "0", ...given };
  const [ids, names, statuses] = await Promise.all([group.identities(), group.titles(), group.statuses()]);
  const numbers = group.metric(state.metric) ? await group.numbers(state.metric) : null;
  const body = element("div", { "aria-live": "polite" });
  const show = () => {
    history.replaceState(null, "", `#experiments/${new URLSearchParams(state)}`);
    body.replaceChildren(...listed(group, state, foundRows(group, state, ids, names, statuses, numbers?.values), { ids, names, statuses, numbers }, show));
  };
  place.replaceChildren(listControls(group, state, show), body);
  show();
}

function listControls(group, state, show) {
  const again = (changes) => {
    location.hash = `experiments/${new URLSearchParams({ ...state, ...changes, page: "0" })}`;
  };
  const search = element("input", { type: "search", id: "find", value: state.find, placeholder: "name or id" });
  search.addEventListener("input", () => {
    Object.assign(state, { find: search.value, page: "0" });
    show();
  });
  const statuses = [{ value: "", text: "all" }, ...group.status.levels.map((one) => ({ value: one, text: one }))];
  return element(
    "form",
    { class: "controls", onsubmit: (event) => event.preventDefault() },
    groups.length > 1
      ? choice("Study", groups.map((one) => ({ value: one.place, text: one.label })), state.group, (value) => {
          location.hash = `experiments/group=${value}`;
        })
      : null,
    element("div", { class: "field wide" }, element("label", { for: "find" }, "Find"), search),
    choice("Status", statuses, state.status, (value) => again({ status: value })),
    choice("Metric", metricOptions(group), state.metric, (value) => again({ metric: value })),
    choice("Order", [{ value: "", text: "as in the grid" }, { value: "up", text: "smallest first" }, { value: "down", text: "largest first" }], state.sort, (value) => again({ sort: value })),
  );
}

function foundRows(group, state, ids, names, statuses, values) {
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = group.status.levels.indexOf(state.status);
  const rows = [];
  for (let row = 0; row < group.count; row++) {
    if (state.status && statuses[row] !== wanted) continue;
    const text = `${ids[row]} ${names[row]}`.toLowerCase();
    if (words.every((word) => text.includes(word))) rows.push(row);
  }
  if (!state.sort || !values) return rows;
  const sign = state.sort === "up" ? 1 : -1;
  const known = rows.filter((row) => Number.isFinite(values[row]));
  return [...known.sort((one, other) => sign * (values[one] - values[other])), ...rows.filter((row) => !Number.isFinite(values[row]))];
}

function listed(group, state, rows, { ids, names, statuses, numbers }, show) {
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const page = Math.min(Number(state.page) || 0, pages - 1);
  const turn = (to) => () => {
    state.page = String(to);
    show();
  };
  const shown = rows.slice(page * PAGE, (page + 1) * PAGE).map((row) => [
    link(experimentTarget(group, ids[row]), ids[row]),
    names[row],
    element("span", { class: `status ${group.status.levels[statuses[row]]}` }, group.status.levels[statuses[row]]),
    numbers ? short(numbers.values[row]) : "–",
  ]);
  return [
    element("p", { class: "summary" }, `${counted(rows.length)} of ${counted(group.count)} experiments`),
    tableOf(["experiment", "name", "status", state.metric || "metric"], shown),
    element(
      "p",
      { class: "pages" },
      element("button", { type: "button", disabled: page === 0, onclick: turn(page - 1) }, "Back"),
      ` page ${page + 1} of ${pages} `,
      element("button", { type: "button", disabled: page + 1 >= pages, onclick: turn(page + 1) }, "On"),
    ),
  ];
}
