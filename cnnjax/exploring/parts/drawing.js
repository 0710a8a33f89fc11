"use strict";
// The pad for a digit drawn by hand, and its way into the 28 x 28 grey levels of MNIST.

const GRID = 28;
const BOX = 18; // the line's middle fits this square; with its width that is the 20 x 20 box of MNIST
const PEN = 2.4; // pixels

/**
 * The grey levels of strokes, which are lists of [x, y] in the unit square: scaled to the box of MNIST, with the centre
 * of mass in the middle.
 */
function gridFromStrokes(strokes) {
  const points = strokes.flat();
  if (points.length === 0) return new Uint8Array(GRID * GRID);
  const [left, right] = d3.extent(points, ([x]) => x);
  const [top, bottom] = d3.extent(points, ([, y]) => y);
  const scale = Math.min(BOX / Math.max(right - left, bottom - top), 3 * GRID); // a dot stays a dot
  const middle = [(left + right) / 2, (top + bottom) / 2];
  const place =
    (centre) =>
    ([x, y]) => [(x - middle[0]) * scale + centre[0], (y - middle[1]) * scale + centre[1]];
  const drawn = rasterise(strokes, place([GRID / 2, GRID / 2]));
  const mass = d3.sum(drawn);
  const away = (coordinate) => GRID / 2 - d3.sum(drawn, (grey, i) => grey * (coordinate(i) + 0.5)) / mass;
  const shift = [away((i) => i % GRID), away((i) => Math.floor(i / GRID))];
  return rasterise(strokes, place(shift.map((d) => GRID / 2 + d)));
}

/** The grey levels of strokes after `place` has moved each of their points onto the grid. */
function rasterise(strokes, place) {
  const context = new OffscreenCanvas(GRID, GRID).getContext("2d", { willReadFrequently: true });
  trace(
    context,
    strokes.map((stroke) => stroke.map(place)),
    PEN,
  );
  const rgba = context.getImageData(0, 0, GRID, GRID).data;
  return Uint8Array.from({ length: GRID * GRID }, (_, i) => rgba[4 * i + 3]);
}

/** Draw strokes as smooth lines of a width. */
function trace(context, strokes, width) {
  const line = d3.line().curve(d3.curveCatmullRom).context(context);
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) {
    context.beginPath();
    line(stroke.length > 1 ? stroke : [stroke[0], stroke[0].map((x) => x + 1e-3)]);
    context.stroke();
  }
}

/**
 * Let a person draw on a canvas with a finger, a mouse, or the arrow keys (space lowers and lifts the pen).
 * `changed` is called with the grey levels; the result offers `undo` and `clear`.
 */
function drawingPad(canvas, changed) {
  const context = canvas.getContext("2d");
  const strokes = [];
  let pen = null; // of the keyboard: {x, y, down}
  const unit = ([x, y]) => [x / canvas.clientWidth, y / canvas.clientHeight].map((t) => Math.min(Math.max(t, 0), 1));

  function repaint() {
    const size = canvas.width;
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, size, size);
    context.strokeStyle = style.color;
    trace(
      context,
      strokes.map((stroke) => stroke.map(([x, y]) => [x * size, y * size])),
      (PEN / BOX) * size * 0.7,
    );
    if (pen && document.activeElement === canvas) {
      context.beginPath();
      context.arc(pen.x * size, pen.y * size, size / 30, 0, 2 * Math.PI);
      Object.assign(context, { lineWidth: 3, strokeStyle: style.outlineColor, fillStyle: style.outlineColor });
      context.stroke();
      if (pen.down) context.fill();
    }
  }

  function update() {
    repaint();
    changed(gridFromStrokes(strokes));
  }

  d3.select(canvas).call(
    d3
      .drag()
      .container(canvas)
      .on("start", ({ x, y }) => {
        pen = null;
        strokes.push([unit([x, y])]);
        update();
      })
      .on("drag", ({ x, y }) => {
        strokes.at(-1).push(unit([x, y]));
        update();
      }),
  );

  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const direction = directions[event.key];
    if (!direction && event.key !== " ") return;
    event.preventDefault();
    pen ??= { x: 0.5, y: 0.2, down: false };
    if (direction) {
      [pen.x, pen.y] = [pen.x + direction[0] / 20, pen.y + direction[1] / 20].map((t) => Math.min(Math.max(t, 0), 1));
    } else {
      pen.down = !pen.down;
      if (pen.down) strokes.push([]);
    }
    if (pen.down) strokes.at(-1).push([pen.x, pen.y]);
    if (pen.down) update();
    else repaint();
  });
  canvas.addEventListener("focus", repaint);
  canvas.addEventListener("blur", repaint);

  return {
    repaint,
    undo() {
      strokes.pop();
      pen = null;
      update();
    },
    clear() {
      strokes.length = 0;
      pen = null;
      update();
    },
  };
}
