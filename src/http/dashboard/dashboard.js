// Shows what the service says of itself: how each coordinator is once a second, and each event as it comes.
//
// Whatever comes from the service, be it an id or an error, is text and never markup. Nothing here is needed to run the
// service: a page that is closed changes nothing.
"use strict";

const POLL = 1_000; // milliseconds between two looks at the coordinators
const SELDOM = 15_000; // and at what changes seldom
const SHOWN = 300_000; // what a chart shows
const RATES = 5_000; // what a rate is taken over
const LATE = 10_000; // an answer that takes longer is none
const GAP = 5_000; // a line does not go on over more than this
const SILENCE = 45_000; // three heartbeats: the stream is gone
const EVENTS = 100;

const $ = (id) => document.getElementById(id);
const coordinators = new Map(); // by id: what is shown of it, and where
const levels = new Map(); // by source and id: the level of the event that came last
const seen = new Set(); // ids of the events that are in the table

// ---- Asking the service

let token = sessionStorage.getItem("token");
let asked = null; // resolves once a token was typed in

class Problem extends Error {}

async function request(path, options = {}) {
  for (;;) {
    const used = token;
    const headers = used === null ? {} : { Authorization: `Bearer ${used}` };
    const signal = options.signal ?? AbortSignal.timeout(LATE);
    const response = await fetch(path, { signal, headers, cache: "no-store", redirect: "error" });
    if (response.status !== 401) {
      if (response.ok) return response;
      const body = await response.json().catch(() => ({}));
      throw new Problem(body.error ?? `the service answers ${response.status}`);
    }
    if (used === token) await askForToken(used !== null);
  }
}

function askForToken(isWrong) {
  asked ??= new Promise((resolve) => {
    const form = $("token");
    $("token-problem").textContent = isWrong ? "The service does not know this token." : "";
    say("Waiting for a token");
    form.hidden = false;
    $("token-value").focus();
    form.onsubmit = (event) => {
      event.preventDefault();
      token = $("token-value").value.trim();
      // Gone with the tab. It is not in the address, which would be logged.
      sessionStorage.setItem("token", token);
      $("token-value").value = "";
      form.hidden = true;
      asked = null;
      resolve();
    };
  });
  return asked;
}

// ---- What is shown

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fraction = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const count = (value) => number.format(value);
const rate = (value) => (value === null ? "–" : value < 100 ? fraction.format(value) : count(value));
const words = (text) => String(text).replaceAll("_", " ");
const time = (date) => new Date(date).toLocaleTimeString([], { hourCycle: "h23" });

function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 120) return `${count(seconds)} s`;
  if (seconds < 7_200) return `${count(seconds / 60)} min`;
  return seconds < 172_800 ? `${count(seconds / 3_600)} h` : `${count(seconds / 86_400)} d`;
}

function put(element, text) {
  // What has not changed is left alone: a selection stays, and a screen reader is not told again.
  if (element.textContent !== text) element.textContent = text;
}

function putLevel(within, level) {
  const badge = within.querySelector(".level");
  put(badge, level);
  badge.className = `level ${["ok", "soft", "hard"].includes(level) ? level : ""}`;
}

function putAll(within, values) {
  for (const [name, text] of Object.entries(values)) {
    const element = within.querySelector(`[data-of="${name}"]`);
    if (element !== null) put(element, text);
  }
}

let lostSince = null;

function say(text, isLost = false) {
  if (!isLost) lostSince = null;
  else lostSince ??= new Date();
  document.body.classList.toggle("lost", isLost);
  put($("connection"), isLost ? `${text}. What is shown is of ${time(lostSince)}; trying again` : text);
}

function cells(row, ...texts) {
  for (const [text, style] of texts) {
    const cell = row.insertCell();
    cell.textContent = text;
    if (style) cell.className = style;
  }
}

// ---- Coordinators

let cards = 0;

function entry(id) {
  const known = coordinators.get(id);
  if (known !== undefined) return known;
  const card = $("card").content.cloneNode(true).firstElementChild;
  const row = $("row").content.cloneNode(true).firstElementChild;
  card.id = `coordinator-${cards}`;
  cards += 1;
  const link = row.querySelector("a");
  link.href = `#${card.id}`;
  link.textContent = id;
  putAll(card, { id });
  $("coordinators").append(card);
  $("overview").append(row);
  const made = { card, row, samples: [] };
  card.querySelector(".history").addEventListener("toggle", () => history(made));
  coordinators.set(id, made);
  return made;
}

