// Pictures go to the server in small groups; answers come into the gallery as they are there.
import { Gallery } from "./gallery.js";

const GROUP = 8, MOST_AT_ONCE = 2;
const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") ?? "";
let models = [], ready;

const gallery = new Gallery({ explain, nearest, classes: () => chosen()?.class_names ?? [] });
const chosen = () => models.find((model) => model.name === $("model").value);

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  if (response.status === 401) $("token").hidden = false;
  if (!response.ok) {
    const told = await response.json().catch(() => ({ error: response.statusText }));
    throw Object.assign(new Error(told.error), { status: response.status });
  }
  return response;
}

async function start() {
  try {
    models = await (await ask("models")).json();
  } catch (error) {
    say(error.message);
    return;
  }
  $("token").hidden = true;
  $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  say("");
}

const say = (text) => { $("status").textContent = text; };

async function add(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || !file.type);
  if (!pictures.length) return say("There is no picture among them.");
  await ready; // pictures may come before the list of models
  if (!chosen()) return;
  const model = chosen().name, entries = gallery.add(pictures), started = performance.now();
  const groups = Array.from({ length: Math.ceil(entries.length / GROUP) }, (_, k) => entries.slice(k * GROUP, (k + 1) * GROUP));
  let done = 0;
  Object.assign($("progress"), { hidden: false, max: entries.length, value: 0 });
  const work = async () => {
    for (let group = groups.shift(); group; group = groups.shift()) {
      await answer(model, group);
      done += group.length;
      $("progress").value = done;
      const left = Math.round((performance.now() - started) / 1000 / done * (entries.length - done));
      say(done < entries.length ? `${done} of ${entries.length} answered, about ${left} s left` : count(entries));
    }
  };
  await Promise.all(Array.from({ length: MOST_AT_ONCE }, work));
  $("progress").hidden = true;
}

function count(entries) {
  const failed = entries.filter((entry) => entry.error).length;
  const answered = `${entries.length - failed} ${entries.length - failed === 1 ? "picture" : "pictures"} answered`;
  return failed ? `${answered}, ${failed} could not be` : answered;
}

async function answer(model, entries) {
  const body = new FormData();
  entries.forEach(({ file, name }) => body.append("pictures", file, name));
  try {
    const query = new URLSearchParams({ model, top: 9 });
    const { predictions } = await (await again(() => ask(`predict?${query}`, { method: "POST", body }))).json();
    entries.forEach((entry, k) => gallery.answered(entry, predictions[k]));
  } catch (error) {
    if (error.status === 413 && entries.length > 1) { // large photos: fewer of them together may do
      const half = entries.length >> 1;
      await answer(model, entries.slice(0, half));
      return answer(model, entries.slice(half));
    }
    entries.forEach((entry) => gallery.answered(entry, { top: [], unknown: false, error: error.message }));
  }
}

async function again(request, tries = 5) {
  for (let wait = 500; ; wait *= 2)
    try {
      return await request();
    } catch (error) {
      if (![429, 503].includes(error.status) || --tries === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
}

async function explain(entry, className) {
  return (await about(entry, "explain", { class: className })).blob();
}

async function nearest(entry) { // null where the model shows no training pictures
  return chosen()?.neighbours ? (await (await about(entry, "neighbours", {})).json()).neighbours : null;
}

async function about(entry, path, asked) {
  const query = new URLSearchParams({ model: $("model").value, ...asked });
  const body = await entry.file.arrayBuffer();
  const headers = { "Content-Type": "application/octet-stream" };
  return again(() => ask(`${path}?${query}`, { method: "POST", body, headers }));
}

for (const id of ["files", "folder", "camera"])
  $(id).addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
addEventListener("paste", (event) => { if (event.clipboardData.files.length) add(event.clipboardData.files); });
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  add(dropped.some((entry) => entry.isDirectory) ? await within(dropped) : event.dataTransfer.files);
});

async function within(entries) { // all files in dropped folders, with their paths
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push(Object.defineProperty(file, "path", { value: entry.fullPath.slice(1) }));
    } else {
      const reader = entry.createReader();
      for (let part; (part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;)
        found.push(...await within(part));
    }
  }
  return found;
}

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = event.target.querySelector("[type=password]").value;
  sessionStorage.setItem("token", token);
  ready = start();
});
ready = start();
