// The page's data: packed chunks are unpacked when they are first asked for, and kept.

const index = JSON.parse(document.getElementById("index").textContent);
const unpackedChunks = new Map();

async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function chunkBytes(number) {
  if (!unpackedChunks.has(number)) unpackedChunks.set(number, unpack(`chunk-${number}`));
  return unpackedChunks.get(number);
}

const documents = new Map();

function chunkJson(number) {
  if (!documents.has(number)) {
    documents.set(number, chunkBytes(number).then((bytes) => JSON.parse(new TextDecoder().decode(bytes))));
  }
  return documents.get(number);
}

// Four planes of bytes, the least significant first, become 32-bit floats.
async function chunkReals(number) {
  const planes = await chunkBytes(number);
  const count = planes.length / 4;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let place = 0; place < count; place++) bytes[4 * place + plane] = planes[plane * count + place];
  }
  return new Float32Array(bytes.buffer);
}

async function chunkCodes({ chunk, width }) {
  const bytes = (await chunkBytes(chunk)).slice();
  return width === 1 ? bytes : width === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
}

// One study in one workspace. Code 0 of a factor is "none"; code c is level c - 1.
class Group {
  constructor(description, place) {
    Object.assign(this, description);
    this.place = place;
    this.kept = new Map();
  }

  get label() {
    return index.groups.some((one) => one.title === this.title && one.workspace !== this.workspace)
      ? `${this.title} (${this.workspace})`
      : this.title;
  }

  once(key, make) {
    if (!this.kept.has(key)) this.kept.set(key, make());
    return this.kept.get(key);
  }

  identities() {
    return chunkJson(this.ids);
  }

  titles() {
    return chunkJson(this.names);
  }

  statuses() {
    return this.once("status", () => chunkCodes(this.status));
  }

  factor(name) {
    return this.factors.find((one) => one.name === name);
  }

  metric(name) {
    return this.metrics.find((one) => one.name === name);
  }

  levels(name) {
    return this.once(`levels ${name}`, () => chunkCodes(this.factor(name)));
  }

  async numbers(name) {
    const metric = this.metric(name);
    return this.once(`metric ${name}`, async () => ({
      values: await chunkReals(metric.values),
      errors: metric.errors === null ? null : await chunkReals(metric.errors),
      items: metric.items,
    }));
  }

  // A number for each experiment: equal where all factors but the seed are.
  cells() {
    return this.once("cells", async () => {
      let cells = new Uint32Array(this.count);
      for (const factor of this.factors.filter((one) => one.name !== "seed")) {
        const codes = await this.levels(factor.name);
        const numbers = new Map();
        const next = new Uint32Array(this.count);
        for (let row = 0; row < this.count; row++) {
          const key = cells[row] * (factor.levels.length + 1) + codes[row];
          let number = numbers.get(key);
          if (number === undefined) numbers.set(key, (number = numbers.size));
          next[row] = number;
        }
        cells = next;
      }
      return cells;
    });
  }

  async places() {
    return chunkJson(this.details.places);
  }

  async stage(number) {
    const size = this.details.stagesAChunk;
    const stages = await chunkJson(this.details.chunks[Math.floor(number / size)]);
    return stages[number % size];
  }
}

const groups = index.groups.map((description, place) => new Group(description, place));

// Control characters, line separators and marks that turn the direction of writing, written out: a chart takes them ill,
// and a reader could be misled.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const plain = (text) => String(text).replace(HIDDEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

const levelText = (level) => (level === null || level === undefined ? "none" : plain(level));
