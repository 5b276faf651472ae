// The outbox: every verdict arrives once and in order, whatever happens on the way.

import { closeTab, json, pass, random, serve, settle } from "./browser.js";

import assert from "node:assert/strict";
import { test } from "node:test";

const { Api } = await import("../../app/components/review/script/delivery/api.js");
const { Outbox } = await import("../../app/components/review/script/delivery/outbox.js");

let scope = 0;

// A server that knows each client id once, and the trouble on the way to it and back.
class Server {
  stored = [];
  calls = 0;
  token = "one";
  // "lost" (never arrived), "cut" (stored, answer lost), "empty" (nothing answered), "wait" (too many
  // requests), the status of a proxy, or null.
  trouble = () => null;

  constructor() {
    const routes = ["decisions", "undo", "redo", "absent", "flags", "unflag"];
    serve(Object.fromEntries(routes.map((name) => [`/api/${name}`, (url, body, headers) => this.#answer(name, body, headers)])));
  }

  #answer(name, body, headers) {
    const trouble = this.trouble();
    this.calls += 1;
    if (trouble === "lost") throw new TypeError("network");
    if (headers["X-CLSL-Token"] !== this.token) return json(401, { error: "expired" });
    if (trouble === "empty") return json(200, {});
    if (trouble === "wait") return json(429, { error: "too many requests" });
    if (typeof trouble === "number") return new Response("a proxy's page", { status: trouble });
    const results = (name === "decisions" ? body.decisions : [body]).map((one) => this.#store(one, body.batch_id));
    if (trouble === "cut") throw new TypeError("network");
    return json(200, name === "decisions" ? { results } : results[0]);
  }

  #store(one, batch) {
    const { client_id } = one;
    if (this.stored.some((other) => other.client_id === client_id)) return { client_id, status: "duplicate", message: null };
    this.stored.push({ ...one, ...(batch ? { batch } : {}) });
    return { client_id, status: "saved", message: null };
  }
}

function open(server, where = `scope-${(scope += 1)}`) {
  const api = new Api();
  const answers = [];
  api.configure("", server.token);
  const outbox = new Outbox(where, api, (operation, answer) => answers.push([operation.client_id, answer.status]));
  return { api, outbox, answers, where };
}

const decide = (number) => ({ kind: "decide", client_id: `d${number}`, proposal_id: number, verdict: number % 2 ? "present" : "absent", label: "dog", accepted: true });

for (let seed = 1; seed <= 20; seed += 1) {
  test(`what is said arrives once and in order (${seed})`, async () => {
    const chance = random(seed);
    const server = new Server();
    const { outbox, answers } = open(server);
    const kinds = ["lost", "cut", "empty", "wait", 500, 502, 503, 404, 408, 429];
    server.trouble = () => (chance() < 0.4 ? kinds[Math.floor(chance() * kinds.length)] : null);
    const said = [];
    for (let number = 1; number <= 120; number += 1) {
      const undoes = said.at(-1)?.client_id;
      const isUndo = chance() < 0.2 && said.at(-1)?.kind === "decide";
      const one = isUndo ? { kind: "undo", client_id: `u${number}`, undoes } : decide(number);
      said.push(one);
      outbox.add(one);
      if (chance() < 0.3) await settle();
    }
    await pass(600_000);
    assert.equal(outbox.status.kind, "saved");
    assert.deepEqual(server.stored.map((one) => one.client_id), said.map((one) => one.client_id));
    assert.deepEqual(answers.map(([id]) => id), said.map((one) => one.client_id));
  });
}

test("a server that is in trouble is not called without a pause", async () => {
  for (const trouble of ["lost", "empty", "wait", 500]) {
    const server = new Server();
    server.trouble = () => trouble;
    const { outbox } = open(server);
    outbox.add(decide(1));
    await settle();
    assert.equal(server.calls, 1);
    await pass(60_000);
    assert.ok(server.calls > 3 && server.calls < 20, `${server.calls} calls`);
    server.trouble = () => null;
    await pass(15_000);
    assert.equal(outbox.status.kind, "saved");
  }
});

test("what is sent names the state and nothing of the page's own", async () => {
  const server = new Server();
  const { outbox } = open(server);
  outbox.add(decide(1));
  outbox.add(decide(2));
  await settle();
  assert.deepEqual(server.stored, [
    { client_id: "d1", proposal_id: 1, verdict: "present" },
    { client_id: "d2", proposal_id: 2, verdict: "absent" },
  ]);
});

test("a batch is answered as one and keeps its verdicts together", async () => {
  const server = new Server();
  const { outbox, answers } = open(server);
  const decisions = [decide(1), decide(2)].map(({ kind, label, accepted, ...one }) => one);
  outbox.add({ kind: "batch", client_id: "b1", decisions, label: "dog", accepted: 1 });
  assert.deepEqual([...outbox.proposals], [1, 2]);
  await settle();
  assert.deepEqual(answers, [["b1", "saved"]]);
  assert.deepEqual(server.stored.map(({ client_id, batch }) => [client_id, batch]), [["d1", "b1"], ["d2", "b1"]]);
});

test("a closed tab's verdicts are taken over and sent by another", async () => {
  const server = new Server();
  server.trouble = () => "lost";
  const first = open(server);
  for (const number of [1, 2, 3]) first.outbox.add(decide(number));
  await settle();
  closeTab();
  const second = open(server, first.where);
  second.outbox.add(decide(4));
  await second.outbox.ready;
  assert.deepEqual([...second.outbox.proposals], [1, 2, 3, 4]); // the older ones go first
  server.trouble = () => null;
  await pass(60_000);
  assert.deepEqual(server.stored.map((one) => one.client_id), ["d1", "d2", "d3", "d4"]);
  assert.deepEqual(Object.keys(localStorage).filter((key) => key.includes(first.where)), []);
});

test("verdicts being taken over are in the storage at every moment", async () => {
  const server = new Server();
  server.trouble = () => "lost";
  const first = open(server);
  first.outbox.add(decide(1));
  await settle();
  closeTab();
  const holds = () => Object.values(localStorage).some((text) => String(text).includes('"d1"'));
  const removed = localStorage.removeItem;
  const moments = [];
  Object.getPrototypeOf(localStorage).removeItem = function remove(key) {
    removed.call(this, key);
    moments.push(holds());
  };
  const second = open(server, first.where);
  await second.outbox.ready;
  Object.getPrototypeOf(localStorage).removeItem = removed;
  assert.ok(moments.length > 0);
  assert.ok(moments.every(Boolean));
});

test("a tab that lives keeps its own", async () => {
  const server = new Server();
  server.trouble = () => "lost";
  const first = open(server);
  first.outbox.add(decide(1));
  await settle();
  const second = open(server, first.where);
  await second.outbox.ready;
  assert.equal(second.outbox.status.kind, "saved");
  assert.equal(first.outbox.status.kind, "unreachable");
});

test("an expired key is asked for anew, and nothing is lost meanwhile", async () => {
  const server = new Server();
  const { api, outbox } = open(server);
  let asked = 0;
  api.askForToken = () => (asked += 1);
  server.token = "two";
  outbox.add(decide(1));
  await settle();
  assert.deepEqual([outbox.status.kind, asked], ["expired", 1]);
  await pass(10_000);
  assert.equal(asked, 2);
  api.configure("", "two");
  await settle();
  assert.deepEqual([outbox.status.kind, server.stored.length], ["saved", 1]);
});

test("one that is refused is found among many, and an undo of it is not sent", async () => {
  const server = new Server();
  const refuse = "d3";
  const { outbox, answers } = open(server);
  const inner = globalThis.fetch;
  globalThis.fetch = async (address, options) => {
    const sent = JSON.parse(options.body);
    if ((sent.decisions ?? []).some((one) => one.client_id === refuse)) return json(400, { error: "no such picture" });
    return inner(address, options);
  };
  for (const number of [1, 2, 3, 4]) outbox.add(decide(number));
  outbox.add({ kind: "undo", client_id: "u1", undoes: refuse });
  await settle();
  assert.deepEqual(server.stored.map((one) => one.client_id), ["d1", "d2", "d4"]);
  assert.deepEqual(answers.find(([id]) => id === refuse), [refuse, "refused"]);
  assert.equal(outbox.status.kind, "saved");
});
