"use strict";

const byId = (id) => document.getElementById(id);
const picture = byId("picture").getContext("2d", { alpha: false });
const overlay = byId("overlay").getContext("2d");
const bars = byId("bits").getContext("2d");
const HEAD = 20; // bytes before a frame's pixels
const HOTTEST = 12; // log2 of the bits of a block that is drawn in the strongest colour
const AHEAD_SECONDS = 0.5; // of frames that are asked for at once

let info; // what the server says of the file
let times = null; // from when each frame is shown, and the end
let bits = new Float32Array(0); // of each frame, as far as they are counted
let current = -1; // the frame that is shown
let currentBits = NaN;
let playing = false;
let queue = []; // frames to be shown next
let asked = 0; // the frame after those that were asked for
let fetching = false;
let journey = 0; // counts jumps: what was asked for before the last one is not wanted any more
let clock = { at: 0, from: 0 }; // the video's time at a time of the browser's clock
let audio = null;

function trouble(text) {
  byId("trouble").textContent = text;
}

async function get(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(await reply.text());
  return reply;
}

function parse(buffer) {
  const view = new DataView(buffer);
  const frames = [];
  for (let at = 0; at < buffer.byteLength; ) {
    const [x, y, width, height] = [4, 6, 8, 10].map((offset) => view.getUint16(at + offset, true));
    const frame = { number: view.getUint32(at, true), x, y, image: null, bits: view.getFloat32(at + 12, true) };
    const count = view.getUint32(at + 16, true);
    at += HEAD;
    if (width && height) {
      frame.image = new ImageData(new Uint8ClampedArray(buffer, at, 4 * width * height), width, height);
    }
    at += 4 * width * height;
    frame.blocks = new Float32Array(buffer, at, count);
    at += 4 * count;
    frames.push(frame);
  }
  return frames;
}

async function frames(start, count, whole) {
  const blocks = byId("blocks").checked ? 1 : 0;
  const reply = await get(`frames?start=${start}&count=${count}&whole=${whole ? 1 : 0}&blocks=${blocks}`);
  return parse(await reply.arrayBuffer());
}

const columns = () => Math.ceil(info.width / info.block[1] - 1e-9);
const rows = () => Math.ceil(info.height / info.block[0] - 1e-9);

function drawBlocks(blocks) {
  const heat = overlay.createImageData(columns(), rows());
  blocks.forEach((taken, index) => {
    const strength = Math.min(1, Math.log2(1 + taken) / HOTTEST);
    heat.data.set([255, Math.round(255 * strength), 0, Math.round(230 * Math.sqrt(strength))], 4 * index);
  });
  overlay.putImageData(heat, 0, 0);
}

function show(frame) {
  if (frame.image) picture.putImageData(frame.image, frame.x, frame.y);
  current = frame.number;
  currentBits = frame.bits;
  byId("overlay").hidden = !byId("blocks").checked || !frame.blocks.length;
  if (frame.blocks.length) drawBlocks(frame.blocks);
}

function tell() {
  const shown = Number.isNaN(currentBits) ? bits[current] : currentBits;
  const known = shown === undefined || Number.isNaN(shown) ? "bits not told apart" : `${Math.round(shown)} bits`;
  const unknown = byId("blocks").checked && byId("overlay").hidden ? "; nobody knows of which blocks" : "";
  const seconds = times ? times[current] : current / info.fps;
  byId("told").textContent = `frame ${current} of ${info.frames}, ${seconds.toFixed(3)} s, ${known}${unknown}`;
  byId("position").value = current;
  document.body.dataset.frame = current;
  document.body.dataset.bits = Number.isNaN(shown) ? "" : shown;
  drawBars();
}

async function seek(number) {
  const trip = ++journey;
  queue = [];
  const wanted = Math.max(0, Math.min(info.frames - 1, number));
  try {
    const [frame] = await frames(wanted, 1, true);
    if (trip !== journey || !frame) return;
    show(frame);
    asked = wanted + 1;
    setClock();
    tell();
    trouble("");
  } catch (error) {
    trouble(error.message);
  }
}

const speed = () => Number(byId("speed").value);
const timeOf = (number) => (times ? times[number] : number / info.fps);

function setClock() {
  clock = { at: performance.now(), from: timeOf(Math.max(0, current)) };
  if (audio) {
    audio.playbackRate = Math.min(16, Math.max(0.0625, speed()));
    audio.currentTime = clock.from;
    if (playing && byId("sound").checked) audio.play().catch(() => {});
    else audio.pause();
  }
}

function now() {
  if (audio && playing && !audio.paused && audio.readyState > 2 && !audio.ended) return audio.currentTime;
  return clock.from + ((performance.now() - clock.at) / 1000) * speed();
}

async function fill() {
  const wanted = Math.max(2, Math.min(64, Math.ceil(info.fps * speed() * AHEAD_SECONDS)));
  if (fetching || asked >= info.frames || queue.length > wanted) return;
  fetching = true;
  const trip = journey;
  try {
    const more = await frames(asked, wanted, false);
    if (trip === journey && more.length) {
      queue.push(...more);
      asked = more[more.length - 1].number + 1;
    }
  } catch (error) {
    stop();
    trouble(error.message);
  }
  fetching = false;
}

function turn() {
  if (!playing) return;
  fill();
  const time = now();
  let shown = false;
  while (queue.length && timeOf(queue[0].number) <= time) {
    show(queue.shift());
    shown = true;
  }
  if (shown) tell();
  if (!queue.length && asked < info.frames && time > timeOf(asked)) setClock(); // nothing is there: wait for it
  if (current >= info.frames - 1 && time >= timeOf(info.frames)) stop();
  requestAnimationFrame(turn);
}

