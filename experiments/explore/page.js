"use strict";
// The page: the pictures, the volumes, and how the value at the chosen place is computed.

const data = JSON.parse(document.getElementById("data").textContent);
const networks = data.schemes.map((scheme) => decodeNetwork(scheme, data.input, data.activation));
const RANGE = data.activation.amplitude; // of every volume but the last: the lightest colour, and its negative the darkest

const LAYERS = [
  {
    name: "input",
    title: "Picture",
    columns: 1,
    text: "32 × 32 numbers: −0.1 where nothing is drawn, up to 1.175 for ink.",
  },
  {
    name: "c1",
    title: "C1",
    columns: 6,
    text: "6 maps of 28 × 28. Each slides its own 5 × 5 kernel over the picture.",
  },
  { name: "s2", title: "S2", columns: 6, text: "6 maps of 14 × 14. Each 2 × 2 block of a C1 map becomes one value." },
  { name: "c3", title: "C3", columns: 8, text: "16 maps of 10 × 10. Each combines the S2 maps that it reads." },
  { name: "s4", title: "S4", columns: 16, text: "16 maps of 5 × 5. Each 2 × 2 block of a C3 map becomes one value." },
  { name: "c5", title: "C5", grid: { height: 4, width: 30 }, text: "120 values. Each reads all of S4." },
  {
    name: "f6",
    title: "F6",
    grid: { height: 12, width: 7 },
    text: "84 values. Each reads all of C5. Drawn as 7 × 12 they should look like a printed digit.",
  },
  {
    name: "output",
    title: "Output",
    columns: 10,
    text: "How far F6 is from each printed digit. The smallest distance wins.",
  },
];
const LAYER = new Map(LAYERS.map((layer) => [layer.name, layer]));

// What is shown first: on the 3, this value sums contributions of both signs and is not saturated.
const START = { layer: "c3", map: 6, row: 2, column: 4 };
const chosen = { scheme: 0, digit: 3, pixels: decodeBytes(data.digits[3].pixels) };
let volumes; // of the chosen picture, in the network of the chosen scheme
let pinned = START;
let pointed = null; // where the mouse is, as long as it is on a map
let sliding = null; // the timer that moves the kernel over the map
let tourStep = null;

const network = () => networks[chosen.scheme];
const place = () => pointed ?? pinned;
const find = (selector) => document.querySelector(selector);
/** A place in words, without the pixel: "C3 map 7". */
function nameOf({ layer, map }) {
  if (layer === "input") return "the picture";
  if (layer === "output") return `the output for digit ${map}`;
  return `${LAYER.get(layer).title} ${LAYER.get(layer).grid ? "value" : "map"} ${map}`;
}
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const listed = (items) => (items.length > 1 ? `${items.slice(0, -1).join(", ")} and ${items.at(-1)}` : `${items[0]}`);

// --- what the user does

function choosePicture(pixels, digit) {
  Object.assign(chosen, { pixels, digit });
  compute();
}

function chooseScheme(index) {
  chosen.scheme = index;
  compute();
}

function compute() {
  volumes = forward(network(), chosen.pixels);
  showPicture();
  showScheme();
  showVolumes();
  showPlace();
}

/** Show a place while the mouse is on it. */
function point(next) {
  pointed = next;
  showPlace();
}

/** Show a place and stay there. */
function pin(next) {
  sliding?.stop();
  sliding = null;
  pinned = next;
  pointed = null;
  showPlace();
  find("#spoken").textContent = `${find("#place").textContent} ${find("#value").textContent}`;
}

/** An element that shows the place under the mouse, and keeps it when it is clicked. */
function offer(element, placeAt) {
  element.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(placeAt(event)));
  element.addEventListener("pointerleave", () => point(null));
  element.addEventListener("click", (event) => pin(placeAt(event)));
}

