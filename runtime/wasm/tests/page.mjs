// node page.mjs SITE NATIVE SHOTS: the page in SITE in headless Chromium. NATIVE is a JSON object from the names of pictures to the
// probabilities that the command gives. Drops, opens, draws, types and breaks things; writes screenshots to SHOTS.
import { spawn } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";

const [site, nativePath, shots] = process.argv.slice(2).map((path) => resolve(path));
const native = JSON.parse(readFileSync(nativePath));
const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".png": "image/png" };
/** Takes the way to send the next sample of a 7, if somebody wants to hold it back. */
let held = null;
const server = createServer((request, response) => {
  const path = join(site, request.url === "/" ? "index.html" : request.url);
  if (!path.startsWith(site) || !existsSync(path)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" });
  const send = () => createReadStream(path).pipe(response);
  if (held === null || !request.url.endsWith("digit_7.png")) return send();
  held(send);
  held = null;
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const address = `http://127.0.0.1:${server.address().port}/`;

// The browser, spoken to through two pipes.
const profile = mkdtempSync(join(tmpdir(), "sepal-page-"));
const browser = spawn(
  process.env.CHROMIUM ?? "chromium",
  ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--window-size=920,860", `--user-data-dir=${profile}`],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);
const [waiting, problems] = [new Map(), []];
let [number, session, pending] = [0, undefined, ""];
browser.stdio[4].setEncoding("utf8").on("data", (data) => {
  const messages = (pending + data).split("\0");
  pending = messages.pop();
  for (const message of messages.map((m) => JSON.parse(m))) {
    if (message.id) waiting.get(message.id)?.(message);
    else if (message.method === "Runtime.exceptionThrown") problems.push(message.params.exceptionDetails.exception?.description ?? "an exception");
    else if (message.method === "Log.entryAdded" && message.params.entry.level === "error") problems.push(message.params.entry.text);
  }
});
async function call(method, params = {}) {
  const id = ++number;
  const answer = await new Promise((done) => {
    waiting.set(id, done);
    browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
  });
  waiting.delete(id);
  if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
  return answer.result;
}
async function evaluate(expression) {
  const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
  return result.value;
}
async function until(expression, seconds = 20) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((done) => setTimeout(done, 20))) {
    const value = await evaluate(expression);
    if (value) return value;
  }
  throw new Error(`it never came to this: ${expression}`);
}
async function shot(name) {
  // Bars move for a moment.
  await new Promise((done) => setTimeout(done, 300));
  const { data } = await call("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
  writeFileSync(join(shots, name), Buffer.from(data, "base64"));
}

let failed = 0;
function check(holds, what) {
  if (!holds) failed += 1;
  console.log(`${holds ? "ok" : "FAILED"}: ${what}`);
}
const probabilities = () => until("document.body.dataset.probabilities").then(JSON.parse);
const best = (list) => list.indexOf(Math.max(...list));
const off = (a, b) => Math.max(...a.map((v, i) => Math.abs(v - b[i])));
const clear = () => evaluate('document.getElementById("clear").click()');

async function drop(path) {
  const data = { items: [], files: [path], dragOperationsMask: 1 };
  const [x, y] = [200, 300];
  for (const type of ["dragEnter", "dragOver", "drop"]) await call("Input.dispatchDragEvent", { type, x, y, data });
}

/** Strokes in shares of the board. */
async function draw(strokes) {
  const box = await evaluate('(({ left, top, width }) => [left, top, width])(document.getElementById("board").getBoundingClientRect())');
  const mouse = (type, [x, y]) =>
    call("Input.dispatchMouseEvent", { type, x: box[0] + x * box[2], y: box[1] + y * box[2], button: "left", buttons: 1, clickCount: 1 });
  for (const points of strokes) {
    await mouse("mousePressed", points[0]);
    for (const point of points.slice(1)) await mouse("mouseMoved", point);
    await mouse("mouseReleased", points.at(-1));
  }
}
const arc = (cx, cy, rx, ry, from, to) =>
  Array.from({ length: 25 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / 24) * Math.PI) / 180;
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
  });

async function main() {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  session = (await call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  for (const domain of ["Page", "Runtime", "Log", "DOM"]) await call(`${domain}.enable`);
  await call("Page.navigate", { url: address });
  await until('["ready", "failed"].includes(document.body?.dataset.state)');
  check((await evaluate("document.body.dataset.state")) === "ready", `loads ${await evaluate('document.getElementById("facts").textContent')}`);
  await shot("empty.png");

  let worst = 0;
  for (const [name, want] of Object.entries(native.pictures)) {
    await clear();
    await drop(join(native.folder, name));
    const got = await probabilities();
    worst = Math.max(worst, off(got, want));
    check(best(got) === best(want) && off(got, want) < 1e-5, `dropped ${name}: a ${best(got)}, as natively`);
  }
  console.log(`largest difference of a probability to the command: ${worst.toExponential(1)}`);
  console.log(await evaluate('document.getElementById("latency").textContent'));

  await clear();
  const [name, want] = Object.entries(native.pictures)[3];
  const { root } = await call("DOM.getDocument");
  const { nodeId } = await call("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
  await call("DOM.setFileInputFiles", { nodeId, files: [join(native.folder, name)] });
  check(best(await probabilities()) === best(want), `opened ${name}`);
  await clear();
  await evaluate('document.querySelectorAll("#samples button")[7].click()');
  check(best(await probabilities()) === 7, "a sample by its button");

  const digits = {
    0: [arc(0.5, 0.5, 0.2, 0.33, -90, 270)],
    1: [[[0.38, 0.3], [0.52, 0.16], [0.52, 0.5], [0.52, 0.85]]],
    2: [[...arc(0.5, 0.35, 0.2, 0.18, -170, 30), [0.32, 0.82], [0.74, 0.82]]],
    3: [[...arc(0.47, 0.33, 0.19, 0.17, -150, 80), ...arc(0.47, 0.67, 0.22, 0.18, -80, 150)]],
    4: [[[0.45, 0.15], [0.25, 0.6], [0.75, 0.6]], [[0.6, 0.4], [0.55, 0.88]]],
    7: [[[0.28, 0.18], [0.72, 0.18], [0.45, 0.85]], [[0.35, 0.5], [0.68, 0.5]]],
  };
  for (const [digit, strokes] of Object.entries(digits)) {
    await clear();
    await draw(strokes);
    const got = await probabilities();
    check(best(got) === Number(digit), `drawn ${digit}: read as ${best(got)}, ${(100 * Math.max(...got)).toFixed(1)} %`);
    if (digit === "3") await shot("drawn.png");
  }

  // Pencil on paper, as a photograph has it: another size, dark on bright, not in the middle.
  await clear();
  await evaluate(`(async () => {
    const canvas = new OffscreenCanvas(420, 300);
    const pencil = canvas.getContext("2d");
    pencil.fillStyle = "#e8e2d4";
    pencil.fillRect(0, 0, 420, 300);
    Object.assign(pencil, { strokeStyle: "#394a63", lineWidth: 14, lineCap: "round", lineJoin: "round" });
    for (const points of ${JSON.stringify(digits[4])}) {
      pencil.beginPath();
      for (const [x, y] of points) pencil.lineTo(40 + 180 * x, 20 + 180 * y);
      pencil.stroke();
    }
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([await canvas.convertToBlob()], "paper.png", { type: "image/png" }));
    dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
  })()`);
  check(best(await probabilities()) === 4, "a dropped photograph of a 4 on paper");
  await shot("paper.png");

  // A large picture is still being decoded when a small one is dropped after it.
  await clear();
  await evaluate(`(async () => {
    const canvas = new OffscreenCanvas(5000, 5000);
    canvas.getContext("2d").fillRect(2000, 1000, 500, 3000);
    const large = await canvas.convertToBlob();
    const small = await (await fetch("samples/digit_3.png")).blob();
    for (const blob of [large, small]) {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([blob], "picture.png", { type: "image/png" }));
      dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    }
  })()`);
  await probabilities();
  await new Promise((done) => setTimeout(done, 1500));
  const stays = async () => best(JSON.parse((await evaluate("document.body.dataset.probabilities")) ?? "[]"));
  check((await stays()) === 3, "the last picture stays");

  // A sample that the server holds back comes after another one, and after what is no picture.
  for (const [then, want, what] of [
    ['document.querySelectorAll("#samples button")[3].click()', 3, "another sample"],
    ['dispatchEvent(new DragEvent("drop", { dataTransfer: new DataTransfer(), cancelable: true }))', -1, "no file"],
  ]) {
    await clear();
    const late = new Promise((done) => (held = done));
    await evaluate('document.querySelectorAll("#samples button")[7].click()');
    const release = await late;
    await evaluate(then);
    if (want >= 0) await probabilities();
    release();
    await new Promise((done) => setTimeout(done, 500));
    check((await stays()) === want, `a sample that is late does not replace ${what}`);
  }

  await clear();
  await drop(join(site, "sepal.js"));
  const said = await until('document.getElementById("error").textContent');
  check(said.includes("not a picture"), `what is no picture is refused: ${said}`);
  await shot("error.png");

  // The keyboard alone.
  await clear();
  await evaluate('document.getElementById("board").focus()');
  const press = async (key, code) => {
    for (const type of ["keyDown", "keyUp"]) await call("Input.dispatchKeyEvent", { type, key, code, text: key === " " ? " " : undefined });
  };
  await press(" ", "Space");
  for (let i = 0; i < 20; i++) await press("ArrowDown", "ArrowDown");
  await press(" ", "Space");
  check(best(await probabilities()) === 1, "a stroke by the keyboard is a 1");
  await press("Escape", "Escape");
  check(await evaluate("document.body.dataset.probabilities === undefined"), "Escape clears");

  await draw(digits[2]);
  await probabilities();
  await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: "dark" }] });
  await shot("dark.png");
  await call("Emulation.setDeviceMetricsOverride", { width: 360, height: 740, deviceScaleFactor: 2, mobile: true });
  check(await evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than a telephone");
  await shot("narrow.png");
  check(problems.length === 0, `nothing on the console${problems.map((p) => `: ${p}`).join("")}`);
}

try {
  await Promise.race([main(), new Promise((_, no) => setTimeout(() => no(new Error("it takes longer than two minutes")), 120_000).unref())]);
} catch (e) {
  failed += 1;
  console.error(e);
}
const gone = new Promise((done) => browser.once("exit", done));
if (browser.exitCode === null && browser.signalCode === null) {
  browser.kill();
  await gone;
}
server.close();
try {
  rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
} catch (e) {
  // What the browser's processes write as they end says nothing of the page.
  console.log(`left behind: ${e.path}`);
}
process.exit(failed ? 1 : 0);
