// Asking the server, and sending to it: what was said is kept until the server has it on disk.

const PATIENCE_MS = 10000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 3000;
const FINAL = [400, 404]; // and not that the page has to be opened by its secret address again

/** The server understood and said no; `final` where the same once more would be as wrong. */
export class Refused extends Error {
  constructor(message, final) {
    super(message);
    this.final = final;
  }
}

/** The storage of the browser, which may be full, or switched off. */
export const storage = {
  get places() {
    return attempted(() => Object.keys(localStorage)) ?? [];
  },
  read: (place) => attempted(() => localStorage.getItem(place)) ?? null,
  remove: (place) => attempted(() => localStorage.removeItem(place)),
  /** Whether it is kept. */
  keep: (place, text) => attempted(() => localStorage.setItem(place, text) ?? true) ?? false,
};

function attempted(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A key that no other answer has. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function call(path, options) {
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  const told = await answer.json();
  if (answer.ok) return told;
  if (answer.status < 500) throw new Refused(told.error, FINAL.includes(answer.status));
  throw new Error(told.error);
}

/** What the server tells of something; tries until it answers. */
export async function ask(path, asked, onAway) {
  return persist(() => call(`${path}?${new URLSearchParams(asked)}`), onAway);
}

async function persist(attempt, onAway) {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof Refused) throw error;
      onAway(error.name === "Error" ? error.message : "The server is away");
      await pause(wait);
    }
  }
}

/** What waits to be sent, kept by the browser also when the page is closed, where it can. */
export class Outbox {
  constructor(project, onAway) {
    this.places = `geoseg/${project}/unsent/`;
    this.project = project;
    this.onAway = onAway;
    this.keeps = true; // whether the browser kept what was sent last
    this.unkept = new Set(); // what waits and is gone when the page is closed
  }

  /** Where in the browser's storage something waits. */
  get waiting() {
    return storage.places.filter((place) => place.startsWith(this.places));
  }

  /** How much waits. */
  get unsent() {
    return this.waiting.length + this.unkept.size;
  }

  /** Send, and again until the server has it; what it tells then. */
  send(path, said) {
    const place = this.places + freshKey();
    const body = JSON.stringify({ ...said, project: this.project });
    this.keeps = storage.keep(place, JSON.stringify({ path, body }));
    if (!this.keeps) this.unkept.add(place);
    return this.#deliver(place, path, body);
  }

  /** Send what was left unsent when a page was closed; why some of it was refused. */
  async rest() {
    const refused = [];
    for (const place of this.waiting) {
      const { path, body } = JSON.parse(storage.read(place));
      await this.#deliver(place, path, body).catch((error) => refused.push(error.message));
    }
    return refused;
  }

  async #deliver(place, path, body) {
    const headers = { "Content-Type": "application/json" };
    try {
      const told = await persist(() => call(path, { method: "POST", headers, body }), this.onAway);
      this.#done(place);
      return told;
    } catch (error) {
      if (error.final) this.#done(place);
      throw error;
    }
  }

  #done(place) {
    storage.remove(place);
    this.unkept.delete(place);
  }
}
