// Drawing and mending outlines on an image, by mouse or by keys alone.

import { draw, make, one, pathOf } from "./build.js";
import { address } from "./place.js";

const STEP_PX = 1;
const STRIDE_PX = 5;
const LEAST_CORNERS = 3;
const UNNAMED = "#ffffff"; // a mask of a class that nobody knows

const HINTS = [
  ["click, space", "corner"],
  ["arrows", "cross, shift: 5 px"],
  ["p", "pick up a corner, put it down"],
  ["⌫", "remove a corner"],
  ["enter", "save"],
  ["m", "mend the next one"],
  ["x", "erase it"],
  ["[ ]", "image"],
  ["c", "bands"],
  ["esc", "back"],
];

export class Outliner {
  /** @param save, erase: send to the server; throw what it refuses.  @param close: when done. */
  constructor({ about, save, erase, close }) {
    Object.assign(this, { about, save, erase, close });
    this.box = one("draw");
    this.open = false;
  }

  /** Open on an image of a place with its outlines and masks. */
  show(place, image) {
    this.place = place;
    this.open = true;
    this.class = this.about.classes[this.about.classes.length === 2 ? 1 : 0];
    this.box.hidden = false;
    this.#turn(image);
    this.box.focus();
  }

  leave() {
    this.open = false;
    this.box.hidden = true;
    this.box.replaceChildren();
    this.close();
  }

  /** Take a key; whether it was one of ours. */
  key(event) {
    if (this.busy) return true; // it was meant for what is being saved
    const step = event.shiftKey ? STRIDE_PX : STEP_PX;
    const does = {
      ArrowLeft: () => this.#move(-step, 0),
      ArrowRight: () => this.#move(step, 0),
      ArrowUp: () => this.#move(0, -step),
      ArrowDown: () => this.#move(0, step),
      " ": () => this.#add(this.cross),
      p: () => this.#pick(),
      Backspace: () => this.#remove(),
      Delete: () => this.#remove(),
      Enter: () => this.#store(),
      Escape: () => (this.corners.length ? this.#begin() : this.leave()),
      m: () => this.#mendNext(),
      x: () => this.#eraseMended(),
      "[": () => this.#turn(this.image - 1),
      "]": () => this.#turn(this.image + 1),
      c: () => this.#compose(),
    }[event.key];
    if (does) does();
    else if (/^[1-9]$/.test(event.key)) this.#choose(this.about.classes[event.key - 1]);
    else return false;
    return true;
  }

  get shown() {
    return this.place.images[this.image];
  }

  /** What is drawn on this image already: masks that came with it, and outlines of people. */
  get there() {
    const masks = this.place.masks.map((mask) => ({ ...mask, annotator: "mask" }));
    return [...masks, ...this.place.outlines].filter((one) => one.image === this.image);
  }

  #turn(image) {
    const count = this.place.images.length;
    this.image = (image + count) % count;
    this.kind = this.shown.compositions[0];
    this.mended = -1;
    this.cross = [this.shown.width / 2, this.shown.height / 2];
    this.#build();
    this.#begin();
  }

