"use strict";
// The arithmetic of the network, in plain loops and float64, independent of the page.
//
// A volume is {height, width, maps, values}; the value of a map at a row and a column is
// values[(row * width + column) * maps + map], the order in which cnnjax keeps it. A vector is a volume of one pixel.
// A place is {layer, map, row, column}, all counted from 0.
//
// A layer with a kernel or window lists in `rows[i]` the rows that its taps read at position i, and in `columns[j]` the
// columns; -1 stands for the zeros beyond the edge.

/** The float32 numbers behind a base64 string. */
function decodeFloats(text) {
  return new Float32Array(decodeBytes(text).buffer);
}

/** The bytes behind a base64 string. */
function decodeBytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** A network ready to run, from the description that cnnjax.explore writes. */
function decodeNetwork(variant, input, activations) {
  const layers = variant.layers.map((layer) => {
    const decoded = { ...layer, f: activations[layer.activation].f };
    for (const key of ["w", "b", "mean", "var", "codes"]) if (key in layer) decoded[key] = decodeFloats(layer[key]);
    if (layer.kind === "scale") Object.assign(decoded, scaleAndShift(decoded));
    if (layer.kind === "conv") decoded.slices = sliceKernels(layer, decodeFloats(layer.slices));
    return decoded;
  });
  return { input, layers };
}

/** A batch normalisation as one factor `w` and one addend `b` for each map. */
function scaleAndShift({ w, b, mean, var: variance, eps }) {
  if (!w) return {};
  const scale = Float64Array.from(w, (weight, map) => weight / Math.sqrt(variance[map] + eps));
  return { w: scale, b: Float64Array.from(b, (shift, map) => shift - mean[map] * scale[map]) };
}

/** The kernel slices of each output map, one for each map that it reads, as views of one array. */
function sliceKernels({ reads, kernel }, weights) {
  const taps = kernel[0] * kernel[1];
  let link = 0;
  return reads.map((maps) => maps.map(() => weights.subarray(taps * link, taps * ++link)));
}

/** The activation functions of cnnjax.ACTIVATIONS. */
function activationFunctions({ amplitude, slope }) {
  const sigmoid = (a) => 1 / (1 + Math.exp(-a));
  const hardSigmoid = (a) => Math.min(6, Math.max(0, a + 3)) / 6;
  return {
    identity: { f: (a) => a },
    scaled_tanh: {
      f: (a) => amplitude * Math.tanh(slope * a),
      formula: (a) => `${amplitude} · tanh(⅔ · ${a})`,
      text: "a scaled tanh, which keeps every value between −1.716 and 1.716",
      limits: [-2, 2],
    },
    tanh: {
      f: Math.tanh,
      formula: (a) => `tanh(${a})`,
      text: "tanh, which keeps every value between −1 and 1",
      limits: [-1.2, 1.2],
    },
    sigmoid: {
      f: sigmoid,
      formula: (a) => `1 / (1 + exp(−${a}))`,
      text: "the sigmoid, which keeps every value between 0 and 1",
      limits: [-0.2, 1.2],
    },
    relu: {
      f: (a) => Math.max(0, a),
      formula: (a) => `max(0, ${a})`,
      text: "ReLU, which sets every negative value to 0",
    },
    relu6: {
      f: (a) => Math.min(6, Math.max(0, a)),
      formula: (a) => `min(6, max(0, ${a}))`,
      text: "ReLU6, which keeps every value between 0 and 6",
      limits: [-1, 7],
    },
    hard_sigmoid: {
      f: hardSigmoid,
      formula: (a) => `min(6, max(0, ${a} + 3)) / 6`,
      text: "the hard sigmoid, which keeps every value between 0 and 1",
      limits: [-0.2, 1.2],
    },
    hard_swish: {
      f: (a) => a * hardSigmoid(a),
      formula: (a) => `${a} · min(6, max(0, ${a} + 3)) / 6`,
      text: "hard swish, which lets large values pass and damps negative ones",
    },
    gelu: {
      f: (a) => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3))),
      formula: (a) => `gelu(${a})`,
      text: "GELU, which lets large values pass and damps negative ones",
    },
    silu: {
      f: (a) => a * sigmoid(a),
      formula: (a) => `${a} · sigmoid(${a})`,
      text: "SiLU, which lets large values pass and damps negative ones",
    },
  };
}

function emptyVolume(height, width, maps) {
  return { height, width, maps, values: new Float64Array(height * width * maps) };
}

/** One map of a volume, as a volume. */
function single(volume, map) {
  const values = Float64Array.from(
    { length: volume.height * volume.width },
    (_, i) => volume.values[i * volume.maps + map],
  );
  return { ...volume, maps: 1, values };
}

