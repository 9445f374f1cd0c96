"use strict";
// Whatever people wrote reaches the page through textContent only: it stays text, whatever it looks like.

const REFRESH_MS = 5000;
const SHOWN = 200;
const find = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
let shownState = "";

async function call(method, path, body) {
  let reply;
  try {
    reply = await fetch(path, {
      method,
      cache: "no-store",
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new Error("The service does not answer. The page tries again by itself.");
  }
  const json = reply.status === 204 ? null : await reply.json().catch(() => null);
  if (!reply.ok) {
    const error = json && json.error;
    throw new Error(error ? `${error.what}\n${error.why}\nNext: ${error.next}.` : `The reply was ${reply.status}.`);
  }
  return json;
}

function notice(message) {
  find("notice").hidden = !message;
  // Unchanged text is left alone, so that a screen reader does not repeat it with every refresh.
  if (find("notice").textContent !== message) find("notice").textContent = message;
}

function card(pin) {
  const item = find("pin").content.firstElementChild.cloneNode(true);
  item.dataset.id = pin.id;
  item.querySelector(".text").textContent = pin.text;
  item.querySelector(".author").textContent = pin.author || "anonymous";
  const time = item.querySelector("time");
  time.dateTime = pin.created_at;
  time.title = pin.created_at;
  time.textContent = clock.format(new Date(pin.created_at));
  const remove = item.querySelector(".remove");
  remove.setAttribute("aria-label", `Delete pin: ${pin.text.slice(0, 60)}`);
  remove.addEventListener("click", () => act(() => removePin(pin.id)));
  return item;
}

function show(pins) {
  const state = JSON.stringify(pins);
  if (state === shownState) return;
  shownState = state;
  const known = new Map([...find("pins").children].map((item) => [item.dataset.id, item]));
  const newestFirst = pins.slice(-SHOWN).reverse();
  find("pins").replaceChildren(...newestFirst.map((pin) => known.get(String(pin.id)) || card(pin)));
  find("count").textContent = pins.length === 1 ? "1 pin" : `${pins.length} pins`;
  find("empty").hidden = pins.length > 0;
  find("older").hidden = pins.length <= SHOWN;
  find("older").textContent = `and ${pins.length - SHOWN} older ones: see /api/pins`;
}

async function refresh() {
  const who = await call("GET", "api/whoami");
  find("host").textContent = who.host;
  find("kernel").textContent = who.kernel;
  find("boot").textContent = who.boot_id ? who.boot_id.slice(0, 8) : "unknown";
  find("boot").title = who.boot_id || "";
  find("version").textContent = who.version;
  show(await call("GET", "api/pins"));
}

async function removePin(id) {
  await call("DELETE", `api/pins/${id}`);
  find("spoken").textContent = "Pin deleted.";
  find("text").focus();
}

async function addPin() {
  await call("POST", "api/pins", { text: find("text").value, author: find("author").value });
  find("spoken").textContent = "Pin added.";
  find("text").value = "";
  room();
}

// Do something, then show what the board looks like; a failure keeps what the person typed.
async function act(action) {
  try {
    await action();
    await refresh();
    notice("");
  } catch (error) {
    notice(error.message);
  }
}

function room() {
  const left = find("text").maxLength - find("text").value.length;
  find("room").textContent = left === 1 ? "1 character left" : `${left} characters left`;
}

find("new-pin").addEventListener("submit", (event) => {
  event.preventDefault();
  act(addPin);
});
find("text").addEventListener("input", room);
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("new-pin").requestSubmit();
});

async function watch() {
  if (!document.hidden) await act(async () => {});
  setTimeout(watch, REFRESH_MS);
}
watch();
