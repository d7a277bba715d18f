"""Runs separable-convolution networks fast on CPUs: numpy in, numpy out.

>>> import sepal
>>> sepal.convert("model.keras", "model.sepal")          # doctest: +SKIP
>>> model = sepal.Model("model.sepal", threads=2)        # doctest: +SKIP
>>> scores = model.run(image)                            # doctest: +SKIP
"""

from ._sepal import (
    Conversion,
    Error,
    FormatError,
    InvalidError,
    Model,
    Port,
    UnsupportedError,
    VerificationError,
    __version__,
    convert,
)

__all__ = [
    "Conversion",
    "Error",
    "FormatError",
    "InvalidError",
    "Model",
    "Port",
    "UnsupportedError",
    "VerificationError",
    "__version__",
    "convert",
]
