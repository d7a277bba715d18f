// node cases.mjs MODULE CASES [scalar|partial]: runs each case that `cases` of the benches has made, and compares with what x86-64 gave. With
// `scalar` the bits must be the same; with vectors, which have no fused multiply-add, the difference must be within the tolerance
// that the fixtures have for two engines that sum in another order. With `scalar`, whose bits are those of x86-64, vectors are also
// compared with it on all pictures of the test split. `partial` is for a module that need not have the operators of all cases.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Model, SepalError, compile } from "../web/sepal.js";

const [modulePath, folder, mode] = process.argv.slice(2);
const scalar = mode === "scalar";
const module = await compile(readFileSync(modulePath));
const index = JSON.parse(readFileSync(new URL("../../../fixtures/models.json", import.meta.url)));
const floats = (path) => new Float32Array(new Uint8Array(readFileSync(path)).buffer);
let failed = 0;
const check = (holds, what) => {
  if (!holds) {
    failed += 1;
    console.error(`FAILED: ${what}`);
  }
};

let [worst, ran] = [0, 0];
for (const name of readdirSync(folder).sort()) {
  const path = (file) => join(folder, name, file);
  const file = readFileSync(path("model.sepal"));
  let model;
  try {
    model = await Model.load(module, file, { scalar });
  } catch (e) {
    if (mode !== "partial" || !String(e.message).includes("which this build leaves out")) throw e;
    console.log(`${name}: ${e.message}`);
    continue;
  }
  ran += 1;
  const [input, want] = [floats(path("input.f32")), floats(path("want.f32"))];
  const run = () => {
    model.input(0).set(input);
    model.run();
  };
  run();
  const got = model.output(0).slice();
  const differs = Math.max(...want.map((w, i) => Math.abs(w - got[i])));
  worst = Math.max(worst, differs);
  const bits = (f) => new Uint32Array(f.buffer).join();
  const most = scalar ? 0 : tolerance(name);
  check(got.length === want.length, `${name}: ${got.length} numbers`);
  check(scalar ? bits(got) === bits(want) : differs <= most, `${name}: off by ${differs}, at most ${most}`);
  check(got.indexOf(Math.max(...got)) === want.indexOf(Math.max(...want)), `${name}: another class`);
  run();
  check(bits(model.output(0).slice()) === bits(got), `${name}: the second run differs`);
  const times = [];
  for (let i = 0; i < (scalar ? 20 : 200); i++) {
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  console.log(`${name} on ${model.isa}: differs by ${differs.toExponential(1)}, ${times[times.length >> 1].toFixed(3)} ms`);

  // What is damaged is refused with a text, and nothing else happens.
  for (const [what, bytes] of [["cut off", file.subarray(0, file.length - 64)], ["empty", file.subarray(0, 0)], ["changed", changed(file)]]) {
    const said = await Model.load(module, new Uint8Array(bytes)).then(() => "", (e) => (e instanceof SepalError ? e.message : ""));
    check(said !== "", `${name}: ${what}, and not refused`);
  }
}
check(ran > 0, "no case has run");
console.log(`largest difference to x86-64: ${worst.toExponential(2)}`);

if (scalar) {
  for (const name of ["mini_xception.keras", "mini_inception.keras"]) {
    const file = readFileSync(join(folder, name, "model.sepal"));
    const [exact, fast] = [await Model.load(module, file, { scalar }), await Model.load(module, file)];
    let [count, right, absolute, logarithm] = [0, 0, 0, 0];
    for (const { input, label } of digits()) {
      const [want, got] = [exact, fast].map((m) => {
        m.input(0).set(input);
        m.run();
        return m.output(0).slice();
      });
      count += 1;
      right += got.indexOf(Math.max(...got)) === label ? 1 : 0;
      absolute = Math.max(absolute, ...want.map((w, i) => Math.abs(w - got[i])));
      logarithm = Math.max(logarithm, ...want.map((w, i) => (w > 1e-12 ? Math.abs(Math.log(w / got[i])) : 0)));
    }
    const reads = `${name} on ${fast.isa}: ${right} of ${count} right`;
    console.log(`${reads}, probabilities differ by ${absolute.toExponential(1)}, their logarithms by ${logarithm.toExponential(1)}`);
    const { max_abs, log_max_abs } = index.models.find((m) => m.name === name).tolerance;
    check(right === count && absolute <= max_abs[0] && logarithm <= log_max_abs, `${name}: the test split`);
  }
}
process.exit(failed ? 1 : 0);

function changed(file) {
  const copy = new Uint8Array(file);
  copy[200] ^= 1;
  return copy;
}

/** The test split of the fixtures, enlarged as `sepal_fixtures::upsample` does. */
function* digits() {
  const split = readFileSync(new URL("../../../fixtures/digits_test.bin", import.meta.url));
  for (let i = 0; i < split.readUInt32LE(0); i++) {
    const record = split.subarray(4 + 65 * i, 4 + 65 * (i + 1));
    const at = (x, y) => record[8 * Math.min(7, Math.max(0, y)) + Math.min(7, Math.max(0, x))];
    const input = Float32Array.from({ length: 32 * 32 }, (_, p) => {
      const [x, y] = [p % 32, Math.floor(p / 32)].map((p) => (2 * p - 3) / 8);
      const [u, v] = [Math.floor(x), Math.floor(y)];
      const row = (v) => at(u, v) * (1 - x + u) + at(u + 1, v) * (x - u);
      return (row(v) * (1 - y + v) + row(v + 1) * (y - v)) / 16;
    });
    yield { input, label: record[64] };
  }
}

function tolerance(name) {
  const entry = index.models.find((m) => m.name === name);
  return entry.tolerance.max_abs[0];
}
