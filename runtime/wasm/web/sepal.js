// Runs a converted network in a browser, a worker or node: the other half of `runtime/wasm/src/lib.rs`. No dependencies.
//
//   import { compile, Model } from "./sepal.js";
//   const module = await compile(fetch("sepal.wasm"));
//   const model = await Model.load(module, await (await fetch("model.sepal")).arrayBuffer());
//   model.input(0).set(pixels);
//   model.run();
//   console.log(model.output(0));

/** An error of the runtime: a file that is refused, for instance. */
export class SepalError extends Error {}

/**
 * Compiles the module once, for any number of models.
 * @param {BufferSource | Response | Promise<Response>} source its bytes, or what `fetch` gives
 * @returns {Promise<WebAssembly.Module>}
 */
export async function compile(source) {
  const what = await source;
  if (typeof Response === "undefined" || !(what instanceof Response)) return WebAssembly.compile(what);
  if (!what.ok) throw new SepalError(`${what.url}: ${what.status} ${what.statusText}`);
  return WebAssembly.compile(await what.arrayBuffer());
}

/** A network that can be run. */
export class Model {
  #wasm;

  constructor(wasm) {
    this.#wasm = wasm;
    const port = (i) => ({
      name: this.#text(3 + i),
      shape: Array.from({ length: wasm.rank(i) }, (_, axis) => wasm.extent(i, axis)),
      layout: ["unknown", "NHWC", "NCHW"][wasm.layout(i)],
    });
    const [n, m] = [wasm.inputs(), wasm.outputs()];
    /** What it takes: `{name, shape, layout}` each. */
    this.inputs = Array.from({ length: n }, (_, i) => port(i));
    /** What it gives. */
    this.outputs = Array.from({ length: m }, (_, i) => port(n + i));
    /** What the elements of its first output are called, if the file says so. */
    this.labels = this.#text(1).split("\n").slice(0, -1);
    /** `simd128` or `scalar`. */
    this.isa = this.#text(2);
    /** Bytes of memory of an inference. */
    this.arenaBytes = wasm.arena_bytes();
  }

  /**
   * Loads a file, which is copied. The model lives until nobody holds it any more.
   * @param {WebAssembly.Module} module what `compile` gave
   * @param {ArrayBuffer | Uint8Array} file
   * @param {{scalar?: boolean}} options `scalar`: without vectors, with the bits of other machines; for modules built with that feature
   * @returns {Promise<Model>}
   */
  static async load(module, file, { scalar = false } = {}) {
    const bytes = file instanceof Uint8Array ? file : new Uint8Array(file);
    const wasm = (await WebAssembly.instantiate(module, {})).exports;
    const at = wasm.reserve(bytes.length);
    if (at === 0) throw new SepalError(textOf(wasm, 0));
    new Uint8Array(wasm.memory.buffer, at >>> 0, bytes.length).set(bytes);
    if (!wasm.load(scalar ? 1 : 0)) throw new SepalError(textOf(wasm, 0));
    return new Model(wasm);
  }

  /** Input `i`, to be filled before each run, which uses it up. A `Float32Array` over the model's own memory: nothing is copied. */
  input(i) {
    return this.#floats(this.#wasm.input(i), this.inputs[i], "input", i);
  }

  /** Output `i` of the last run, until the next one. A `Float32Array` over the model's own memory: copy what is to be kept. */
  output(i) {
    return this.#floats(this.#wasm.output(i), this.outputs[i], "output", i);
  }

  /** Runs the network on its inputs. */
  run() {
    try {
      this.#wasm.run();
    } catch (e) {
      throw new SepalError(this.#text(0) || String(e), { cause: e });
    }
  }

  #floats(at, port, kind, i) {
    if (port === undefined) throw new RangeError(`there is no ${kind} ${i}`);
    return new Float32Array(this.#wasm.memory.buffer, at >>> 0, port.shape.reduce((a, b) => a * b, 1));
  }

  #text(which) {
    return textOf(this.#wasm, which);
  }
}

function textOf(wasm, which) {
  return new TextDecoder().decode(new Uint8Array(wasm.memory.buffer, wasm.text(which) >>> 0, wasm.text_len(which)));
}
