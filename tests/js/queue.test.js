// The queue: cards and cells held ready, each question once, whatever the server's pages look like.

import { FakeImage, json, pass, random, serve, settle } from "./browser.js";

import assert from "node:assert/strict";
import { test } from "node:test";

const { Api } = await import("../../app/components/review/script/delivery/api.js");
const { Outbox } = await import("../../app/components/review/script/delivery/outbox.js");
const { CardQueue } = await import("../../app/components/review/script/card/queue.js");
const { GridFeed } = await import("../../app/components/review/script/grid/cells.js");

let scope = 0;

// Proposals 1 to `count` in this order, in pages; what is decided is gone.
class Server {
  decided = new Map();
  asked = [];
  lost = [];
  run = 1;
  fails = false;
  onQueue = () => {}; // while a page is under way
  beforeStore = () => {}; // before verdicts are

  constructor(count, pageLimit = Infinity) {
    this.ids = Array.from({ length: count }, (_, at) => at + 1);
    this.pageLimit = pageLimit;
    serve({
      "/api/queue": (url) => this.#page(url.searchParams),
      "/api/decisions": async (url, { decisions }) => (await this.beforeStore(), json(200, { results: decisions.map((one) => this.#store(one)) })),
      "/api/leases": () => json(200, { lost: this.lost }),
    });
  }

  #store({ client_id, proposal_id, verdict }) {
    this.decided.set(proposal_id, [...(this.decided.get(proposal_id) ?? []), verdict]);
    return { client_id, status: "saved", message: null };
  }

  async #page(parameters) {
    this.asked.push(parameters.toString());
    if (this.fails) throw new TypeError("network");
    const after = Number(parameters.get("after") ?? 0);
    const limit = Math.min(Number(parameters.get("limit")), this.pageLimit);
    const waiting = this.ids.filter((id) => !this.decided.has(id));
    const page = waiting.filter((id) => id > after).slice(0, limit);
    const answer = {
      cards: page.map((id) => this.card(id)),
      cursor: page.length === limit ? String(page.at(-1)) : null,
      left: after ? null : { queue: waiting.length, category: null, all: waiting.length, at_least: false },
      model_run_id: this.run,
    };
    await this.onQueue();
    return json(200, answer);
  }

  card(id) {
    return { proposal_id: id, image_id: id, image_url: `/api/images/${id}?size=960`, heatmap_url: null, state: id % 2 ? "present" : "absent", others: [], known: [] };
  }
}

function open(server, Kind) {
  const api = new Api();
  api.configure("", "token");
  const outbox = new Outbox(`queue-${(scope += 1)}`, api, () => {});
  const queue = new Kind(api, outbox);
  return { queue, outbox };
}

// Somebody judges the first card held.
function judge({ queue, outbox }, id = queue.current.proposal_id) {
  const [chip] = queue.current.chips;
  chip.verdict = "present";
  queue.answered(chip, true);
  outbox.add({ kind: "decide", client_id: `${id}-${Math.random()}`, proposal_id: id, verdict: "present" });
  queue.take();
  queue.fill();
}

for (const pageLimit of [1, 3, 8, 32, 100]) {
  test(`every question is asked once, in the queue's order (pages of ${pageLimit})`, async () => {
    const server = new Server(137, pageLimit);
    const held = open(server, CardQueue);
    held.queue.open("strategy=random");
    await settle();
    const shown = [];
    while (held.queue.current) {
      shown.push(held.queue.current.proposal_id);
      judge(held);
      if (shown.length % 3 === 0) await settle();
      if (!held.queue.current) await settle();
    }
    assert.deepEqual(shown, server.ids);
    assert.ok(held.queue.exhausted);
    assert.deepEqual([...server.decided.values()], server.ids.map(() => ["present"]));
  });
}

test("what is decided while a page is under way does not come back", async () => {
  const server = new Server(6);
  const { queue, outbox } = open(server, CardQueue);
  // The page is read before the verdict is stored, and arrives after it was acknowledged.
  let read;
  const isRead = new Promise((resolve) => (read = resolve));
  server.beforeStore = () => isRead;
  server.onQueue = async () => {
    read();
    while (outbox.proposals.size) await settle();
  };
  outbox.add({ kind: "decide", client_id: "earlier", proposal_id: 3, verdict: "absent" });
  queue.open("strategy=likely");
  await settle();
  await settle();
  assert.deepEqual([...server.decided.keys()], [3]);
  assert.deepEqual(queue.asked, [1, 2, 4, 5, 6]);
});

test("passed by, a card comes again at the end, and then it is the end", async () => {
  const server = new Server(20, 8);
  const held = open(server, CardQueue);
  held.queue.open("strategy=likely");
  await settle();
  held.queue.drop(held.queue.take());
  held.queue.fill();
  await settle();
  const shown = [];
  while (held.queue.current) {
    shown.push(held.queue.current.proposal_id);
    judge(held);
    await settle();
  }
  assert.deepEqual(shown, [...server.ids.slice(1), 1]);
  assert.ok(held.queue.exhausted);
});

test("the same query again changes nothing, another one opens its own", async () => {
  const server = new Server(40);
  const { queue } = open(server, CardQueue);
  assert.ok(queue.open("strategy=likely"));
  await settle();
  const before = [...queue.items];
  assert.ok(!queue.open("strategy=likely"));
  await settle();
  assert.deepEqual(queue.items, before);
  assert.ok(queue.open("strategy=random"));
  assert.equal(queue.items.length, 0);
  await settle();
  assert.match(server.asked.at(-1), /strategy=random/);
});

for (const Kind of [CardQueue, GridFeed]) {
  test(`${Kind.name}: an answer to an earlier query is dropped`, async () => {
    const server = new Server(40);
    const { queue } = open(server, Kind);
    let release;
    server.onQueue = () => new Promise((resolve) => (release = resolve));
    queue.open("strategy=likely");
    await settle();
    server.onQueue = () => {};
    server.ids = [101, 102];
    queue.open("strategy=random");
    await settle();
    release();
    await settle();
    assert.deepEqual(queue.asked, [101, 102]);
  });

  test(`${Kind.name}: a server that is gone is asked again until it answers`, async () => {
    const server = new Server(3);
    server.fails = true;
    const { queue } = open(server, Kind);
    queue.open("strategy=likely");
    await pass(30_000);
    assert.equal(queue.problem.kind, "unreachable");
    assert.ok(server.asked.length > 3 && server.asked.length < 40);
    server.fails = false;
    await pass(15_000);
    assert.equal(queue.problem, null);
    assert.deepEqual(queue.asked, [1, 2, 3]);
  });

  test(`${Kind.name}: a new model run leaves what is looked at and begins at its front`, async () => {
    const server = new Server(400);
    const { queue } = open(server, Kind);
    queue.open("strategy=likely");
    await settle();
    const kept = queue.items.slice(0, queue.kept).map((item) => item.proposal_id ?? item.id);
    server.run = 2;
    server.ids = server.ids.map((id) => id + 1_000);
    const before = server.asked.length;
    const gone = queue.items.slice(queue.kept + 3).map((item) => item.proposal_id ?? item.id);
    queue.remove(new Set(gone));
    await settle();
    assert.ok(server.asked.length > before);
    const now = queue.items.map((item) => item.proposal_id ?? item.id);
    assert.deepEqual(now.slice(0, kept.length), kept);
    assert.equal(now[kept.length], 1_001);
    assert.ok(now.slice(kept.length).every((id) => id > 1_000));
  });

  test(`${Kind.name}: how many are left follows what is settled and taken back`, async () => {
    const server = new Server(300);
    const { queue } = open(server, Kind);
    assert.equal(queue.left, null);
    queue.open("strategy=likely");
    await settle();
    assert.deepEqual(queue.left, { queue: 300, category: null, all: 300, at_least: false });
    queue.count(-60);
    assert.deepEqual(queue.left, { queue: 240, category: null, all: 240, at_least: false });
    queue.count(60);
    assert.deepEqual(queue.left, { queue: 300, category: null, all: 300, at_least: false });
  });

  test(`${Kind.name}: leases are renewed, and what is lost is asked no more`, async () => {
    const server = new Server(5);
    const { queue } = open(server, Kind);
    queue.open("strategy=likely");
    await settle();
    server.lost = [1, 4];
    await pass(120_000);
    assert.deepEqual(queue.asked, [2, 3, 5]);
    queue.close();
  });

  test(`${Kind.name}: at most four pictures load at once, in order`, async () => {
    const server = new Server(30);
    const { queue } = open(server, Kind);
    let most = 0;
    const decode = FakeImage.prototype.decode;
    let now = 0;
    FakeImage.prototype.decode = async () => {
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setImmediate(resolve));
      now -= 1;
    };
    queue.open("strategy=likely");
    await settle();
    await settle();
    FakeImage.prototype.decode = decode;
    assert.equal(most, 4);
    assert.ok(queue.pictures.every((picture) => !picture.loading));
  });
}

test("a page of the grid is settled, undone and settled again without a loss", async () => {
  const chance = random(7);
  const server = new Server(200);
  const held = open(server, GridFeed);
  held.queue.open("strategy=random");
  await settle();
  const before = held.queue.items.map((cell) => cell.id);
  for (let round = 0; round < 10; round += 1) {
    const page = held.queue.page;
    const settled = page.filter(() => chance() < 0.8);
    held.queue.settle(settled, 60);
    await pass(1_250);
    held.queue.restore(page);
    assert.deepEqual(held.queue.page, page);
    held.queue.size = 60;
  }
  const after = held.queue.items.map((cell) => cell.id);
  assert.deepEqual(after.slice(0, before.length), before);
  assert.equal(new Set(after).size, after.length);
});
