// Elements of the page. Text is only ever set as text: names come from anybody.

const SVG = "http://www.w3.org/2000/svg";

export const one = (id) => document.getElementById(id);

/** An element with properties, attributes of data and ARIA, and children (elements or texts). */
export function make(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("data-") || key.startsWith("aria-") || key === "role") {
      made.setAttribute(key, value);
    } else {
      made[key] = value;
    }
  }
  made.append(...children);
  return made;
}

/** An element of SVG with attributes. */
export function draw(tag, given = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The rings of a GeoJSON polygon or several, as a path of SVG. */
export function pathOf(geometry) {
  const polygons = geometry.type === "MultiPolygon" ? geometry.coordinates : [geometry.coordinates];
  return polygons
    .flat()
    .map((ring) => "M" + ring.map(([x, y]) => `${x} ${y}`).join("L") + "Z")
    .join("");
}
