"""What a shell offers when a person presses Tab, beyond what click knows: names of ours.

The shell waits meanwhile, so nothing here imports torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, add_completion_class
from click.shell_completion import split_arg_string as split_words

from edgeconv.errors import EdgeconvError

TASKS = ("classification", "detection", "embeddings", "keypoints", "regression", "segmentation")
PREPROCESSING = ("none", "timm", "torchvision")
_REGISTERED = re.compile(r"^@register\(.*?^def (\w+)", re.MULTILINE | re.DOTALL)


def complete_model(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The networks of the zoo; files where none begins so."""
    return _beginning(incomplete, zoo_names()) or [CompletionItem(incomplete, type="file")]


def complete_file(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files, for a parameter that is no ``click.Path`` because it takes other things, too."""
    return [CompletionItem(incomplete, type="file")]


def complete_device(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """This machine, the names in ``devices.toml``, and the emulated boards."""
    return _beginning(incomplete, _devices(with_pools=False))


def complete_device_or_pool(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The same, and the pools."""
    return _beginning(incomplete, _devices(with_pools=True))


def complete_board(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The boards that can be emulated."""
    from edgeconv.device.emulated.boards import BOARDS

    return _beginning(incomplete, BOARDS)


def complete_task(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The tasks; files where none begins so."""
    return _beginning(incomplete, TASKS) or [CompletionItem(incomplete, type="file")]


def complete_preprocessing(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names that ``--preprocess`` knows; files where none begins so."""
    return _beginning(incomplete, PREPROCESSING) or [CompletionItem(incomplete, type="file")]


def zoo_names() -> list[str]:
    """The names of the zoo, read from its sources: importing it takes a second."""
    spec = find_spec("edgeconv.models")
    folders = [Path(each) for each in (spec and spec.submodule_search_locations) or ()]
    sources = (path.read_text("utf-8") for folder in folders for path in folder.glob("*.py"))
    return sorted(name for source in sources for name in _REGISTERED.findall(source))


def _devices(*, with_pools: bool) -> list[str]:
    from edgeconv.device.emulated.boards import BOARDS
    from edgeconv.device.names import named_devices, pools

    try:
        named = [*named_devices(), *(pools() if with_pools else ())]
    except EdgeconvError:  # the file is wrong, which the command itself says
        named = []
    return ["local", *named, *(f"emulated:{board}" for board in BOARDS)]


def _beginning(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class ColonBash(BashComplete):
    """Completion for bash, which ends a word at ``:`` and ``=``, too, and replaces the last one.

    click takes those parts for words of their own.
    """

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, and that word, put together again."""
        at = int(os.environ["COMP_CWORD"])
        words: list[str] = []
        glued = False
        parts = split_words(os.environ["COMP_WORDS"])
        for part in parts[: at + 1]:
            separates = bool(part) and set(part) <= {":", "="}
            if (separates or glued) and len(words) > 1:
                words[-1] += part
            else:
                words.append(part)
            glued = separates
        if at >= len(parts):  # the cursor is behind a space
            self._replaced = ""
            return words[1:], ""
        incomplete = words.pop()
        last = "" if glued else parts[at]
        value = incomplete.partition("=")[2] if incomplete.startswith("--") else incomplete
        self._replaced = value.removesuffix(last)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """A completion without what stands before the part that bash replaces."""
        if isinstance(item.value, str):
            item.value = item.value.removeprefix(self._replaced)
        return super().format_completion(item)


class CommaFish(FishComplete):
    """Completion for fish, which keeps what follows a comma in a description or a name.

    click's script takes it for a field of its own.
    """

    source_template = FishComplete.source_template.replace(
        'string split ","', 'string split --max 1 ","'
    )


add_completion_class(ColonBash)
add_completion_class(CommaFish)
