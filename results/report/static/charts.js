// Charts by Vega-Lite: points with intervals in rows, curves, heat maps and stacked bars, in the colours of the page.

const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#3C8DBC", "#444444", "#A0522D"];
const DARK = ["#56B4E9", "#FF8C42", "#2FC89F", "#E59AC8", "#F0E442", "#9BB8FF", "#DDDDDD", "#E0B088"];
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"];
const DASHES = [[1, 0], [5, 3], [2, 2], [8, 3, 2, 3]];
const MANY_MARKS = 1500;

const drawn = new Map();
let libraryReady = null;

function plottingLibrary() {
  libraryReady ??= unpack("library").then((bytes) => {
    document.head.append(element("script", {}, new TextDecoder().decode(bytes)));
  });
  return libraryReady;
}

const isDark = () =>
  document.documentElement.dataset.theme === "dark" ||
  (document.documentElement.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

function pageConfig() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const text = { labelColor: colour("--text"), titleColor: colour("--text") };
  return {
    background: "transparent",
    font: FONT,
    view: { stroke: colour("--line") },
    axis: { ...text, labelFontSize: LABEL, titleFontSize: LABEL, labelOverlap: "greedy", labelSeparation: 6, gridColor: colour("--line"), domainColor: colour("--line"), tickColor: colour("--line"), titleFontWeight: 500 },
    header: { ...text, labelFontSize: 13, labelFontWeight: 600, labelLimit: 320 },
    legend: { ...text, labelFontSize: LABEL, titleFontSize: LABEL, orient: "top", symbolLimit: 60, labelLimit: 240 },
    title: { color: colour("--text"), anchor: "start" },
    range: { category: isDark() ? DARK : LIGHT, symbol: SHAPES },
  };
}

// Draw what `make(width)` gives, and again when the width or the colours change. `pick` hears of the datum clicked at.
async function drawChart(container, make, pick) {
  const draw = async () => {
    await plottingLibrary();
    const width = container.clientWidth || 600;
    const { marks = 0, ...spec } = make(width);
    container.dataset.width = width;
    const legend = pageConfig().legend;
    const config = { ...pageConfig(), legend: { ...legend, columns: Math.max(1, Math.floor(width / 170)) } };
    const { view } = await window.vegaEmbed(
      container,
      { $schema: "https://vega.github.io/schema/vega-lite/v6.json", config, ...spec },
      {
        ast: true,
        logLevel: 1,
        renderer: marks > MANY_MARKS ? "canvas" : "svg",
        actions: { export: true, source: false, compiled: false, editor: false },
        tooltip: { theme: isDark() ? "dark" : "light" },
      },
    );
    container.dataset.drawn = "yes";
    if (pick) view.addEventListener("click", (_, item) => item?.datum && pick(item.datum));
  };
  drawn.set(container, draw);
  await draw();
}

async function redrawAll(onlyResized) {
  for (const [container, draw] of drawn) {
    if (!container.isConnected) drawn.delete(container);
    else if (container.clientWidth && !(onlyResized && Math.abs(container.clientWidth - container.dataset.width) < 24)) {
      await draw();
    }
  }
}

function panelColumns(count, width, least) {
  return Math.max(1, Math.min(count, Math.floor(width / least)));
}

const FONT = "system-ui, sans-serif";
const LABEL = 12;
const ruler = document.createElement("canvas").getContext("2d");

// The room that the longest of `texts` takes as labels of an axis, a third of the width at most (on a phone, a half).
function labelSpace(width, texts) {
  ruler.font = `${LABEL}px ${FONT}`;
  const longest = Math.max(0, ...texts.map((text) => ruler.measureText(text).width));
  return Math.ceil(Math.min(width * (width < 600 ? 0.47 : 0.34), longest + 4));
}

