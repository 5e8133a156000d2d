"""Records, and the JSON documents made of them, which state the version of their schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from edgeconv import __version__
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.limits import DOCUMENT_BYTES
from edgeconv.near_names import did_you_mean, near_paths
from edgeconv.printable import file_name
from edgeconv.whole_file import write_whole

D = TypeVar("D", bound="Versioned")
_URI = "file:"


def _path_as_text(path: Path) -> str:
    """A path, or where JSON cannot hold its bytes, these as in a ``file:`` URI."""
    text = str(path)
    if text.isprintable() and not text.startswith(_URI):
        return text
    return _URI + quote_from_bytes(os.fsencode(text))


def _text_as_path(path: Path, info: ValidationInfo) -> Path:
    text = str(path)
    if info.mode != "json" or not text.startswith(_URI):
        return path
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_URI))))


StoredPath = Annotated[
    Path,
    AfterValidator(_text_as_path),
    PlainSerializer(_path_as_text, return_type=str, when_used="json"),
]
"""A path of any bytes in a JSON document."""
FileBytes = Annotated[int, Field(gt=0, lt=2**63)]
"""The size of a file that was written or measured."""


class Record(BaseModel):
    """Base of everything that is written as JSON: immutable, and strict about unknown fields."""

    # pydantic before 2.10 warns of each field whose name begins with model_.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _text_of_names(cls, fields: object) -> object:
        """Write bytes in names of files that are not UTF-8 in a way that JSON can hold."""
        if not isinstance(fields, dict):
            return fields
        return {name: _as_text(value) for name, value in fields.items()}

    def model_dump_json(self, **how: Any) -> str:
        """Write the JSON as pydantic does.

        Raises:
            KeyboardInterrupt: It came while a path was written, of which pydantic makes an error.
        """
        try:
            return super().model_dump_json(**how)
        except PydanticSerializationError as error:
            if KeyboardInterrupt.__name__ in str(error):
                raise KeyboardInterrupt from error
            raise


def _as_text(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else file_name(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map(_as_text, value)) if any(map(_is_text, value)) else value
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str)


class Versioned(Record):
    """A whole JSON document.

    The default that a subclass gives ``schema_version`` is the version that it writes. It also
    reads those of ``OLDER``, which lack nothing but fields that have a default. ``WHAT`` and
    ``REDO`` complete the messages about a document that it does not read, and ``ERROR`` is raised
    with them.
    """

    WHAT: ClassVar[str] = "a result of edgeconv"
    REDO: ClassVar[str] = "make it again"
    ERROR: ClassVar[type[EdgeconvError]] = EdgeconvError
    OLDER: ClassVar[tuple[int, ...]] = ()

    schema_version: int

    @classmethod
    def parse(cls: type[D], text: str | bytes, path: Path | str) -> D:
        """Validate the text of a document.

        Args:
            text: The JSON.
            path: Where the text is from, for the message.

        Raises:
            EdgeconvError: The text is damaged, another kind of document, or from another version
                (an ``ERROR`` of the class).
        """
        kind, version = cls._default("kind"), cls._default("schema_version")
        try:
            head = Head.model_validate_json(text)
            if head.kind != kind:
                found = head.kind or "not stated"
                raise cls.ERROR(
                    f"{path} is not {cls.WHAT}: its kind is {found}",
                    hint=f"name another file, or {cls.REDO}",
                )
            if head.schema_version not in (version, *cls.OLDER):
                hint = _newer(head) if head.schema_version > version else cls.REDO
                *others, last = sorted((*cls.OLDER, version))
                read = f"{', '.join(map(str, others))} and {last}" if others else str(last)
                raise cls.ERROR(
                    f"{path} has schema version {head.schema_version}, this edgeconv reads {read}",
                    hint=hint,
                )
            document = cls.model_validate_json(text)
            _refuse_repeated_keys(text)
        except ValidationError as error:
            raise cls.ERROR(
                f"{path} is damaged, or not {cls.WHAT}: {first_problem(error)}", hint=cls.REDO
            ) from error
        except _RepeatedKeyError as error:
            raise cls.ERROR(
                f"{path} states {str(error)!r} twice in one place, and nothing says which counts",
                hint=cls.REDO,
            ) from error
        return document.model_copy(update={"schema_version": version})

    @classmethod
    def load(cls: type[D], path: Path) -> D:
        """Read a document from a file.

        Raises:
            UsageError: See :func:`read_document`.
            EdgeconvError: See :meth:`parse`.
        """
        return cls.parse(read_document(path), path)

    def save(self, path: Path) -> None:
        """Write the JSON, whole or not at all.

        Raises:
            UsageError: The file cannot be written.
        """
        write_whole(path, self.model_dump_json(indent=1))

    @classmethod
    def _default(cls, field: str) -> Any:
        found = cls.model_fields.get(field)
        return None if found is None else found.default


def refuse_twice(names: Iterable[str]) -> None:
    """Refuse a document with two entries of one name.

    Raises:
        ValueError: A name is there twice, which is a problem of the document for pydantic.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name} is there twice")
        seen.add(name)


