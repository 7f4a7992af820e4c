// The list of layers: switches, opacity, what is chosen, and the legend.

import { make } from "./build.js";

/** The rows of the list, the topmost layer first. */
export class Panel {
  /** `onChange(group)` is called when a group is to be drawn anew, `onFade(group)` when fainter. */
  constructor(list, groups, { onChange, onFade }) {
    this.rows = groups.map((group) => row(group, onChange, onFade));
    list.append(...this.rows.map(({ element }) => element).reverse());
  }

  /** Say what of a group is drawn, in which colours. */
  tell(group, { titles, hidden, leftOut, classes }) {
    const { element, shown, legend } = this.rows[group.number];
    element.classList.toggle("off", !group.on);
    element.classList.toggle("none", titles.length === 0);
    const words = [titles.join(", ") || "nothing of this date"];
    if (hidden) words.push(`${hidden} more: zoom in`);
    if (leftOut) words.push(`${leftOut} small ones left out: zoom in`);
    shown.textContent = words.join("; ");
    if (group.kind === "outlines") legend.replaceChildren(...classes.map(lineOf));
  }
}

function row(group, onChange, onFade) {
  const box = make("input", { type: "checkbox", checked: group.on });
  box.addEventListener("change", () => {
    group.on = box.checked;
    onChange(group);
  });
  const shown = make("p", { className: "shown" });
  const legend = make("ul", { className: "legend" });
  legend.append(...group.classes.map(swatchOf));
  const element = make(
    "li",
    { "data-group": group.name },
    make("label", { className: "switch" }, box, group.name),
    shown,
    settings(group, onChange, onFade),
    ...(group.ramp ? [rampOf(group.ramp)] : []),
    legend,
  );
  return { element, shown, legend };
}

function settings(group, onChange, onFade) {
  const fader = make("input", { type: "range", min: "0", max: "1", step: "0.05" });
  fader.value = String(group.opacity);
  fader.setAttribute("aria-label", `Opacity of ${group.name}`);
  fader.addEventListener("input", () => {
    group.opacity = Number(fader.value);
    onFade(group);
  });
  const set = make("div", { className: "set" });
  if (group.choices.length > 1) {
    const options = group.choices.map(({ key, words }) =>
      make("option", { value: key, textContent: words }),
    );
    const choice = make("select", {}, ...options);
    choice.setAttribute("aria-label", `What is shown of ${group.name}`);
    choice.addEventListener("change", () => {
      group.choice = choice.value;
      onChange(group);
    });
    set.append(make("span", { textContent: "shows" }), choice);
  }
  set.append(make("span", { textContent: "opacity" }), fader);
  return set;
}

const words = (name) => name.replaceAll("_", " ");

function swatchOf({ name, colour }) {
  const swatch = make("i", { className: "swatch" });
  swatch.style.background = colour;
  return make("li", {}, swatch, words(name));
}

function lineOf([name, colour]) {
  const swatch = make("i", { className: "swatch line" });
  swatch.style.borderColor = colour;
  return make("li", {}, swatch, words(name));
}

function rampOf(colours) {
  const bar = make("i");
  bar.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  return make("div", { className: "ramp" }, bar, make("span", {}, "0"), make("span", {}, "1"));
}
