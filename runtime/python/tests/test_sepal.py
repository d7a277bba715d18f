"""The package against the fixtures: outputs, errors, memory, threads."""

import gc
import inspect
import json
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import sepal

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
INDEX = {entry["name"]: entry for entry in json.loads((FIXTURES / "models.json").read_text())["models"]}


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """Each network of the fixtures, by its name."""
    folder = tmp_path_factory.mktemp("converted")
    made = {}
    for name, entry in INDEX.items():
        made[name] = folder / f"{name}.sepal"
        conversion = sepal.convert(FIXTURES / entry["file"], made[name])
        assert conversion.path == made[name] and conversion.bytes == made[name].stat().st_size
        assert conversion.folded == conversion.batch_norms and conversion.self_check < 1e-4
    return made


@pytest.fixture(scope="session")
def digits(converted):
    return converted["mini_xception.keras"]


@pytest.fixture
def image():
    return np.load(FIXTURES / "golden/mini_xception.npz")["x1"]


@pytest.fixture(scope="session")
def two(tmp_path_factory):
    """A network of two inputs and two outputs."""
    return sepal.convert(Path(__file__).with_name("two.onnx"), tmp_path_factory.mktemp("two") / "two.sepal").path


@pytest.mark.parametrize("name", INDEX)
@pytest.mark.parametrize("threads", [1, 3])
def test_goldens(converted, name, threads):
    entry = INDEX[name]
    golden = np.load(FIXTURES / entry["golden"])
    model = sepal.Model(converted[name], threads=threads)
    for i in range(3):
        got = model.run(golden[f"x{i}"])
        want = golden[f"y{i}_0"]
        assert got.dtype == np.float32 and got.shape == want.shape
        assert np.abs(got - want).max() <= entry["tolerance"]["max_abs"][0]


def test_every_set_and_every_number_of_threads_give_the_same_bits(digits, image):
    want = sepal.Model(digits, isa="scalar").run(image)
    for threads in [1, 2, 4]:
        assert sepal.Model(digits, threads=threads).run(image).tobytes() == want.tobytes()


def test_describes(digits):
    model = sepal.Model(str(digits))
    (image,), (classes,) = model.inputs, model.outputs
    assert (image.name, image.shape, image.layout) == ("image", (1, 32, 32, 1), "NHWC")
    assert classes.shape == (1, 10)
    assert 1000 < model.work < 10**9
    assert model.arena_bytes > 4 * (32 * 32 + 10) and model.threads == 1 and model.labels == []
    assert sepal.Model(digits, threads=2).arena_bytes >= model.arena_bytes
    assert repr(model) == f"<sepal.Model: image (1, 32, 32, 1) -> {classes.name} (1, 10), 1 threads, {model.isa}>"
    assert repr(image) == "Port(name='image', shape=(1, 32, 32, 1), layout='NHWC')"
    model.verify()
    with pytest.raises(AttributeError):
        model.threads = 2


def test_arrays_of_any_strides(digits, image):
    model = sepal.Model(digits)
    want = model.run(image).tobytes()
    for same in [
        np.asfortranarray(image),
        image[0],
        image.reshape(32, 32, 1),
        np.repeat(image, 2, axis=1)[:, ::2],
        image[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
    ]:
        assert model.run(same).tobytes() == want, same.strides
    read_only = image.copy()
    read_only.flags.writeable = False
    assert model.run(read_only).tobytes() == want
    assert model.run([image]).tobytes() == want
    assert model.run({"image": image}).tobytes() == want


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (lambda x: x.astype(np.float64), ValueError, "input 'image': float32 is needed, not float64"),
        (lambda x: x.astype(">f4"), ValueError, "input 'image': float32 is needed, not >f4"),
        (lambda x: x[:, :31], ValueError, r"input 'image': shape \(1, 32, 32, 1\) is needed, not \(1, 31, 32, 1\)"),
        (lambda x: x.ravel(), ValueError, r"not \(1024,\)"),
        (lambda x: x.transpose(1, 2, 3, 0)[..., None], ValueError, "is needed, not"),
        (lambda x: "image", TypeError, "input 'image': a numpy.ndarray of float32 is needed, not str"),
        (lambda x: [x, x], ValueError, "2 arrays for a model that takes 1 array: it takes 'image' of shape"),
        (lambda x: [], ValueError, "0 arrays"),
        (lambda x: {"picture": x}, ValueError, "no input is called 'picture': it takes 'image'"),
        (lambda x: {}, ValueError, "input 'image' is missing"),
        (lambda x: np.frombuffer(b"\0" + x.tobytes(), np.float32, 1024, 1).reshape(x.shape), ValueError, "multiples of 4 bytes"),
    ],
)
def test_wrong_inputs_are_refused(digits, image, given, error, text):
    with pytest.raises(error, match=text):
        sepal.Model(digits).run(given(image))