function play() {
  const begin = () => {
    playing = true;
    byId("play").textContent = "Pause";
    setClock();
    requestAnimationFrame(turn);
  };
  if (current >= info.frames - 1) seek(0).then(begin);
  else begin();
}

function stop() {
  playing = false;
  byId("play").textContent = "Play";
  if (audio) audio.pause();
}

async function step(by) {
  stop();
  if (by === 1 && queue.length) {
    show(queue.shift());
    tell();
    return;
  }
  await seek(current + by);
}

function resize() {
  const chosen = byId("zoom").value;
  const turned = Math.round(info.rotation / 90) % 2 !== 0;
  const shape = [info.width * info.pixelAspect, info.height];
  const [wide, high] = turned ? [shape[1], shape[0]] : shape;
  const most = Math.min(window.innerWidth / wide, (window.innerHeight - 210) / high);
  const zoom = chosen === "fit" ? Math.max(0.05, most) : Number(chosen);
  const [width, height] = shape.map((side) => side * zoom);
  const [stage, space] = [byId("stage"), byId("space")];
  for (const [element, across, down] of [
    [stage, width, height],
    [byId("picture"), width, height],
    [byId("overlay"), columns() * info.block[1] * info.pixelAspect * zoom, rows() * info.block[0] * zoom],
    [space, turned ? height : width, turned ? width : height],
  ]) {
    element.style.width = `${across}px`;
    element.style.height = `${down}px`;
  }
  const degrees = ((-info.rotation % 360) + 360) % 360; // clockwise
  const moved = { 0: [0, 0], 90: [height, 0], 180: [width, height], 270: [0, width] }[degrees] || [0, 0];
  stage.style.transform = `translate(${moved[0]}px, ${moved[1]}px) rotate(${degrees}deg)`;
}

function drawBars() {
  const canvas = byId("bits");
  if (canvas.width !== canvas.clientWidth) canvas.width = canvas.clientWidth;
  const { width, height } = canvas;
  bars.clearRect(0, 0, width, height);
  bars.fillStyle = "#fa4";
  const heights = new Float32Array(width);
  bits.forEach((taken, number) => {
    const x = Math.min(width - 1, Math.floor((number * width) / info.frames));
    if (taken > heights[x]) heights[x] = taken;
  });
  const top = Math.log2(2 + Math.max(...heights));
  const thick = Math.max(1, Math.floor(width / info.frames) - 1);
  heights.forEach((taken, x) => {
    const bar = (Math.log2(1 + taken) / top) * height;
    if (bar) bars.fillRect(x, height - bar, thick, bar);
  });
  bars.fillStyle = "#fff";
  bars.fillRect(Math.floor(((current + 0.5) * width) / info.frames), 0, 1, height);
}

async function count() {
  while (bits.length < info.frames) {
    const [counted, ...more] = new Float32Array(await (await get(`bits?start=${bits.length}`)).arrayBuffer());
    const longer = new Float32Array(bits.length + more.length);
    longer.set(bits);
    longer.set(more, bits.length);
    bits = longer;
    document.body.dataset.counted = counted;
    if (!playing) tell();
    if (bits.length < info.frames) await new Promise((done) => setTimeout(done, 500));
  }
}

async function listen() {
  const blob = await (await get("sound")).blob();
  if (!blob.size) return;
  audio = new Audio(URL.createObjectURL(blob));
  byId("sounding").hidden = false;
  byId("sound").addEventListener("change", setClock);
  if (playing) setClock();
}

function options(select, values, chosen) {
  for (const value of values) select.add(new Option(value === "fit" ? "fit" : `${value}x`, value));
  select.value = chosen;
}

async function begin() {
  info = await (await get("info")).json();
  const asks = new URLSearchParams(location.hash.slice(1));
  [picture.canvas.width, picture.canvas.height] = [info.width, info.height];
  [overlay.canvas.width, overlay.canvas.height] = [columns(), rows()];
  byId("position").max = info.frames - 1;
  options(byId("speed"), [0.1, 0.25, 0.5, 1, 2, 4, 8, 16], asks.get("speed") || "1");
  options(byId("zoom"), ["fit", 1, 2, 3, 4, 6, 8], asks.get("zoom") || "fit");
  byId("blocks").checked = asks.get("blocks") === "1";
  document.title = `${info.name} - pacodec play`;
  const coders = Object.entries(info.coders).map(([name, gops]) => `${gops} GOPs by ${name}`);
  const about = [`${info.width}x${info.height}`, `${info.bytes} bytes`, `1/${info.ratio.toFixed(0)} of raw`, ...coders];
  byId("file").textContent = `${info.name}: ${about.join(", ")}`;
  trouble(info.damage.join("; "));
  resize();
  await seek(Number(asks.get("frame") || 0));
  times = new Float64Array(await (await get("times")).arrayBuffer());
  tell();
  if (asks.get("play") === "1") play();
  if (info.sound) listen().catch((error) => trouble(error.message));
  count().catch((error) => trouble(error.message));
}

byId("play").addEventListener("click", () => (playing ? stop() : play()));
byId("back").addEventListener("click", () => step(-1));
byId("forward").addEventListener("click", () => step(1));
byId("position").addEventListener("input", (event) => seek(Number(event.target.value)));
byId("speed").addEventListener("change", setClock);
byId("zoom").addEventListener("change", resize);
byId("blocks").addEventListener("change", () => seek(current));
byId("bits").addEventListener("click", (event) => {
  seek(Math.floor((event.offsetX / event.target.clientWidth) * info.frames));
});
window.addEventListener("resize", () => (resize(), tell()));
document.addEventListener("keydown", (event) => {
  if (event.target.matches("select, input:not([type=range])")) return;
  const does = { " ": () => (playing ? stop() : play()), ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});
begin().catch((error) => trouble(error.message));
