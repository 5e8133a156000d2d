"""JSON that states the version of its schema, read from files that anybody may have written."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeconv.errors import EdgeconvError

Document = TypeVar("Document", bound=BaseModel)


class _Versioned(BaseModel):
    schema_version: int


def parse_versioned(
    kind: type[Document],
    version: int,
    text: str,
    path: Path,
    *,
    maker: str,
    remedy: str,
    error: type[EdgeconvError],
) -> Document:
    """Validate the text of a document.

    Args:
        version: the only one that is read.
        path: where the text is from, for the message.
        maker: the command that writes such documents.
        remedy: what to do about another version.
        error: to raise if the text is damaged or from another version.
    """
    try:
        found = _Versioned.model_validate_json(text).schema_version
        if found != version:
            raise error(
                f"{path} has schema version {found}, this edgeconv reads {version}; {remedy}"
            )
        return kind.model_validate_json(text)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise error(f"{path} is not a result of {maker}: {where}: {first['msg']}") from invalid


class Record(BaseModel):
    """Base of everything in a result: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def save_json(record: BaseModel, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(record.model_dump_json(indent=1), encoding="utf-8")
    part.replace(path)
