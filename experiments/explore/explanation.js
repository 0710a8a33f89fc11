"use strict";
// How the value at the chosen place is computed: what is read, what each map contributes, sum, bias, activation.

/** Show all of part 3 for the chosen place. */
function showExplanation() {
  const at = place();
  const volume = volumes.get(at.layer);
  const value = valueAt(volume, at.map, at.row, at.column);
  const fields = receptiveFields(network(), volumes, at);
  showHeadline(at, volume, value, fields.get("input"));
  const derivation = at.layer === "input" ? null : derive(network(), volumes, at);
  showConnections(at);
  showParts(at, derivation);
  showTotal(at, derivation);
}

function showHeadline(at, volume, value, seen) {
  const { grid, title } = LAYER.get(at.layer);
  const where = volume.height > 1 ? `, row ${at.row}, column ${at.column}` : "";
  find("#place").textContent = `${capital(nameOf(at))}${where}`;
  find("#value").textContent = `= ${number(value)}`;
  find("#sees").textContent = seen
    ? `It depends on ${seen.rows[1] - seen.rows[0] + 1} × ${seen.columns[1] - seen.columns[0] + 1} pixels of the ` +
      `picture: rows ${seen.rows.join(" to ")}, columns ${seen.columns.join(" to ")}.`
    : "A pixel of the picture: it is given.";
  const canvas = find("#chosen canvas");
  const hasPixels = volume.height > 1;
  find("#chosen").hidden = !hasPixels;
  find("#slide").hidden = !hasPixels || at.layer === "input";
  find("#slide").textContent = sliding ? "■ Stop" : "▶ Move over the whole map";
  if (hasPixels) {
    paintMap(canvas, volume, at.map, RANGE);
    frame(find("#chosen .map"), volume, onePixel(at.row, at.column));
    canvas.setAttribute("aria-label", `${capital(nameOf(at))}, enlarged. The arrow keys choose a pixel.`);
    find("#chosen figcaption").textContent = `${nameOf(at)}, enlarged`;
  }
  find("#seen").hidden = at.layer === "input";
  paintMap(find("#seen canvas"), volumes.get("input"), 0, RANGE);
  frame(find("#seen .map"), volumes.get("input"), seen);
}

/** The connection table, with the column of the chosen map marked. */
function showConnections(at) {
  const box = d3.select("#connections").attr("hidden", at.layer === "c3" ? null : "");
  const { reads } = network().layers.find(({ name }) => name === "c3");
  const maps = d3.range(reads.length);
  box
    .select("p")
    .text(
      `C3 map ${at.map} reads S2 map${reads[at.map]?.length > 1 ? "s" : ""} ${listed(reads[at.map] ?? [0])}: ` +
        `the crosses in its column of the table.`,
    );
  box
    .select("thead tr")
    .selectAll("th")
    .data(["S2 \\ C3", ...maps])
    .join("th")
    .attr("scope", "col")
    .classed("chosen", (map) => map === at.map)
    .text(String);
  const rows = box
    .select("tbody")
    .selectAll("tr")
    .data(d3.range(volumes.get("s2").maps))
    .join("tr");
  rows
    .selectAll("th, td")
    .data((from) => [from, ...maps.map((map) => ({ from, map, read: reads[map].includes(from) }))])
    .join((enter) => enter.append((cell) => document.createElement(typeof cell === "number" ? "th" : "td")))
    .attr("scope", (cell) => (typeof cell === "number" ? "row" : null))
    .classed("chosen", ({ map }) => map === at.map)
    .classed("read", ({ read }) => Boolean(read))
    .text((cell) => (typeof cell === "number" ? cell : cell.read ? "X" : "·"));
}

/** What each source map, or each value, contributes. */
function showParts(at, derivation) {
  const kind = derivation?.layer.kind;
  const shown = { conv: showSlices, subsample: showWindow, dense: showProducts, rbf: showDifferences };
  d3.selectAll("#parts > *").attr("hidden", function () {
    return this.dataset.kind === kind ? null : "";
  });
  shown[kind]?.(at, derivation, d3.select(`#parts > [data-kind=${kind}]`));
}

