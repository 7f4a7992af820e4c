// The time slider: one stop for each date that something is of.

import { make, one } from "./build.js";

const STEP_MS = 1400;

export class Times {
  /** `onChange` is called whenever another date is looked at. */
  constructor(times, onChange) {
    this.times = times;
    this.at = times.length - 1;
    this.onChange = onChange;
    this.timer = 0;
    one("when").hidden = times.length === 0;
    one("time").max = String(Math.max(0, times.length - 1));
    one("ticks").append(...times.map((_, number) => make("option", { value: String(number) })));
    one("time").addEventListener("input", (event) => {
      this.stop();
      this.show(Number(event.target.value));
    });
    one("play").hidden = times.length < 2;
    one("play").addEventListener("click", () => (this.timer ? this.stop() : this.play()));
    this.show(this.at);
  }

  /** Whether something of these days is of the date that is looked at; what has no date always is. */
  includes(when, at = this.at) {
    const now = this.times[at];
    return when === null || now === undefined || (when[0] <= now.last && when[1] >= now.first);
  }

  show(at) {
    this.at = at;
    if (!this.times.length) return;
    const words = this.times[at].words;
    one("time").value = String(at);
    one("time").setAttribute("aria-valuetext", words);
    one("now").textContent = words;
    this.onChange();
  }

  play() {
    one("play").textContent = "Pause";
    if (this.at === this.times.length - 1) this.show(0);
    this.timer = setInterval(() => {
      this.show(this.at + 1);
      if (this.at === this.times.length - 1) this.stop();
    }, STEP_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    one("play").textContent = "Play";
  }
}
