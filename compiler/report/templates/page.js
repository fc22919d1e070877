"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// light and dark: as the system, or as chosen
const theme = document.querySelector("#theme");
const dark = () => (document.body.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const choose = name => {
  if (name) document.body.style.colorScheme = document.documentElement.style.colorScheme = name;
  theme.textContent = dark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Show the page ${dark() ? "light" : "dark"}`);
};
const remembered = name => { try { return name ? localStorage.setItem("cortexc", name) : localStorage.getItem("cortexc"); } catch { return null; } };
choose(remembered());
theme.addEventListener("click", () => { const name = dark() ? "light" : "dark"; remembered(name); choose(name); });

// tables sort by a click on a head; what is empty stays below
const read = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
};
const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : `${a}`.localeCompare(`${b}`, "en", { numeric: true });
all("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0], column = head.cellIndex;
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  all("th", head.parentElement).forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [read(a, column), read(b, column)];
    return (x === "") - (y === "") || sign * compare(x, y);
  });
  body.append(...rows);
}));

// charts: a cursor with the values below it, a legend that hides lines, and zooming along x
const points = path => path.getAttribute("d").match(/[-.\de]+ [-.\de]+/g)?.map(pair => pair.split(" ").map(Number)) ?? [];
const rounded = value => Number(value.toPrecision(4)).toLocaleString("en");
const ticks = (low, high, least) => {
  const step0 = 10 ** Math.floor(Math.log10((high - low) / 5));
  const step = Math.max(least, step0 * [1, 2, 5, 10].reduce((a, b) => Math.abs((high - low) / (step0 * b) - 5) < Math.abs((high - low) / (step0 * a) - 5) ? b : a));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
};
all(".chart").forEach(chart => {
  const plot = chart.querySelector(".plot"), svg = chart.querySelector("svg"), tip = chart.querySelector(".tip"), cursor = chart.querySelector(".cursor");
  const [left, right] = chart.dataset.across.split(" ").map(Number), [low, high] = chart.dataset.up.split(" ").map(Number);
  const rows = chart.classList.contains("rows");
  const lines = rows ? [] : all(".line", svg).map(path => ({ path, name: path.dataset.name, at: points(path) })).filter(line => line.at.length);
  const places = [...new Set(lines.flatMap(line => line.at.map(p => p[0])))].sort((a, b) => a - b);
  let first = 0, width = 1000, place = 0;
  const view = (from, wide) => {
    width = Math.min(1000, Math.max(2, wide));
    first = Math.min(1000 - width, Math.max(0, from));
    plot.classList.toggle("near", width < 1000);
    svg.setAttribute("viewBox", `${first} 0 ${width} 1000`);
    const [a, b] = [first, first + width].map(x => left + (right - left) * x / 1000);
    chart.querySelector(".xs").replaceChildren(...ticks(a, b, "whole" in chart.dataset ? 1 : 0).map(value => {
      const span = document.createElement("span");
      span.textContent = value.toLocaleString("en", { maximumSignificantDigits: 10 });
      span.style.left = `${100 * (value - a) / (b - a)}%`;
      return span;
    }));
  };
  const nearest = (list, x) => list.reduce((best, each) => Math.abs(each - x) < Math.abs(best - x) ? each : best, list[0]);
  const show = x => {
    if (!places.length) return;
    place = nearest(places, x);
    const share = 100 * (place - first) / width;
    const texts = lines.filter(line => !line.path.classList.contains("off")).map(line => {
      const [, y] = line.at.reduce((best, each) => Math.abs(each[0] - place) < Math.abs(best[0] - place) ? each : best);
      return `${line.name}: ${rounded(high - (high - low) * y / 1000)}`;
    });
    tip.replaceChildren(...[`${rounded(left + (right - left) * place / 1000)} ${chart.querySelector(".unit.x").textContent}`, ...texts].map(text => {
      const row = document.createElement("div");
      row.textContent = text;
      return row;
    }));
    tip.hidden = cursor.hidden = false;
    cursor.style.left = `${share}%`;
    Object.assign(tip.style, share > 50 ? { right: `${102 - share}%`, left: "auto" } : { left: `${share + 2}%`, right: "auto" });
  };
  const hide = () => { tip.hidden = cursor.hidden = true; };
  const under = event => first + width * (event.clientX - plot.getBoundingClientRect().left) / plot.clientWidth;
  const zoom = (factor, middle = first + width / 2) => { view(middle - (middle - first) * factor, width * factor); hide(); };
  let from = null;
  plot.addEventListener("pointermove", event => show(under(event)));
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("pointerdown", event => { from = event.pointerType === "mouse" ? under(event) : null; });
  plot.addEventListener("pointerup", event => {
    const to = under(event);
    if (from !== null && Math.abs(to - from) > width / 50) view(Math.min(from, to), Math.abs(to - from));
    from = null;
  });
  plot.addEventListener("dblclick", () => view(0, 1000));
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", event => {
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key], factor = { "+": .5, "-": 2 }[event.key];
    if (side && places.length) show(places[Math.min(places.length - 1, Math.max(0, places.indexOf(place) + side))]);
    else if (side) view(first + side * width / 4, width);
    else if (factor) zoom(factor);
    else if (event.key === "Escape") { view(0, 1000); hide(); } else return;
    event.preventDefault();
  });
  all(".tools button", chart).forEach(button => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));
  all(".legend button", chart).forEach(button => button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    all("[data-name]", svg).filter(path => path.dataset.name === button.dataset.name).forEach(path => path.classList.toggle("off", !on));
  }));
});

// drawings: what a pointer, or the arrow keys, are on is told, and its flows are lit
all(".drawing").forEach(drawing => {
  const nodes = all("[data-node]", drawing), flows = all(".flow", drawing), told = drawing.querySelector("output"), svg = drawing.querySelector("svg");
  const show = node => {
    svg.classList.toggle("dim", !!node);
    flows.forEach(flow => flow.classList.toggle("lit", !!node && [flow.dataset.from, flow.dataset.to].includes(node.dataset.node)));
    told.textContent = node ? node.getAttribute("aria-label") : "";
  };
  if (nodes.length) nodes[0].tabIndex = 0;
  nodes.forEach((node, index) => {
    node.addEventListener("pointerenter", () => show(node));
    node.addEventListener("pointerleave", () => show(null));
    node.addEventListener("focus", () => show(node));
    node.addEventListener("blur", () => show(null));
    node.addEventListener("keydown", event => {
      const side = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      const next = nodes[index + (side ?? 0)];
      if (!side || !next) return;
      event.preventDefault();
      node.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });
});