  #compose() {
    const kinds = this.shown.compositions;
    this.kind = kinds[(kinds.indexOf(this.kind) + 1) % kinds.length];
    this.picture.src = address(this.about.edition, this.place, this.image, this.kind);
  }

  #choose(name) {
    if (name === undefined) return;
    this.class = name;
    this.#paint();
  }

  #begin() {
    this.corners = [];
    this.held = -1;
    this.instead = null;
    this.kept = { holes: [], others: [] };
    this.message.textContent = "";
    this.#paint();
  }

  #mendNext() {
    if (!this.there.length) return;
    this.mended = (this.mended + 1) % this.there.length;
    this.#mend(this.there[this.mended]);
  }

  #mend(outline) {
    this.#begin();
    this.mended = this.there.findIndex((other) => other.geometry === outline.geometry);
    const { type, coordinates } = outline.geometry;
    const [[ring, ...holes], ...others] = type === "Polygon" ? [coordinates] : coordinates;
    this.kept = { holes, others }; // what is not mended stays as it is
    this.corners = ring.slice(0, -1).map((corner) => [...corner]);
    // A mask of a class that nobody knows is taken up as the class that is chosen.
    if (this.about.classes.includes(outline.class)) this.class = outline.class;
    this.instead = outline.annotator === this.place.annotator ? outline.number : null;
    this.#paint();
  }

  async #eraseMended() {
    if (this.instead === null) return;
    const gone = this.instead;
    await this.#sending(() => this.erase(gone));
    this.place.outlines = this.place.outlines.filter((one) => one.number !== gone);
    this.#begin();
  }

  #move(right, down) {
    const [x, y] = this.held < 0 ? this.cross : this.corners[this.held];
    this.cross = this.#inside([x + right, y + down]);
    if (this.held >= 0) this.corners[this.held] = [...this.cross];
    this.#paint();
  }

  #inside([x, y]) {
    const within = (value, most) => Math.min(Math.max(Math.round(value * 4) / 4, 0), most);
    return [within(x, this.shown.width), within(y, this.shown.height)];
  }

  /** A corner: the next one while drawing, into the nearest side once there are three. */
  #add(where) {
    const corner = this.#inside(where);
    const at = this.mended >= 0 ? nearestSide(this.corners, corner) + 1 : this.corners.length;
    this.corners.splice(at, 0, corner);
    this.cross = [...corner];
    this.#paint();
  }

  #pick() {
    this.held = this.held >= 0 ? -1 : nearestCorner(this.corners, this.cross);
    if (this.held >= 0) this.cross = [...this.corners[this.held]];
    this.#paint();
  }

  #remove() {
    if (!this.corners.length) return;
    const drawing = this.mended < 0 && this.held < 0;
    const last = this.corners.length - 1;
    const at = drawing ? last : this.held < 0 ? nearestCorner(this.corners, this.cross) : this.held;
    this.corners.splice(at, 1);
    this.held = -1;
    this.#paint();
  }

  async #store() {
    if (this.corners.length < LEAST_CORNERS) {
      this.message.textContent = `An outline has ${LEAST_CORNERS} corners or more.`;
      return;
    }
    const { instead } = this;
    const drawn = { class: this.class, image: this.image, geometry: this.#geometry(), instead };
    const told = await this.#sending(() => this.save(drawn));
    if (told === undefined) return;
    const kept = this.place.outlines.filter((one) => one.number !== drawn.instead);
    const own = { ...drawn, number: told.number, annotator: this.place.annotator };
    this.place.outlines = [...kept, own];
    this.mended = -1;
    this.#begin();
    this.message.textContent = "Saved.";
  }

  #geometry() {
    const polygon = [[...this.corners, this.corners[0]], ...this.kept.holes];
    return this.kept.others.length
      ? { type: "MultiPolygon", coordinates: [polygon, ...this.kept.others] }
      : { type: "Polygon", coordinates: polygon };
  }

  async #sending(send) {
    if (this.busy) return undefined;
    this.busy = true;
    try {
      return await send();
    } catch (error) {
      this.message.textContent = error.message;
      return undefined;
    } finally {
      this.busy = false;
    }
  }

  #build() {
    const { width, height } = this.shown;
    this.picture = make("img", {
      src: address(this.about.edition, this.place, this.image, this.kind),
      alt: "",
      draggable: false,
    });
    this.over = draw("svg", { viewBox: `0 0 ${width} ${height}` });
    const canvas = make("div", { className: "canvas" }, this.picture, this.over);
    canvas.style.aspectRatio = `${width} / ${height}`;
    this.#listen(this.over);
    this.classes = make("div", { className: "classes", role: "group", "aria-label": "Class" });
    this.list = make("ul");
    this.message = make("p", { className: "message", role: "status" });
    const hints = HINTS.map(([key, what]) =>
      make("li", {}, make("kbd", { textContent: key }), ` ${what}`),
    );
    const title = `${this.shown.sensor} · ${this.shown.date} · ${this.shown.gsd_m} m`;
    const panel = make(
      "div",
      { className: "panel" },
      make("h3", { textContent: title }),
      this.classes,
      make("h3", { textContent: "On this image" }),
      this.list,
      this.message,
      make("ul", { className: "hints" }, ...hints),
    );
    this.box.tabIndex = -1;
    this.box.replaceChildren(make("div", { className: "easel" }, canvas), panel);
  }

  #listen(over) {
    const at = (event) => {
      const frame = over.getBoundingClientRect();
      return [
        ((event.clientX - frame.left) / frame.width) * this.shown.width,
        ((event.clientY - frame.top) / frame.height) * this.shown.height,
      ];
    };
    over.onpointerdown = (event) => {
      event.preventDefault();
      const corner = event.target.dataset.corner;
      if (corner === undefined) this.#add(at(event));
      else this.held = Number(corner);
      this.dragged = corner !== undefined;
      over.setPointerCapture(event.pointerId);
    };
    over.onpointermove = (event) => {
      if (!this.dragged || this.held < 0) return;
      this.corners[this.held] = this.cross = this.#inside(at(event));
      this.#paint();
    };
    over.onpointerup = () => {
      if (this.dragged) this.held = -1;
      this.dragged = false;
      this.#paint();
    };
  }

  #paint() {
    const parts = this.there
      .filter((_, number) => number !== this.mended || !this.corners.length)
      .map((outline) => this.#path(pathOf(outline.geometry), outline));
    if (this.corners.length) {
      parts.push(this.#path(pathOf(this.#geometry()), { class: this.class, annotator: "now" }));
    }
    this.over.replaceChildren(...parts, ...this.corners.map(this.#handle, this), this.#crossing());
    this.classes.replaceChildren(...this.about.classes.map(this.#classButton, this));
    this.list.replaceChildren(...this.there.map(this.#listed, this));
  }

  #path(line, outline) {
    const path = draw("path", { d: line, class: outline.annotator === "mask" ? "mask" : "" });
    path.style.stroke = this.about.colours[outline.class] ?? UNNAMED;
    if (outline.annotator === "now") path.style.fill = this.about.colours[outline.class];
    return path;
  }

  #handle([x, y], number) {
    const held = number === this.held ? "held" : "";
    const radius = Math.max(this.shown.width, this.shown.height) / 110;
    return draw("circle", { cx: x, cy: y, r: radius, class: held, "data-corner": number });
  }

  #crossing() {
    const [x, y] = this.cross;
    const arm = Math.max(this.shown.width, this.shown.height) / 40;
    const line = `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`;
    return draw("g", { class: "cross" }, draw("path", { d: line }), draw("path", { d: line }));
  }

  #classButton(name, number) {
    const swatch = make("i", { className: "swatch" });
    swatch.style.backgroundColor = this.about.colours[name];
    return make(
      "button",
      {
        type: "button",
        onclick: () => this.#choose(name),
        "aria-pressed": String(name === this.class),
      },
      number < 9 ? make("kbd", { textContent: number + 1 }) : "",
      swatch,
      name,
    );
  }

  #listed(outline, number) {
    const swatch = make("i", { className: "swatch" });
    swatch.style.backgroundColor = this.about.colours[outline.class] ?? UNNAMED;
    const button = make(
      "button",
      { type: "button", className: "quiet", onclick: () => this.#mend(outline) },
      swatch,
      `${outline.class}, ${outline.annotator}`,
    );
    button.setAttribute("aria-current", String(number === this.mended));
    return make("li", {}, button);
  }
}

/** The number of the corner nearest to a point, -1 where there is none. */
function nearestCorner(corners, [x, y]) {
  const far = corners.map((corner) => Math.hypot(corner[0] - x, corner[1] - y));
  return far.indexOf(Math.min(...far));
}

/** The number of the side nearest to a point: that from a corner to the next. */
function nearestSide(corners, [x, y]) {
  const far = corners.map(([ax, ay], number) => {
    const [bx, by] = corners[(number + 1) % corners.length];
    const [dx, dy] = [bx - ax, by - ay];
    const share = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1);
    const along = Math.min(Math.max(share, 0), 1);
    return Math.hypot(ax + along * dx - x, ay + along * dy - y);
  });
  return far.indexOf(Math.min(...far));
}