def test_several_inputs_and_outputs(two):
    model = sepal.Model(two)
    assert [port.name for port in model.inputs] == ["a", "b"] and [port.name for port in model.outputs] == ["sum", "product"]
    a, b = np.float32([[1, 2, 3, 4]]), np.float32([[5, 6, 7, 8]])
    for given in [[a, b], (a, b), {"b": b, "a": a}]:
        total, product = model.run(given)
        assert total.tolist() == [[6, 8, 10, 12]] and product.tolist() == [[5, 12, 21, 32]]
    with pytest.raises(ValueError, match="input 'b' is missing"):
        model.run({"a": a})
    with pytest.raises(ValueError, match="input 'b': float32"):
        model.run([a, b.astype(int)])
    with pytest.raises(ValueError, match="1 array for a model that takes 2 arrays: it takes 'a' of shape"):
        model.run(a)


def test_outputs_are_the_callers(digits, image):
    model = sepal.Model(digits)
    first = model.run(image)
    kept = first.copy()
    second = model.run(np.zeros_like(image))
    assert (first == kept).all() and not (first == second).all()
    first[:] = 0


def test_memory_in_place(digits, image):
    model = sepal.Model(digits)
    want = model.run(image)
    x, y = model.input(), model.output(0)
    assert x.shape == (1, 32, 32, 1) and x.dtype == np.float32 and not x.flags.owndata and x.flags.writeable
    assert not y.flags.owndata and not y.flags.writeable
    address = x.ctypes.data
    # What is given may be the memory itself, or another part of it.
    x[:] = image
    assert model.run(x).tobytes() == want.tobytes()
    x[:] = image[:, ::-1]
    assert model.run(x[:, ::-1]).tobytes() == want.tobytes()
    for _ in range(3):
        x[:] = image
        model.run()
        assert y.tobytes() == want.tobytes()
    assert model.input().ctypes.data == address
    with pytest.raises(ValueError):
        y[:] = 0
    with pytest.raises(IndexError, match="input 1: the model has 1"):
        model.input(1)
    with pytest.raises(IndexError, match="output 3: the model has 1"):
        model.output(3)
    # The arrays keep the memory.
    part = y[0, 2:4]
    del x, y, model
    gc.collect()
    assert part.tobytes() == want[0, 2:4].tobytes()


def test_everything_is_given_back(digits, image):
    model = sepal.Model(digits)
    view = model.input()
    held = sys.getrefcount(model)
    del view
    assert sys.getrefcount(model) == held - 1


def others_meanwhile(run):
    """How often another thread came to run while this one was busy."""
    count, stop = 0, threading.Event()

    def counts():
        nonlocal count
        while not stop.is_set():
            count += 1
            time.sleep(0.0005)

    thread = threading.Thread(target=counts)
    interval = sys.getswitchinterval()
    # Without a lock that is given up, a thread waits that long for its turn.
    sys.setswitchinterval(1000)
    thread.start()
    try:
        before = count
        run()
        return count - before
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_run_gives_up_the_lock(converted, image):
    # Without vectors it takes long enough to be seen.
    model = sepal.Model(converted["mini_inception.keras"], isa="scalar")

    def runs():
        for _ in range(20):
            model.run(image)

    assert others_meanwhile(runs) > 5
    view = model.input()
    view[:] = image

    def runs_in_place():
        for _ in range(20):
            model.run()

    assert others_meanwhile(runs_in_place) <= 1


