"use strict";
// A photo and questions go to this server alone; words are shown as they come.
const find = (selector, within = document) => within.querySelector(selector);
const main = find("#main"), form = find("#ask"), field = find("#question"), talk = find("#talk");
const figure = find("#photo"), image = find("#photo img"), camera = find("#camera"), video = find("video");
const { first, model, language, most } = main.dataset;
const words = JSON.parse(main.dataset.words), tongue = document.documentElement.lang;
const LONGEST_EDGE = 1536; // px, as much as the server keeps of a photo
const SUGGESTED = 4;
const asked = new Set();
let photo = null; // as a data URL, once there is one of the visitor's
let asking = null; // what aborts the question that is being answered
let count = 0;

const show = (element, text) => {
  element.hidden = !text;
  (find("span:last-child", element) ?? element).textContent = text ?? "";
};
const alarm = (text) => show(find("#alert"), text);
const say = (english, ...values) => values.reduce((said, value) => said.replace("{}", () => value), words[english] ?? english);
const tell = (text, lang = tongue) => { Object.assign(find("#status"), { textContent: text, lang }); };
const make = (tag, text, values = {}) => Object.assign(document.createElement(tag), { textContent: text }, values);

// --- the photo

const asDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(blob);
});

function drawn(source, width, height) {
  const scale = Math.min(1, LONGEST_EDGE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9); // without the place and time that a phone writes into it
}

async function scaled(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return asDataUrl(file); // the server knows more formats, and says so of what is none
  }
  return drawn(bitmap, bitmap.width, bitmap.height);
}

async function take(file) {
  if (!file) return;
  if (file.size > most) return alarm(say("That is larger than {} MB; choose a smaller photo.", Math.round(most / 2 ** 20)));
  begin(await scaled(file));
}

function begin(url) {
  stop();
  photo = url;
  talk.replaceChildren();
  asked.clear();
  suggest([]);
  image.alt = say("Your photo");
  image.src = url;
  find("figcaption", figure)?.remove();
  figure.hidden = form.hidden = false;
  main.classList.add("talking");
  find("#private").hidden = true;
  find("#take").lastChild.data = say("Another photo");
  ask(first);
}

for (const name of ["#file", "#lens"]) {
  find(name).addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
}
find("#choose").addEventListener("click", () => find("#file").click());

function closeCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  camera.hidden = true;
  find("#sources").hidden = false;
}

find("#take").addEventListener("click", async () => {
  alarm("");
  // A phone's own camera makes the better photo; a kiosk or a laptop has none but the live one.
  if (/Android|iPhone|iPad/.test(navigator.userAgent) || !navigator.mediaDevices) return find("#lens").click();
  try {
    const wanted = { facingMode: "environment", width: { ideal: LONGEST_EDGE } };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch {
    return alarm(say("The camera cannot be used here; choose a photo instead."));
  }
  camera.hidden = false;
  figure.hidden = find("#sources").hidden = true;
  find("#shoot").focus();
});
find("#shoot").addEventListener("click", () => {
  const url = drawn(video, video.videoWidth, video.videoHeight);
  closeCamera();
  begin(url);
  field.focus();
});
find("#close").addEventListener("click", () => {
  closeCamera();
  figure.hidden = !image.getAttribute("src");
  find("#take").focus();
});

// --- questions and answers

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (field.value.trim()) ask(field.value.trim());
});
find("#suggested").addEventListener("click", (event) => {
  if (event.target.tagName !== "BUTTON") return;
  ask(event.target.textContent);
  field.focus({ preventScroll: true });
});

function suggest(questions) {
  const left = questions.filter((question) => !asked.has(question)).slice(0, SUGGESTED);
  find("#suggested").hidden = !left.length;
  find("#suggested ul").replaceChildren(...left.map((question) => {
    const item = document.createElement("li");
    item.append(make("button", question, { type: "button", lang: language }));
    return item;
  }));
}

function stop() {
  asking?.abort();
  window.speechSynthesis?.cancel();
}

async function ask(text) {
  stop();
  alarm("");
  const mine = asking = new AbortController();
  const turn = find("#turn").content.firstElementChild.cloneNode(true);
  find(".question", turn).textContent = text;
  turn.setAttribute("aria-busy", "true");
  talk.append(turn);
  asked.add(text);
  field.value = "";
  find("#suggested").hidden = true;
  wait(say("The docent is looking …"));
  find("#waiting").scrollIntoView({ block: "nearest" });
  try {
    photo ??= await scaled(await (await fetch(image.src, { signal: mine.signal })).blob());
    const told = await answered(text, turn, mine.signal);
    finish(turn, told);
  } catch (error) {
    if (mine.signal.aborted) return turn.remove();
    turn.remove();
    asked.delete(text);
    field.value = text;
    alarm(error.visible || say("The docent cannot be reached; see whether the network is there, and ask again."));
  } finally {
    if (asking === mine) {
      asking = null;
      wait("");
    }
  }
}

