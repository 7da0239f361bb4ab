// Which experiments the explorer shows, and how they fall into points: one for each row, colour, column and facet.

const PARTS = ["rows", "colour", "columns", "facets"];

// `hidden` maps a factor to the set of codes that are left out.
async function chosenRows(group, hidden) {
  const filters = [];
  for (const [name, codes] of Object.entries(hidden)) {
    if (codes.size && group.factor(name)) filters.push([await group.levels(name), codes]);
  }
  const rows = [];
  for (let row = 0; row < group.count; row++) {
    if (filters.every(([codes, left]) => !left.has(codes[row]))) rows.push(row);
  }
  return rows;
}

// Points with their means, intervals and the experiments behind them, in the order of the factors' levels.
async function pointsOf(group, { metric, hidden, interval, ...parts }) {
  const { values, errors, items } = await group.numbers(metric);
  const cells = await group.cells();
  const columns = [];
  for (const part of PARTS) columns.push(parts[part] ? await group.levels(parts[part]) : null);
  const found = new Map();
  for (const row of await chosenRows(group, hidden)) {
    if (!Number.isFinite(values[row])) continue;
    const codes = columns.map((column) => (column ? column[row] : 0));
    const key = codes.join(" ");
    if (!found.has(key)) found.set(key, { codes, runs: [] });
    found.get(key).runs.push({ row, value: values[row], error: errors ? errors[row] : NaN, cell: cells[row] });
  }
  const ordered = [...found.values()].sort((one, other) => compareCodes(one.codes, other.codes));
  return ordered.map(({ codes, runs }) => ({ codes, runs, ...estimate(runs, items, interval !== "seeds") }));
}

function compareCodes(one, other) {
  const place = one.findIndex((code, position) => code !== other[position]);
  return place < 0 ? 0 : rank(one[place]) - rank(other[place]);
}

// None, code 0, comes last.
const rank = (code) => (code === 0 ? Infinity : code);

const codeText = (factor, code) => (factor ? (code === 0 ? "none" : levelText(factor.levels[code - 1])) : "");

// The texts of a part's levels that some point has, in order.
function textsOf(group, name, points, position) {
  if (!name) return null;
  const codes = [...new Set(points.map((point) => point.codes[position]))].sort((a, b) => rank(a) - rank(b));
  return codes.map((code) => codeText(group.factor(name), code));
}