/** Move over all positions of the pinned map, one after the other; stop if it is already moving. */
function slide() {
  if (sliding) return pin(pinned);
  const { height, width } = volumes.get(pinned.layer);
  let position = 0;
  sliding = d3.interval(() => {
    pinned = { ...pinned, row: Math.floor(position / width), column: position % width };
    position = (position + 1) % (height * width);
    showPlace();
  }, 150);
  return showPlace();
}

// --- 1: the picture

function buildPicture() {
  const buttons = d3
    .select("#digits")
    .selectAll("button")
    .data(data.digits)
    .join("button")
    .attr("type", "button")
    .attr("tabindex", (_, i) => (i === chosen.digit ? 0 : -1))
    .attr("aria-label", ({ label }) => `Handwritten ${label}`)
    .on("click", (_, digit) => choosePicture(decodeBytes(digit.pixels), data.digits.indexOf(digit)));
  buttons.append("canvas").each(function ({ pixels }) {
    paintMap(this, prepare(data.input, decodeBytes(pixels)), 0, RANGE);
  });
  steerToolbar(find("#digits"));
  const pad = drawingPad(find("#pad"), (pixels) => choosePicture(pixels, null));
  find("#undo").addEventListener("click", pad.undo);
  find("#clear").addEventListener("click", pad.clear);
  const repaint = () => pad.repaint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  d3.selectAll("#theme input").on("change", ({ target }) => {
    document.documentElement.dataset.theme = target.value;
    repaint();
  });
}

function showPicture() {
  d3.selectAll("#digits button").attr("aria-pressed", (_, i) => `${i === chosen.digit}`);
  const distances = volumes.get("output").values;
  const [first, second] = d3.range(10).sort((a, b) => distances[a] - distances[b]);
  const label = chosen.digit === null ? null : data.digits[chosen.digit].label;
  const verdict = label === null ? "" : label === first ? " That is right." : ` That is wrong: it is a ${label}.`;
  find("#answer").innerHTML = d3.some(chosen.pixels, (grey) => grey > 0)
    ? `The network reads <strong>${first}</strong>.${verdict} <span class="soft">Its output is at distance ` +
      `${short(distances[first])} from a printed ${first}; next is ${second}, at ${short(distances[second])}.</span>`
    : "The pad is empty.";
}

// --- 2: the volumes

function buildSchemes() {
  const labels = d3.select("#schemes").selectAll("label").data(data.schemes).join("label");
  labels
    .append("input")
    .attr("type", "radio")
    .attr("name", "scheme")
    .attr("value", ({ name }) => name)
    .property("checked", (_, i) => i === chosen.scheme)
    .on("change", (_, scheme) => chooseScheme(data.schemes.indexOf(scheme)));
  labels.append("span").text(({ title }) => title);
}

function showScheme() {
  const { sentence, counts, testError } = data.schemes[chosen.scheme];
  const count = d3.format(",");
  find("#scheme-text").textContent =
    `${sentence} C3 has ${count(counts.num_weights)} weights + ${counts.num_biases} biases = ` +
    `${count(counts.num_weights + counts.num_biases)} parameters and ${count(counts.num_connections)} connections. ` +
    `The network trained with it has a test error of ${short(testError)}\u00a0%.`;
}

function buildVolumes() {
  const layers = d3.select("#volumes").selectAll(".layer").data(LAYERS).join("div").attr("class", "layer");
  layers.attr("data-layer", ({ name }) => name);
  layers.append("h3").text(({ title }) => title);
  layers
    .append("p")
    .attr("class", "soft")
    .text(({ text }) => text);
  layers.each(function (layer) {
    const build = layer.grid ? buildGrid : layer.name === "output" ? buildBars : buildMaps;
    build(this, layer);
  });
  d3.select("#volumes").append("svg").attr("id", "links").attr("aria-hidden", "true");
  addEventListener("resize", showLinks);
}