// `text` in as many lines as it takes to be no wider than `width` pixels.
function inLines(text, width) {
  ruler.font = `600 13px ${FONT}`;
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && ruler.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

const isKnown = (name) => (datum) => Number.isFinite(datum[name]);
const tipsOf = (tips) => tips.map(([field, title]) => ({ field, title }));

// A picture of small views: one for each panel, in a grid of panels and downs where both are chosen. Where the page is
// narrow the views stand below each other, those without data left out. `view` makes one of its data, width and place.
function gridSpec(width, { data, panels, downs, labels, least, gap, view }) {
  const wide = (panels ?? [null]).length;
  const fitting = panelColumns(wide, width - labels, least);
  const crossed = Boolean(panels && downs) && fitting === wide;
  const columns = crossed ? wide : fitting;
  const places = (downs ?? [null]).flatMap((down) => (panels ?? [null]).map((panel) => ({ panel, down })));
  const inner = Math.max(120, Math.floor((width - labels - 24) / columns) - gap);
  const of = ({ panel, down }) =>
    data.filter((datum) => (panel === null || datum.panel === panel) && (down === null || datum.down === down));
  const shown = places.map((place) => ({ ...place, data: of(place) })).filter((place) => crossed || place.data.length);
  const concat = shown.map((place, number) => {
    const title = [place.panel, place.down].filter((text) => text !== null).join(" · ");
    return {
      ...(title ? { title: { text: inLines(title, inner + (number % columns === 0 ? labels : 0)), fontSize: 13, anchor: "start", offset: 6 } } : {}),
      data: { values: place.data },
      width: inner,
      ...view(place.data, inner, number % columns === 0),
    };
  });
  return { marks: data.length * 2, columns, spacing: 16, align: "each", concat };
}

// Rows of points with intervals. A datum has row, series, mean, low, high, published, n and, as wanted, panel, down.
function rowsSpec(width, { data, rows, series, panels, downs, value, colour, shared, tips }) {
  const labels = labelSpace(width, rows);
  const several = series.length > 1;
  const legend = several ? { title: colour } : null;
  const named = { field: "series", type: "nominal", sort: series, scale: { domain: series }, legend };
  const tooltip = tipsOf(tips);
  const domain = shared ? domainOf(data) : null;
  const view = (part, inner, first) => {
    const scale = domain ? { domain, nice: true } : { zero: false };
    const axis = { type: "quantitative", scale, title: value, axis: { tickCount: Math.ceil(inner / 70) } };
    const y = {
      field: "row", type: "nominal", sort: rows, scale: { domain: rows }, title: null,
      axis: { labelLimit: labels, grid: false, labels: first, ticks: first },
    };
    const base = { y, color: named, ...(several ? { yOffset: { field: "series", type: "nominal", sort: series, scale: { domain: series } } } : {}) };
    const point = (field, mark, encoding = {}) => ({
      transform: [{ filter: `isValid(datum.${field})` }],
      mark: { type: "point", cursor: "pointer", ...mark },
      encoding: { ...base, ...encoding, x: { ...axis, field }, tooltip },
    });
    const layers = {
      low: { mark: { type: "rule", strokeWidth: 1.6, opacity: 0.75 }, encoding: { ...base, x: { ...axis, field: "low" }, x2: { field: "high" }, tooltip } },
      run: point("run", { filled: true, size: 14, opacity: 0.45 }),
      mean: point("mean", { filled: true, size: 55, opacity: 1 }, { shape: named }),
      published: point("published", { filled: false, size: 120, strokeWidth: 1.4 }, { shape: named }),
    };
    const present = Object.keys(layers).filter((name) => part.some(isKnown(name)));
    return {
      height: { step: several ? Math.max(8, 18 / series.length + 5) : 20, for: several ? "offset" : "position" },
      layer: (present.length ? present : ["mean"]).map((name) => layers[name]),
    };
  };
  return gridSpec(width, { data, panels, downs, labels, least: 190, gap: 16, view });
}

function domainOf(data) {
  const values = data.flatMap((one) => [one.low, one.high, one.mean, one.run, one.published]).filter(Number.isFinite);
  const [least, most] = values.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);
  const room = (most - least || Math.abs(most) || 1) * 0.03;
  return [least - room, most + room];
}

// Curves over a number. A datum has panel, series, style, place, mean, low, high.
function curvesSpec(width, { data, panels, series, styles, across, colour, tips, least = 250 }) {
  const legend = series.length > 1 ? { title: colour ?? null } : null;
  const strokes = { symbolType: "stroke", symbolSize: 300, symbolOpacity: 1, symbolStrokeWidth: 2 };
  const named = { field: "series", type: "nominal", sort: series, scale: { domain: series }, legend: legend && { ...legend, ...strokes } };
  const dashes = { field: "style", type: "nominal", sort: styles, scale: { domain: styles, range: DASHES } };
  const dashed = styles.length > 1 ? { strokeDash: { ...dashes, legend: { title: null, values: styles.filter(Boolean), ...strokes } } } : {};
  const lines = new Map();
  for (const one of data) {
    const key = JSON.stringify([one.panel, one.series, one.style]);
    lines.set(key, [...(lines.get(key) ?? []), one]);
  }
  for (const line of lines.values()) if (line.length === 1) line[0].alone = true;
  const x = { field: "place", type: "quantitative", title: across, scale: { zero: false, nice: false }, axis: { tickCount: 5 } };
  const view = (part) => {
    const large = part.some((one) => Math.abs(one.mean ?? one.published) >= 10_000);
    const level = part.every((one) => one.mean === part[0].mean && !isKnown("low")(one) && !isKnown("published")(one));
    const ticks = level ? { values: [part[0].mean], format: ".4~g" } : { tickCount: 5, ...(large ? { format: "~s" } : {}) };
    const y = { type: "quantitative", title: null, scale: { zero: false }, axis: ticks };
    const bar = {
      transform: [{ filter: "isValid(datum.low) && datum.alone" }],
      mark: { type: "rule", strokeWidth: 1.5, opacity: 0.6 },
      encoding: { x, color: named, y: { ...y, field: "low" }, y2: { field: "high" }, tooltip: tipsOf(tips) },
    };
    const band = {
      transform: [{ filter: "isValid(datum.low) && !datum.alone" }],
      mark: { type: "area", opacity: 0.14 },
      encoding: { x, color: named, detail: { field: "style" }, y: { ...y, field: "low" }, y2: { field: "high" } },
    };
    const known = [{ filter: "isValid(datum.mean)" }];
    const line = { transform: known, mark: { type: "line", strokeWidth: 1.7 }, encoding: { x, color: named, ...dashed, y: { ...y, field: "mean" } } };
    const dots = { transform: known, mark: { type: "point", filled: true, size: 14 }, encoding: { x, color: named, y: { ...y, field: "mean" }, tooltip: tipsOf(tips) } };
    const printed = [{ type: "line", strokeWidth: 0.8, opacity: 0.7 }, { type: "point", filled: false, size: 50 }].map((mark) => ({
      transform: [{ filter: "isValid(datum.published)" }],
      mark,
      encoding: { x, color: named, detail: { field: "style" }, y: { ...y, field: "published" }, tooltip: tipsOf(tips) },
    }));
    const drawn = part.some(isKnown("mean")) ? [line, dots] : [];
    return { height: 150, layer: [...(part.some(isKnown("low")) ? [band, bar] : []), ...drawn, ...(part.some(isKnown("published")) ? printed : [])] };
  };
  return gridSpec(width, { data, panels, downs: null, labels: 0, least, gap: 62, view });
}

