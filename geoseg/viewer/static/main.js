// The page of a folder: what is drawn is what is switched on, of the date, and on the map.

import { make, one } from "./build.js";
import { Outlines, boundsOf, tilesOf } from "./layers.js";
import { Panel } from "./panel.js";
import { Times } from "./time.js";

const L = window.L;
const MOST = 40; // things of a group that are drawn at once
const LOWEST_PANE = 210; // above that are those of the panes of popups
const WORLD = L.latLngBounds([-85, -180], [85, 180]);

const map = L.map("map", { attributionControl: false, maxZoom: 22, minZoom: 1, zoomSnap: 0.5 });
const drawn = new Map(); // what is on the map, by group, item and choice
let groups, items, times, panel;
let seen = []; // what of each group is of the date, as the list tells it

begin();

async function begin() {
  const answer = await fetch("api/contents");
  const told = await answer.json();
  if (!answer.ok) {
    say(told.error);
    return;
  }
  items = told.items.map((item, number) => ({ ...item, number }));
  groups = told.groups.map((group, number) => ({
    ...group,
    number,
    choice: group.choices[0]?.key ?? group.kind,
    items: items.filter((item) => item.group === number),
  }));
  one("name").textContent = told.name;
  document.title = `${told.name} · geoseg view`;
  tellProblems(told);
  setUpMap();
  panel = new Panel(one("layers"), groups, { onChange: update, onFade: fade });
  showAll();
  times = new Times(told.times, () => times && update());
  times.show(latestOfMost());
  update();
  document.documentElement.classList.add("ready");
}

function setUpMap() {
  L.control.attribution({ prefix: "Leaflet" }).addTo(map);
  L.control.scale({ imperial: false }).addTo(map);
  for (const group of groups) {
    map.createPane(paneOf(group)).style.zIndex = String(LOWEST_PANE + group.number);
  }
  map.on("moveend", () => times && update());
  map.on("mousemove", ({ latlng }) => {
    one("cursor").textContent = placed(latlng);
  });
  one("whole").addEventListener("click", showAll);
}

/** The latest date that most of what is switched on has something of. */
function latestOfMost() {
  const on = groups.filter((group) => group.on);
  const counts = times.times.map(
    (_, at) => on.filter(({ items }) => items.some(({ when }) => times.includes(when, at))).length,
  );
  return counts.lastIndexOf(Math.max(...counts));
}

const paneOf = (group) => `group-${group.number}`;

function placed({ lat, lng }) {
  const east = ((((lng + 180) % 360) + 360) % 360) - 180;
  const side = (value, positive, negative) =>
    `${Math.abs(value).toFixed(5)}° ${value < 0 ? negative : positive}`;
  return `${side(lat, "N", "S")}, ${side(east, "E", "W")}`;
}

/** Move the map to all that is switched on, of any date. */
function showAll() {
  const placedItems = items.filter(({ bounds }) => !boundsOf(bounds).contains(WORLD));
  const own = placedItems.filter((item) => groups[item.group].on);
  const all = (own.length ? own : placedItems).map(({ bounds }) => boundsOf(bounds));
  const whole = all.reduce((sum, bounds) => sum.extend(bounds), L.latLngBounds([]));
  map.fitBounds(whole.isValid() ? whole : WORLD, { animate: false, padding: [12, 12] });
}

/** Draw what is to be seen, and take away what is not. */
function update() {
  const wanted = new Map();
  seen = groups.map((group) => {
    const now = group.items.filter((item) => times.includes(item.when));
    const here = now.filter(({ bounds }) => boundsOf(bounds).intersects(map.getBounds()));
    const some = group.on ? here.slice(0, MOST) : [];
    for (const item of some) {
      const choice = item.choices.includes(group.choice) ? group.choice : item.choices[0];
      wanted.set(`${group.number} ${item.number} ${choice}`, { group, item, choice });
    }
    return { group, now, hidden: group.on ? here.length - some.length : 0 };
  });
  for (const [key, layer] of drawn) {
    if (wanted.has(key)) {
      layer.update?.();
    } else {
      layer.remove();
      drawn.delete(key);
    }
  }
  for (const [key, { group, item, choice }] of wanted) {
    if (!drawn.has(key)) drawn.set(key, draw(group, item, choice));
  }
  seen.forEach(tell);
}

function draw(group, item, choice) {
  const pane = paneOf(group);
  if (group.kind === "outlines") {
    fade(group);
    return new Outlines(map, item, { pane, onFailure: say, onLoad: () => seen.forEach(tell) });
  }
  const layer = tilesOf(item, choice, { pane, opacity: group.opacity, onFailure: say });
  layer.group = group;
  return layer.addTo(map);
}

function fade(group) {
  if (group.kind === "outlines") map.getPane(paneOf(group)).style.opacity = String(group.opacity);
  for (const layer of drawn.values()) {
    if (layer.group === group) layer.setOpacity(group.opacity);
  }
}

function tell({ group, now, hidden }) {
  const own = [...drawn].filter(([key]) => key.startsWith(`${group.number} `));
  const layers = own.map(([, layer]) => layer).filter((layer) => layer instanceof Outlines);
  const titles = now.slice(0, 3).map((item) => titled(item, group));
  if (now.length > titles.length) titles.push(`${now.length - titles.length} more`);
  panel.tell(group, {
    titles,
    hidden,
    leftOut: layers.reduce((sum, { leftOut }) => sum + leftOut, 0),
    classes: [...new Map(layers.flatMap(({ classes }) => [...classes]))].sort(),
  });
}

/** What an item is called; and how it is shown, where it has not what was chosen. */
function titled({ title, note, choices }, group) {
  const other = choices.length && !choices.includes(group.choice);
  const words = other && group.choices.find(({ key }) => key === choices[0])?.words;
  const notes = [note, words].filter(Boolean).join(", ");
  return notes ? `${title} (${notes})` : title;
}

function say(words) {
  one("said").textContent = words;
}

function tellProblems({ problems, problems_left_out: more }) {
  const count = problems.length + more;
  const box = one("problems");
  box.hidden = count === 0;
  box.querySelector("summary").textContent = `${count} not shown`;
  const rows = problems.map(([name, why]) => make("li", {}, make("b", {}, name), ` ${why}`));
  if (more) rows.push(make("li", {}, `and ${more} more`));
  box.querySelector("ul").append(...rows);
}
