"""The arrays that go into a model: those of the request, or structured values from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Tuple

from edgeconv.runner.request import Request, RunnerError

# Name, shape (-1 is any size) and dtype.
InputInfo = Tuple[str, "list[int]", Any]
REAL = "give real inputs with --inputs"
# NumPy is imported only in functions: where it is missing, the runtime's import has failed before,
# with an error that names it.


def make_inputs(inputs: Sequence[InputInfo], request: Request) -> list[Any]:
    """Make or read one contiguous array of the right dtype for each input of a model.

    Raises:
        RunnerError: An array of the request does not fit, or an input needs one.
    """
    import numpy

    if request.inputs is None:
        # RandomState's stream is frozen: every NumPy gives every device the same values.
        random = numpy.random.RandomState(request.seed)
        return [
            structured(random, name, shape, "uint8").astype(dtype)
            if name in request.pixels
            else structured(random, name, shape, dtype)
            for name, shape, dtype in inputs
        ]
    return fitted(inputs, read_arrays(request.inputs), request)


def read_arrays(path: str) -> dict[str, Any]:
    """Read the arrays of an .npz file.

    Raises:
        RunnerError: It is none, or has other objects than arrays.
    """
    import numpy

    try:
        with numpy.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise RunnerError("input", "--inputs is not an .npz file of plain arrays") from error


def fitted(inputs: Sequence[InputInfo], given: dict[str, Any], request: Request) -> list[Any]:
    """Put the arrays that were given into the order of a model's inputs.

    Raises:
        RunnerError: One is missing, or of another type or shape.
    """
    import numpy

    if len(given) == len(inputs) == 1:
        given = {inputs[0][0]: next(iter(given.values()))}
    arrays = []
    for name, shape, dtype in inputs:
        if name not in given:
            raise RunnerError("input", f"--inputs has no {name!r} but {list(given)}")
        array = given[name]
        swapped = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
        if name in request.channels_first and fits(swapped, shape):
            array = swapped
        if not fits(array, shape) or array.dtype != numpy.dtype(dtype):
            hint = "give it that type and shape"
            if not fits(array, shape) and fits(swapped, shape):
                hint = "give this file NHWC, or measure it in its bundle, which knows the layouts"
            raise RunnerError(
                "input",
                f"{name!r} of --inputs is {array.dtype} {list(array.shape)}, "
                f"the model takes {numpy.dtype(dtype)} {shape}",
                hint,
            )
        arrays.append(numpy.ascontiguousarray(array))
    return arrays


def fits(array: Any, shape: list[int]) -> bool:
    """Return whether an array has the shape of an input, in which -1 is any size."""
    return len(shape) == array.ndim and all(n in (-1, m) for n, m in zip(shape, array.shape))


def structured(random: Any, name: str, shape: list[int], dtype: Any) -> Any:
    """Make blocks of eight with fine noise on them: like an image, neither flat nor white.

    The arithmetic is that of integers, so that every device computes the same values. Floats lie
    in [-1, 1), 8-bit integers span their type, wider integers are 0 or 1 (mostly they are indices).

    Raises:
        RunnerError: The shape is open beyond the batch, or the dtype is not a number's.
    """
    import numpy

    shape = [1 if axis == 0 and size == -1 else size for axis, size in enumerate(shape)]
    if -1 in shape:
        raise RunnerError("input", f"input {name!r} has an open shape {shape}", REAL)
    try:
        kind = numpy.dtype(dtype)
    except TypeError as error:
        raise RunnerError(
            "input", f"input {name!r} is of type {dtype}, which NumPy does not have"
        ) from error
    if kind.kind not in "fiub":
        raise RunnerError("input", f"input {name!r} is of type {kind}", REAL)
    coarse = random.randint(-104, 104, size=[-(-size // 8) for size in shape])
    for axis, size in enumerate(shape):
        coarse = numpy.take(coarse, numpy.arange(size) // 8, axis=axis)
    values = coarse + random.randint(-24, 24, size=shape)
    if kind.kind == "f":
        return (values / 128.0).astype(kind)
    if kind.itemsize == 1 and kind.kind in "iu":
        return (values + (128 if kind.kind == "u" else 0)).astype(kind)
    return (values > 0).astype(kind)
