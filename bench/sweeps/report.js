"use strict";
/* Draws the sweep that lies in the element #data: scatter, parallel coordinates, table, one trial.
   What the table's filters leave is what all of them show. */
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const numeric = data.columns.filter(c => rows.some(r => typeof r[c] === "number"));
const shades = { done: "#4b6a88", dominated: "#b6c2cf", constrained: "#d8b26a", failed: "#b04a4a" };
let shown = rows, sorting = { column: "trial", down: false }, chosen = null;

const make = (tag, props = {}, ...inside) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...inside);
  return node;
};
const show = v => v === null || v === undefined ? "" : typeof v === "number"
  ? (Number.isInteger(v) ? v.toLocaleString("en") : Number(v.toPrecision(5)).toString()) : String(v);
const plain = c => c.replace(/^config\./, "");

/* Logarithms where the largest is 30 times the least, as of error rates. */
function spread(column) {
  const known = rows.map(r => r[column]).filter(v => typeof v === "number");
  const least = known.reduce((a, b) => Math.min(a, b), Infinity);
  return least > 0 && known.reduce((a, b) => Math.max(a, b), 0) > 30 * least;
}

function axis(id, start) {
  const select = document.getElementById(id), log = document.getElementById(`log${id}`);
  for (const c of numeric) select.append(make("option", { value: c, textContent: plain(c) }));
  if (numeric.includes(start)) select.value = start;
  const suit = () => { log.checked = spread(select.value); };
  select.addEventListener("change", () => { suit(); scatter(); });
  log.addEventListener("change", scatter);
  suit();
}

function scatter() {
  const [x, y] = ["x", "y"].map(id => document.getElementById(id).value);
  const group = (name, of, marker) => ({
    name, x: of.map(r => r[x]), y: of.map(r => r[y]), customdata: of.map(r => r.trial),
    text: of.map(describe), hovertemplate: "%{text}<extra></extra>",
    mode: "markers", type: "scatter", marker,
  });
  const known = shown.filter(r => typeof r[x] === "number" && typeof r[y] === "number");
  const traces = Object.entries(shades).map(([state, color]) =>
    group(state, known.filter(r => r.state === state && !r.front), { size: 8, color }));
  const front = known.filter(r => r.front).sort((a, b) => a[x] - b[x]);
  traces.push({ ...group("front", front, { size: 12, color: "#c2410c", symbol: "diamond" }),
    mode: data.objectives.length === 2 && data.objectives.includes(x) && data.objectives.includes(y)
      ? "lines+markers" : "markers", line: { color: "#c2410c", width: 1, dash: "dot" } });
  const log = id => document.getElementById(id).checked ? "log" : "linear";
  Plotly.react("scatter", traces.filter(t => t.x.length), {
    margin: { l: 70, r: 20, t: 10, b: 50 }, hovermode: "closest", template: "plotly_white",
    xaxis: { title: { text: plain(x) }, type: log("logx") },
    yaxis: { title: { text: plain(y) }, type: log("logy") }, legend: { orientation: "h", y: 1.08 },
  }, { displaylogo: false, responsive: true });
}

function describe(row) {
  const parts = [...data.varied, ...data.objectives].map(c => `${plain(c)}: <b>${show(row[c])}</b>`);
  return `trial ${row.trial}, ${row.state}<br>${parts.join("<br>")}`;
}

function parallel() {
  const known = shown.filter(r => data.objectives.every(c => typeof r[c] === "number"));
  const node = document.getElementById("parallel");
  if (!known.length) { Plotly.purge(node); node.textContent = "No trial has all objectives."; return; }
  if (!node.data) node.textContent = "";
  const dimensions = [...data.varied, ...data.objectives].map(c => {
    if (numeric.includes(c)) return { label: plain(c), values: known.map(r => r[c]) };
    const names = [...new Set(known.map(r => show(r[c])))];
    return { label: plain(c), values: known.map(r => names.indexOf(show(r[c]))),
      tickvals: names.map((_, i) => i), ticktext: names };
  });
  Plotly.react(node, [{ type: "parcoords", dimensions, line: {
    color: known.map(r => r.front ? 1 : 0), cmin: 0, cmax: 1,
    colorscale: [[0, "#b6c2cf"], [1, "#c2410c"]] } }],
    { margin: { l: 60, r: 60, t: 60, b: 20 } }, { displaylogo: false, responsive: true });
}

