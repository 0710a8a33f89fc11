"use strict";
// Numbers as text, numbers as colours, and maps that answer to the mouse and the keyboard.

const number = d3.format(".3f");
const short = d3.format(".1f");
/** A number as it stands inside a sum: a negative one in parentheses. */
const term = (value) => (value < 0 ? `(${number(value)})` : number(value));

// One colour scale for everything: dark below zero, grey at zero, light above it. Its lightness is monotonic, so that it
// is readable without colour vision (cividis, by Nuñez, Anderton and Renslow 2018).
const PALETTE = d3.quantize(d3.interpolateCividis, 255).map((text) => d3.rgb(text));
const colourOf = (value, limit) => PALETTE[Math.round((Math.max(-1, Math.min(1, value / limit)) + 1) * 127)];

/** Black or white, whichever has more contrast on a colour; the contrast is always 4.5 or more. */
function inkOn({ r, g, b }) {
  const linear = (c) => (c <= 10 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.179 ? "#000" : "#fff";
}

/** The largest magnitude in some lists of numbers; 1 where all are zero. */
const largest = (...lists) => d3.max(lists, (list) => d3.max(list, Math.abs)) || 1;

/** A size as text: "5 × 5". */
const times = (size) => size.join(" × ");

/** Paint numbers on a canvas, one pixel each, row by row; nothing where there is no number. */
function paint(canvas, height, width, valueOf, limit) {
  paintColours(canvas, height, width, (i) => {
    const value = valueOf(i);
    if (value === undefined) return [0, 0, 0, 0];
    const { r, g, b } = colourOf(value, limit);
    return [r, g, b, 255];
  });
}

function paintColours(canvas, height, width, colourAt) {
  Object.assign(canvas, { height, width });
  canvas.style.aspectRatio = `${width} / ${height}`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) image.data.set(colourAt(i), 4 * i);
  context.putImageData(image, 0, 0);
}

/** Paint the whole of a first volume: three maps as red, green and blue, otherwise its first map. */
function paintPicture(canvas, volume, limit) {
  if (volume.maps !== 3) return paintMap(canvas, volume, 0, limit);
  const level = (i, map) => {
    const [least, most] = volume.ranges[map];
    return (255 * (volume.values[3 * i + map] - least)) / (most - least || 1);
  };
  return paintColours(canvas, volume.height, volume.width, (i) => [level(i, 0), level(i, 1), level(i, 2), 255]);
}

function paintMap(canvas, volume, map, limit) {
  paint(canvas, volume.height, volume.width, (i) => volume.values[i * volume.maps + map], limit);
}

/** Put a frame around rows and columns of what an element shows, or remove it if there is no field. */
function frame(element, { height, width }, field) {
  d3.select(element)
    .selectAll(".frame")
    .data(field ? [field] : [])
    .join("span")
    .attr("class", "frame")
    .style("left", ({ columns }) => `${(100 * columns[0]) / width}%`)
    .style("top", ({ rows }) => `${(100 * rows[0]) / height}%`)
    .style("width", ({ columns }) => `${(100 * (columns[1] - columns[0] + 1)) / width}%`)
    .style("height", ({ rows }) => `${(100 * (rows[1] - rows[0] + 1)) / height}%`);
}

/** The field of a single pixel. */
const onePixel = (row, column) => ({ rows: [row, row], columns: [column, column] });

/** Row and column of the pixel under the mouse on an element that shows height x width pixels. */
function pixelUnder(event, element, { height, width }) {
  const [x, y] = d3.pointer(event, element);
  const box = element.getBoundingClientRect();
  const within = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
  return [within(y / box.height, height), within(x / box.width, width)];
}

const DIRECTIONS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** `moved` is called with the cell beside `cellOf()`, inside of `sizeOf()`, when an arrow key is pressed on an element. */
function steer(element, sizeOf, cellOf, moved) {
  element.addEventListener("keydown", (event) => {
    const direction = DIRECTIONS[event.key];
    if (!direction) return;
    event.preventDefault();
    const { height, width } = sizeOf();
    const [row, column] = cellOf();
    const within = (at, size) => Math.max(0, Math.min(size - 1, at));
    moved(within(row + direction[0], height), within(column + direction[1], width));
  });
}

/** Make the buttons of a toolbar a single tab stop, among which the arrow keys move the focus. */
function steerToolbar(toolbar) {
  const buttons = () => Array.from(toolbar.querySelectorAll("button"));
  toolbar.addEventListener("keydown", (event) => {
    const all = buttons();
    const columns = getComputedStyle(toolbar).gridTemplateColumns.split(" ").length;
    const [down, right] = DIRECTIONS[event.key] ?? [0, 0];
    const to =
      { Home: 0, End: all.length - 1 }[event.key] ?? all.indexOf(document.activeElement) + down * columns + right;
    if (!(event.key in DIRECTIONS || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    all[to]?.focus();
  });
  toolbar.addEventListener("focusin", (event) => {
    for (const button of buttons()) button.tabIndex = button === event.target ? 0 : -1;
  });
}
