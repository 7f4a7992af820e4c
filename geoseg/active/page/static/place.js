// A place: its images side by side, one column a date.

import { draw, make, pathOf } from "./build.js";

const LINES = 2; // of pictures; an image of more gets another column
const LONGEST_WAIT_MS = 4000;

/** The address of a picture. */
export function address(edition, place, image, composition) {
  return `picture/${edition}/${place.number}/${image}/${composition}.png`;
}

/** Metres across an image. */
export const across = (image) => Math.max(image.height, image.width) * image.gsd_m;

/** Load all pictures of a place; done when they can be shown, or after a while in any case. */
export function load(edition, place) {
  const pictures = place.images.flatMap((image, number) =>
    image.compositions.map((composition) => {
      const picture = new Image();
      picture.src = address(edition, place, number, composition);
      return picture.decode().catch(() => undefined); // an image that fails shows its caption
    }),
  );
  const enough = new Promise((done) => setTimeout(done, LONGEST_WAIT_MS));
  return Promise.race([Promise.all(pictures), enough]);
}

/** The columns of a place, into an element. */
export function showImages(box, place, about, onPick) {
  const columns = place.images.map((one) => Math.ceil(one.compositions.length / LINES));
  box.style.setProperty("--columns", Math.max(columns.reduce((sum, count) => sum + count, 0), 1));
  const least = Math.min(...place.images.map(across));
  box.replaceChildren(
    ...place.images.map((image, number) => column(place, image, number, about, least, onPick)),
  );
  if (place.problem) box.append(make("p", { className: "problem", textContent: place.problem }));
}

function column(place, image, number, about, least, onPick) {
  const caption = make(
    "figcaption",
    {},
    make("b", { textContent: image.sensor }),
    make("span", { textContent: image.date }),
    make("span", { textContent: `${image.gsd_m} m` }),
  );
  const tiles = image.compositions.map((composition) =>
    tile(place, image, number, composition, about, least),
  );
  return make(
    "figure",
    { className: "column", "data-image": number, onclick: () => onPick(number) },
    caption,
    make("div", { className: "tiles" }, ...tiles),
  );
}

function tile(place, image, number, composition, about, least) {
  const called = about.compositions[composition];
  const picture = make("img", {
    src: address(about.edition, place, number, composition),
    alt: `${image.sensor}, ${image.date}, ${called}`,
    decoding: "sync",
    draggable: false,
  });
  const frame = make("div", { className: "frame" }, picture);
  if (across(image) > 1.2 * least) frame.append(ground(least / across(image)));
  const own = (place.outlines ?? []).filter((outline) => outline.image === number);
  if (own.length) frame.append(lines(image, own, about));
  return make("div", { className: "tile" }, frame, make("small", { textContent: called }));
}

/** The ground of the smallest image, as a square in the middle of a larger one. */
function ground(share) {
  const square = make("i", { className: "ground", title: "ground of the smallest image" });
  square.style.inlineSize = `${100 * share}%`;
  return square;
}

/** Outlines over an image. */
export function lines(image, outlines, about) {
  const over = draw("svg", { viewBox: `0 0 ${image.width} ${image.height}`, class: "lines" });
  for (const outline of outlines) {
    const path = draw("path", { d: pathOf(outline.geometry) });
    path.style.stroke = about.colours[outline.class];
    over.append(path);
  }
  return over;
}

/** A place in one line, for what comes next. */
export function row(place, about) {
  const pictures = place.images.map((image, number) =>
    make("img", {
      src: address(about.edition, place, number, image.compositions[0]),
      alt: `${image.sensor}, ${image.date}`,
      draggable: false,
    }),
  );
  return make("div", { className: "row" }, make("span", { textContent: place.id }), ...pictures);
}
