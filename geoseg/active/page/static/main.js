// The page: which place is shown, what a key does, what is told of what was answered.

import { ask, freshKey, Outbox, Refused, storage } from "./api.js";
import { make, one } from "./build.js";
import { Lapse } from "./lapse.js";
import { Outliner } from "./outline.js";
import { load, row, showImages } from "./place.js";

const SEEN_MS = 150; // nobody sees a place in less: a key that comes sooner was meant for the last
const AHEAD = 3; // places at hand before more are asked for
const ROWS = 2; // of what comes next
const BRIGHTNESS = [1, 2, 4];
const LOOK_AGAIN_MS = 5000; // for a new round, when all is answered

const page = {
  about: null,
  annotator: "",
  queue: [], // places to come, the one that is shown first
  answered: new Set(), // their numbers, since the page was loaded
  before: [], // what was answered, latest first
  back: -1, // number in `before` of the place that is looked at again
  told: null, // progress and agreement
  said: 0, // answers that were given or taken back since the page was loaded
  shown: null,
  shownAt: Infinity,
  image: 0,
  busy: false,
};
let outbox, lapse, outliner;

async function start() {
  lapse = new Lapse();
  page.about = await ask("api/about", {}, away);
  document.title = `${page.about.name} · labelling`;
  one("name").textContent = page.about.name;
  outbox = new Outbox(page.about.project, away);
  outliner = new Outliner({
    about: page.about,
    save: (drawn) => outbox.send("api/outline", said({ ...drawn, sent: freshKey() })).finally(saved),
    erase: (number) => outbox.send("api/erase", said({ number })).finally(saved),
    close: () => {
      document.body.classList.remove("drawing");
      showImages(one("images"), page.shown, page.about, pick);
      mark();
    },
  });
  await nameAnnotator(page.about.annotator || storage.read("geoseg/annotator"));
  buildAnswers();
  const refused = await outbox.rest();
  if (refused.length)
    one("said").textContent = `Of what was kept here ${refused.length} was refused: ${refused[0]}`;
  document.addEventListener("keydown", onKey);
  // A key that follows a click is for the place, and not for the button.
  document.addEventListener("click", (event) => {
    if (event.detail) event.target.closest("button")?.blur();
  });
  await restart();
}

/** What is sent of the place that is shown. */
const said = (what) => ({ ...what, annotator: page.annotator, place: page.shown.number });

async function nameAnnotator(name) {
  if (!name) {
    const dialog = one("ask");
    dialog.showModal();
    await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
    name = one("given").value;
  }
  if (!name.trim()) return nameAnnotator("");
  page.annotator = name.trim();
  storage.keep("geoseg/annotator", page.annotator);
  one("who").textContent = page.annotator;
  one("who").onclick = () => nameAnnotator("").then(restart);
  return undefined;
}

async function restart() {
  page.queue = [];
  page.answered.clear();
  await refill();
  await show(page.queue[0]);
}

/** Take more places, and how far all are. */
async function refill() {
  const { annotator, said } = page;
  const told = await ask("api/queue", { annotator }, away);
  saved();
  if (annotator !== page.annotator) return;
  const known = new Set(page.queue.map((place) => place.number));
  const fresh = told.places.filter(
    (place) => !known.has(place.number) && !page.answered.has(place.number),
  );
  page.queue.push(...fresh);
  for (const place of fresh) load(page.about.edition, place);
  if (said !== page.said) return; // the rest is out of date
  page.before = told.before;
  page.told = told;
  showProgress();
  showBefore();
}

/** Show a place when its images are there. */
async function show(place) {
  page.shownAt = Infinity;
  if (place) await load(page.about.edition, place);
  page.shown = place ?? null;
  page.image = place ? place.images.length - 1 : 0;
  one("place").textContent = place?.id ?? "All places are answered";
  one("facts").textContent = place ? facts(place) : "The next round comes up here by itself.";
  showElsewhere(place);
  const shown = place ?? { images: [] };
  showImages(one("images"), shown, page.about, pick);
  lapse.show(shown, page.about);
  const next = page.queue.filter((one) => one !== place).slice(0, ROWS);
  one("next").replaceChildren(...next.map((one) => row(one, page.about)));
  for (const button of one("answers").children) button.disabled = !place && button.id !== "undo";
  mark();
  page.shownAt = performance.now();
  if (!place) setTimeout(lookAgain, LOOK_AGAIN_MS);
}

async function lookAgain() {
  if (page.shown || page.busy) return;
  await refill();
  await show(page.queue[0]);
}