/** A toolbar with a button for each map of a layer. */
function buildButtons(parent, { name, columns }, label) {
  const toolbar = d3.select(parent).append("div").attr("class", "maps").attr("data-columns", columns);
  toolbar.attr("role", "toolbar").attr("aria-label", label);
  const buttons = toolbar
    .selectAll("button")
    .data(d3.range(volumes.get(name).maps))
    .join("button")
    .attr("type", "button")
    .attr("data-map", (map) => map)
    .attr("tabindex", (map) => (map === 0 ? 0 : -1));
  steerToolbar(toolbar.node());
  return buttons;
}

/** A layer of maps. */
function buildMaps(parent, layer) {
  const { name, title } = layer;
  const buttons = buildButtons(parent, layer, `Maps of ${title}`);
  buttons.append("span").attr("class", "map").append("canvas");
  buttons
    .append("span")
    .attr("class", "name")
    .text((map) => (name === "input" ? "picture" : map));
  buttons.each(function (map) {
    const picture = this.querySelector(".map");
    offer(this, (event) => {
      const volume = volumes.get(name);
      const byKeyboard = event.type === "click" && event.detail === 0; // then the pixel stays the same, if the map has it
      const stays = [Math.min(pinned.row, volume.height - 1), Math.min(pinned.column, volume.width - 1)];
      const [row, column] = byKeyboard ? stays : pixelUnder(event, picture, volume);
      return { layer: name, map, row, column };
    });
  });
}

/** The output: a bar for each distance. */
function buildBars(parent, layer) {
  const buttons = buildButtons(parent, layer, "Distances to the ten digits");
  buttons.append("span").attr("class", "bar").append("i");
  buttons.append("span").attr("class", "name").text(String);
  buttons.append("span").attr("class", "distance figure");
  buttons.append("span").attr("class", "visually-hidden");
  buttons.each(function (map) {
    offer(this, () => ({ layer: layer.name, map, row: 0, column: 0 }));
  });
}

/** A layer of single values, drawn as one grid. */
function buildGrid(parent, { name, title, grid }) {
  const box = d3.select(parent).append("div").attr("class", "cells").attr("data-layer", name);
  const canvas = box.append("canvas").attr("tabindex", 0).attr("role", "application").node();
  canvas.setAttribute("aria-label", `Values of ${title}. The arrow keys choose one.`);
  const at = (row, column) => ({ layer: name, map: row * grid.width + column, row: 0, column: 0 });
  offer(canvas, (event) => at(...pixelUnder(event, canvas, grid)));
  const cell = () => (pinned.layer === name ? [Math.floor(pinned.map / grid.width), pinned.map % grid.width] : [0, -1]);
  steer(
    canvas,
    () => grid,
    cell,
    (row, column) => pin(at(row, column)),
  );
}

function buildLegend() {
  const legend = d3.select("#legend");
  legend.append("span").text(`−${number(RANGE)}`);
  paint(legend.append("canvas").attr("aria-hidden", "true").node(), 1, PALETTE.length, (i) => (i - 127) / 127, 1);
  legend.append("span").text(`${number(RANGE)}`);
  legend
    .append("p")
    .text(
      "Dark: below zero; grey: zero; light: above zero. Kernels and responses use the same colours, scaled to their own largest magnitude.",
    );
}

function showVolumes() {
  for (const { name, grid } of LAYERS) {
    const volume = volumes.get(name);
    const parent = find(`.layer[data-layer=${name}]`);
    if (grid) paint(parent.querySelector("canvas"), grid.height, grid.width, (i) => volume.values[i], RANGE);
    else if (name === "output") showBars(parent, volume.values);
    else parent.querySelectorAll("canvas").forEach((canvas, map) => paintMap(canvas, volume, map, RANGE));
  }
}

function showBars(parent, distances) {
  const winner = d3.minIndex(distances);
  const buttons = d3
    .select(parent)
    .selectAll("button")
    .classed("winner", (map) => map === winner);
  buttons.select("i").style("height", (map) => `${(100 * distances[map]) / d3.max(distances)}%`);
  buttons.select(".distance").text((map) => short(distances[map]));
  buttons.select(".visually-hidden").text((map) => (map === winner ? "the smallest" : ""));
}

