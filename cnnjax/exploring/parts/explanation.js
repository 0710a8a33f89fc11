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
  const hasPixels = !isOnePixel(volume);
  const where = hasPixels ? `, row ${at.row}, column ${at.column}` : "";
  find("#place").textContent = `${capital(nameOf(at))}${where}`;
  find("#value").textContent = `= ${number(value)}`;
  find("#sees").textContent = seen
    ? `It depends on ${seen.rows[1] - seen.rows[0] + 1} × ${seen.columns[1] - seen.columns[0] + 1} pixels of the ` +
      `picture: rows ${seen.rows.join(" to ")}, columns ${seen.columns.join(" to ")}.`
    : "A pixel of the picture: it is given.";
  const canvas = find("#chosen canvas");
  find("#chosen").hidden = !hasPixels;
  find("#slide").hidden = !hasPixels || at.layer === "input";
  find("#slide").textContent = sliding ? "■ Stop" : "▶ Move over the whole map";
  if (hasPixels) {
    paintMap(canvas, volume, at.map, limitOf(at.layer));
    frame(find("#chosen .map"), volume, onePixel(at.row, at.column));
    canvas.setAttribute("aria-label", `${capital(nameOf(at))}, enlarged. The arrow keys choose a pixel.`);
    find("#chosen figcaption").textContent = `${nameOf(at)}, enlarged`;
  }
  find("#seen").hidden = at.layer === "input";
  paintPicture(find("#seen canvas"), volumes.get("input"), limitOf("input"));
  frame(find("#seen .map"), volumes.get("input"), seen);
}

const MOST_IN_TABLE = 24;

