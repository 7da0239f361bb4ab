// Means with intervals as `results.statistics.combined_interval` has them, here over one cell or several.

function quantile(df) {
  const known = index.quantiles;
  const last = known.length - 1;
  const normal = known[last];
  if (!Number.isFinite(df)) return normal;
  return df <= last ? known[df - 1] : normal + ((known[last - 1] - normal) * last) / df;
}

function moments(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, squares: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) };
}

// The mean of the cells' means. What seeds do is pooled within cells; the items are the same for all runs, so that their
// error does not shrink with more of them.
// Without `shared` only seeds are at random: the interval for a comparison on the same items.
function estimate(runs, items, shared = true) {
  const cells = new Map();
  for (const run of runs) {
    if (!cells.has(run.cell)) cells.set(run.cell, []);
    cells.get(run.cell).push(run.value);
  }
  const found = [...cells.values()].map((values) => ({ n: values.length, ...moments(values) }));
  const mean = moments(found.map((cell) => cell.mean)).mean;
  const df = runs.length - found.length;
  const weight = found.reduce((sum, cell) => sum + 1 / cell.n, 0) / found.length ** 2;
  const pooled = found.reduce((sum, cell) => sum + cell.squares, 0) / Math.max(df, 1);
  const errors = runs.map((run) => run.error).filter(Number.isFinite);
  const seeds = { variance: pooled * weight, df };
  const reach = shared && errors.length && !(items && items < 2) ? bothReach(errors, items, seeds) : seedsReach(seeds);
  return { mean, n: runs.length, cells: found.length, low: mean - reach, high: mean + reach };
}

function seedsReach({ variance, df }) {
  return df > 0 ? quantile(df) * Math.sqrt(variance) : NaN;
}

function bothReach(errors, items, seeds) {
  const shared = errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length;
  const parts = [[shared, quantile(items ? items - 1 : Infinity)]];
  if (seeds.df > 0 && seeds.variance > 0) parts.push([seeds.variance, quantile(seeds.df)]);
  const total = parts.reduce((sum, [variance]) => sum + variance, 0);
  if (total === 0) return 0;
  return (parts.reduce((sum, [variance, t]) => sum + variance * t, 0) / total) * Math.sqrt(total);
}
