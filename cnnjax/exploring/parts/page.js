"use strict";
// The page: the pictures, the volumes, and how the value at the chosen place is computed.

const data = JSON.parse(document.getElementById("data").textContent);
const ACTIVATIONS = activationFunctions(data.scaledTanh);
const networks = data.variants.map((variant) => decodeNetwork(variant, data.input, ACTIVATIONS));
const pictures = data.pictures.map(({ pixels, values, ...picture }) => ({
  ...picture,
  ...(pixels ? { pixels: decodeBytes(pixels) } : { values: decodeFloats(values) }),
}));
const VIEWS = data.views.map((view) => ({
  ...view,
  grid: view.grid && { height: view.grid[0], width: view.grid[1] },
}));
const VIEW = new Map(VIEWS.map((view) => [view.name, view]));

const chosen = { variant: 0, picture: pictures[data.firstPicture] };
let volumes = forward(networks[0], chosen.picture); // of the chosen picture, in the network of the chosen variant
const isOnePixel = ({ height, width }) => height * width === 1;
const LAST = VIEWS.at(-1);
const SCORES = !LAST.grid && isOnePixel(volumes.get(LAST.name)) ? LAST.name : null; // the layer that is drawn as bars
const START = data.start ?? placeToStart(); // what is shown first
let pinned = START;
let pointed = null; // where the mouse is, as long as it is on a map
let sliding = null; // the timer that moves the kernel over the map
let tourStep = null;

/** The largest value of the first convolution that adds up several maps, or of any; of the last layer if there is none. */
function placeToStart() {
  const layers = networks[0].layers;
  const adds = ({ kind, reads }) => kind === "conv" && d3.some(reads, (maps) => maps.length > 1);
  const { name } = layers.slice(1).find(adds) ?? layers.find(adds) ?? layers.find(({ kind }) => kind === "conv") ?? layers.at(-1);
  const volume = volumes.get(name);
  const index = d3.maxIndex(volume.values, Math.abs);
  const pixel = Math.floor(index / volume.maps);
  const at = { row: Math.floor(pixel / volume.width), column: pixel % volume.width };
  return { layer: name, map: index % volume.maps, ...at };
}

const network = () => networks[chosen.variant];
const place = () => pointed ?? pinned;
const find = (selector) => document.querySelector(selector);
const fill = (text, words) => text.replace(/\{(\w+)\}/g, (_, word) => words[word]);
/** The limit of the colours of a volume. */
const limitOf = (name) => data.range ?? largest(volumes.get(name).values);

/** A place in words, without the pixel: "C3 map 7". */
function nameOf({ layer, map }) {
  const { title, map_names: names } = VIEW.get(layer);
  if (layer === "input") return names?.length === 1 ? `the ${names[0]}` : `the picture’s ${names?.[map] ?? ""} map`;
  if (layer === SCORES) return fill(data.words.unit, { class: data.classes[map] });
  return `${title} ${isOnePixel(volumes.get(layer)) ? "value" : "map"} ${map}`;
}
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const listed = (items) => (items.length > 1 ? `${items.slice(0, -1).join(", ")} and ${items.at(-1)}` : `${items[0]}`);

// --- what the user does

function choosePicture(picture) {
  chosen.picture = picture;
  compute();
}

function chooseVariant(index) {
  chosen.variant = index;
  compute();
}

function compute() {
  volumes = forward(network(), chosen.picture);
  showPicture();
  find("#variant-text").textContent = data.variants[chosen.variant].sentence;
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
  find("#picture-heading span:last-child").textContent = data.words.choose_picture;
  const buttons = d3
    .select("#pictures")
    .attr("aria-label", data.words.pictures)
    .selectAll("button")
    .data(pictures)
    .join("button")
    .attr("type", "button")
    .attr("tabindex", (picture) => (picture === chosen.picture ? 0 : -1))
    .attr("aria-label", ({ name }) => capital(name))
    .attr("title", ({ name }) => name)
    .on("click", (_, picture) => choosePicture(picture));
  buttons.append("canvas").each(function (picture) {
    const volume = prepare(data.input, picture);
    paintPicture(this, volume, data.range ?? largest(volume.values));
  });
  steerToolbar(find("#pictures"));
  if (data.drawing) buildPad();
  d3.selectAll("#theme input").on("change", ({ target }) => {
    document.documentElement.dataset.theme = target.value;
    find("#pad").dispatchEvent(new Event("focus")); // repaints it
  });
}

