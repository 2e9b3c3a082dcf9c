"use strict";
// Send recordings to the server, show its answers, and play the recordings. All words are in the page or come from the
// server, and are inserted as text.
const MAX_POINTS = 400; // largest number of points of the score line
const MIN_SPAN = 4; // smallest span of the score axis, or noise would look like a cliff
const MAX_LISTED = 200; // largest number of fake stretches in the list

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const audio = find("audio"), picture = find("#picture");
let queue = []; // files that are to be scored, each with the state of the boxes for channels and for the person
let answers = []; // what the server has answered, or the errors, in the order of the files
let shown; // the answer that the card shows
let info = {}; // what the server tells of itself

// Numbers and times in words

const signed = (text) => text.replace("-", "−");
const twoDigits = (number) => String(number).padStart(2, "0");

function clock(seconds, digits = 1) {
  const rounded = Number(seconds.toFixed(digits)), minutes = Math.floor(rounded / 60), hours = Math.floor(minutes / 60);
  const rest = (rounded - 60 * minutes).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${twoDigits(minutes % 60)}:${rest}` : `${minutes}:${rest}`;
}

function duration(seconds) {
  if (seconds < 60) return `${Number(seconds.toPrecision(3))} s`;
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  return parts.filter(([number]) => number).map((part) => part.join(" ")).join(" ");
}

function written(value, form) {
  if (value == null) return "–";
  if (form === "duration") return duration(value);
  if (form === "sentences") return value.map((text) => `${text[0].toUpperCase()}${text.slice(1)}.`).join("\n");
  if (form) return signed(value.toFixed(Number(form)));
  return typeof value === "number" ? signed(String(Number(value.toPrecision(6)))) : value;
}

// Fill elements with data

const isThere = (value) => value != null && value !== false && value.length !== 0;
const valueAt = (data, path) => path.split(".").reduce((value, key) => value?.[key], data);

/** Show `data` in `root`, by the attributes data-text, data-as and data-if of its elements. */
function fill(root, data) {
  for (const element of all("[data-if]", root)) element.hidden = !isThere(valueAt(data, element.dataset.if));
  for (const element of all("[data-text]", root)) {
    const value = valueAt(data, element.dataset.text);
    if (element.dataset.as === "name") element.replaceChildren(...breakable(value ?? ""));
    else element.textContent = written(value, element.dataset.as);
  }
}

/** Parts of a file name, which may begin a new line only after a separator. */
function breakable(name) {
  const pieces = name.split(/(?<=_)(?=.)|(?<=\.)(?=[a-z])/i);
  return pieces.flatMap((piece) => [piece, document.createElement("wbr")]).slice(0, -1);
}

function fromTemplate(selector, data) {
  const made = find(selector).content.cloneNode(true);
  fill(made, data);
  return made;
}

function textElement(tag, text, style = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  Object.assign(element.style, style);
  return element;
}

// Files and scores

/** Score files after those that wait; if none waits, they replace what is shown. */
async function add(files) {
  const isIdle = !queue.length;
  queue.push(...[...files].map((file) => ({ file, each: find("#each").checked, person: find("#person").value })));
  if (!isIdle || !queue.length) return;
  forget();
  for (let number = 1; queue.length; number++) {
    const { file, each, person } = queue[0], count = number + queue.length - 1;
    const showProgress = (told) => {
      fill(find("#progress"), { file: file.name, number, count, several: count > 1, ...told });
      find("progress").value = told.share;
      find("#progress").hidden = false;
    };
    if (file.size > 1e6 * info.limits?.max_size_mb) takeError(file.name, find("#too-large").textContent);
    else await score(file, each, person, showProgress);
    queue.shift();
  }
  find("#progress").hidden = true;
}

function score(file, each, person, showProgress) {
  const form = new FormData(), request = new XMLHttpRequest();
  let end = 0, isAnswered = false; // end: of the lines that have been read
  form.append("file", file);
  if (person) form.append("person", person);
  request.open("POST", `page/score?each=${each}`);
  request.upload.onprogress = (event) => showProgress({ uploads: true, share: event.loaded / event.total });
  const read = request.onprogress = () => {
    if (request.status !== 200) return;
    for (const line of request.responseText.slice(end).split("\n").slice(0, -1)) {
      end += line.length + 1;
      const told = JSON.parse(line);
      isAnswered ||= Boolean(told.row);
      if (told.row) take(told); else showProgress(told);
    }
  };
  return new Promise((resolve) => {
    request.onloadend = () => {
      read();
      const isRefused = request.getResponseHeader("content-type") === "application/json";
      if (isRefused) takeError(file.name, JSON.parse(request.responseText).error);
      else if (!isAnswered) takeError(file.name, find("#unanswered").textContent);
      resolve();
    };
    request.send(form);
  });
}

const takeError = (file, error) => take({ row: { file, error }, columns: { file, error } });

function take(answer) {
  const { row } = answer, table = find("#table");
  answer.verdict ??= row.error ?? written(row.score, 4);
  if (answer.player) answer.address = fetched(answer.player);
  answers.push(answer);
  find("#announced").textContent = `${row.file}: ${answer.verdict}`;
  find("#empty").hidden = true;
  table.hidden = answers.length < 2 && !row.error;
  const cells = { decides: info.decides && !row.error, decision: row.decision && answer.verdict };
  find("tbody", table).append(fromTemplate("#row", { ...answer, ...cells }));
  answer.line = find("tbody", table).lastElementChild;
  answer.line.dataset.decision = row.decision ?? "";
  if (row.error) find("th", answer.line).replaceChildren(...breakable(row.file));
  else find("button", answer.line).onclick = () => show(answer);
  if (!shown && !row.error) show(answer);
  offerDownloads();
}

/** Fetch a recording, which the server keeps for minutes only; returns its address here, or null if it is gone. */
async function fetched(player) {
  const answer = await fetch(`heard/${player}`).catch(() => null);
  return answer?.ok ? URL.createObjectURL(await answer.blob()) : null;
}

function forget() {
  for (const answer of answers) answer.address?.then(URL.revokeObjectURL);
  answers = [];
  shown = undefined;
  play("");
  find("#table tbody").replaceChildren();
  for (const part of ["#table", "#card", "#downloads"]) find(part).hidden = true;
}

function offerDownloads() {
  const [names] = answers.map(({ columns }) => Object.keys(columns)).sort((a, b) => b.length - a.length);
  const used = names.filter((name) => answers.some(({ columns }) => columns[name] != null));
  const quoted = (text) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const lines = answers.map(({ columns }) => used.map((name) => quoted(String(columns[name] ?? ""))));
  const table = [used, ...lines].map((line) => `${line.join()}\n`).join("");
  const texts = [table, JSON.stringify(answers.map(({ row }) => row), null, 1)];
  all("#downloads a").forEach((link, number) => {
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([texts[number]]));
  });
  find("#downloads").hidden = false;
}

// The card of a recording

function show(answer) {
  shown = answer;
  for (const button of all("#table button")) button.setAttribute("aria-pressed", String(answer.line.contains(button)));
  const card = find("#card"), data = facts(answer);
  fill(card, data);
  card.hidden = false;
  card.dataset.decision = answer.row.decision ?? "";
  draw(data);
  find("#evidence").replaceChildren(...(answer.row.evidence ?? []).map(({ finding }) => textElement("li", finding)));
  find("#basis").replaceChildren(...answer.basis.map((text) => textElement("li", text)));
  find("#fakes").replaceChildren(...data.fakes.slice(0, MAX_LISTED).map(({ start, end, score }) => {
    const line = fromTemplate("#fake", { place: `${clock(start, 2)} – ${clock(end, 2)}`, score });
    find("button", line).onclick = () => seek(start, true);
    return line;
  }));
  play("");
  picture.setAttribute("aria-valuemax", answer.row.duration);
  showPlace(0, { before: true });
  answer.address.then((address) => {
    if (shown !== answer) return;
    if (address) play(address); else showPlace(0, { gone: true });
  });
}

/** What the elements of the card show of an answer. */
function facts(answer) {
  const { row } = answer, { basis, segment_rule: rule } = row, [missed, alarms] = basis?.errors ?? [];
  const beginning = row.samples / 16000; // seconds
  const fakes = row.segments ?? [], line = row.windows > 1;
  const fakeSeconds = fakes.reduce((sum, { start, end }) => sum + end - start, 0);
  return {
    ...answer, line, missed, alarms, fakes,
    uncalibrated: !row.decision,
    undecided: Boolean(row.decision) && row.llr == null,
    limit: row.along ? null : basis?.threshold,
    threshold: line ? basis?.threshold : null,
    usual: line ? answer.usual : null,
    isShort: !line,
    isMean: row.method === "track",
    beginning: !row.along && beginning < row.duration ? beginning : null,
    judged: Number((100 * row.judged).toPrecision(2)),
    band: row.windows > MAX_POINTS,
    noFakes: !fakes.length,
    more: Math.max(0, fakes.length - MAX_LISTED) || null,
    share: Math.round(100 * fakeSeconds / row.duration),
    continuesUpTo: rule && rule.threshold + rule.hysteresis,
  };
}

/** Join neighbouring windows into at most MAX_POINTS points, and add a point at both ends of the recording. */
function thinned({ times, scores, duration: end }) {
  const count = Math.min(times.length, MAX_POINTS), points = [];
  for (let number = 0; number < count; number++) {
    const first = Math.floor(number * times.length / count), last = Math.floor((number + 1) * times.length / count);
    const group = scores.slice(first, last).sort((a, b) => a - b), half = (group.length - 1) / 2;
    const middle = (group[Math.floor(half)] + group[Math.ceil(half)]) / 2;
    points.push({ time: (times[first] + times[last - 1]) / 2, low: group[0], middle, high: group.at(-1) });
  }
  return [{ ...points[0], time: 0 }, ...points, { ...points.at(-1), time: end }];
}

/** The ends of the score axis around all scores and the threshold. */
function scoreAxis(scores, threshold) {
  const values = threshold == null ? scores : [...scores, threshold];
  const low = Math.min(...values), high = Math.max(...values);
  const half = Math.max(MIN_SPAN, 1.15 * (high - low)) / 2;
  return [(low + high) / 2 - half, (low + high) / 2 + half];
}

function scoreLabels(lowest, highest) {
  const rough = (highest - lowest) / 5, power = 10 ** Math.floor(Math.log10(rough)), margin = 0.06 * (highest - lowest);
  const step = [1, 2, 5, 10].map((factor) => power * factor).find((candidate) => candidate >= 0.999 * rough);
  const labels = [];
  for (let n = Math.ceil((lowest + margin) / step); n * step <= highest - margin; n++) labels.push(n * step);
  return labels;
}

function timeLabels(end) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const step = steps.find((candidate) => end / candidate <= 6) ?? 14400, labels = [];
  for (let n = 0; n * step < 0.85 * end; n++) labels.push(n * step); // no label near the end: a narrow screen lacks room
  return labels;
}

function draw({ row, low, high, spectrogram, threshold, usual, line, band, fakes }) {
  const points = shown.points = thinned(row), [lowest, highest] = scoreAxis(row.scores, threshold);
  const x = (seconds) => 1000 * seconds / row.duration, y = (score) => 100 * (highest - score) / (highest - lowest);
  const curve = (key) => points.map((point) => `${x(point.time)},${y(point[key])}`);
  const set = (selector, name, value) => all(selector, picture).forEach((part) => part.setAttribute(name, value));
  const loudest = Math.max(1e-4, ...low.map(Math.abs), ...high.map(Math.abs));
  const step = 1000 / (low.length - 1 || 1);
  const outline = (samples) => samples.map((sample, n) => `${n * step},${50 - 48 * sample / loudest}`);
  set("#wave", "points", [...outline(high), ...outline(low).reverse()].join(" "));
  set(".halo, .line", "points", line ? curve("middle").join(" ") : "");
  set("#band", "points", band ? [...curve("low"), ...curve("high").reverse()].join(" ") : "");
  const limit = threshold == null ? null : y(threshold);
  set("#above", "d", limit == null ? "" : `M0 0H1000V${limit}H0Z`);
  set("#below", "d", limit == null ? "" : `M0 ${limit}H1000V100H0Z`);
  set("#threshold", "d", limit == null ? "" : `M0 ${limit}H1000`);
  set("#usual", "d", (usual ?? []).map((score) => `M0 ${y(score)}H1000`).join(""));
  const part = row.decision === "spoof" && row.along?.stretch?.stands_out ? [row.along.stretch] : [];
  const boxes = row.segments ? fakes : part;
  set(".fake", "d", boxes.map(({ start, end }) => `M${x(start)} 0H${x(end)}V100H${x(start)}Z`).join(""));
  find("#spectrogram").src = `data:image/png;base64,${spectrogram}`;
  find("#at-threshold").style.top = `${limit}%`;
  const scores = line ? scoreLabels(lowest, highest) : [], times = timeLabels(row.duration);
  const digits = times.some((time) => time % 1) ? 1 : 0;
  const levels = scores.map((level) => textElement("span", written(level), { top: `${y(level)}%` }));
  const ticks = times.map((time) => textElement("span", clock(time, digits), { left: `${x(time) / 10}%` }));
  find("#levels").replaceChildren(...levels);
  find("#ticks").replaceChildren(...ticks);
}

// The player

function showPlace(seconds, told) {
  const distance = ({ time }) => Math.abs(time - seconds);
  const point = shown.points.reduce((best, other) => distance(other) < distance(best) ? other : best);
  find("#now").style.left = `${100 * Math.min(1, seconds / shown.row.duration)}%`;
  picture.setAttribute("aria-valuenow", seconds.toFixed(1));
  picture.setAttribute("aria-valuetext", clock(seconds));
  fill(find("#place"), told ?? { time: clock(seconds), score: point.middle });
}

function play(address) {
  if (address) audio.src = address; else audio.removeAttribute("src");
  audio.load();
}

function seek(seconds, plays) {
  const place = Math.max(0, Math.min(shown.row.duration, seconds));
  const go = () => {
    audio.currentTime = Math.min(place, Math.max(0, audio.duration - 0.01));
    showPlace(place);
    if (plays) audio.play().catch(() => {});
  };
  if (audio.readyState) go(); else audio.addEventListener("loadedmetadata", go, { once: true });
}

function follow() {
  if (!audio.readyState) return; // the page shows another recording now
  showPlace(audio.currentTime);
  if (!audio.paused) requestAnimationFrame(follow);
}

audio.onplay = audio.onseeked = follow;
picture.onclick = (event) => {
  const box = picture.getBoundingClientRect();
  seek(shown.row.duration * (event.clientX - box.left) / box.width, true);
};
picture.onkeydown = (event) => {
  const step = Math.max(0.5, shown.row.duration / 100);
  if (event.key === "ArrowLeft") seek(audio.currentTime - step, false);
  else if (event.key === "ArrowRight") seek(audio.currentTime + step, false);
  else if (event.key === " ") audio.paused ? audio.play() : audio.pause();
  else return;
  event.preventDefault();
};

// Files from the disk, the microphone or this page

find("#files").onchange = (event) => {
  add(event.target.files);
  event.target.value = ""; // the same file may be chosen again
};
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  add(event.dataTransfer.files);
};

async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => null);
  find("#refused").hidden = Boolean(stream);
  if (!stream) return;
  const recorder = new MediaRecorder(stream), pieces = [], buttons = all("#record, #stop");
  const exchange = () => buttons.forEach((button) => { button.hidden = !button.hidden; });
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => {
    stream.getTracks().forEach((track) => track.stop());
    exchange();
    add([new File(pieces, recorder.mimeType.includes("mp4") ? "recording.mp4" : "recording.webm")]);
  };
  find("#stop").onclick = () => recorder.stop();
  recorder.start();
  exchange();
}

find("#record").onclick = record;
navigator.mediaDevices?.enumerateDevices().then((devices) => {
  for (const element of all(".microphone")) element.hidden = !devices.some((device) => device.kind === "audioinput");
});

// Six vowels by their first two formants in Hz (Peterson and Barney, 1952), a second each: a spoof that nobody spoke.
const VOWELS = [[730, 1090], [270, 2290], [300, 870], [530, 1840], [570, 840], [660, 1720]];

function synthetic() {
  const rate = 16000, samples = new Int16Array(VOWELS.length * rate), size = samples.byteLength;
  let phase = 0;
  samples.forEach((_, n) => {
    const second = n / rate, formants = VOWELS[Math.floor(second)], pitch = 135 - 6 * second;
    phase += 2 * Math.PI * pitch / rate;
    let sample = 0;
    for (let harmonic = 1; harmonic * pitch < 4000; harmonic++) {
      const gains = formants.map((formant) => 1 / (1 + ((harmonic * pitch - formant) / 80) ** 2));
      sample += (gains[0] + gains[1]) * Math.sin(harmonic * phase);
    }
    samples[n] = 6000 * sample * Math.sin(Math.PI * (second % 1)); // each vowel swells and fades
  });
  // The head of a WAV file: RIFF, WAVE, fmt (PCM, mono, 16 bits), data.
  const head = [0x46464952, 36 + size, 0x45564157, 0x20746d66, 16, 0x10001, rate, 2 * rate, 0x100002, 0x61746164, size];
  return new File([new Uint32Array(head), samples], "synthetic vowels.wav");
}

find("#sample").onclick = () => add([synthetic()]);
fetch("api/info").then((answer) => answer.json()).then((told) => {
  info = { ...told, uncalibrated: !told.calibrated, decides: told.calibrated || told.people.length > 0 };
  find("#claim").hidden = !told.people.length;
  find("#person").append(...told.people.map((name) => new Option(name, name)));
  for (const part of ["#head", "#empty", "#table thead", "#errors"]) fill(find(part), info);
});