def test_threads_of_python_share_a_model(digits):
    model = sepal.Model(digits)
    golden = np.load(FIXTURES / "golden/mini_xception.npz")
    images = [golden[f"x{i}"] for i in range(3)]
    want = [model.run(x).tobytes() for x in images]
    wrong = []

    def work(i):
        for _ in range(100):
            if model.run(images[i]).tobytes() != want[i]:
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i % 3,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells what a process has")
@pytest.mark.parametrize("held", [False, True])
def test_memory_that_ends_is_an_exception(tmp_path, held):
    path = sepal.convert(Path(__file__).with_name("large.onnx"), tmp_path / "large.sepal").path
    # 64 MB are needed for the result, or for a copy of what is given, and there are 32 MB.
    program = f"""
import resource, numpy, sepal
model = sepal.Model({str(path)!r})
array = model.input() if {held} else None
given = numpy.zeros(model.inputs[0].shape, "float32")
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + (32 << 20),) * 2)
try:
    model.run(given)
except MemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_bad_files(digits, tmp_path):
    data = digits.read_bytes()
    with pytest.raises(FileNotFoundError) as missing:
        sepal.Model(tmp_path / "none.sepal")
    assert missing.value.filename == str(tmp_path / "none.sepal") or "none.sepal" in str(missing.value)
    with pytest.raises(OSError):
        sepal.Model(tmp_path)
    for what, bad in {"empty": b"", "text": b"hello" * 100, "short": data[:-64], "flipped": data[:300] + b"\xff" + data[301:]}.items():
        path = tmp_path / f"{what}.sepal"
        path.write_bytes(bad)
        with pytest.raises(sepal.FormatError, match=path.name):
            sepal.Model(path)
        with pytest.raises(sepal.FormatError):
            sepal.Model.from_bytes(bad)
    weights = bytearray(data)
    weights[-100] ^= 1
    model = sepal.Model.from_bytes(bytes(weights))
    with pytest.raises(sepal.FormatError):
        model.verify()
    for error in [sepal.FormatError, sepal.InvalidError, sepal.UnsupportedError, sepal.VerificationError]:
        assert issubclass(error, sepal.Error)


def test_from_bytes(digits, image):
    assert sepal.Model.from_bytes(digits.read_bytes()).run(image).tobytes() == sepal.Model(digits).run(image).tobytes()


def test_bad_options(digits):
    for threads in [0, 65]:
        with pytest.raises(ValueError, match=f"{threads} threads: choose 1 to 64"):
            sepal.Model(digits, threads=threads)
    with pytest.raises(OverflowError):
        sepal.Model(digits, threads=-1)
    with pytest.raises(sepal.UnsupportedError, match="this CPU has scalar"):
        sepal.Model(digits, isa="mmx")


def test_convert(tmp_path, image):
    source = tmp_path / "digits.keras"
    source.write_bytes((FIXTURES / "models/mini_xception.keras").read_bytes())
    labels = [f"digit {i}" for i in range(10)]
    made = sepal.convert(source, labels=labels)
    assert made.path == tmp_path / "digits.sepal" and made.trainable_parameters == 21996 and made.folded == 19
    assert "folded=19 of 19" in repr(made)
    assert sepal.Model(made.path).labels == labels
    with pytest.raises(FileExistsError, match="force=True"):
        sepal.convert(source)
    half = sepal.convert(str(source), str(made.path), force=True, weights="f16", verify=False)
    assert half.self_check is None and half.bytes < made.bytes
    near, exact = sepal.Model(half.path).run(image), sepal.Model(sepal.convert(source, force=True).path).run(image)
    assert 0 < np.abs(near - exact).max() < 1e-3
    with pytest.raises(ValueError, match="both the source and the output"):
        sepal.convert(source, source, force=True)
    with pytest.raises(ValueError, match='choose "f32" or "f16"'):
        sepal.convert(source, force=True, weights="int8")
    with pytest.raises(ValueError, match="max_error"):
        sepal.convert(source, force=True, max_error=-1)
    with pytest.raises(FileNotFoundError):
        sepal.convert(tmp_path / "none.keras")
    bad = tmp_path / "bad.keras"
    bad.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(sepal.InvalidError):
        sepal.convert(bad)
    assert not (tmp_path / "bad.sepal").exists()


def test_what_cannot_be_converted_is_listed(tmp_path):
    with pytest.raises(sepal.UnsupportedError) as refused:
        sepal.convert(Path(__file__).with_name("unsupported.onnx"), tmp_path / "none.sepal")
    (item,) = refused.value.items
    assert set(item) == {"node", "kind", "what", "remedy"} and item["kind"] == "NonZero" and item["remedy"]
    assert not (tmp_path / "none.sepal").exists()


def test_the_stub_says_what_is_there():
    """Names, and the parameters of functions, of the module and its classes."""
    import ast

    tree = ast.parse((Path(sepal.__file__).with_name("__init__.pyi")).read_text())
    declared = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert set(declared) | {"__version__"} == set(sepal.__all__)

    def parameters(function):
        names = [a.arg for a in function.args.args + function.args.kwonlyargs]
        return [name for name in names if name not in ("self", "cls")]

    assert parameters(declared["convert"]) == list(inspect.signature(sepal.convert).parameters)
    for name, node in declared.items():
        if not isinstance(node, ast.ClassDef) or name.endswith("Error"):
            continue
        methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
        there = {m for m in vars(getattr(sepal, name)) if not m.startswith("_")}
        assert {m for m in methods if not m.startswith("_")} == there, name
        for method, function in methods.items():
            value = getattr(getattr(sepal, name), method)
            if callable(value) and method != "__new__":
                assert [p for p in inspect.signature(value).parameters if p != "self"] == parameters(function), (name, method)
