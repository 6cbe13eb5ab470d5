// The curator's desk. What is shown is what the server last said; each decision tells it which
// version it is about, and one about something that has changed is refused and shown as it is now.
const at = (id) => document.getElementById(id);
const WORDS = { open: "Unreviewed", approved: "Approved", edited: "Edited", withheld: "Withheld" };
const desk = { dialogs: [], exhibits: new Map(), view: [], here: null, undo: [], beside: new Map(), busy: false };

const dialog = (id = desk.here) => desk.dialogs.find((each) => each.dialog_id === id);
const editing = () => !at("edit").hidden;
const key = (one) => `${one.dialog_id} ${one.version} ${one.text_sha256}`;

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  } catch {
    throw new Error("The desk’s program is out of reach, so nothing was saved. Start “musequest review” again, then repeat this.");
  }
  const told = await answer.json();
  if (answer.ok) return told;
  throw Object.assign(new Error(told.error.message), { status: answer.status });
}

function element(kind, text, values = {}) {
  const made = Object.assign(document.createElement(kind), values);
  made.append(...[text].flat());
  return made;
}

// A text with the words that flags are about marked in it.
function marked(text, flags) {
  const words = [...new Set(flags.flatMap((flag) => flag.words))].sort((a, b) => b.length - a.length);
  if (!words.length) return [text];
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const parts = text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${escaped.join("|")})(?![\\p{L}\\p{N}])`, "u"));
  return parts.map((part, place) => (place % 2 ? element("mark", part) : part));
}

const when = (moment) => new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const signed = (last) => `by ${last.by}, ${when(last.at)}${last.note ? `: ${last.note}` : ""}`;

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
  if (text) window.scrollTo(0, 0);
}

async function load() {
  const told = await ask("/dialogs");
  desk.dialogs = told.dialogs;
  desk.exhibits = new Map(told.exhibits.map((each) => [each.item_name, each]));
  if (at("flag").length === 2) {
    for (const [kind, name] of Object.entries(told.kinds)) at("flag").append(new Option(name, kind));
  }
}

function choose() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = at("state").value, flag = at("flag").value;
  desk.view = desk.dialogs.filter((one) => {
    const text = `${desk.exhibits.get(one.item_name).title} ${one.question} ${one.answer}`.toLowerCase();
    return (!state || one.state === state) && words.every((word) => text.includes(word)) &&
      (!flag || (flag === "*" ? one.flags.length : one.flags.some((each) => each.kind === flag)));
  }).map((one) => one.dialog_id);
  if (!desk.view.includes(desk.here)) desk.here = desk.view[0] ?? null;
  show();
}

function counts() {
  const total = desk.dialogs.length, by = (state) => desk.dialogs.filter((one) => one.state === state).length;
  const reviewed = total - by("open");
  at("done").max = total || 1;
  at("done").value = reviewed;
  at("counts").textContent = `${reviewed} of ${total} reviewed: ${by("approved")} approved, ${by("edited")} edited, ${by("withheld")} withheld`;
  at("shown").textContent = `${desk.view.length} of ${total} dialogs shown`;
}

function list() {
  const seen = new Set(desk.view), names = new Map();
  for (const one of desk.dialogs) {
    const own = names.get(one.item_name) ?? { first: null, total: 0, done: 0 };
    own.total += 1;
    own.done += one.state !== "open";
    if (seen.has(one.dialog_id)) own.first ??= one.dialog_id;
    names.set(one.item_name, own);
  }
  at("exhibits").replaceChildren(...[...names].filter(([, own]) => own.first).map(([name, own]) => {
    const exhibit = desk.exhibits.get(name);
    const how = exhibit.withheld ? ["withheld", "off"] : [`${own.done}/${own.total}`, own.done === own.total ? "full" : ""];
    const button = element("button", [exhibit.title, element("small", how[0], { className: how[1] })], { type: "button" });
    if (name === dialog()?.item_name) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => go(own.first));
    return element("li", [button]);
  }));
}

function rows(sentences, flags) {
  at("sentences").replaceChildren(...sentences.map(({ text, source, waits }) => {
    const kind = waits ? "waits" : source ? "" : "unsaid";
    const beside = waits ?? source ?? "Nothing in the museum’s text bears this out.";
    return element("tr", [element("td", marked(text, flags)), element("td", beside, { className: kind })]);
  }));
}

async function beside(one) {
  if (!desk.beside.has(key(one))) {
    desk.beside.set(key(one), await ask(`/dialogs/${encodeURIComponent(one.dialog_id)}`));
  }
  return desk.beside.get(key(one));
}

function show() {
  const one = dialog();
  counts();
  list();
  at("card").hidden = !one;
  at("nothing").hidden = Boolean(one);
  at("undo").disabled = !desk.undo.length;
  for (const id of ["approve", "change", "withhold", "before", "after", "next"]) at(id).disabled = !one;
  if (!one) return;
  const exhibit = desk.exhibits.get(one.item_name), state = exhibit.withheld ? "withheld" : one.state;
  const place = desk.view.indexOf(one.dialog_id) + 1;
  history.replaceState(null, "", `#${one.dialog_id}`);
  at("photo").src = at("large").href = one.photo;
  at("photo").alt = `${exhibit.title}, a photo (opens large)`;
  at("place").textContent = `${place} of ${desk.view.length} · dialog ${one.number + 1} of this exhibit · written by ${one.writer}`;
  at("title").textContent = exhibit.title;
  at("word").textContent = exhibit.withheld ? "Exhibit withheld" : WORDS[one.state];
  at("word").dataset.state = state;
  const last = exhibit.withheld ? exhibit.last : one.last;
  at("by").textContent = last ? signed(last) : "";
  const flags = one.flags.map((flag) => element("li", `${flag.told}.`));
  at("flags").replaceChildren(...(flags.length ? flags : [element("li", "No flags.", { className: "none" })]));
  const facts = Object.entries(exhibit.facts).flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
  const link = exhibit.link ? [element("a", "The museum’s record", { href: exhibit.link, target: "_blank", rel: "noopener noreferrer" })] : [];
  at("says").replaceChildren(element("p", exhibit.description), element("dl", facts), ...link);
  at("exhibit").textContent = exhibit.withheld ? "Show this exhibit again… (X)" : "Withhold the whole exhibit… (X)";
  at("question").replaceChildren(...marked(one.question, one.flags));
  at("past").hidden = !one.version;
  const known = desk.beside.get(key(one));
  rows(known?.sentences ?? [{ text: one.answer, waits: "Looking in the museum’s text…" }], one.flags);
  fill(one);
}