/** The connection table, with the column of the chosen map marked, if it fits the page. */
function showConnections(at) {
  const layer = network().layers.find(({ name }) => name === at.layer);
  const source = layer && volumes.get(sourceOf(network(), at.layer));
  const fits = layer?.kind === "conv" && source.maps > 1 && Math.max(source.maps, layer.reads.length) <= MOST_IN_TABLE;
  const box = d3.select("#connections").attr("hidden", fits ? null : "");
  if (!fits) return;
  const { reads } = layer;
  const [from, to] = [VIEW.get(sourceOf(network(), at.layer)).title, VIEW.get(at.layer).title];
  const maps = d3.range(reads.length);
  box
    .select("p")
    .text(
      `${to} map ${at.map} reads ${from} map${reads[at.map].length > 1 ? "s" : ""} ${listed(reads[at.map])}: ` +
        `the crosses in its column of the table.`,
    );
  box
    .select("thead tr")
    .selectAll("th")
    .data([`${from} \\ ${to}`, ...maps])
    .join("th")
    .attr("scope", "col")
    .classed("chosen", (map) => map === at.map)
    .text(String);
  const rows = box.select("tbody").selectAll("tr").data(d3.range(source.maps)).join("tr");
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
  const shown = { conv: showSlices, pool: showWindow, scale: showScale, dense: showProducts, rbf: showDifferences };
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

/** A row-by-row list of numbers as a volume; square unless a size is given. */
const asVolume = (values, [height, width] = [Math.sqrt(values.length), Math.sqrt(values.length)]) => ({
  height,
  width,
  maps: 1,
  values,
});

const MOST_PARTS = 16;

function showSlices(at, derivation, box) {
  const { layer, source, parts } = derivation;
  const name = sourceOf(network(), layer.name);
  const size = times(layer.kernel);
  const taps = layer.kernel[0] * layer.kernel[1];
  const field = windowOf(layer, { rows: [at.row, at.row], columns: [at.column, at.column] });
  const weights = largest(...parts.map(({ kernel }) => kernel));
  const responses = responseLimit(derivation);
  const onePosition = parts[0].response.values.length === 1;
  box
    .select("p")
    .text(
      whatIsShared(parts) +
        `Lay it over the ${size} pixels in the frame, multiply each pixel by the weight on it, and add up ` +
        `the ${taps} products.${howItLies(layer, parts)} ` +
        `${onePosition ? "There is only one position." : "At every position, this gives a response map."}`,
    );
  const drawn = strongest(parts, MOST_PARTS);
  const rows = box
    .select(".list")
    .selectAll(".part")
    .data(drawn, ({ from }) => `${layer.name} ${from}`)
    .join((enter) => {
      const row = enter.append("div").attr("class", "part");
      row.append("h3");
      row.append("div").attr("class", "strip");
      const details = row.append("details");
      details.append("summary");
      details.append("div").attr("class", "products").style("--columns", layer.kernel[1]);
      details.on("toggle", showExplanation);
      return row;
    })
    .order();
  rows.select("h3").text(({ from }) => capital(nameOf({ layer: name, map: from })));
  rows.each(function ({ from, kernel, response, amount }) {
    showStrip(d3.select(this).select(".strip"), [
      {
        name: "source",
        volume: single(source, from),
        limit: limitOf(name),
        field,
        caption: `rows ${field.rows.join("–")}\ncolumns ${field.columns.join("–")}`,
      },
      {
        name: "kernel",
        sign: "×",
        volume: asVolume(kernel, layer.kernel),
        limit: weights,
        caption: `kernel slice ${size}`,
      },
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
  rows.select("summary").text(`The ${taps} products`);
  rows.each(function ({ patch, kernel }) {
    const details = this.querySelector("details");
    const cells = details.open ? patch.map((x = 0, i) => ({ x, weight: kernel[i], product: x * kernel[i] })) : [];
    showProductsOf(d3.select(details).select(".products"), cells);
  });
  const rest = parts.length - drawn.length;
  box
    .select(".rest")
    .attr("hidden", rest ? null : "")
    .text(
      `These are the ${drawn.length} largest of ${parts.length} contributions. The other ${rest} together: ` +
        `${number(derivation.sum - d3.sum(drawn, ({ amount }) => amount))}.`,
    );
}

/** The parts with the largest amounts, in the order of the maps. */
function strongest(parts, most) {
  const kept = new Set(d3.sort(parts, ({ amount }) => -Math.abs(amount)).slice(0, most));
  return parts.filter((part) => kept.has(part));
}

/** Whether the maps that are read have kernel slices of their own. */
function whatIsShared(parts) {
  if (parts.length === 1) return "";
  const same = parts.every(({ kernel }) => kernel.every((weight, i) => weight === parts[0].kernel[i]));
  return same
    ? `All ${parts.length} maps are read through the same kernel. `
    : `Each of the ${parts.length} maps that are read has its own kernel slice. `;
}

/** How the kernel lies on the map, if that is not obvious from the frame. */
function howItLies({ stride, dilation }, [{ patch }]) {
  const lies = [];
  if (patch.includes(undefined)) lies.push("beyond the edge of the map it reads zeros");
  if (Math.max(...dilation) > 1) lies.push(`its taps are ${times(dilation)} pixels apart`);
  if (Math.max(...stride) > 1) lies.push(`it moves in steps of ${times(stride)} pixels`);
  return lies.length ? ` ${capital(lies.join("; "))}.` : "";
}

/** The largest magnitude in the response maps of a convolution, their sum and the sum with bias: their common scale. */
function responseLimit({ parts, bias = 0 }) {
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
  const name = sourceOf(network(), layer.name);
  const reads = capital(nameOf({ layer: name, map: at.map }));
  const field = windowOf(layer, { rows: [at.row, at.row], columns: [at.column, at.column] });
  const inside = patch.filter((x) => x !== undefined);
  const { text, caption, result, line } = POOLS[layer.takes];
  box.select("p").text(`The ${inside.length} values in the frame on ${reads} ${text}`);
  showStrip(box.select(".strip"), [
    { name: "source", volume: single(source, at.map), limit: limitOf(name), field, caption: reads },
    {
      name: "kernel",
      sign: "→",
      volume: asVolume(patch, layer.kernel),
      limit: limitOf(name),
      caption: "in the frame",
    },
    { name: "result", sign: "=", text: number(amount), caption },
  ]);
  const shown = inside.length <= 25 ? line(inside, layer, at) : result;
  box.select(".sum").text(`${shown} = ${number(amount)}`);
}

const added = (values) => values.map((x, i) => (i ? term(x) : number(x))).join(" + ");

const POOLS = {
  sum: {
    text: "are added up, and the sum is multiplied by one weight.",
    caption: "sum × weight",
    result: "sum × weight",
    line: (inside, layer, at) => `(${added(inside)}) × ${term(layer.w[at.map])}`,
  },
  max: {
    text: "compete, and the largest is kept.",
    caption: "the largest",
    result: "the largest",
    line: (inside) => `max(${inside.map(number).join(", ")})`,
  },
  mean: {
    text: "are averaged.",
    caption: "the mean",
    result: "the mean",
    line: (inside, layer, at) => `(${added(inside)}) / ${dividedBy(layer, at.row, at.column)}`,
  },
};

function showScale(at, { layer, source, parts }, box) {
  const [{ x, amount }] = parts;
  const name = sourceOf(network(), layer.name);
  const reads = capital(nameOf({ layer: name, map: at.map }));
  const factor = layer.w ? `, multiplied by the factor of its map, ${number(layer.w[at.map])}` : "";
  box.select("p").text(`The value of ${reads} at the same place${factor}.`);
  const [field, volume] = [onePixel(at.row, at.column), single(source, at.map)];
  showStrip(box.select(".strip"), [
    { name: "source", volume, limit: limitOf(name), field, caption: reads },
    { name: "result", sign: "→", text: number(x), caption: "in the frame" },
    ...(layer.w ? [{ name: "result", sign: "=", text: number(amount), caption: `× ${term(layer.w[at.map])}` }] : []),
  ]);
}

function showProducts(at, { layer, parts, sum }, box) {
  const reads = VIEW.get(sourceOf(network(), layer.name)).title;
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

function showDifferences(at, { layer, parts }, box) {
  const name = sourceOf(network(), layer.name);
  const { title, grid } = VIEW.get(name);
  const code = fill(data.words.code, { class: data.classes[at.map] });
  const size = grid && [grid.height, grid.width];
  const picture = (valueOf) => asVolume(parts.map(valueOf), size);
  const limit = data.range ?? largest(parts.map(({ x }) => x), parts.map((part) => part.code));
  const squares = parts.map(({ amount }) => amount);
  box
    .select("p")
    .text(
      `${title} is compared with the ${code}, value by value. The ${parts.length} squared differences are added up to a distance.`,
    );
  showStrip(box.select(".strip"), [
    { name: "source", volume: picture(({ x }) => x), limit, caption: title },
    { name: "kernel", sign: "−", volume: picture((part) => part.code), limit, caption: code },
    { name: "response", sign: "→", volume: asVolume(squares, size), limit: largest(squares), caption: "differences, squared" },
    { name: "result", sign: "=", text: number(d3.sum(squares)), caption: "their sum" },
  ]);
}

/** Sum, bias, activation function: three lines, with the maps that belong to them. */
function showTotal(at, derivation) {
  const { layer, parts, sum, bias, preactivation, value } = derivation ?? {};
  const steps = derivation ? stepsOf(derivation) : {};
  const total = d3.select("#total").attr("hidden", Object.values(steps).some(Boolean) ? null : "");
  for (const [name, present] of Object.entries(steps))
    total.select(`[data-step=${name}]`).attr("hidden", present ? null : "");
  if (total.attr("hidden") !== null) return;
  const drawn = parts.length > MOST_PARTS ? [] : parts;
  const amounts = drawn.map(({ amount }, i) => (i ? term(amount) : number(amount)));
  const own = layer.kind === "dense" ? "this value" : "the whole map";
  const activation = ACTIVATIONS[layer.activation];
  const lines = {
    sum: amounts.length ? `${amounts.join(" + ")} = ${number(sum)}` : `The sum is ${number(sum)}`,
    bias: steps.bias && `${number(sum)} + ${term(bias)} = ${number(preactivation)}`,
    activation: steps.activation && `${activation.formula(term(preactivation))} = ${number(value)}`,
  };
  const texts = {
    sum: `Add up the ${parts.length} responses, position by position.`,
    bias: steps.bias && `Add the bias: one number for ${own}, ${number(bias)}.`,
    activation: `Apply the activation function, ${activation.text}.`,
  };
  const hasMaps = layer.kind === "conv" && parts[0].response.values.length > 1;
  const pixel = onePixel(at.row, at.column);
  const summed = hasMaps ? sumOfResponses(parts) : null;
  const limit = hasMaps ? responseLimit(derivation) : 1;
  const maps = {
    sum: summed && [summed, limit],
    bias: summed && [{ ...summed, values: summed.values.map((a) => a + (bias ?? 0)) }, limit],
    activation: summed && [single(volumes.get(at.layer), at.map), limitOf(at.layer)],
  };
  for (const name of ["sum", "bias", "activation"]) {
    const row = total.select(`[data-step=${name}]`);
    row.select(".text").text(texts[name]);
    row.select(".sum").text(lines[name]);
    const map = row.select(".map").attr("hidden", maps[name] ? null : "");
    if (!maps[name] || !steps[name]) continue;
    paintMap(map.select("canvas").node(), maps[name][0], 0, maps[name][1]);
    frame(map.node(), maps[name][0], pixel);
  }
  if (steps.activation) showCurve(preactivation, value, activation);
}

/** Which of the three lines there are for a value. */
function stepsOf({ layer, parts, bias }) {
  return {
    sum: layer.kind === "conv" && parts.length > 1,
    bias: bias !== undefined,
    activation: layer.activation !== "identity",
  };
}

/** The activation function, with a dot at the value. */
function showCurve(a, y, { f, limits }) {
  const [width, height, margin] = [190, 120, 26];
  const svg = d3.select("#curve").attr("viewBox", `0 0 ${width} ${height}`);
  const reach = Math.max(4, Math.abs(a));
  const [least, most] = limits ?? [-reach / 4, reach];
  const across = d3.scaleLinear([-reach, reach], [margin, width - 8]);
  const up = d3.scaleLinear([least, most], [height - margin, 6]);
  svg
    .select(".across")
    .attr("transform", `translate(0 ${height - margin})`)
    .call(d3.axisBottom(across).ticks(5).tickSize(3));
  svg.select(".up").attr("transform", `translate(${margin} 0)`).call(d3.axisLeft(up).ticks(5).tickSize(3));
  const line = d3.line(
    (x) => across(x),
    (x) => up(f(x)),
  );
  svg.select("path.curve").attr("d", line(d3.range(-reach, reach, reach / 60)));
  svg.select("path.guide").attr("d", `M${across(a)} ${up(least)}V${up(y)}H${across(-reach)}`);
  svg.select("circle").attr("cx", across(a)).attr("cy", up(y)).attr("r", 4.5);
}
