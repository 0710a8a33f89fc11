"use strict";
// The arithmetic of the network, in plain loops and float64, independent of the page.
//
// A volume is {height, width, maps, values}; the value of a map at a row and a column is
// values[(row * width + column) * maps + map], the order in which cnnjax keeps it. A vector is a volume of one pixel.
// A place is {layer, map, row, column}, all counted from 0.

/** The float32 numbers behind a base64 string. */
function decodeFloats(text) {
  return new Float32Array(decodeBytes(text).buffer);
}

/** The bytes behind a base64 string. */
function decodeBytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** A network ready to run, from the description that explore.py writes. */
function decodeNetwork(scheme, input, activation) {
  const arrays = ["w", "b", "codes"];
  const decoded = ([key, value]) => [key, arrays.includes(key) ? decodeFloats(value) : value];
  return {
    input,
    activation: (a) => activation.amplitude * Math.tanh(activation.slope * a),
    layers: scheme.layers.map((layer) => Object.fromEntries(Object.entries(layer).map(decoded))),
  };
}

function emptyVolume(height, width, maps) {
  return { height, width, maps, values: new Float64Array(height * width * maps) };
}

function valueAt(volume, map, row, column) {
  return volume.values[(row * volume.width + column) * volume.maps + map];
}

/** Grey levels 0 to 255 (28 x 28), centred on the background and scaled as `network.input.prepare` does. */
function prepare(input, pixels) {
  const { background, foreground } = input;
  const [height, width] = input.shape;
  const volume = emptyVolume(height, width, 1);
  const size = Math.sqrt(pixels.length);
  const [top, left] = [Math.floor((height - size) / 2), Math.floor((width - size) / 2)];
  volume.values.fill(background);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++)
      volume.values[(row + top) * width + column + left] =
        (pixels[row * size + column] / 255) * (foreground - background) + background;
  return volume;
}

/** Every volume (activation tensor) of one image, by name, from "input" to the last layer. */
function forward(network, pixels) {
  let volume = prepare(network.input, pixels);
  const volumes = new Map([["input", volume]]);
  for (const layer of network.layers) {
    volume = COMPUTE[layer.kind](layer, volume, network.activation);
    volumes.set(layer.name, volume);
  }
  return volumes;
}

const COMPUTE = {
  conv(layer, source, activation) {
    const result = emptyVolume(...positions(layer, source), layer.reads.length);
    eachValue(result, (map, row, column) => {
      const partials = layer.reads[map].map((from) => partialResponse(layer, source, from, map, row, column));
      return activation(d3.sum(partials) + layer.b[map]);
    });
    return result;
  },
  subsample(layer, source, activation) {
    const result = emptyVolume(source.height / layer.window, source.width / layer.window, source.maps);
    eachValue(result, (map, row, column) =>
      activation(layer.w[map] * d3.sum(windowOf(layer, source, map, row, column)) + layer.b[map]),
    );
    return result;
  },
  dense(layer, source, activation) {
    const result = emptyVolume(1, 1, layer.units);
    eachValue(result, (unit) =>
      activation(d3.sum(source.values, (x, i) => x * layer.w[i * layer.units + unit]) + layer.b[unit]),
    );
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

/** How many rows and columns of positions a kernel has on a volume. */
function positions(layer, source) {
  return [source.height - layer.kernel + 1, source.width - layer.kernel + 1];
}

/** The kernel x kernel weights with which a map of a convolution reads the map `from`, row by row. */
function kernelSlice(layer, from, map) {
  const maps = layer.reads.length;
  const fromMaps = layer.w.length / (layer.kernel ** 2 * maps);
  return d3.range(layer.kernel ** 2).map((tap) => layer.w[(tap * fromMaps + from) * maps + map]);
}

/** What lies under the kernel at a position of one map, row by row. */
function patchOf(layer, source, from, row, column) {
  const k = layer.kernel;
  return d3.range(k * k).map((tap) => valueAt(source, from, row + Math.floor(tap / k), column + (tap % k)));
}

/** The window of a sub-sampling unit, row by row. */
function windowOf(layer, source, map, row, column) {
  const k = layer.window;
  return d3.range(k * k).map((p) => valueAt(source, map, row * k + Math.floor(p / k), column * k + (p % k)));
}

/** The sum of the products of one kernel slice with what lies under it. */
function partialResponse(layer, source, from, map, row, column) {
  const [k, maps] = [layer.kernel, layer.reads.length];
  let sum = 0;
  for (let u = 0; u < k; u++)
    for (let v = 0; v < k; v++)
      sum +=
        layer.w[((u * k + v) * source.maps + from) * maps + map] *
        source.values[((row + u) * source.width + column + v) * source.maps + from];
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
  const derivation = { layer, source, ...DERIVE[layer.kind](layer, source, place) };
  derivation.sum = d3.sum(derivation.parts, (part) => part.amount);
  derivation.preactivation = derivation.sum + (derivation.bias ?? 0);
  derivation.value = valueAt(volumes.get(layer.name), place.map, place.row, place.column);
  return derivation;
}

const DERIVE = {
  conv(layer, source, { map, row, column }) {
    const parts = layer.reads[map].map((from) => {
      const response = emptyVolume(...positions(layer, source), 1);
      eachValue(response, (_, i, j) => partialResponse(layer, source, from, map, i, j));
      return {
        from,
        patch: patchOf(layer, source, from, row, column),
        kernel: kernelSlice(layer, from, map),
        response,
        amount: valueAt(response, 0, row, column),
      };
    });
    return { parts, bias: layer.b[map] };
  },
  subsample(layer, source, { map, row, column }) {
    const patch = windowOf(layer, source, map, row, column);
    const kernel = patch.map(() => layer.w[map]);
    return { parts: [{ from: map, patch, kernel, amount: layer.w[map] * d3.sum(patch) }], bias: layer.b[map] };
  },
  dense(layer, source, { map }) {
    const weight = (i) => layer.w[i * layer.units + map];
    const parts = Array.from(source.values, (x, from) => ({ from, x, weight: weight(from), amount: x * weight(from) }));
    return { parts, bias: layer.b[map] };
  },
  rbf(layer, source, { map }) {
    const size = source.values.length;
    const code = (i) => layer.codes[map * size + i];
    return {
      parts: Array.from(source.values, (x, from) => ({ from, x, code: code(from), amount: (x - code(from)) ** 2 })),
    };
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
  conv: (layer, { maps, rows, columns }) => ({
    maps: new Set(Array.from(maps).flatMap((map) => layer.reads[map])),
    rows: [rows[0], rows[1] + layer.kernel - 1],
    columns: [columns[0], columns[1] + layer.kernel - 1],
  }),
  subsample: ({ window }, { maps, rows, columns }) => ({
    maps,
    rows: [rows[0] * window, rows[1] * window + window - 1],
    columns: [columns[0] * window, columns[1] * window + window - 1],
  }),
  dense: wholeVolume,
  rbf: wholeVolume,
};

function wholeVolume(_, __, source) {
  return { maps: new Set(d3.range(source.maps)), rows: [0, source.height - 1], columns: [0, source.width - 1] };
}