/** The terms of a sum in one row: canvases with captions, and the signs between them. */
function showStrip(row, items) {
  const cells = row
    .selectAll(".item")
    .data(items)
    .join("div")
    .attr("class", (item) => `item ${item.name}`);
  cells.each(function ({ sign, caption, volume, limit, field, text }) {
    const cell = d3.select(this);
    const put = (selector, tag, present) =>
      cell
        .selectAll(selector)
        .data(present ? [present] : [])
        .join((enter) => enter.append(tag).attr("class", selector.slice(1)));
    put(".sign", "span", sign).text(String);
    put(".map", "div", volume).each(function () {
      const canvas = this.querySelector("canvas") ?? this.appendChild(document.createElement("canvas"));
      paintMap(canvas, volume, 0, limit);
      canvas.style.aspectRatio = `${volume.width} / ${volume.height}`;
      frame(this, volume, field);
    });
    put(".amount", "output", text).text(String);
    put(".caption", "span", caption).text(String);
  });
}

/** One map of a volume, as a volume. */
function single(volume, map) {
  const values = Float64Array.from(
    { length: volume.height * volume.width },
    (_, i) => volume.values[i * volume.maps + map],
  );
  return { ...volume, maps: 1, values };
}
const square = (values) => ({ height: Math.sqrt(values.length), width: Math.sqrt(values.length), maps: 1, values });

function showSlices(at, derivation, box) {
  const { layer, source, parts, bias } = derivation;
  const reads = LAYER.get(sourceOf(network(), layer.name));
  const k = layer.kernel;
  const field = { rows: [at.row, at.row + k - 1], columns: [at.column, at.column + k - 1] };
  const weights = largest(...parts.map(({ kernel }) => kernel));
  const responses = responseLimit(derivation);
  const onePosition = parts[0].response.values.length === 1;
  const several =
    parts.length > 1 ? `Each of the ${parts.length} maps that are read has its own kernel slice. ` : "";
  const same = data.schemes[chosen.scheme].name === "replicated" && at.layer === "c3";
  box
    .select("p")
    .text(
      (same ? `All ${parts.length} maps are read through the same kernel. ` : several) +
        `Lay it over the ${k} × ${k} pixels in the frame, multiply each pixel by the weight on it, and add up ` +
        `the ${k * k} products. ${onePosition ? "There is only one position." : "At every position, this gives a response map."}`,
    );
  const rows = box
    .selectAll(".part")
    .data(parts, ({ from }) => `${layer.name} ${from}`)
    .join((enter) => {
      const row = enter.append("div").attr("class", "part");
      row.append("h3");
      row.append("div").attr("class", "strip");
      const details = row.append("details");
      details.append("summary");
      details.append("div").attr("class", "products");
      details.on("toggle", showExplanation);
      return row;
    });
  rows.select("h3").text(({ from }) => (reads.name === "input" ? "The picture" : `${reads.title} map ${from}`));
  rows.each(function ({ from, kernel, response, amount }) {
    showStrip(d3.select(this).select(".strip"), [
      {
        name: "source",
        volume: single(source, from),
        limit: RANGE,
        field,
        caption: `rows ${field.rows.join("–")}\ncolumns ${field.columns.join("–")}`,
      },
      { name: "kernel", sign: "×", volume: square(kernel), limit: weights, caption: `kernel slice ${k} × ${k}` },
      {
        name: "response",
        sign: "=",
        volume: response,
        limit: responses,
        field: onePixel(at.row, at.column),
        caption: onePosition ? "response" : "response map",
      },
      { name: "result", text: number(amount), caption: "in the frame" },
    ]);
  });
  rows.select("summary").text(`The ${k * k} products`);
  rows.each(function ({ patch, kernel }) {
    const details = this.querySelector("details");
    const cells = details.open ? patch.map((x, i) => ({ x, weight: kernel[i], product: x * kernel[i] })) : [];
    showProductsOf(d3.select(details).select(".products"), cells);
  });
}