function wait(text) {
  show(find("#waiting"), text);
  if (text) tell(text);
}

function follow(turn) {
  const below = turn.getBoundingClientRect().bottom + 16 - form.getBoundingClientRect().top;
  const room = turn.getBoundingClientRect().top - 64; // under the notice
  if (below > 0 && below < 120) window.scrollBy(0, Math.min(below, room)); // unless the visitor scrolled
}

async function answered(text, turn, signal) {
  const content = [{ type: "image_url", image_url: { url: photo } }, { type: "text", text }];
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content }] }),
    signal,
  });
  if (!response.ok) throw { visible: (await response.json()).error.message };
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "", said = "", told = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const events = (unread + value).split("\n\n");
    unread = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") continue;
      const chunk = JSON.parse(event.slice("data: ".length));
      if (chunk.error) throw { visible: chunk.error.message };
      const place = chunk.musequest?.place;
      if (place) wait(place > 1 ? say("You are number {} in the line.", place) : say("You are next."));
      const more = chunk.choices[0]?.delta.content;
      if (more) {
        show(find("#waiting"), "");
        said += more;
        find(".text", turn).textContent = said;
        follow(turn);
      }
      if (chunk.musequest?.text !== undefined) told = chunk.musequest;
    }
  }
  if (!told) throw {};
  return told;
}

function finish(turn, told) {
  const number = ++count;
  turn.removeAttribute("aria-busy");
  show(find(".recognised", turn), told.title);
  const cited = told.sentences.some((sentence) => sentence.source);
  const text = find(".text", turn);
  text.textContent = told.text;
  if (cited) cite(turn, told, number);
  if (!told.title && told.nearest.length) {
    const links = told.nearest.map(([title], place) => make("a", title, { href: `/exhibits/${encodeURIComponent(told.recognition.nearest[place][0])}` }));
    find(".resembles", turn).append(...links);
    find(".resembles", turn).hidden = false;
  }
  show(find(".left-out", turn), told.left_out ? say("Statements left out, since nothing in the catalogue bears them out: {}.", told.left_out) : "");
  const speak = find(".speak", turn);
  find(".tools", turn).hidden = !window.speechSynthesis;
  speak.addEventListener("click", () => read(speak, told.text));
  suggest(told.questions);
  tell(told.text, language);
  follow(turn);
}

function cite(turn, told, number) {
  const evidence = find(".evidence", turn), text = find(".text", turn);
  text.replaceChildren();
  told.sentences.forEach((sentence, index) => {
    const id = `source-${number}-${index + 1}`;
    const item = make("li", "", { id, tabIndex: -1 });
    item.append(make("q", sentence.text, { lang: language }));
    item.append(make("p", sentence.source ?? say("Nothing in the catalogue bears this out."), { className: sentence.source ? "borne" : "unborne", lang: sentence.source ? language : tongue }));
    find("ol", evidence).append(item);
    const mark = make("a", String(index + 1), { href: `#${id}`, className: sentence.source ? "mark" : "mark doubtful" });
    mark.setAttribute("aria-label", say(sentence.source ? "Source of sentence {}" : "No source of sentence {}", index + 1));
    mark.addEventListener("click", (event) => {
      event.preventDefault();
      evidence.open = true;
      item.focus({ preventScroll: true });
      item.scrollIntoView({ block: "nearest" });
    });
    text.append(sentence.text, mark, " ");
  });
  const record = find(".record", turn);
  if (told.recognition.item_name) record.append(say("Recognised by its likeness to the museum’s photos: {}, where {} is asked for.", told.recognition.confidence.toFixed(2), told.recognition.threshold.toFixed(2)));
  if (/^https?:\/\//.test(told.record_url ?? "")) {
    record.append(" ", make("a", told.record ? say("Record {}", told.record) : say("The catalogue’s record"), { href: told.record_url, target: "_blank", rel: "noopener noreferrer" }));
  }
  const rights = [told.credit, told.license].filter(Boolean).join(" · ");
  if (rights) record.append(make("span", say("Photo: {}", rights), { className: "rights" }));
  evidence.hidden = false;
}

function read(button, text) {
  const speaking = button.getAttribute("aria-pressed") === "true";
  window.speechSynthesis.cancel();
  if (speaking) return;
  const spoken = new SpeechSynthesisUtterance(text);
  const pressed = (now) => {
    button.setAttribute("aria-pressed", String(now));
    find("span", button).textContent = say(now ? "Stop" : "Read aloud");
  };
  spoken.lang = language;
  spoken.onend = spoken.onerror = () => pressed(false);
  pressed(true);
  window.speechSynthesis.speak(spoken);
}