function facts(place) {
  const years = place.images.map((image) => image.date.slice(0, 4));
  const span = years[0] === years.at(-1) ? years[0] : `${years[0]} to ${years.at(-1)}`;
  return place.images.length ? `${place.images.length} images, ${span}` : "";
}

function showElsewhere(place) {
  const known = Boolean(place) && place.lat !== null && place.lon !== null;
  one("elsewhere").hidden = !known;
  if (!known) return;
  const where = `${place.lat.toFixed(5)}, ${place.lon.toFixed(5)}`;
  one("coordinates").textContent = where;
  one("map").href = place.map;
  one("qgis").href = `place/${page.about.edition}/${place.number}.geojson`;
  one("copy").onclick = async () => {
    await navigator.clipboard?.writeText(where).catch(() => undefined);
    getSelection().selectAllChildren(one("coordinates")); // where the clipboard is closed to pages
  };
}

/** Choose an image by its number. */
function pick(image) {
  page.image = image;
  lapse.turnTo(image);
  mark();
}

function mark() {
  for (const column of one("images").children) {
    column.classList.toggle("picked", Number(column.dataset.image) === page.image);
  }
  [...one("before").children].forEach((line, number) =>
    line.classList.toggle("looked-at", number === page.back),
  );
}

function keysOfClasses() {
  const { classes, unknown } = page.about;
  const keys = classes.length === 2 ? ["n", "y"] : [..."1234567890"];
  const named = classes.map((name, number) => [keys[number], name]);
  return [...(classes.length === 2 ? named.reverse() : named), ["u", unknown]];
}

function buildAnswers() {
  const buttons = keysOfClasses().map(([key, name]) => {
    const swatch = make("i", { className: "swatch" });
    swatch.style.backgroundColor = page.about.colours[name] ?? "transparent";
    return make(
      "button",
      { type: "button", onclick: () => answer(name), "aria-keyshortcuts": key ?? "" },
      key ? make("kbd", { textContent: key }) : "",
      swatch,
      name,
    );
  });
  one("answers").replaceChildren(
    ...buttons,
    make("button", { type: "button", className: "side", onclick: outline },
      make("kbd", { textContent: "d" }), "outline"),
    make("button", { type: "button", id: "undo", className: "side", onclick: undo },
      make("kbd", { textContent: "z" }), "undo"),
  );
  const hints = [["← →", "image"], ["↑ ↓", "look back"], ["space", "play"], ["c", "bands"], ["b", "brighter"]];
  one("keys").replaceChildren(
    ...hints.map(([key, what]) => make("span", {}, make("kbd", { textContent: key }), ` ${what}`)),
  );
}

function onKey(event) {
  const typing = event.target.closest("input, dialog") || event.ctrlKey || event.metaKey;
  if (typing || event.altKey) return;
  if (event.key === "b") brighten();
  else if (outliner.open) {
    const pressing = event.key === "Enter" && event.target.closest("button, a");
    if (!pressing && outliner.key(event)) event.preventDefault();
  } else onKeyOfPlace(event);
}

function onKeyOfPlace(event) {
  const onButton = [" ", "Enter"].includes(event.key) && event.target.closest("button, a");
  if (onButton) return;
  const does = {
    " ": () => lapse.toggle(),
    c: () => lapse.compose(),
    z: undo,
    d: outline,
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    ArrowUp: () => lookBack(page.back + 1),
    ArrowDown: () => lookBack(page.back - 1),
  }[event.key];
  const [, name] = keysOfClasses().find(([key]) => key === event.key) ?? [];
  if (does) {
    event.preventDefault();
    does();
  } else if (name && !event.repeat) answer(name);
}

/** The next of three brightnesses: bright clouds leave little to the ground. */
function brighten() {
  const style = document.documentElement.style;
  const before = BRIGHTNESS.indexOf(Number(style.getPropertyValue("--bright") || 1));
  style.setProperty("--bright", BRIGHTNESS[(before + 1) % BRIGHTNESS.length]);
}

function step(by) {
  if (!page.shown) return;
  const image = page.image + by;
  if (image >= 0 && image < page.shown.images.length) pick(image);
}

/** Do one thing at a time: keys that come in between were meant for what is shown no more. */
async function alone(work) {
  if (page.busy || performance.now() - page.shownAt < SEEN_MS) return;
  page.busy = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell("refused", error.message);
  } finally {
    page.busy = false;
  }
}