function show(health, now) {
  const coordinator = entry(health.coordinator_id);
  const { card, row, samples } = coordinator;
  const { epoch, submitted, queue_size: size } = health;
  const settled = health.stored + health.dead_lettered + health.dropped;
  const before = samples.filter((sample) => sample.epoch === epoch);
  const since = before.find((sample) => sample.now >= now - RATES) ?? before.at(-1);
  const per = (present, past) => (1_000 * (present - past)) / (now - since.now);
  const incoming = since === undefined ? null : per(submitted, since.submitted);
  const outgoing = since === undefined ? null : per(settled, since.settled);
  samples.push({ now, size, epoch, submitted, settled });
  while (samples[0].now < now - SHOWN) samples.shift();

  const state = health.alive ? health.state : "dead";
  const reason = words(health.reason) + (state === "open" ? "" : ` (${state})`);
  const probe = health.probe_in === null ? "" : `, tried in ${age(health.probe_in)}`;
  const values = {
    reason,
    in: rate(incoming),
    out: rate(outgoing),
    oldest: age(health.oldest_age),
    circuit: words(health.circuit) + probe,
    workers: count(health.workers_alive),
  };
  putLevel(row, health.level);
  putAll(row, { ...values, queue: `${count(health.queue_size)} / ${count(health.capacity)}` });

  const unaccounted = health.submitted - settled - health.queued - health.in_flight;
  const others = health.causes.map(words).filter((cause) => cause !== words(health.reason));
  putLevel(card, health.level);
  putAll(card, {
    ...values,
    in: `${values.in} /s`,
    out: `${values.out} /s`,
    why: reason + (others.length > 0 ? `, and ${others.join(", ")}` : ""),
    in_flight: count(health.in_flight),
    in_flight_too: count(health.in_flight),
    submitted: count(health.submitted),
    stored: count(health.stored),
    dead_lettered: count(health.dead_lettered),
    dropped: count(health.dropped),
    queued: count(health.queued),
    residual: count(unaccounted),
    rejected: count(
      health.rejected_full + health.rejected_draining + health.rejected_closed + health.rejected_invalid,
    ),
    error: health.last_error ?? "",
  });
  card.querySelector(".error").hidden = health.last_error === null;
  chart(coordinator, health, now);
  history(coordinator);
}

function chart({ card, samples }, health, now) {
  const { capacity, low_watermark: low, high_watermark: high } = health;
  const y = (size) => 97 - 94 * Math.min(1, size / capacity); // so that neither end is cut
  const x = (at) => 300 - (300 * (now - at)) / SHOWN;
  let [line, area, before] = ["", "", null];
  for (const { now: at, size } of samples) {
    const point = `${x(at).toFixed(2)} ${y(size).toFixed(2)}`;
    if (before !== null && at - before.now <= GAP) {
      line += `L${point}`;
      area += `L${point}`;
    } else {
      line += `M${point}`;
      area += `${before === null ? "" : `L${x(before.now).toFixed(2)} 100Z`}M${x(at).toFixed(2)} 100L${point}`;
    }
    before = { now: at };
  }
  card.querySelector(".line").setAttribute("d", line);
  card.querySelector(".area").setAttribute("d", `${area}L${x(before.now).toFixed(2)} 100Z`);
  for (const [name, mark] of [["high", high], ["low", low]]) {
    const drawn = card.querySelector(`line.${name}`);
    drawn.setAttribute("y1", y(mark));
    drawn.setAttribute("y2", y(mark));
    const label = card.querySelector(`.mark.${name}`);
    put(label, `${name} ${count(mark)}`);
    label.style.top = `${Math.min(94, Math.max(6, y(mark)))}%`;
  }
  const most = Math.max(...samples.map((sample) => sample.size));
  const text = `${count(health.queue_size)} of ${count(capacity)} records, at most ${count(most)} in this time`;
  put(card.querySelector("figcaption"), text);
  const label = `Queue: ${text}; low watermark ${count(low)}, high watermark ${count(high)}`;
  card.querySelector("svg").setAttribute("aria-label", label);
}

