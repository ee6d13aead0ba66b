// Pictures with their answers: sorted, filtered, corrected by keyboard, looked at closer, and written as CSV.
const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

export class Gallery {
  constructor({ explain, nearest, classes }) {
    Object.assign(this, { explain, nearest, classes, entries: [] });
    for (const id of ["class", "least", "most", "sort"]) $(id).addEventListener("input", () => this.show());
    $("predictions").addEventListener("click", () => this.download("predictions.csv", this.predictions()));
    $("corrections").addEventListener("click", () => this.download("labels.csv", this.labels()));
    $("close").addEventListener("click", () => $("closer").close());
    $("gallery").addEventListener("keydown", (event) => this.pressed(event));
    $("closer").addEventListener("keydown", (event) => this.labelled(event, this.looked));
    $("closer").addEventListener("close", () => this.ask(null));
  }

  add(files) {
    const added = files.map((file) => {
      const name = file.path || file.webkitRelativePath || file.name || "pasted.png";
      const entry = { file, name, order: this.entries.length, address: URL.createObjectURL(file) };
      entry.button = element("button", { type: "button", className: "card" });
      entry.button.addEventListener("click", () => this.closer(entry));
      entry.item = element("li", {}, entry.button);
      this.entries.push(entry);
      return entry;
    });
    added.forEach((entry) => this.draw(entry));
    this.show();
    return added;
  }

  answered(entry, { top, unknown, error }) {
    Object.assign(entry, { top, unknown, error });
    this.draw(entry);
    this.show();
  }

  label(entry) {
    return entry.label ?? (entry.unknown ? undefined : entry.top?.[0]?.class);
  }

  draw(entry) {
    const { button, name, address, top, error } = entry, best = top?.[0];
    const picture = element("img", { src: address, alt: "", loading: "lazy" });
    const answer = element("span", { className: "answer" });
    if (error) answer.append(element("span", { className: "error", textContent: error }));
    else if (!best) answer.append(element("span", { textContent: "..." }));
    else {
      const said = entry.label ?? (entry.unknown ? `unknown (${best.class}?)` : best.class);
      const kind = entry.label ? "corrected" : entry.unknown ? "unsure" : "";
      answer.append(element("span", { className: kind, textContent: said }));
      if (!entry.label) answer.append(" ", element("span", { textContent: percent(best.probability) }));
    }
    const filled = element("i");
    filled.style.width = best ? percent(best.probability).replace(" ", "") : "0";
    button.replaceChildren(picture, answer, element("span", { className: "bar" }, filled), element("span", { className: "name", textContent: name, title: name }));
  }

  shown() {
    const [wanted, least, most] = [$("class").value, $("least").value / 100, $("most").value / 100];
    const sure = (entry) => entry.top?.[0]?.probability ?? 0;
    const orders = {
      order: (a, b) => a.order - b.order, unsure: (a, b) => sure(a) - sure(b), sure: (a, b) => sure(b) - sure(a),
      class: (a, b) => (this.label(a) ?? "").localeCompare(this.label(b) ?? "") || a.order - b.order,
      name: (a, b) => a.name.localeCompare(b.name),
    };
    return this.entries.filter((entry) => !wanted || this.label(entry) === wanted)
      .filter((entry) => !entry.top?.length || (sure(entry) >= least - 1e-9 && sure(entry) <= most + 1e-9))
      .sort(orders[$("sort").value]);
  }

  show() {
    $("results").hidden = !this.entries.length;
    $("range").value = `${$("least").value} % to ${$("most").value} %`;
    const chosen = $("class").value, names = [...new Set(this.entries.map((entry) => this.label(entry)).filter(Boolean))].sort();
    $("class").replaceChildren(new Option("all", ""), ...names.map((name) => new Option(name, name, false, name === chosen)));
    const focused = document.activeElement;
    $("gallery").replaceChildren(...this.shown().map(({ item }) => item));
    if (focused?.classList.contains("card")) focused.focus();
  }

  pressed(event) {
    const entry = this.entries.find(({ button }) => button === event.target);
    if (!entry || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) (step > 0 ? entry.item.nextElementSibling : entry.item.previousElementSibling)?.firstChild.focus();
    else return this.labelled(event, entry);
    event.preventDefault();
  }

