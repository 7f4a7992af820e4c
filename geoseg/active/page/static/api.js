// Asking the server, and sending to it: what was said is kept until the server has it on disk.

const PATIENCE_MS = 10000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 3000;

/** The server understood and said no: the same once more would be as wrong. */
export class Refused extends Error {}

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
  if (answer.status < 500) throw new Refused(told.error);
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

/** What waits to be sent, kept by the browser also when the page is closed. */
export class Outbox {
  constructor(project, onAway) {
    this.place = `geoseg/${project}/unsent`;
    this.project = project;
    this.onAway = onAway;
  }

  /** Send, and again until the server has it; what it tells then. */
  async send(path, said) {
    const entry = { path, body: { ...said, project: this.project } };
    localStorage.setItem(this.place, JSON.stringify(entry));
    return this.#deliver(entry);
  }

  /** Send what was left unsent when the page was closed. */
  async rest() {
    const left = localStorage.getItem(this.place);
    if (left !== null) await this.#deliver(JSON.parse(left));
  }

  async #deliver({ path, body }) {
    const options = {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    };
    try {
      const told = await persist(() => call(path, options), this.onAway);
      localStorage.removeItem(this.place);
      return told;
    } catch (error) {
      localStorage.removeItem(this.place); // refused: it would be again
      throw error;
    }
  }
}