/** The largest magnitude in the response maps of a convolution, their sum and the sum with bias: their common scale. */
function responseLimit({ parts, bias }) {
  const sum = sumOfResponses(parts);
  return largest(
    ...parts.map(({ response }) => response.values),
    sum.values,
    sum.values.map((a) => a + bias),
  );
}

function sumOfResponses(parts) {
  const { response } = parts[0];
  return { ...response, values: response.values.map((_, i) => d3.sum(parts, (part) => part.response.values[i])) };
}

/** A grid of cells, each a pixel, its weight and their product, coloured by the product. */
function showProductsOf(box, cells) {
  const limit = largest(cells.map(({ product }) => product));
  box
    .selectAll("div")
    .data(cells)
    .join("div")
    .style("background", ({ product }) => colourOf(product, limit))
    .style("color", ({ product }) => inkOn(colourOf(product, limit)))
    .html(({ x, weight, product }) => `${number(x)}<br>× ${number(weight)}<br><b>= ${number(product)}</b>`);
}

function showWindow(at, { layer, source, parts }, box) {
  const [{ patch, amount }] = parts;
  const reads = LAYER.get(sourceOf(network(), layer.name)).title;
  const k = layer.window;
  const field = { rows: [at.row * k, at.row * k + k - 1], columns: [at.column * k, at.column * k + k - 1] };
  box
    .select("p")
    .text(
      `The ${k * k} values in the frame on ${reads} map ${at.map} are added up, and the sum is multiplied by one weight.`,
    );
  showStrip(box.select(".strip"), [
    { name: "source", volume: single(source, at.map), limit: RANGE, field, caption: `${reads} map ${at.map}` },
    { name: "kernel", sign: "→", volume: square(patch), limit: RANGE, caption: "in the frame" },
    { name: "result", sign: "=", text: number(amount), caption: "sum × weight" },
  ]);
  box
    .select(".sum")
    .text(
      `(${patch.map((x, i) => (i ? term(x) : number(x))).join(" + ")}) × ${term(layer.w[at.map])} = ${number(amount)}`,
    );
}

function showProducts(at, { layer, parts, sum }, box) {
  const reads = LAYER.get(sourceOf(network(), layer.name)).title;
  const sorted = d3.sort(parts, ({ amount }) => -Math.abs(amount));
  const rest = sorted.slice(8);
  box
    .select("p")
    .text(
      `All ${parts.length} values of ${reads} are multiplied by one weight each, and the products are added up. The largest are:`,
    );
  const line = ({ from, x, weight, amount }) => [
    `${reads} value ${from}`,
    `${number(x)} × ${term(weight)}`,
    number(amount),
  ];
  fillTable(box.select(".largest"), [
    ...sorted.slice(0, 8).map(line),
    [`the other ${rest.length} together`, "", number(d3.sum(rest, (p) => p.amount))],
    ["the sum of all", "", number(sum)],
  ]);
  box.select("summary").text(`All ${parts.length} products`);
  fillTable(box.select("details table"), parts.map(line));
}

function fillTable(table, rows) {
  table
    .selectAll("tr")
    .data(rows)
    .join("tr")
    .selectAll("td")
    .data((row) => row)
    .join("td")
    .text(String);
}

function showDifferences(at, { parts }, box) {
  const bitmap = (valueOf) => ({ height: 12, width: 7, maps: 1, values: parts.map(valueOf) });
  box
    .select("p")
    .text(
      `F6 is compared with the printed ${at.map}, value by value. The 84 squared differences are added up to a distance.`,
    );
  showStrip(box.select(".strip"), [
    { name: "source", volume: bitmap(({ x }) => x), limit: RANGE, caption: "F6" },
    { name: "kernel", sign: "−", volume: bitmap(({ code }) => code), limit: RANGE, caption: `printed ${at.map}` },
    { name: "response", sign: "→", volume: bitmap(({ amount }) => amount), limit: 4, caption: "differences, squared" },
    { name: "result", sign: "=", text: number(d3.sum(parts, ({ amount }) => amount)), caption: "their sum" },
  ]);
}