function valueAt(volume, map, row, column) {
  return volume.values[(row * volume.width + column) * volume.maps + map];
}

/**
 * The first volume of a picture: levels 0 to 255, centred on the background and scaled as `network.input.prepare` does,
 * or values that are prepared already. `ranges` are the darkest and lightest value of each map.
 */
function prepare(input, picture) {
  if (picture.values) {
    const volume = { ...picture, values: Float64Array.from(picture.values) };
    return { ...volume, ranges: d3.range(volume.maps).map((map) => d3.extent(single(volume, map).values)) };
  }
  const [background, foreground] = [input.background, input.foreground].map((value) =>
    d3.range(input.shape[2]).map((map) => (value.length ? value[map] : value)),
  );
  const [height, width, maps] = input.shape;
  const volume = { ...emptyVolume(height, width, maps), ranges: d3.zip(background, foreground) };
  const [top, left] = [Math.floor((height - picture.height) / 2), Math.floor((width - picture.width) / 2)];
  volume.values.forEach((_, i) => (volume.values[i] = background[i % maps]));
  for (let row = 0; row < picture.height; row++)
    for (let i = 0; i < picture.width * maps; i++) {
      const [low, high] = volume.ranges[i % maps];
      volume.values[((row + top) * width + left) * maps + i] =
        (picture.pixels[row * picture.width * maps + i] / 255) * (high - low) + low;
    }
  return volume;
}

/** Every volume (activation tensor) of one picture, by name, from "input" to the last layer. */
function forward(network, picture) {
  let volume = prepare(network.input, picture);
  const volumes = new Map([["input", volume]]);
  for (const layer of network.layers) {
    volume = COMPUTE[layer.kind](layer, volume);
    volumes.set(layer.name, volume);
  }
  return volumes;
}

const COMPUTE = {
  conv(layer, source) {
    const result = emptyVolume(layer.rows.length, layer.columns.length, layer.reads.length);
    eachValue(result, (map, row, column) => {
      let sum = 0;
      for (let i = 0; i < layer.reads[map].length; i++) sum += partialResponse(layer, source, map, i, row, column);
      return layer.f(sum + biasOf(layer, map));
    });
    return result;
  },
  pool(layer, source) {
    const result = emptyVolume(layer.rows.length, layer.columns.length, source.maps);
    eachValue(result, (map, row, column) => layer.f(pooled(layer, source, map, row, column) + biasOf(layer, map)));
    return result;
  },
  scale(layer, source) {
    const result = emptyVolume(source.height, source.width, source.maps);
    eachValue(result, (map, row, column) =>
      layer.f(valueAt(source, map, row, column) * factorOf(layer, map) + biasOf(layer, map)),
    );
    return result;
  },
  dense(layer, source) {
    const result = emptyVolume(1, 1, layer.units);
    eachValue(result, (unit) => {
      let sum = 0;
      for (let i = 0; i < source.values.length; i++) sum += source.values[i] * layer.w[i * layer.units + unit];
      return layer.f(sum + biasOf(layer, unit));
    });
    return result;
  },
  rbf(layer, source) {
    const size = source.values.length;
    const result = emptyVolume(1, 1, layer.codes.length / size);
    eachValue(result, (unit) => d3.sum(source.values, (x, i) => (x - layer.codes[unit * size + i]) ** 2));
    return result;
  },
};

function eachValue(volume, compute) {
  let place = 0;
  for (let row = 0; row < volume.height; row++)
    for (let column = 0; column < volume.width; column++)
      for (let map = 0; map < volume.maps; map++) volume.values[place++] = compute(map, row, column);
}

const biasOf = (layer, map) => (layer.b ? layer.b[map] : 0);
const factorOf = (layer, map) => (layer.w ? layer.w[map] : 1);

/** What lies under a kernel or window at a position of one map, row by row; undefined beyond the edge. */
function patchOf(layer, source, from, row, column) {
  return layer.rows[row].flatMap((r) =>
    layer.columns[column].map((c) => (r < 0 || c < 0 ? undefined : valueAt(source, from, r, c))),
  );
}

/** The sum, mean or maximum of a window; a sum is multiplied by the weight of its map. */
function pooled(layer, source, map, row, column) {
  const inside = patchOf(layer, source, map, row, column).filter((x) => x !== undefined);
  if (layer.takes === "max") return d3.max(inside);
  if (layer.takes === "mean") return d3.sum(inside) / dividedBy(layer, row, column);
  return layer.w[map] * d3.sum(inside);
}

