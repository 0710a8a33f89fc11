"use strict";
// The tour: follow one value of C3 from the picture to the number, step by step, with its parts highlighted.

const tourSteps = [
  {
    spots: [".layer[data-layer=input]"],
    text: () =>
      "The picture is a grid of 32 × 32 numbers. Light means ink (up to 1.175), grey means nothing drawn (−0.1).",
  },
  {
    spots: [".layer[data-layer=c1]"],
    text: () =>
      "C1 looks for small patterns. Each of its six maps slides one 5 × 5 grid of weights, its kernel, over the picture. " +
      "Where the picture resembles the kernel the map is light, where it resembles the negative of the kernel, dark.",
  },
  {
    spots: [".layer[data-layer=s2]"],
    text: () =>
      "S2 halves the height and width of each map: four neighbours become one value. Exact positions now matter less.",
  },
  {
    spots: ["#connections", ".layer[data-layer=c3]", ".layer[data-layer=s2]"],
    text: ({ at, reads }) =>
      `C3 combines patterns. Its map ${at.map} reads ${reads.length} of the six S2 maps: ${listed(reads)}. They carry a ` +
      "check mark, and lines lead from them to the map.",
  },
  {
    spots: ["#parts .part:first-of-type", ".layer[data-layer=s2]"],
    text: ({ at, parts: [part] }) =>
      `Take S2 map ${part.from}. C3 map ${at.map} has a 5 × 5 kernel slice for it. Lay the slice over the frame ` +
      `(rows ${at.row} to ${at.row + 4}, columns ${at.column} to ${at.column + 4}), multiply each of the 25 pixels by ` +
      `the weight on it, and add up the products: ${number(part.amount)}. Open “The 25 products” to check.`,
  },
  {
    spots: ["#parts .part", "#total [data-step=sum]"],
    text: ({ parts, sum }) =>
      parts.length > 1
        ? `The other maps that are read do the same with their own slices. The ${parts.length} results are added: ` +
          `${parts.map(({ amount }, i) => (i ? term(amount) : number(amount))).join(" + ")} = ${number(sum)}.`
        : "No other map is read here, so there is nothing to add.",
  },
  {
    spots: ["#total [data-step=bias]", "#total [data-step=activation]"],
    text: ({ bias, preactivation, value }) =>
      `Add the bias, ${number(bias)}, the same one for the whole map: ${number(preactivation)}. The activation ` +
      `function turns that into ${number(value)}.`,
  },
  {
    spots: ["#headline", ".layer[data-layer=c3]"],
    text: ({ at, value }) =>
      `${number(value)} is the value of C3 map ${at.map} at row ${at.row}, column ${at.column}. All 100 values of the map ` +
      "use the same weights. Now point at another one, or change how S2 and C3 are connected.",
  },
];

function startTour() {
  tourStep = 0;
  if (pinned.layer !== "c3") pinned = START;
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
  if (tourStep !== null && pinned.layer !== "c3") tourStep = null;
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