  labelled(event, entry) { // by a digit, the number of a class in the picture's list; 0 takes the answer back
    if (event.ctrlKey || event.metaKey || event.altKey || !/^[0-9]$/.test(event.key) || !entry?.top?.length) return;
    this.correct(entry, entry.top[event.key - 1]?.class, event.key === "0");
    event.preventDefault();
  }

  correct(entry, name, back) {
    if (!name && !back) return;
    entry.label = back ? undefined : name;
    this.draw(entry);
    this.show();
    if ($("closer").open) $("closer-note").textContent = back ? "The answer is its label again." : `Its label is ${name} now.`;
    else entry.button.focus();
  }

  ask(entry, name) { // what is asked last about a picture; nothing earlier is shown any more
    this.looked = entry;
    return (this.asked = { entry, name });
  }

  closer(entry) {
    this.ask(entry);
    $("closer-name").textContent = entry.name;
    Object.assign($("closer-picture"), { src: entry.address, alt: entry.name });
    $("closer-heat").hidden = true;
    $("closer-note").textContent = entry.error ?? (entry.top?.length ? "Choose a class to see what spoke for it." : "");
    $("closer-classes").replaceChildren(...(entry.top ?? []).map((guess, k) => {
      const filled = element("i");
      filled.style.width = percent(guess.probability).replace(" ", "");
      const button = element("button", { type: "button", ariaPressed: "false" }, `${k + 1}. ${guess.class}  ${percent(guess.probability)}`, element("span", { className: "bar" }, filled));
      button.addEventListener("click", () => this.heat(entry, guess.class, button));
      return element("li", {}, button);
    }));
    $("closer").showModal();
    this.near(entry);
  }

  async near(entry) {
    $("closer-near").hidden = true;
    $("near-pictures").replaceChildren();
    if (entry.error || !entry.top?.length) return;
    $("near-note").textContent = "Looking ...";
    let pictures = [], note = "";
    try {
      const asked = this.nearest(entry);
      $("closer-near").hidden = false;
      pictures = await asked;
    } catch (error) {
      note = error.message;
    }
    if (this.looked !== entry) return; // another picture is looked at by now
    $("closer-near").hidden = pictures === null;
    $("near-note").textContent = note;
    $("near-pictures").replaceChildren(...(pictures ?? []).map((one) => element("li", {},
      element("img", { src: one.thumbnail, alt: "" }),
      element("span", { className: "name", textContent: `${one.class}, distance ${one.distance.toFixed(2)}` }))));
  }

  async heat(entry, name, button) {
    for (const other of $("closer-classes").querySelectorAll("button")) other.ariaPressed = String(other === button);
    $("closer-note").textContent = "Looking ...";
    const asked = this.ask(entry, name);
    try {
      const map = await this.explain(entry, name);
      if (this.asked !== asked) return;
      URL.revokeObjectURL($("closer-heat").src);
      Object.assign($("closer-heat"), { src: URL.createObjectURL(map), hidden: false, alt: `What spoke for ${name}` });
      $("closer-note").textContent = `What spoke for ${name}: the warmer, the more.`;
    } catch (error) {
      if (this.asked !== asked) return;
      $("closer-heat").hidden = true;
      $("closer-note").textContent = error.message;
    }
  }

  predictions() {
    const rows = this.entries.map((entry) => [entry.name, entry.unknown ? "unknown" : entry.top?.[0]?.class ?? "", entry.top?.[0]?.probability ?? "", entry.label ?? "", entry.error ?? ""]);
    return [["path", "predicted", "probability", "corrected", "error"], ...rows];
  }

  labels() { // what ception train takes: pictures whose label is known, lying beside the table
    const known = this.entries.filter((entry) => this.label(entry) && !entry.error);
    return [["path", "label"], ...known.map((entry) => [entry.name, this.label(entry)])];
  }

  download(name, rows) {
    const quoted = (value) => /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
    const text = rows.map((row) => row.map(quoted).join(",") + "\r\n").join("");
    const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  }
}