async function fill(one) {
  const current = () => dialog() && key(dialog()) === key(one);
  try {
    const told = await beside(one);
    if (!current()) return;
    rows(told.sentences, one.flags);
    at("history").replaceChildren(...told.history.map((each) => element("li", `${WORDS[each.decision]} ${signed(each)}`)));
    const next = dialog(desk.view[desk.view.indexOf(one.dialog_id) + 1]);
    if (next) beside(next).catch(() => {});
  } catch (error) {
    if (current()) rows([{ text: one.answer, waits: `The sources cannot be shown. ${error.message}` }], one.flags);
  }
}

function go(id, said = "") {
  leave();
  desk.here = id;
  show();
  at("title").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  const one = dialog();
  at("said").textContent = `${said} ${one ? `Dialog ${one.number + 1}: ${one.question}` : ""}`;
}

function step(by) {
  const place = desk.view.indexOf(desk.here) + by;
  if (place >= 0 && place < desk.view.length) go(desk.view[place]);
  else at("said").textContent = by > 0 ? "That was the last one." : "That is the first one.";
}

function nextOpen(said = "") {
  const place = desk.view.indexOf(desk.here);
  const order = [...desk.view.slice(place + 1), ...desk.view.slice(0, place)];
  const open = order.find((id) => dialog(id).state === "open" && !desk.exhibits.get(dialog(id).item_name).withheld);
  if (open) return go(open, said);
  show();
  at("said").textContent = `${said} Everything shown here is reviewed.`;
}

// Sends a decision about a dialog, or about an exhibit if it has no dialog_id.
async function decide(about, decision, more, undoing = false) {
  if (desk.busy) return false;
  if (!localStorage.getItem("curator")) return at("who").showModal(), false;
  desk.busy = true;
  const given = { item_name: about.item_name, dialog_id: about.dialog_id ?? null, text_sha256: about.text_sha256 ?? null };
  const word = { ...given, decision, by: localStorage.getItem("curator"), at: "", note: "", ...more };
  const before = about.dialog_id
    ? { ...given, decision: about.state, ...(about.state === "edited" ? { question: about.question, answer: about.answer } : {}) }
    : { ...given, decision: about.withheld ? "withheld" : "open" };
  try {
    const now = await ask("/decisions", { version: about.version, decision: word });
    if (about.dialog_id) desk.dialogs[desk.dialogs.indexOf(about)] = now;
    else desk.exhibits.set(now.item_name, now);
    if (!undoing) desk.undo.push(before);
    trouble("");
    at("note").value = "";
    return true;
  } catch (error) {
    if (error.status === 409 || error.status === 404) {
      await load();
      if (editing()) counts();
      else choose();
    }
    trouble(error.message);
    return false;
  } finally {
    desk.busy = false;
  }
}

async function approve() {
  if (await decide(dialog(), "approved", { note: at("note").value })) nextOpen("Approved.");
}

async function withhold() {
  if (await decide(dialog(), "withheld", { note: at("note").value })) nextOpen("Withheld.");
}

function edit() {
  const one = dialog();
  at("asks").value = one.question;
  at("answers").value = one.answer;
  at("source").textContent = desk.exhibits.get(one.item_name).description;
  turn(true);
  at("answers").focus();
}

