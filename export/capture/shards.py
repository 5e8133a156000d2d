"""Weights in several files, and the index that names them (``model.safetensors.index.json``)."""

from __future__ import annotations

import json
from pathlib import Path

from edgeconv.errors import DataError
from edgeconv.limits import DOCUMENT_BYTES

INDEX_SUFFIX = ".index.json"


def is_index(path: Path) -> bool:
    """Whether a file is an index of shards, by its name."""
    return path.name.lower().endswith(INDEX_SUFFIX)


def shards_of(index: Path) -> list[Path]:
    """The files that an index of Hugging Face names, which lie beside it.

    Raises:
        DataError: It is no such index, or names files elsewhere.
        LimitExceeded: It is too large.
    """
    DOCUMENT_BYTES.check(index.stat().st_size, f"{index} has")
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        beside = all(Path(name).name == name and not is_index(Path(name)) for name in names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{index} is not an index of shards: it has no readable weight_map",
            hint="pass the file that lies beside the shards, or a file of weights",
        ) from error
    if not beside:
        raise DataError(
            f"{index} names files that do not lie beside it, which is not safe",
            hint="put all shards beside their index",
        )
    return [index.with_name(name) for name in names]