function filters() {
  const row = document.getElementById("filters");
  for (const c of data.columns) {
    const input = make("input", { size: 8, title: `filter ${plain(c)}: text, or < 5, >= 3, = 4` });
    input.dataset.column = c;
    input.addEventListener("input", filter);
    row.append(make("td", {}, input));
  }
}

function filter() {
  const tests = [...document.querySelectorAll("#filters input")].filter(i => i.value.trim())
    .map(i => [i.dataset.column, test(i.value.trim())]);
  shown = rows.filter(r => tests.every(([c, t]) => t(r[c])));
  draw();
}

function test(text) {
  const match = text.match(/^(<=|>=|<|>|=)\s*(\S+)$/);
  if (!match) return v => show(v).toLowerCase().includes(text.toLowerCase());
  const bound = Number(match[2]);
  if (Number.isNaN(bound)) return v => String(v) === match[2];
  const relations = { "<": v => v < bound, ">": v => v > bound, "<=": v => v <= bound,
    ">=": v => v >= bound, "=": v => v === bound };
  return v => typeof v === "number" && relations[match[1]](v);
}

function table() {
  const head = document.getElementById("head");
  head.replaceChildren(...data.columns.map(c => {
    const cell = make("th", { textContent: plain(c),
      className: c === sorting.column ? (sorting.down ? "down" : "up") : "" });
    cell.addEventListener("click", () => {
      sorting = { column: c, down: c === sorting.column && !sorting.down };
      table();
    });
    return cell;
  }));
  const value = r => r[sorting.column];
  const order = (a, b) => a === b ? 0 : a === null || a === undefined ? 1
    : b === null || b === undefined ? -1 : typeof a === typeof b ? (a < b ? -1 : 1)
    : String(a) < String(b) ? -1 : 1;
  const sorted = [...shown].sort((a, b) => order(value(a), value(b)) * (sorting.down ? -1 : 1));
  document.getElementById("body").replaceChildren(...sorted.map(r => {
    const line = make("tr", { className: (r.front ? "front" : "") + (r.trial === chosen ? " chosen" : "") },
      ...data.columns.map(c => make("td", { textContent: show(r[c]) })));
    line.addEventListener("click", () => choose(r.trial));
    return line;
  }));
  document.getElementById("count").textContent = `${shown.length} of ${rows.length} trials`;
}

/* A small table: rows are [name, cell, ...]. */
function small(title, head, lines) {
  const row = (tag, cells) => make("tr", {}, ...cells.map(v =>
    make(tag, { textContent: v !== null && typeof v === "object" ? JSON.stringify(v) : show(v) })));
  return make("div", {}, make("h3", { textContent: title }), make("table", {},
    ...(head.length ? [row("th", ["", ...head])] : []), ...lines.map(line => row("td", line))));
}

/* A group's figures, a column for every stage that gives one of them. */
function figures([title, names], records) {
  const giving = records.filter(r => names.some(n => n in r.values));
  const lines = names.filter(n => giving.some(r => n in r.values))
    .map(n => [n.replace(/^register\./, ""), ...giving.map(r => r.values[n])]);
  return small(title, giving.map(r => r.stage), lines);
}

function choose(trial) {
  chosen = trial;
  const found = data.trials.find(t => t.number === trial);
  const groups = Object.entries(data.groups)
    .filter(([, names]) => found.records.some(r => names.some(n => n in r.values)));
  const parts = [make("p", { textContent: `Trial ${trial}: ${found.state}` }),
    make("div", { className: "columns" },
      small("configuration", [], Object.entries(found.config)),
      ...groups.map(group => figures(group, found.records)),
      small("stages", ["seconds of tools", "attempts", "cached", "key"],
        found.records.map(r => [r.stage, r.seconds, r.attempts, String(r.cached), r.key])))];
  for (const r of found.records) {
    if (r.error) parts.push(make("h3", { textContent: `${r.stage} failed` }), make("pre", { textContent: r.error + "\n\n" + r.log }));
  }
  document.getElementById("trial").replaceChildren(...parts);
  table();
}

function draw() { scatter(); parallel(); table(); }

axis("x", data.objectives[0]);
axis("y", data.objectives[1] ?? data.objectives[0]);
filters();
draw();
document.getElementById("scatter").on("plotly_click", event => choose(event.points[0].customdata));
const first = rows.find(r => r.front) ?? rows[0];
if (first) choose(first.trial);