function buildPad() {
  find(".pad").hidden = false;
  const drawn = (pixels) => ({ height: GRID, width: GRID, maps: 1, label: null, pixels });
  const pad = drawingPad(find("#pad"), (pixels) => choosePicture(drawn(pixels)));
  find("#undo").addEventListener("click", pad.undo);
  find("#clear").addEventListener("click", pad.clear);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", pad.repaint);
}

function showPicture() {
  d3.selectAll("#pictures button").attr("aria-pressed", (picture) => `${picture === chosen.picture}`);
  const scores = volumes.get(network().layers.at(-1).name);
  const answer = find("#answer");
  if (!isOnePixel(scores)) return;
  if (chosen.picture.pixels && !d3.some(chosen.picture.pixels, (level) => level > 0) && data.drawing) {
    answer.textContent = "The pad is empty.";
    return;
  }
  const sign = data.smallestWins ? 1 : -1;
  const [first, second] = d3.range(scores.maps).sort((a, b) => sign * (scores.values[a] - scores.values[b]));
  const escape = (text) => String(text).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
  const words = {
    first: escape(data.classes[first]),
    second: escape(data.classes[second]),
    value: short(scores.values[first]),
    other: short(scores.values[second]),
  };
  const { label } = chosen.picture;
  const verdict =
    label === null
      ? ""
      : label === first
        ? " That is right."
        : ` That is wrong: it is a ${escape(data.classes[label])}.`;
  const runnerUp = second === undefined ? "" : ` <span class="soft">${fill(data.words.runner_up, words)}</span>`;
  answer.innerHTML = `${fill(data.words.answer, words)}${verdict}${runnerUp}`;
}

// --- 2: the volumes

function buildVariants() {
  d3.select("#variants").attr("hidden", data.variants.length > 1 ? null : "");
  find("#variants legend").textContent = data.words.variants;
  const labels = d3.select("#variants").selectAll("label").data(data.variants).join("label");
  labels
    .append("input")
    .attr("type", "radio")
    .attr("name", "variant")
    .attr("value", ({ name }) => name)
    .property("checked", (_, i) => i === chosen.variant)
    .on("change", (_, variant) => chooseVariant(data.variants.indexOf(variant)));
  labels.append("span").text(({ title }) => title);
}

function buildVolumes() {
  const layers = d3.select("#volumes").selectAll(".layer").data(VIEWS).join("div").attr("class", "layer");
  layers.attr("data-layer", ({ name }) => name);
  layers.append("h3").text(({ title }) => title);
  layers
    .append("p")
    .attr("class", "soft")
    .text(({ text }) => text);
  layers.each(function (layer) {
    const build = layer.grid ? buildGrid : isOnePixel(volumes.get(layer.name)) ? buildBars : buildMaps;
    build(this, layer);
  });
  d3.select("#volumes").append("svg").attr("id", "links").attr("aria-hidden", "true");
  addEventListener("resize", showLinks);
}

