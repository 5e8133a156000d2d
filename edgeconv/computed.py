"""Records whose figures are computed from what they hold, and what a document says of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import model_validator

from edgeconv.versioned import Record

if TYPE_CHECKING:
    from pydantic.functional_validators import ModelWrapValidatorHandler

C = TypeVar("C", bound="Computed")

_ROUNDING = 1e-6  # relative: another NumPy may add numbers up in another order


class Computed(Record):
    """A record with computed fields.

    A document has them for its readers. They are computed anew when it is read, and must be what
    it states: else a hand wrote the figures, or what they are computed from.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _figures_agree(cls: type[C], data: Any, handler: ModelWrapValidatorHandler[C]) -> C:
        if not isinstance(data, dict):
            return handler(data)
        stated = {name: value for name, value in data.items() if name in cls.model_computed_fields}
        record = handler({name: value for name, value in data.items() if name not in stated})
        record.check_parts()
        found = record.model_dump(mode="json", include={*stated})
        where = next(_differing(stated, found), None)
        if where is not None:
            raise ValueError(f"{where} is not what the samples say")
        return record

    def check_parts(self) -> None:
        """See that figures can be computed; an after-validator would run behind that.

        Raises:
            ValueError: The parts do not fit each other.
        """


def without_older_figures(fields: Any, older: Collection[int], kind: type[Computed]) -> Any:
    """The fields of a document without the figures of an older one, computed in another way.

    Args:
        fields: The fields; those in ``models`` have the figures.
        older: The schema versions that computed them in another way.
        kind: What the models are.
    """
    if not isinstance(fields, dict) or fields.get("schema_version") not in older:
        return fields
    models, figures = fields.get("models"), kind.model_computed_fields
    if not isinstance(models, (list, tuple)):
        return fields
    bare = [
        {name: value for name, value in model.items() if name not in figures}
        if isinstance(model, dict)
        else model
        for model in models
    ]
    return fields | {"models": bare}


def _differing(stated: Any, found: Any, where: str = "") -> Iterator[str]:
    """The places at which a document states other numbers than were found.

    The bounds of intervals are not held against each other, nor why there is no figure: a later
    version may know better how sure a figure is.
    """
    if isinstance(stated, dict) and isinstance(found, dict):
        for name, value in stated.items():
            if not (isinstance(value, (int, float)) and name in ("low", "high")):
                yield from _differing(value, found.get(name), f"{where}.{name}".removeprefix("."))
        return
    both = isinstance(stated, (int, float)) and isinstance(found, (int, float))
    if both and not math.isclose(stated, found, rel_tol=_ROUNDING):
        yield where