function heatSpec(width, { data, rows, across, panels, downs, value, tips }) {
  const labels = labelSpace(width, rows);
  const [least, most] = domainOf(data);
  const view = (part, inner, first) => {
    const encoding = {
      x: { field: "series", type: "nominal", sort: across, scale: { domain: across }, title: null, axis: { labelAngle: -35, labelLimit: 140 } },
      y: { field: "row", type: "nominal", sort: rows, scale: { domain: rows }, title: null, axis: { labelLimit: labels, labels: first, ticks: first } },
      tooltip: tipsOf(tips),
    };
    const colour = { field: "mean", type: "quantitative", title: value, scale: { scheme: "cividis", domain: [least, most] } };
    const written = { condition: { test: `datum.mean < ${(least + most) / 2}`, value: "#ffffff" }, value: "#111111" };
    return {
      width: Math.max(inner, across.length * 44),
      height: { step: 26 },
      layer: [
        { mark: { type: "rect", cursor: "pointer" }, encoding: { ...encoding, color: colour } },
        { mark: { type: "text", fontSize: 11, cursor: "pointer" }, encoding: { ...encoding, text: { field: "mean", type: "quantitative", format: ".3~g" }, color: written } },
      ],
    };
  };
  return gridSpec(width, { data, panels, downs, labels, least: Math.max(190, across.length * 44), gap: 40, view });
}

function stackedSpec(width, { data, rows, parts, value }) {
  const labels = labelSpace(width, rows);
  return {
    data: { values: data },
    marks: data.length,
    width: Math.max(120, width - labels - 40),
    height: { step: 22 },
    mark: { type: "bar" },
    encoding: {
      y: { field: "row", type: "nominal", sort: rows, title: null, axis: { labelLimit: labels } },
      x: { field: "value", type: "quantitative", title: value, stack: "zero", axis: { tickCount: Math.ceil(width / 90) } },
      color: { field: "part", type: "nominal", sort: parts, scale: { domain: parts }, legend: { title: null } },
      order: { field: "place" },
      tooltip: [{ field: "row", title: "kind" }, { field: "part", title: "part" }, { field: "shown", title: "time" }],
    },
  };
}

// A figure of a study: what `results.report.charts` made of it.
function figureSpec(width, figure) {
  const [panels, series, rows] = [figure.panels, figure.series, figure.rows].map((texts) => texts.map(plain));
  const data = figure.points.map((point) => ({
    ...point,
    panel: panels[point.panel],
    series: series[point.series],
    row: rows[point.place],
    style: plain(point.style ?? ""),
    interval: intervalText(point),
  }));
  const tips = [["series", "series"], ["mean", "mean"], ["interval", "95 % interval"], ["n", "n"], ["published", "published"]];
  if (figure.kind === "rows") {
    return rowsSpec(width, { data, rows, series, panels, value: null, colour: null, shared: false, tips: [["row", "row"], ...tips] });
  }
  const styles = [...new Set(data.map((one) => one.style))];
  const across = plain(figure.across);
  return curvesSpec(width, { data, panels, series, styles, across, tips: [["place", across || "step"], ["style", "line"], ...tips] });
}

const intervalText = ({ low, high }) => (Number.isFinite(low) && Number.isFinite(high) ? `${short(low)} to ${short(high)}` : "–");
