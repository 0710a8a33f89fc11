"use strict";
// The tour: follow one value of a convolution from the picture to the number, step by step, with its parts highlighted.

let tourSteps = [];

/** The tour, or none if the network has no convolution. */
function buildTour() {
  const isConvolution = networks[0].layers.some(({ name, kind }) => name === START.layer && kind === "conv");
  find("#tour").hidden = !isConvolution;
  if (!isConvolution) return;
  tourSteps = [...storySteps(), ...valueSteps()];
  find("#tour-start").addEventListener("click", startTour);
  find("#tour-back").addEventListener("click", () => turnTour(-1));
  find("#tour-next").addEventListener("click", () => turnTour(1));
  find("#tour-end").addEventListener("click", () => turnTour(tourSteps.length));
}

const layerSpot = (name) => `.layer[data-layer="${name}"]`;

/** The volumes before the value, each with its story. */
function storySteps() {
  const before = VIEWS.slice(0, VIEWS.indexOf(VIEW.get(START.layer)));
  return before.map(({ name, title, text, story }) => ({
    spots: [layerSpot(name)],
    text: () => story ?? `${title}: ${text}`,
  }));
}

/** How the value is computed from the last of them. */
function valueSteps() {
  const source = sourceOf(networks[0], START.layer);
  return [
    {
      spots: ["#connections", layerSpot(START.layer), layerSpot(source)],
      text: ({ at, reads }) =>
        `${title(at)} combines patterns. Its map ${at.map} reads ${reads.length} of the ${inWords(volumes.get(source).maps)} ` +
        `${VIEW.get(source).title} maps${reads.length <= 8 ? `: ${listed(reads)}` : ""}. They carry a check mark, and ` +
        "lines lead from them to the map.",
    },
    {
      spots: ["#parts .part:first-of-type", layerSpot(source)],
      text: ({ at, layer, source: volume, parts: [part] }) => {
        const { rows, columns } = windowOf(layer, { rows: [at.row, at.row], columns: [at.column, at.column] });
        const taps = part.kernel.length;
        return (
          `Take ${nameOf({ layer: source, map: part.from })}. ${capital(nameOf(at))} has a ${times(layer.kernel)} kernel slice ` +
          `for it. Lay the slice over the frame (rows ${rows.join(" to ")}, columns ${columns.join(" to ")}), multiply ` +
          `each of the ${taps} pixels by the weight on it, and add up the products: ${number(part.amount)}. Open “The ` +
          `${taps} products” to check.`
        );
      },
    },
    {
      spots: ["#parts .part", "#total [data-step=sum]"],
      text: ({ parts, sum }) =>
        parts.length > 1
          ? `The other maps that are read do the same with their own slices. The ${parts.length} results are added: ` +
            (parts.length <= 8 ? `${added(parts.map(({ amount }) => amount))} = ${number(sum)}.` : `${number(sum)}.`)
          : "No other map is read here, so there is nothing to add.",
    },
    {
      spots: ["#total [data-step=bias]", "#total [data-step=activation]"],
      text: ({ layer, bias, preactivation, value }) => {
        const start =
          bias === undefined
            ? `The sum is ${number(preactivation)}.`
            : `Add the bias, ${number(bias)}, the same one for the whole map: ${number(preactivation)}.`;
        const end = ` The activation function turns that into ${number(value)}.`;
        return start + (layer.activation === "identity" ? "" : end);
      },
    },
    {
      spots: ["#headline", layerSpot(START.layer)],
      text: ({ at, value }) => {
        const { height, width } = volumes.get(at.layer);
        const other = data.variants.length > 1 ? ", or change how the maps are connected" : "";
        return (
          `${number(value)} is the value of ${nameOf(at)} at row ${at.row}, column ${at.column}. All ${height * width} ` +
          `values of the map use the same weights. Now point at another one${other}.`
        );
      },
    },
  ];
}

const title = ({ layer }) => VIEW.get(layer).title;
const inWords = (count) => ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"][count - 2] ?? count;
function startTour() {
  tourStep = 0;
  if (pinned.layer !== START.layer) pinned = START;
  pin(pinned);
  scrollToSpots();
}

function turnTour(by) {
  tourStep += by;
  if (tourStep >= tourSteps.length) tourStep = null;
  showPlace();
  if (tourStep !== null) scrollToSpots();
}

/** Scroll the spots of a step into view; the first comes last, so that it is visible in any case. */
function scrollToSpots() {
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  for (const spot of tourSteps[tourStep].spots.toReversed()) find(spot).scrollIntoView({ block: "nearest", behavior });
}

function showTour() {
  if (tourStep !== null && pinned.layer !== START.layer) tourStep = null;
  const running = tourStep !== null;
  document.body.classList.toggle("touring", running);
  for (const spot of document.querySelectorAll(".spot")) spot.classList.remove("spot");
  find("#tour-start").hidden = running;
  find("#tour-panel").hidden = !running;
  if (!running) return;
  const { spots, text } = tourSteps[tourStep];
  for (const element of document.querySelectorAll(spots)) element.classList.add("spot");
  find("#tour-count").textContent = `Step ${tourStep + 1} of ${tourSteps.length}`;
  find("#tour-text").textContent = text(tourFacts());
  find("#tour-back").disabled = tourStep === 0;
  find("#tour-next").textContent = tourStep === tourSteps.length - 1 ? "Done" : "Next";
}

/** What the steps describe: the pinned place, even while the mouse is on another one. */
function tourFacts() {
  const derivation = derive(network(), volumes, pinned);
  return { ...derivation, at: pinned, reads: derivation.layer.reads[pinned.map] };
}