function answer(name) {
  return alone(async () => {
    if (!page.shown) return;
    tell("sending", "saving");
    const told = await outbox.send("api/answer", said({ said: name, sent: freshKey() }));
    saved();
    page.said += 1;
    const answered = page.shown.number;
    page.answered.add(answered);
    if (told.told) showSaid(told.told);
    page.queue = page.queue.filter((place) => place.number !== answered);
    if (!page.before.some((line) => line.place === answered)) page.told.progress.answered += 1;
    page.before = page.before.filter((line) => line.place !== answered);
    if (told.told) page.before.unshift(told.told);
    page.back = -1;
    showBefore();
    showProgress();
    const more = page.queue.length <= AHEAD ? refill() : null;
    if (!page.queue.length) await more;
    await show(page.queue[0]);
  });
}

function undo() {
  return alone(async () => {
    const [last] = page.before;
    if (!last) return;
    tell("sending", "taking back");
    const body = { annotator: page.annotator, number: last.number };
    const told = await outbox.send("api/undo", body);
    saved();
    page.said += 1;
    page.before.shift();
    page.back = -1;
    page.answered.delete(last.place);
    one("said").textContent = `Taken back: ${last.id}, ${last.said}`;
    if (told.place) {
      page.queue = page.queue.filter((place) => place.number !== told.place.number);
      page.queue.unshift(told.place);
    }
    await refill();
    await show(page.queue[0]);
  });
}

/** Show what was answered before, or what is to be answered where `number` is -1. */
function lookBack(number) {
  return alone(async () => {
    if (number >= page.before.length || number < -1) return;
    page.back = number;
    if (number < 0) {
      one("said").textContent = "";
      await show(page.queue[0]);
      return;
    }
    const asked = { n: page.before[number].place, annotator: page.annotator };
    const place = await ask("api/place", asked, away);
    saved();
    await show(place);
    if (place.told) showSaid(place.told);
  });
}

function outline() {
  return alone(async () => {
    if (!page.shown?.images.length) return;
    const asked = { n: page.shown.number, annotator: page.annotator };
    const told = await ask("api/place", asked, away);
    saved();
    Object.assign(page.shown, told, { annotator: page.annotator });
    document.body.classList.add("drawing");
    outliner.show(page.shown, page.image);
  });
}

/** What the model and others think, now that it is answered. */
function verdict(told) {
  const model = told.probability === null ? [] : [`model ${told.probability.toFixed(2)}`];
  const others = told.others.map((other) => `${other.annotator}: ${other.said}`);
  return [...model, ...others, told.why].filter(Boolean).join(" · ");
}

function showSaid(told) {
  const rest = verdict(told);
  one("said").replaceChildren(
    `${told.id}: `,
    make("b", { textContent: told.said }),
    rest ? ` · ${rest}` : "",
  );
}

function showBefore() {
  const lines = page.before.map((told, number) => {
    const swatch = make("i", { className: "swatch" });
    swatch.style.backgroundColor = page.about.colours[told.said] ?? "transparent";
    const button = make(
      "button",
      { type: "button", className: "quiet", onclick: () => lookBack(number) },
      swatch,
      make("span", { className: "id", textContent: told.id }),
      make("small", {}, make("b", { textContent: told.said }), ` ${verdict(told)}`),
    );
    return make("li", { "data-number": told.number }, button);
  });
  one("before").replaceChildren(...lines);
  mark();
}

function showProgress() {
  const { progress, agreement } = page.told;
  one("share").value = progress.places ? progress.answered / progress.places : 0;
  const people = progress.annotators;
  const all = people > 1 ? `, ${progress.by_anyone} by ${people} people` : "";
  one("progress").textContent = `${progress.answered} of ${progress.places}${all}`;
  const lines = agreement.map(({ share, places, kappa, with: other }) => {
    const beyond = kappa === null ? "" : `, kappa ${kappa.toFixed(2)}`;
    return `${Math.round(100 * share)} % of ${places} as ${other}${beyond}`;
  });
  one("agreement").textContent = lines[0] ?? "";
  one("agreement").title = lines.join("\n");
}

function tell(state, text) {
  one("saved").dataset.state = state;
  one("saved").textContent = text;
}

const saved = () =>
  outbox?.unsent
    ? tell("away", `${outbox.unsent} unsent${keeping()}`)
    : tell("saved", `all saved${keeping()}`);

function away(why) {
  const left = outbox?.unsent ? `, ${outbox.unsent} unsent` : "";
  tell("away", `${why.replace(/\.$/, "")}${left}; trying again${keeping()}`);
}

const keeping = () =>
  outbox && !outbox.keeps ? "; this browser keeps nothing, leave the page open while it saves" : "";

start().catch((error) => tell("refused", error.message));