/** Mark in all volumes what is chosen, what it reads, and its receptive field. */
function showMarks() {
  const at = place();
  const fields = receptiveFields(network(), volumes, at);
  const source = at.layer === "input" ? null : sourceOf(network(), at.layer);
  for (const { name, grid } of LAYERS) {
    const volume = volumes.get(name);
    const field = fields.get(name);
    const parent = find(`.layer[data-layer=${name}]`);
    if (grid) {
      const cell = at.layer === name ? onePixel(Math.floor(at.map / grid.width), at.map % grid.width) : null;
      const all = field && { rows: [0, grid.height - 1], columns: [0, grid.width - 1] };
      frame(parent.querySelector(".cells"), grid, cell ?? all);
      continue;
    }
    d3.select(parent)
      .selectAll("button")
      .attr("aria-pressed", (map) => `${at.layer === name && at.map === map}`)
      .classed("lit", (map) => Boolean(field?.maps.has(map)))
      .classed("unlit", (map) => Boolean(field && !field.maps.has(map)))
      .attr("aria-label", (map) => {
        if (name === "output") return null; // it says its digit and distance
        const read = name === source && field.maps.has(map) ? `, read by ${nameOf(at)}` : "";
        return `${capital(nameOf({ layer: name, map }))}${read}`;
      })
      .each(function (map) {
        const picture = this.querySelector(".map");
        const own = at.layer === name && at.map === map ? onePixel(at.row, at.column) : null;
        if (picture) frame(picture, volume, own ?? (field?.maps.has(map) ? field : null));
      });
  }
}

/** Draw a line from every map that is read to the one that reads it. */
function showLinks() {
  const at = place();
  const svg = d3.select("#links");
  const origin = find("#volumes").getBoundingClientRect();
  const end = (element, side) => {
    const box = element.getBoundingClientRect();
    return [box.left + box.width / 2 - origin.left, box[side] - origin.top];
  };
  const source = at.layer === "input" ? null : find(`.layer[data-layer=${sourceOf(network(), at.layer)}]`);
  const readers = find(`.layer[data-layer=${at.layer}]`);
  const target = readers.querySelector('[aria-pressed="true"]') ?? readers.querySelector(".frame");
  const starts = source ? Array.from(source.querySelectorAll(".lit, .cells")) : [];
  svg
    .selectAll("path")
    .data(target ? starts.map((start) => ({ source: end(start, "bottom"), target: end(target, "top") })) : [])
    .join("path")
    .attr("d", d3.linkVertical());
}

// --- all of it

/** Show everything that depends on the place. */
function showPlace() {
  showMarks();
  showExplanation();
  showTour();
  showLinks();
  find("#reader span").textContent = `${find("#place").textContent} ${find("#value").textContent}`;
}

/** The enlarged map of part 3 takes the mouse and the arrow keys. */
function buildChosen() {
  const canvas = find("#chosen canvas");
  const size = () => volumes.get(place().layer);
  const at = (row, column) => ({ ...place(), row, column });
  offer(canvas, (event) => at(...pixelUnder(event, canvas, size())));
  steer(
    canvas,
    () => volumes.get(pinned.layer),
    () => [pinned.row, pinned.column],
    (row, column) => pin({ ...pinned, row, column }),
  );
  find("#slide").addEventListener("click", slide);
}

function buildTour() {
  find("#tour-start").addEventListener("click", startTour);
  find("#tour-back").addEventListener("click", () => turnTour(-1));
  find("#tour-next").addEventListener("click", () => turnTour(1));
  find("#tour-end").addEventListener("click", () => turnTour(tourSteps.length));
}

volumes = forward(network(), chosen.pixels);
find("#note").textContent = data.note;
buildPicture();
buildSchemes();
buildVolumes();
buildLegend();
buildChosen();
buildTour();
compute();
