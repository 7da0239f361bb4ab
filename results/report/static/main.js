// Views by the page's address, figures drawn when they come into sight, and the choice of colours.

const VIEWS_BY_NAME = { studies: showHeading, findings: showHeading, explore: showExplorer, experiments: showExperiments, experiment: showExperiment };
const THEMES = ["system", "light", "dark"];

let showing = 0;

// A heading within a view that stands in the page as it is.
function showHeading(id) {
  const heading = id && document.getElementById(id);
  if (!heading) return;
  heading.focus({ preventScroll: true });
  heading.scrollIntoView();
}

async function route() {
  const number = ++showing;
  const [, name, rest] = /^#?([a-z]*)\/?(.*)$/.exec(location.hash) ?? [];
  const views = [...document.querySelectorAll("[data-view]")];
  const view = views.find((one) => one.id === name) ?? views[0];
  const changed = view.hidden;
  for (const one of views) one.hidden = one !== view;
  for (const one of document.querySelectorAll("nav a")) {
    const current = one.hash === `#${view.id}` || (view.id === "experiment" && one.hash === "#experiments");
    current ? one.setAttribute("aria-current", "page") : one.removeAttribute("aria-current");
    if (current) one.scrollIntoView({ block: "nearest", inline: "center" });
  }
  if (changed) scrollTo(0, 0);
  if (VIEWS_BY_NAME[view.id]) {
    try {
      await VIEWS_BY_NAME[view.id](rest ?? "");
    } catch (error) {
      console.error(error);
      view.append(element("p", { class: "note" }, `This could not be shown: ${error.message}`));
    }
  }
  if (number === showing) document.documentElement.dataset.ready = location.hash;
  if (drawnTheme !== isDark()) await recolour();
}

let drawnTheme = null;

async function recolour() {
  drawnTheme = isDark();
  await redrawAll(false);
}

function nextTheme() {
  const root = document.documentElement;
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
  setTheme(next);
  try {
    localStorage.setItem("yates-theme", next);
  } catch {
    // A page from a file share may have no storage; the choice then lasts as long as the page.
  }
  recolour();
}

function setTheme(theme) {
  const root = document.documentElement;
  theme === "system" ? delete root.dataset.theme : (root.dataset.theme = theme);
  document.querySelector("#theme span").textContent = theme;
}

function keptTheme() {
  try {
    return localStorage.getItem("yates-theme") ?? "system";
  } catch {
    return "system";
  }
}

async function drawFigure(container) {
  const figure = await chunkJson(index.figures[container.dataset.figure]);
  if (figure.kind === "picture") {
    container.replaceWith(element("img", { src: figure.source, alt: figure.title, class: "picture" }));
    return;
  }
  await drawChart(container, (width) => figureSpec(width, figure));
}

async function drawCost(container) {
  const kinds = index.cost[Number(container.dataset.cost)].kinds;
  const parts = ["compute", "load", "save", "startup", "other"];
  const scale = Math.max(...kinds.map((kind) => kind.hours)) < 2 ? [60, "minutes"] : [1, "hours"];
  const data = kinds.flatMap((kind) =>
    parts.map((part, place) => ({ row: kind.kind, part, place, value: kind[part] * scale[0], shown: duration(kind[part] * 3600) })),
  );
  if (!data.length) return;
  await drawChart(container, (width) => stackedSpec(width, { data, rows: kinds.map((kind) => kind.kind), parts, value: scale[1] }));
}

function watchFigures() {
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watch.unobserve(target);
        (target.dataset.figure ? drawFigure : drawCost)(target).catch((error) => console.error(error));
      }
    },
    { rootMargin: "300px" },
  );
  for (const one of document.querySelectorAll("[data-figure], [data-cost]")) watch.observe(one);
}

function start() {
  setTheme(keptTheme());
  drawnTheme = isDark();
  document.getElementById("theme").addEventListener("click", nextTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("hashchange", route);
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => redrawAll(true), 150);
  });
  watchFigures();
  route();
}