class _RepeatedKeyError(Exception):
    """An object of a JSON text has a key twice, the one of the message."""


def _refuse_repeated_keys(text: str | bytes) -> None:
    """Raise :class:`_RepeatedKeyError` if an object has a key twice, of which readers take either.

    The text has been validated, so it is JSON, and not nested deeply.
    """
    json.loads(text, object_pairs_hook=_keys_once, parse_float=_no_number, parse_int=_no_number)


def _keys_once(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)


def _no_number(text: str) -> None:
    """Numbers, of which a result may have millions, are not kept: their keys are what is read."""


class Head(BaseModel):
    """What says which document a text holds; results of latencies state no ``kind``."""

    schema_version: int
    kind: str | None = None
    edgeconv_version: str | None = None


def _newer(head: Head) -> str:
    """What to do about a document of a later edgeconv; not every kind says of which."""
    maker = head.edgeconv_version
    if maker is None or maker == __version__:  # the same between two releases
        return "install a newer edgeconv"
    return f"install edgeconv {maker} or later"


def read_document(path: Path) -> bytes:
    """Read the text of a document.

    Raises:
        UsageError: There is no such file, or it cannot be read.
        LimitExceeded: It is too large.
    """
    if path.exists() and not path.is_file():  # a pipe or a device would be read without end
        raise UsageError(f"{path} is not a file", hint="check the path")
    try:
        with path.open("rb") as file:
            DOCUMENT_BYTES.check(os.fstat(file.fileno()).st_size, f"{path} has")
            return file.read()
    except FileNotFoundError as error:
        hint = near_paths(path, "check the path")
        raise UsageError(f"{path} does not exist", hint=hint) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error


# Where pydantic speaks of Python's types, or of itself.
_MESSAGES = {
    "tuple_type": "Input should be a list",
    "model_type": "Input should be a table",
    "missing": "it is missing",
    "too_short": "it has too few entries",
    "extra_forbidden": "there is no such key",
}


def near_hint(error: ValidationError, kind: type[BaseModel], otherwise: str) -> str:
    """The hint to a key or a value that is unknown: near ones, or else ``otherwise``.

    Args:
        error: What pydantic found wrong.
        kind: The model that was validated.
        otherwise: The hint where no known name is near.
    """
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        *above, name = first["loc"]
        return did_you_mean(str(name), _keys_at(kind, above), otherwise)
    if first["type"] in ("enum", "literal_error"):
        known = re.findall(r"'([^']+)'", str(first["ctx"]["expected"]))
        return did_you_mean(str(first["input"]), known, otherwise)
    return otherwise


def _keys_at(kind: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys that a table may have at a place of a document."""
    for part in place:
        field = kind.model_fields.get(str(part))
        inner = [] if field is None else [*_models_in(field.annotation)]
        kind = inner[0] if inner else kind  # the number of an item in a list names no field
    return list(kind.model_fields)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong and where, such as "models.0.file: it is missing"."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    what = _MESSAGES.get(first["type"], first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
