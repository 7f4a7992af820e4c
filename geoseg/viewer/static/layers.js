// What is drawn on the map of one thing: its tiles, or its outlines.

import { make } from "./build.js";

const L = window.L;
const AROUND = 0.4; // of the map, to each side: outlines that are fetched beyond it

/** Tiles of a raster. They are images of this server, and nothing is loaded in their place. */
const Tiles = L.GridLayer.extend({
  initialize(address, options) {
    this.address = address;
    L.GridLayer.prototype.initialize.call(this, options);
    // A tile that went out of sight need not be sent any more.
    this.on("tileunload", ({ tile }) => tile.removeAttribute("src"));
  },
  createTile({ x, y, z }, done) {
    const tile = make("img", { alt: "" });
    tile.onload = () => done(null, tile);
    tile.onerror = () => tile.hasAttribute("src") && done(new Error("no tile"), tile);
    tile.src = `${this.address}/${z}/${x}/${y}.png`;
    return tile;
  },
});

export const boundsOf = ([west, south, east, north]) => L.latLngBounds([south, west], [north, east]);

/** A raster in one of its choices. */
export function tilesOf(item, choice, { pane, opacity, onFailure }) {
  const address = ["tile", item.number, item.stamp, encodeURIComponent(choice)].join("/");
  const layer = new Tiles(address, {
    bounds: boundsOf(item.bounds),
    maxNativeZoom: item.zoom,
    maxZoom: 24,
    opacity,
    pane,
    updateWhenZooming: false,
  });
  layer.on("tileerror", () => onFailure(`A part of ${item.title} could not be read`));
  return layer;
}

/** The outlines of one thing, as many as the map shows. */
export class Outlines {
  constructor(map, item, { pane, onFailure, onLoad }) {
    this.map = map;
    this.item = item;
    this.onFailure = onFailure;
    this.onLoad = onLoad;
    this.renderer = L.svg({ pane, padding: 0.3 });
    this.group = L.layerGroup([], { pane }).addTo(map);
    this.classes = new Map(); // colours, by the names of classes that were seen
    this.fetched = null;
    this.pane = pane;
    this.leftOut = 0;
    this.update();
  }

  remove() {
    this.fetched = null;
    this.asked?.abort();
    this.group.remove();
  }

  /** Fetch what the map shows, unless it is there. */
  async update() {
    const zoom = this.map.getZoom();
    const seen = this.map.getBounds();
    const known = this.fetched;
    if (known?.zoom === zoom && this.leftOut === 0 && known.box.contains(seen)) return;
    this.asked?.abort();
    this.asked = new AbortController();
    const box = seen.pad(AROUND);
    const query = new URLSearchParams({
      n: this.item.number,
      zoom: Math.round(zoom),
      west: box.getWest(),
      south: box.getSouth(),
      east: box.getEast(),
      north: box.getNorth(),
    });
    try {
      const answer = await fetch(`api/outlines?${query}`, { signal: this.asked.signal });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.error);
      this.fetched = { zoom, box };
      this.#draw(told);
    } catch (error) {
      if (error.name !== "AbortError") this.onFailure(error.message);
    }
  }

  #draw({ features, left_out: leftOut }) {
    this.leftOut = leftOut;
    this.classes = new Map(features.map(({ properties }) => [properties.class, properties.colour]));
    const common = { pane: this.pane, renderer: this.renderer };
    const casing = L.geoJSON(features, {
      ...common,
      interactive: false,
      style: { color: "#ffffff", fill: false, opacity: 0.75, weight: 4 },
    });
    const lines = L.geoJSON(features, {
      ...common,
      style: ({ properties }) => ({
        color: properties.colour,
        fillColor: properties.colour,
        fillOpacity: 0.1,
        weight: 2,
      }),
      onEachFeature: ({ properties }, layer) => {
        // Its words break anywhere: measured by themselves they would be a column of letters.
        layer.bindPopup(() => about(properties), { minWidth: 270, maxWidth: 270 });
      },
    });
    this.group.clearLayers();
    this.group.addLayer(casing).addLayer(lines);
    this.onLoad();
  }
}

/** What is known of an outline. Its words come from anybody: they are text, and no HTML. */
function about({ title, about: known }) {
  const rows = known.flatMap(([word, value]) => [
    make("dt", { textContent: word }),
    make("dd", { textContent: value }),
  ]);
  return make(
    "div",
    { className: "about" },
    make("h2", { textContent: title }),
    make("dl", {}, ...rows),
  );
}
