from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

__version__: str

class Error(Exception):
    """What Sepal itself has to say. All of its other exceptions are of this class; files that cannot be read are `OSError`, wrong
    arguments `ValueError`, `TypeError` or `IndexError`."""

class FormatError(Error):
    """The bytes are not a sound model: damaged, cut off, or of another version."""

class InvalidError(Error):
    """What is to be converted is not a sound network."""

class UnsupportedError(Error):
    """What is asked for is sound, but this build, this CPU or the converter cannot do it."""

    items: list[dict[str, str]]
    """What stands in the way of a conversion: dicts of `node`, `kind`, `what` and `remedy`. Only those of `convert` have it."""

class VerificationError(Error):
    """The converted network does not give what its source gives."""

@final
class Port:
    """An input or output."""

    @property
    def name(self) -> str:
        """Its name in the network that was converted."""
    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents, the outermost first."""
    @property
    def layout(self) -> Literal["NHWC", "NCHW", "unknown"]:
        """What its axes mean."""

@final
class Model:
    """A converted network, and the memory in which it runs.

    Threads may share one: they run one after another. Whoever wants them side by side makes a model for each, over the same file, which
    is in memory once.
    """

    def __new__(cls, path: str | PathLike[str], *, threads: int = 1, isa: str | None = None) -> Model:
        """Maps a file and verifies its structure.

        The file must not be changed in place while the model lives; replacing it by renaming another is fine.

        :param threads: how many share an inference, 1 to 64; the results are the same with any number.
        :param isa: forces an instruction set, "scalar" for instance; the results are the same with each.
        """
    @staticmethod
    def from_bytes(data: bytes, *, threads: int = 1, isa: str | None = None) -> Model:
        """Verifies a model in memory, which is copied."""
    @property
    def inputs(self) -> list[Port]:
        """What it takes."""
    @property
    def outputs(self) -> list[Port]:
        """What it gives."""
    @property
    def labels(self) -> list[str]:
        """What the elements of its first output are called; empty if the file does not say so."""
    @property
    def arena_bytes(self) -> int:
        """Bytes of memory of an inference, besides the file. All of it is allocated when the model is made."""
    @property
    def work(self) -> int:
        """How much an inference is: at most about so many multiply-adds or other accesses to elements, on one thread."""
    @property
    def threads(self) -> int:
        """How many threads share an inference."""
    @property
    def isa(self) -> str:
        """The instruction set that it runs with."""
    def verify(self) -> None:
        """Reads all weights and compares them with their hash. Raises `FormatError` if they differ."""
    def run(
        self,
        inputs: NDArray[np.float32] | Sequence[NDArray[np.float32]] | Mapping[str, NDArray[np.float32]] | None = None,
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], ...]:
        """Runs the network, without the interpreter's lock.

        :param inputs: an array, or several in order, or a dict of them by name. float32, of the input's shape, where leading extents of 1
            do not matter; of any strides. They are written where the network reads them, in one go. None if the inputs are there already:
            see `input`.
        :return: a new array; a tuple of them if there are several outputs.
        """
    def input(self, index: int = 0) -> NDArray[np.float32]:
        """The memory of an input as an array: what is written there is not copied again. A run uses it up; fill it before each.

            model.input()[:] = frame        # or cv2.resize(frame, ..., dst=model.input()[0])
            model.run()
            best = model.output().argmax()

        While such an array lives, a run keeps the interpreter's lock, so that no other thread of Python writes to what is being read. A
        function that writes to it without the lock, in another thread, must not overlap with a run.
        """
    def output(self, index: int = 0) -> NDArray[np.float32]:
        """The memory of an output as an array that cannot be written: it shows what the last run gave. See `input`."""

@final
class Conversion:
    """What a conversion came to."""

    @property
    def path(self) -> Path:
        """The file that was written."""
    @property
    def network(self) -> str:
        """What the source calls the network."""
    @property
    def trainable_parameters(self) -> int:
        """Trainable parameters of the source."""
    @property
    def parameters(self) -> int:
        """Parameters of what was written."""
    @property
    def batch_norms(self) -> int:
        """Batch normalisations of the source."""
    @property
    def folded(self) -> int:
        """Those that disappeared into weights."""
    @property
    def self_check(self) -> float | None:
        """Largest difference to the source, computed in f64, as a share of the output's range; None if it was not computed."""
    @property
    def bytes(self) -> int:
        """Bytes of the file."""

def convert(
    source: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    weights: Literal["f32", "f16"] = "f32",
    max_error: float | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] | None = None,
    signature: str | None = None,
    labels: Sequence[str] | None = None,
) -> Conversion:
    """Converts a Keras (`.keras`, `.h5`), ONNX or TFLite network, without the interpreter's lock.

    :param out: where to write it; beside the source, with the ending `.sepal`, otherwise. It is there whole or not at all.
    :param force: replace a file that exists.
    :param verify: run the result and compare it with the source, computed in f64.
    :param weights: how convolutions' weights are stored.
    :param max_error: largest error of a convolution's algorithm, as a share of its range; 0 for the direct sum everywhere.
    :param input_shapes: shapes by the inputs' names, where the source leaves extents open; "" means the only input.
    :param outputs: names of values to give out instead of the source's outputs.
    :param signature: which network of a TFLite file that has several; the first without it.
    :param labels: what the elements of the first output are called.
    :raises InvalidError: the source is damaged.
    :raises UnsupportedError: it is sound and cannot be converted; `items` says all that stands in the way.
    :raises VerificationError: the result does not give what the source gives.
    """