// The chart as a table: what was least and most in each half minute.
function history({ card, samples }) {
  if (!card.querySelector(".history").open) return;
  const body = card.querySelector("[data-of=history]");
  const now = performance.now();
  const rows = [];
  for (let end = now; end > now - SHOWN; end -= 30_000) {
    const sizes = samples.filter(({ now: at }) => at > end - 30_000 && at <= end).map((sample) => sample.size);
    if (sizes.length === 0) continue;
    const row = document.createElement("tr");
    const until = end === now ? "now" : `${count((now - end) / 1_000)} s ago`;
    cells(row, [until], [count(Math.min(...sizes)), "number"], [count(Math.max(...sizes)), "number"]);
    rows.push(row);
  }
  body.replaceChildren(...rows);
}

async function look() {
  try {
    const found = await (await request("v1/coordinators")).json();
    const now = performance.now();
    const ids = new Set(found.coordinators.map((health) => health.coordinator_id));
    for (const [id, { card, row }] of coordinators) {
      if (!ids.has(id)) {
        card.remove();
        row.remove();
        coordinators.delete(id);
      }
    }
    for (const health of found.coordinators) show(health, now);
    say("Connected");
  } catch (error) {
    say(error instanceof Problem ? `The service says: ${error.message}` : "No connection", true);
  }
}

// ---- Events

function heard(event) {
  const key = `${event.source}/${event.coordinator_id}`;
  const before = levels.get(key);
  levels.set(key, event.level);
  if (seen.has(event.id)) return;
  seen.add(event.id);
  if (before !== undefined && before !== event.level) {
    put($("announcement"), `${event.coordinator_id} is ${event.level}: ${words(event.reason)}`);
  }
  const body = $("events");
  const row = body.insertRow(0);
  row.dataset.id = event.id;
  cells(row, [time(event.ts)], [event.coordinator_id], [""], [event.previous], [words(event.reason)]);
  const badge = document.createElement("span");
  badge.className = "level";
  row.cells[2].append(badge);
  putLevel(row, event.level);
  cells(row, [`${count(event.queue_size)} / ${count(event.capacity)}`, "number"], [age(event.retry_after), "number"]);
  while (body.rows.length > EVENTS) {
    seen.delete(body.rows[body.rows.length - 1].dataset.id);
    body.deleteRow(-1);
  }
}

// Reads one stream to its end. By fetch, since an EventSource sends no token.
async function follow() {
  const stop = new AbortController();
  let silence = 0;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => stop.abort(), SILENCE);
  };
  try {
    const response = await request("v1/feedback/stream", { signal: stop.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      listen();
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const messages = text.split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const data = message.split("\n").filter((line) => line.startsWith("data: "));
        if (data.length > 0) heard(JSON.parse(data.map((line) => line.slice(6)).join("\n")));
      }
    }
  } finally {
    clearTimeout(silence);
  }
}

// ---- What changes seldom

function table(name, rows) {
  $(`${name}-none`).hidden = rows.length > 0;
  $(`${name}-some`).hidden = rows.length === 0;
  $(name).replaceChildren(...rows);
}

function rowOf(...texts) {
  const row = document.createElement("tr");
  cells(row, ...texts);
  return row;
}

async function lookSeldom() {
  const ask = async (path) => {
    try {
      return await (await request(path)).json();
    } catch {
      return null; // The coordinators' own looks tell that the connection is lost.
    }
  };
  const webhooks = await ask("v1/webhooks");
  if (webhooks !== null) {
    table("webhooks", webhooks.webhooks.map((lane) => rowOf(
      [lane.endpoint],
      [words(lane.state)],
      [count(lane.pending), "number"],
      [count(lane.delivered), "number"],
      [count(lane.failed), "number"],
      [lane.last_success === null ? "–" : time(lane.last_success)],
      [lane.last_error ?? "–", "text"],
    )));
  }
  const letters = await ask("v1/dead-letters?limit=50");
  if (letters !== null) {
    table("dead-letters", letters.dead_letters.map(({ entry, damaged, file, line }) => entry === undefined
      ? rowOf([`${file}, line ${line}`], ["–"], ["–"], ["–", "number"], [damaged, "text"])
      : rowOf(
        [new Date(entry.ts).toLocaleString()],
        [entry.coordinator_id],
        [entry.kind],
        [count(entry.attempts), "number"],
        [entry.error, "text"],
      )));
    $("dead-letters-more").hidden = !letters.more;
  }
}

// ---- Running

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function repeat(task, pause) {
  for (;;) {
    try {
      await task();
    } catch {
      // The next try tells more, and the coordinators' looks say that the connection is lost.
    }
    await wait(pause);
  }
}

repeat(look, POLL);
repeat(follow, POLL);
repeat(lookSeldom, SELDOM);