/** Sum, bias, activation function: three lines, with the maps that belong to them. */
function showTotal(at, derivation) {
  const total = d3.select("#total").attr("hidden", derivation && derivation.layer.kind !== "rbf" ? null : "");
  if (!derivation || derivation.layer.kind === "rbf") return;
  const { layer, parts, sum, bias, preactivation, value } = derivation;
  const conv = layer.kind === "conv";
  const amounts = parts.map(({ amount }, i) => (i ? term(amount) : number(amount)));
  const lines = {
    sum: conv && parts.length > 1 ? `${amounts.join(" + ")} = ${number(sum)}` : `The sum is ${number(sum)}`,
    bias: `${number(sum)} + ${term(bias)} = ${number(preactivation)}`,
    activation: `${RANGE} · tanh(⅔ · ${term(preactivation)}) = ${number(value)}`,
  };
  const own = layer.kind === "dense" ? "this value" : "the whole map";
  const texts = {
    sum: conv && parts.length > 1 ? `Add up the ${parts.length} responses, position by position.` : "",
    bias: `Add the bias: one number for ${own}, ${number(bias)}.`,
    activation: "Apply the activation function, a scaled tanh, which keeps every value between −1.716 and 1.716.",
  };
  const hasMaps = conv && parts[0].response.values.length > 1;
  const pixel = onePixel(at.row, at.column);
  const summed = hasMaps ? sumOfResponses(parts) : null;
  const limit = hasMaps ? responseLimit(derivation) : 1;
  const maps = {
    sum: summed && [summed, limit],
    bias: summed && [{ ...summed, values: summed.values.map((a) => a + bias) }, limit],
    activation: summed && [single(volumes.get(at.layer), at.map), RANGE],
  };
  for (const name of ["sum", "bias", "activation"]) {
    const row = total.select(`[data-step=${name}]`);
    row.select(".text").text(texts[name]);
    row.select(".sum").text(lines[name]);
    const map = row.select(".map").attr("hidden", maps[name] ? null : "");
    if (!maps[name]) continue;
    paintMap(map.select("canvas").node(), maps[name][0], 0, maps[name][1]);
    frame(map.node(), maps[name][0], pixel);
  }
  total.select("[data-step=sum]").attr("hidden", layer.kind === "conv" && parts.length > 1 ? null : "");
  showCurve(preactivation, value);
}

/** The activation function, with a dot at the value. */
function showCurve(a, y) {
  const [width, height, margin] = [190, 120, 26];
  const svg = d3.select("#curve").attr("viewBox", `0 0 ${width} ${height}`);
  const reach = Math.max(4, Math.abs(a));
  const across = d3.scaleLinear([-reach, reach], [margin, width - 8]);
  const up = d3.scaleLinear([-2, 2], [height - margin, 6]);
  svg
    .select(".across")
    .attr("transform", `translate(0 ${height - margin})`)
    .call(d3.axisBottom(across).ticks(5).tickSize(3));
  svg.select(".up").attr("transform", `translate(${margin} 0)`).call(d3.axisLeft(up).ticks(5).tickSize(3));
  const line = d3.line(
    (x) => across(x),
    (x) => up(network().activation(x)),
  );
  svg.select("path.curve").attr("d", line(d3.range(-reach, reach, reach / 60)));
  svg.select("path.guide").attr("d", `M${across(a)} ${up(-2)}V${up(y)}H${across(-reach)}`);
  svg.select("circle").attr("cx", across(a)).attr("cy", up(y)).attr("r", 4.5);
}
