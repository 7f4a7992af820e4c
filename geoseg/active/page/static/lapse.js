// The dates of one composition, one after the other on the same ground.

import { make, one } from "./build.js";
import { across, address } from "./place.js";

const STEP_MS = 650;

export class Lapse {
  constructor() {
    this.frames = [];
    this.at = 0;
    this.timer = 0;
    one("play").onclick = () => this.toggle();
    one("compose").onclick = () => this.compose();
  }

  /** Show a place, its latest date first, in the composition of most dates. */
  show(place, about) {
    this.stop();
    this.place = place;
    this.about = about;
    this.kinds = this.#kinds();
    const most = (kind) => this.#dates(kind).length;
    this.kind = this.kinds.reduce((best, kind) => (most(kind) > most(best) ? kind : best), this.kinds[0]);
    this.#fill();
  }

  /** The next composition. */
  compose() {
    this.kind = this.kinds[(this.kinds.indexOf(this.kind) + 1) % this.kinds.length];
    this.#fill();
  }

  toggle() {
    if (this.timer) this.stop();
    else if (this.frames.length > 1) {
      this.timer = setInterval(() => this.#turn((this.at + 1) % this.frames.length), STEP_MS);
      one("playing").textContent = "stop";
    }
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    one("playing").textContent = "play";
  }

  /** The date of an image, where the composition has it. */
  turnTo(image) {
    const at = this.frames.findIndex((frame) => frame.image === image);
    if (at >= 0) this.#turn(at);
  }

  #kinds() {
    const there = new Set(this.place.images.flatMap((image) => image.compositions));
    return Object.keys(this.about.compositions).filter((kind) => there.has(kind));
  }

  #dates(kind) {
    return this.place.images.flatMap((image, number) =>
      image.compositions.includes(kind) ? [number] : [],
    );
  }

  #fill() {
    const dates = this.kind === undefined ? [] : this.#dates(this.kind);
    const least = Math.min(...dates.map((number) => across(this.place.images[number])));
    this.frames = dates.map((image) => ({ image, picture: this.#picture(image, least) }));
    one("frame").replaceChildren(...this.frames.map((frame) => frame.picture));
    one("composed").textContent = this.about.compositions[this.kind] ?? "";
    one("compose").disabled = this.kinds.length < 2;
    one("play").disabled = this.frames.length < 2;
    one("moment").textContent = "";
    if (this.frames.length) this.#turn(this.frames.length - 1);
  }

  #picture(number, least) {
    const image = this.place.images[number];
    const picture = make("img", {
      src: address(this.about.edition, this.place, number, this.kind),
      alt: `${image.sensor}, ${image.date}`,
      decoding: "sync",
      draggable: false,
    });
    // As large as the others on the ground: what lies beyond the smallest is cut off.
    picture.style.inlineSize = `${(100 * image.width * image.gsd_m) / least}%`;
    picture.style.blockSize = `${(100 * image.height * image.gsd_m) / least}%`;
    return picture;
  }

  #turn(at) {
    this.at = at;
    this.frames.forEach((frame, number) => frame.picture.classList.toggle("on", number === at));
    const image = this.place.images[this.frames[at].image];
    one("moment").textContent =
      `${image.date} · ${image.sensor} · ${at + 1} of ${this.frames.length}`;
  }
}
