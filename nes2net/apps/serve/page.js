// Listening on the page: recordings are fetched once and kept by the browser; a click in a picture plays that place.
(() => {
  const addresses = new Map(); // token → address of the recording in this browser
  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10), whole = Math.floor(tenths / 10);
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(whole % 60)}.${tenths % 10}`;
  };
  const cardOf = (element) => element.closest(".n2-card");
  const audioOf = (element) => cardOf(element).querySelector("audio");

  async function fetched(audio) {
    const token = audio.dataset.n2Token;
    if (!addresses.has(token)) {
      const root = document.querySelector("base")?.href ?? location.href;
      addresses.set(token, fetch(new URL(`heard/${token}`, root)).then((answer) => {
        if (!answer.ok) throw new Error(answer.statusText);
        return answer.blob();
      }).then((blob) => URL.createObjectURL(blob)));
    }
    try {
      audio.src = await addresses.get(token);
    } catch {
      cardOf(audio).querySelector(".n2-place").textContent = "The recording cannot be played any more: drop it again.";
    }
  }

  function scoreAt(picture, seconds) {
    const points = picture.points ??= JSON.parse(picture.dataset.points);
    return points.reduce((best, point) => Math.abs(point[0] - seconds) < Math.abs(best[0] - seconds) ? point : best)[1];
  }

  function show(picture, seconds) {
    const duration = Number(picture.dataset.duration);
    picture.querySelector(".n2-now").style.left = `${100 * Math.min(1, seconds / duration)}%`;
    picture.setAttribute("aria-valuenow", seconds.toFixed(1));
    picture.setAttribute("aria-valuetext", clock(seconds));
    cardOf(picture).querySelector(".n2-place").textContent = `${clock(seconds)}  score ${scoreAt(picture, seconds).toFixed(2).replace("-", "−")}`;
  }

  function seek(picture, seconds, play) {
    const audio = audioOf(picture), duration = Number(picture.dataset.duration);
    const place = Math.max(0, Math.min(duration, seconds));
    const go = () => {
      audio.currentTime = Math.min(place, Math.max(0, audio.duration - 0.01));
      show(picture, place);
      if (play) audio.play().catch(() => {});
    };
    if (audio.readyState) go(); else audio.addEventListener("loadedmetadata", go, { once: true });
  }

  function follow(audio) {
    const picture = cardOf(audio)?.querySelector(".n2-picture");
    if (!picture) return;
    show(picture, audio.currentTime);
    if (!audio.paused) requestAnimationFrame(() => follow(audio));
  }

  function pick(button) {
    const place = button.closest(".n2"), number = button.dataset.n2Pick;
    for (const card of place.querySelectorAll(".n2-card")) {
      card.hidden = card.dataset.n2Card !== number;
      if (card.hidden) card.querySelector("audio").pause();
    }
    marked(place);
  }

  function marked(place) {
    const shown = place.querySelector(".n2-card:not([hidden])")?.dataset.n2Card;
    for (const button of place.querySelectorAll("[data-n2-pick]")) {
      button.setAttribute("aria-pressed", String(button.dataset.n2Pick === shown));
    }
  }

  // Six vowels by their first two formants in Hz (Peterson and Barney, 1952), a second each: a spoof that nobody spoke.
  const vowels = [[730, 1090], [270, 2290], [300, 870], [530, 1840], [570, 840], [660, 1720]];

  async function synthetic() {
    const rate = 16000, context = new OfflineAudioContext(1, vowels.length * rate, rate);
    const voice = new OscillatorNode(context, { type: "sawtooth" }), level = new GainNode(context, { gain: 0 });
    for (const which of [0, 1]) {
      const formant = new BiquadFilterNode(context, { type: "bandpass", Q: 8 });
      vowels.forEach((vowel, start) => formant.frequency.setTargetAtTime(vowel[which], start, 0.05));
      voice.connect(formant).connect(level);
    }
    vowels.forEach((_, start) => {
      voice.frequency.setTargetAtTime(135 - 6 * start, start, 0.2);
      level.gain.setTargetAtTime(0.5, start + 0.05, 0.03);
      level.gain.setTargetAtTime(0, start + 0.75, 0.04);
    });
    level.connect(context.destination);
    voice.start();
    const samples = (await context.startRendering()).getChannelData(0), size = 2 * samples.length;
    const wav = new DataView(new ArrayBuffer(44 + size));
    const write = (at, text) => [...text].forEach((letter, n) => wav.setUint8(at + n, letter.charCodeAt(0)));
    write(0, "RIFF"); write(8, "WAVEfmt "); write(36, "data");
    for (const [at, number] of [[4, 36 + size], [16, 16], [24, rate], [28, 2 * rate], [40, size]]) wav.setUint32(at, number, true);
    for (const [at, number] of [[20, 1], [22, 1], [32, 2], [34, 16]]) wav.setUint16(at, number, true); // PCM, mono, 16 bits
    samples.forEach((sample, n) => wav.setInt16(44 + 2 * n, 32767 * Math.max(-1, Math.min(1, sample)), true));
    return new File([wav], "synthetic vowels.wav", { type: "audio/wav" });
  }

  async function dropSynthetic() {
    const dropped = new DataTransfer(), input = document.querySelector("#n2-files input[type=file]");
    dropped.items.add(await synthetic());
    input.files = dropped.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  let microphone = false;
  navigator.mediaDevices?.enumerateDevices().then((devices) => {
    microphone = devices.some((device) => device.kind === "audioinput");
    showMicrophone();
  });
  function showMicrophone() {
    for (const element of document.querySelectorAll("#n2-microphone, .n2-microphone")) element.classList.toggle("n2-there", microphone);
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-n2-sample]")) return dropSynthetic();
    const button = event.target.closest("[data-n2-pick]");
    if (button) return pick(button);
    const stretch = event.target.closest("[data-n2-at]");
    if (stretch) return seek(cardOf(stretch).querySelector(".n2-picture"), Number(stretch.dataset.n2At), true);
    const picture = event.target.closest(".n2-picture");
    if (!picture) return;
    const box = picture.getBoundingClientRect();
    seek(picture, Number(picture.dataset.duration) * (event.clientX - box.left) / box.width, true);
  });
  document.addEventListener("keydown", (event) => {
    const picture = event.target.closest?.(".n2-picture");
    if (!picture) return;
    const audio = audioOf(picture), step = Math.max(0.5, Number(picture.dataset.duration) / 100);
    if (event.key === "ArrowLeft") seek(picture, audio.currentTime - step, false);
    else if (event.key === "ArrowRight") seek(picture, audio.currentTime + step, false);
    else if (event.key === " ") audio.paused ? audio.play() : audio.pause();
    else return;
    event.preventDefault();
  });
  for (const name of ["play", "seeked"]) { // media events do not bubble
    document.addEventListener(name, (event) => { if (event.target.dataset?.n2Token) follow(event.target); }, true);
  }

  new MutationObserver(() => {
    showMicrophone();
    for (const audio of document.querySelectorAll("audio[data-n2-token]:not([src]):not([data-n2-asked])")) {
      audio.dataset.n2Asked = "";
      marked(audio.closest(".n2"));
      fetched(audio);
    }
    for (const [token, address] of addresses) { // recordings that the page shows no more
      if (!document.querySelector(`audio[data-n2-token="${token}"]`)) {
        addresses.delete(token);
        address.then((url) => URL.revokeObjectURL(url), () => {});
      }
    }
  }).observe(document, { childList: true, subtree: true });
})();