/** A toolbar with a button for each map of a layer. */
function buildButtons(parent, { name, columns }, label) {
  const toolbar = d3.select(parent).append("div").attr("class", "maps");
  toolbar.classed("few", columns === 1).classed("many", columns > 10);
  toolbar.style("--columns", columns).style("--narrow", columns > 8 ? Math.ceil(columns / 2) : columns);
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
  const { name, title, map_names: names } = layer;
  const buttons = buildButtons(parent, layer, `Maps of ${title}`);
  buttons.append("span").attr("class", "map").append("canvas");
  buttons
    .append("span")
    .attr("class", "name")
    .text((map) => names?.[map] ?? map);
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

/** The output: a bar for each score or distance. */
function buildBars(parent, layer) {
  const buttons = buildButtons(parent, layer, `Values of ${layer.title}`);
  buttons.append("span").attr("class", "bar").append("i");
  buttons
    .append("span")
    .attr("class", "name")
    .text((map) => data.classes[map]);
  buttons.append("span").attr("class", "distance figure");
  buttons.append("span").attr("class", "visually-hidden");
  buttons.each(function (map) {
    offer(this, () => ({ layer: layer.name, map, row: 0, column: 0 }));
  });
}

/** A layer of single values, drawn as one grid. */
function buildGrid(parent, { name, title, grid }) {
  const box = d3.select(parent).append("div").attr("class", "cells").attr("data-layer", name);
  box.style("--width", grid.width < 10 ? `${0.8 * grid.width}rem` : null);
  const canvas = box.append("canvas").attr("tabindex", 0).attr("role", "application").node();
  canvas.setAttribute("aria-label", `Values of ${title}. The arrow keys choose one.`);
  const last = volumes.get(name).maps - 1; // the last row of the grid may not be full
  const at = (row, column) => ({ layer: name, map: Math.min(row * grid.width + column, last), row: 0, column: 0 });
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
  legend.append("span").text(data.range ? `−${number(data.range)}` : "negative");
  paint(legend.append("canvas").attr("aria-hidden", "true").node(), 1, PALETTE.length, (i) => (i - 127) / 127, 1);
  legend.append("span").text(data.range ? number(data.range) : "positive");
  const scaled = data.range ? "Kernels and responses use" : "Every volume, kernel and response uses";
  legend
    .append("p")
    .text(
      `Dark: below zero; grey: zero; light: above zero. ${scaled} the same colours, scaled to ` +
        `${data.range ? "their" : "its"} own largest magnitude.`,
    );
}

function showVolumes() {
  for (const { name, grid } of VIEWS) {
    const volume = volumes.get(name);
    const parent = find(`.layer[data-layer="${name}"]`);
    if (grid) paint(parent.querySelector("canvas"), grid.height, grid.width, (i) => volume.values[i], limitOf(name));
    else if (isOnePixel(volume)) showBars(parent, volume.values);
    else parent.querySelectorAll("canvas").forEach((canvas, map) => paintMap(canvas, volume, map, limitOf(name)));
  }
}

function showBars(parent, values) {
  const winner = data.smallestWins ? d3.minIndex(values) : d3.maxIndex(values);
  const share = d3.scaleLinear([Math.min(0, d3.min(values)), Math.max(0, d3.max(values)) || 1], [0, 100]);
  const buttons = d3
    .select(parent)
    .selectAll("button")
    .classed("winner", (map) => map === winner);
  buttons
    .select("i")
    .style("bottom", (map) => `${share(Math.min(0, values[map]))}%`)
    .style("height", (map) => `${Math.abs(share(values[map]) - share(0))}%`);
  buttons.select(".distance").text((map) => short(values[map]));
  const best = data.smallestWins ? "the smallest" : "the largest";
  buttons.select(".visually-hidden").text((map) => (map === winner ? best : ""));
}

/** Mark in all volumes what is chosen, what it reads, and its receptive field. */
function showMarks() {
  const at = place();
  const fields = receptiveFields(network(), volumes, at);
  const source = at.layer === "input" ? null : sourceOf(network(), at.layer);
  for (const { name, grid } of VIEWS) {
    const volume = volumes.get(name);
    const field = fields.get(name);
    const parent = find(`.layer[data-layer="${name}"]`);
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
        if (name === SCORES) return null; // it says its class and value
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
  const source = at.layer === "input" ? null : find(`.layer[data-layer="${sourceOf(network(), at.layer)}"]`);
  const readers = find(`.layer[data-layer="${at.layer}"]`);
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

find("#introduction").innerHTML = data.introduction;
find("#note").textContent = data.note;
buildPicture();
buildVariants();
buildVolumes();
buildLegend();
buildChosen();
buildTour();
compute();
