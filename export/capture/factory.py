"""Networks from the user's own Python: a file or a module, and the factory in it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from edgeconv.errors import TRACEBACK_HINT, CaptureError, EdgeconvError, UsageError, first_line
from edgeconv.export.capture.source import Source
from edgeconv.export.capture.unknown_argument import argument_hint
from edgeconv.model_args import ModelArgs
from edgeconv.near_names import did_you_mean, not_a_file

EXAMPLE = "example_inputs"
_MOST_LISTED = 5
# Lightning's name for the same.
_EXAMPLES = (EXAMPLE, "example_input_array")
# Instead of a module of the user's they may stand in front of the colon, too.
_LIBRARIES = ("timm", "torchvision")
# Those that are on sys.path only because a file of the user's lies there.
_FOLDERS: set[Path] = set()


def load_named(spec: str) -> Any:
    """Load what ``path/to/file.py:name`` or ``package.module:name`` names; the user's code runs.

    Raises:
        UsageError: there is no such file, module or name.
        CaptureError: importing it fails.
    """
    where, _, name = spec.rpartition(":")
    return _named(_module_of(where), where, name)


def _named(module: ModuleType, where: str, name: str) -> Any:
    if not hasattr(module, name):
        hint = did_you_mean(name, vars(module), f"pass {_listed(module, where)}")
        raise UsageError(f"{where} has no {name!r}", hint=hint)
    return getattr(module, name)


def _module_of(where: str) -> ModuleType:
    return _load_file(Path(where)) if where.endswith(".py") else _load_module(where)


def from_factory(spec: str, args: ModelArgs, weights: Path | None = None) -> Source:
    """Build the network that ``file.py:factory`` or ``package.module:factory`` names.

    Args:
        spec: What the user wrote.
        args: What the factory is called with.
        weights: A checkpoint, whose settings may be the arguments that are missing.

    Raises:
        UsageError: There is no such factory, or it makes something else.
        CaptureError: The user's code fails.
    """
    where, separator, name = spec.rpartition(":")
    if not separator or spec.endswith(".py"):
        raise UsageError(
            f"{spec} is a file without the name of a factory",
            hint=f"pass {_listed(_load_file(Path(spec)), spec)}",
        )
    module = _module_of(where)
    factory, beside = _named(module, where, name), getattr(module, EXAMPLE, None)
    if isinstance(factory, nn.Module):
        if args:
            raise UsageError(
                f"{spec} is a module that is built already",
                hint="leave --model-arg out, or pass a function that builds the module",
            )
        return Source(spec, factory, example=_example(factory, beside, spec))
    if isinstance(factory, type) and not issubclass(factory, nn.Module):
        raise UsageError(
            f"{spec} is the class {factory.__name__}, not an nn.Module",
            hint="name a function that returns a network, or a class of one",
        )
    if not callable(factory):
        raise UsageError(
            f"{spec} is of type {type(factory).__name__}, not a callable or an nn.Module",
            hint="name a function that returns a network, or a class of one",
        )
    _refuse_unknown_arguments(spec, factory, args, weights)
    try:
        network = factory(**args)
    except (Exception, SystemExit) as error:  # the user's own code: anything can come out of it
        raise CaptureError(
            f"{spec} raised {type(error).__name__}: {first_line(error)}",
            hint="call it in Python to see where",
        ) from error
    if inspect.iscoroutine(network):
        network.close()  # or Python warns that nothing awaited it
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{spec} returned an object of type {type(network).__name__}, not an nn.Module",
            hint="name a function that returns the network",
        )
    example = _example(network, beside, spec)
    return Source(spec, network, args=args, factory=factory, example=example)


def example_of(network: nn.Module) -> Any:
    """What a module says that it is called with; None if it says nothing."""
    return _example(network, None, type(network).__name__)


def _example(network: nn.Module, beside: Any, spec: str) -> Any:
    found = beside
    if found is None:
        found = next(
            (e for name in _EXAMPLES if (e := getattr(network, name, None)) is not None), None
        )
    if found is None or not callable(found) or isinstance(found, torch.Tensor):
        return found
    try:
        return found()
    except (Exception, SystemExit) as error:  # the user's own code: anything can come out of it
        raise CaptureError(
            f"{EXAMPLE} of {spec} raised {type(error).__name__}: {first_line(error)}",
            hint=f"{TRACEBACK_HINT}; or state the inputs with --input or --example",
        ) from error


def _factories(module: ModuleType) -> list[str]:
    """The names in a module that seem to make networks: its own modules, classes and functions."""

    def makes(value: Any) -> bool:
        if isinstance(value, nn.Module):
            return True
        own = getattr(value, "__module__", None) == module.__name__
        if isinstance(value, type):
            return own and issubclass(value, nn.Module) and _needs_nothing(value)
        return own and inspect.isfunction(value) and _needs_nothing(value)

    names = [name for name, value in vars(module).items() if name[:1] != "_" and makes(value)]
    return [name for name in names if name != EXAMPLE]


def _needs_nothing(factory: Callable[..., Any]) -> bool:
    try:
        inspect.signature(factory).bind()
    except (TypeError, ValueError):
        return False
    return True


def _listed(module: ModuleType, where: str) -> str:
    """The specifications of the factories in a module, for a hint."""
    names = [f"{where}:{name}" for name in _factories(module)]
    return " or ".join(names[:_MOST_LISTED]) or f"{where}:NAME, a function that returns the module"


def _refuse_unknown_arguments(
    spec: str, factory: Callable[..., Any], args: ModelArgs, weights: Path | None
) -> None:
    try:
        inspect.signature(factory).bind(**args)
    except TypeError as error:
        raise UsageError(
            f"{spec} cannot be called with these arguments: {error}",
            hint=argument_hint(error, factory, args, weights),
        ) from error
    except ValueError:  # built-in callables have no signature; the call itself will fail
        return


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise not_a_file(path, "name a Python file")
    # A name of its own, so that the user's models.py or export.py shadows nothing; the folder goes
    # on sys.path because the file's own imports expect what `python file.py` gives them.
    name = f"_edgeconv_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(
            f"{path} cannot be imported as Python",
            hint="name a file of Python source, as net.py:make",
        )
    _look_first_in(path.resolve().parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code: anything can come out of it
        whole = _package_of(path.resolve())
        if whole is None or "attempted relative import" not in str(error):
            raise _import_failed(path, error) from error
        return _load_in_package(path, *whole)
    return module


def _package_of(path: Path) -> tuple[Path, str] | None:
    """The folder above the package that a file is in, and its name in it; None without one."""
    folder, names = path.parent, [] if path.name == "__init__.py" else [path.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return (folder, ".".join(names)) if folder != path.parent else None


def _load_in_package(path: Path, folder: Path, name: str) -> ModuleType:
    """Load a file with relative imports as the module of its package."""
    _look_first_in(folder)
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # the user's own code: anything can come out of it
        raise _import_failed(path, error) from error
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path.resolve():
        raise CaptureError(
            f"{path} is {name} of a package, and Python finds another module of that name: {found}",
            hint="rename the package",
        )
    return module


def _look_first_in(folder: Path) -> None:
    """Let a file import what lies beside it, not what an earlier file of another folder did.

    Two versions of a network may each have their own ``layers.py``.
    """
    others = _FOLDERS - {folder}
    for first in {name.partition(".")[0] for name in sys.modules}:
        if _place(sys.modules.get(first)) in others and _has_module(folder, first):
            for name in [name for name in sys.modules if name.partition(".")[0] == first]:
                del sys.modules[name]
    if folder in _FOLDERS and str(folder) in sys.path:
        sys.path.remove(str(folder))
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        _FOLDERS.add(folder)


def _place(module: ModuleType | None) -> Path | None:
    """The folder in which a module or package was found."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    return Path(file).parent.parent if Path(file).name == "__init__.py" else Path(file).parent


def _has_module(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def _load_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # the user's own code: anything can come out of it
        raise _import_failed(name, error) from error


def _import_failed(what: object, error: BaseException) -> EdgeconvError:
    if isinstance(error, ModuleNotFoundError):
        return UsageError(
            f"{what} cannot be imported: no module named {error.name!r}",
            hint=did_you_mean(
                str(what), _LIBRARIES, "install it in this Python, or check the spelling"
            ),
        )
    if "attempted relative import" in str(error):
        return CaptureError(
            f"{what} imports from a package, and its folder is none: {first_line(error)}",
            hint="put an __init__.py into the folder, or pass it as package.module:factory from "
            "the folder above the package",
        )
    return CaptureError(
        f"importing {what} raised {type(error).__name__}: {first_line(error)}",
        hint=TRACEBACK_HINT,
    )