/** How many pixels the mean of a window divides by. */
const dividedBy = (layer, row, column) => layer.counted[0][row] * layer.counted[1][column];

/** The sum of the products of the i-th kernel slice of a map with what lies under it. */
function partialResponse(layer, source, map, i, row, column) {
  const [slice, from] = [layer.slices[map][i], layer.reads[map][i]];
  const [down, across] = [layer.rows[row], layer.columns[column]];
  let sum = 0;
  for (let u = 0; u < down.length; u++)
    for (let v = 0; v < across.length; v++)
      if (down[u] >= 0 && across[v] >= 0)
        sum += slice[u * across.length + v] * source.values[(down[u] * source.width + across[v]) * source.maps + from];
  return sum;
}

/** The name of the volume that a layer reads. */
function sourceOf(network, name) {
  const index = network.layers.findIndex((layer) => layer.name === name);
  return index > 0 ? network.layers[index - 1].name : "input";
}

/**
 * How the value at a place is computed: `parts` whose amounts add up to `sum`, then `bias` and `preactivation`, then
 * `value`. In a convolution a part is what one source map contributes: its patch, kernel slice and whole response map.
 */
function derive(network, volumes, place) {
  const layer = network.layers.find(({ name }) => name === place.layer);
  const source = volumes.get(sourceOf(network, layer.name));
  const derivation = { layer, source, parts: DERIVE[layer.kind](layer, source, place) };
  derivation.sum = d3.sum(derivation.parts, (part) => part.amount);
  derivation.bias = layer.b?.[place.map];
  derivation.preactivation = derivation.sum + (derivation.bias ?? 0);
  derivation.value = valueAt(volumes.get(layer.name), place.map, place.row, place.column);
  return derivation;
}

const DERIVE = {
  conv(layer, source, { map, row, column }) {
    return layer.reads[map].map((from, i) => {
      const response = emptyVolume(layer.rows.length, layer.columns.length, 1);
      eachValue(response, (_, r, c) => partialResponse(layer, source, map, i, r, c));
      const patch = patchOf(layer, source, from, row, column);
      return { from, patch, kernel: layer.slices[map][i], response, amount: valueAt(response, 0, row, column) };
    });
  },
  pool(layer, source, { map, row, column }) {
    const patch = patchOf(layer, source, map, row, column);
    return [{ from: map, patch, amount: pooled(layer, source, map, row, column) }];
  },
  scale(layer, source, { map, row, column }) {
    const x = valueAt(source, map, row, column);
    return [{ from: map, x, amount: x * factorOf(layer, map) }];
  },
  dense(layer, source, { map }) {
    const weight = (i) => layer.w[i * layer.units + map];
    return Array.from(source.values, (x, from) => ({ from, x, weight: weight(from), amount: x * weight(from) }));
  },
  rbf(layer, source, { map }) {
    const size = source.values.length;
    const code = (i) => layer.codes[map * size + i];
    return Array.from(source.values, (x, from) => ({ from, x, code: code(from), amount: (x - code(from)) ** 2 }));
  },
};

/**
 * The receptive field of a place in every volume before it: by name, the set of its maps and the first and last row and column.
 */
function receptiveFields(network, volumes, place) {
  const fields = new Map();
  let field = {
    maps: new Set([place.map]),
    rows: [place.row, place.row],
    columns: [place.column, place.column],
  };
  for (let name = place.layer; name !== "input";) {
    const layer = network.layers.find((each) => each.name === name);
    name = sourceOf(network, name);
    field = SEES[layer.kind](layer, field, volumes.get(name));
    fields.set(name, field);
  }
  return fields;
}

const SEES = {
  conv: (layer, { maps, ...at }) => ({
    maps: new Set(Array.from(maps).flatMap((map) => layer.reads[map])),
    ...windowOf(layer, at),
  }),
  pool: (layer, { maps, ...at }) => ({ maps, ...windowOf(layer, at) }),
  scale: (_, field) => field,
  dense: wholeVolume,
  rbf: wholeVolume,
};

/** The rows and columns that a kernel or window reads at a range of positions; an empty range if it reads zeros alone. */
function windowOf(layer, { rows, columns }) {
  const range = (pixels, [first, last]) => {
    const inside = pixels.slice(first, last + 1).flatMap((taps) => taps.filter((pixel) => pixel >= 0));
    return inside.length ? d3.extent(inside) : [0, -1];
  };
  return { rows: range(layer.rows, rows), columns: range(layer.columns, columns) };
}

function wholeVolume(_, __, source) {
  return { maps: new Set(d3.range(source.maps)), rows: [0, source.height - 1], columns: [0, source.width - 1] };
}