// Shows what is edited in the place of what is read, or the other way round.
function turn(toEdit) {
  for (const id of ["edit", "saving"]) at(id).hidden = !toEdit;
  for (const id of ["told", "deciding"]) at(id).hidden = toEdit;
}

const leave = () => turn(false);

async function saveEdit() {
  const texts = { question: at("asks").value, answer: at("answers").value, note: at("note").value };
  if (await decide(dialog(), "edited", texts)) {
    leave();
    nextOpen("Saved.");
  }
}

async function undo() {
  const last = desk.undo.at(-1);
  if (!last) return;
  const about = last.dialog_id ? dialog(last.dialog_id) : desk.exhibits.get(last.item_name);
  const { decision, question, answer } = last;
  if (!about || about.text_sha256 != last.text_sha256) desk.undo.pop();
  else if (await decide(about, decision, { note: "", ...(question ? { question, answer } : {}) }, true)) {
    desk.undo.pop();
    go(last.dialog_id ?? desk.here, "Undone.");
  }
}

function hold() {
  const exhibit = desk.exhibits.get(dialog().item_name);
  at("hold-title").textContent = exhibit.withheld ? `Show “${exhibit.title}” again?` : `Withhold “${exhibit.title}”?`;
  at("hold-meaning").textContent = exhibit.withheld
    ? "The docent may recognise it and tell of it again at once. The next dataset has it again."
    : "From now on no visitor is told of it: the docent does not recognise it any more. The next dataset leaves it out.";
  at("hold-yes").textContent = exhibit.withheld ? "Show it again" : "Withhold it";
  at("hold-note").value = "";
  at("hold").returnValue = "";
  at("hold").showModal();
}

at("hold").addEventListener("close", async () => {
  if (at("hold").returnValue !== "yes") return;
  const exhibit = desk.exhibits.get(dialog().item_name);
  const decision = exhibit.withheld ? "open" : "withheld";
  if (await decide(exhibit, decision, { note: at("hold-note").value })) {
    show();
    at("said").textContent = decision === "withheld" ? "The exhibit is withheld." : "The exhibit is shown again.";
  }
});

function greet() {
  const name = localStorage.getItem("curator");
  at("name").textContent = name ? `You: ${name}` : "Your name";
  if (!name) at("who").showModal();
}

at("who").addEventListener("close", () => {
  const name = at("by-name").value.trim();
  if (name) localStorage.setItem("curator", name);
  at("name").textContent = localStorage.getItem("curator") ? `You: ${localStorage.getItem("curator")}` : "Your name";
});
at("name").addEventListener("click", () => {
  at("by-name").value = localStorage.getItem("curator") ?? "";
  at("who").showModal();
});

const DOES = {
  a: approve, e: edit, w: withhold, z: undo, x: hold, n: () => nextOpen(),
  j: () => step(1), k: () => step(-1), t: () => { at("whole").open = !at("whole").open; },
  "/": () => at("search").focus(), "?": () => at("keys-shown").showModal(),
};
const BUTTONS = { approve, change: edit, withhold, undo, exhibit: hold, next: () => nextOpen(), after: () => step(1), before: () => step(-1), cancel: leave, help: () => at("keys-shown").showModal() };
for (const [id, does] of Object.entries(BUTTONS)) at(id).addEventListener("click", does);
at("edit").addEventListener("submit", (event) => { event.preventDefault(); saveEdit(); });
for (const id of ["search", "state", "flag"]) at(id).addEventListener("input", () => { leave(); choose(); });

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (editing() && event.key === "Escape") return leave(), at("title").focus();
  if (editing() && event.key === "Enter" && (event.ctrlKey || event.metaKey)) return at("edit").requestSubmit();
  // For a moment after a dialog is closed its field still has the focus.
  const typing = event.target.matches(":is(textarea, select, input:not([type=checkbox])):not(dialog *)");
  if (typing && event.key === "Escape") return event.target.blur();
  if (typing || editing() || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = at("keys").checked && DOES[event.key.toLowerCase()];
  if (!does || (!dialog() && !["/", "?", "z"].includes(event.key))) return;
  event.preventDefault();
  does();
});
at("keys").checked = localStorage.getItem("single keys") !== "off";
at("keys").addEventListener("change", () => localStorage.setItem("single keys", at("keys").checked ? "on" : "off"));
window.addEventListener("beforeunload", (event) => {
  const one = editing() && dialog();
  if (one && (at("answers").value !== one.answer || at("asks").value !== one.question)) event.preventDefault();
});
// Others may have decided while this window was out of sight.
document.addEventListener("visibilitychange", async () => {
  if (document.visibilityState !== "visible" || editing() || desk.busy) return;
  await load().then(choose, (error) => trouble(error.message));
});

try {
  await load();
  desk.here = decodeURIComponent(location.hash.slice(1)) || null;
  if (!dialog()) desk.here = (desk.dialogs.find((one) => one.state === "open") ?? desk.dialogs[0])?.dialog_id;
  choose();
  greet();
} catch (error) {
  trouble(error.message);
}
