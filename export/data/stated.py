"""The preprocessing that a user states: by a file, by whose convention it is, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean, near_paths
from edgeconv.preprocessing import Interpolation, Preprocessing
from edgeconv.toml_file import read_toml
from edgeconv.versioned import first_problem, near_hint

# What the export finds out, so it is not stated.
_FOUND = ("assumed", "inside")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Both packages keep 224 of 256 pixels, and all networks on ImageNet share one mean and deviation.
CONVENTIONS = {
    "timm": Preprocessing(crop=0.875, interpolation=Interpolation.BICUBIC, mean=_MEAN, std=_STD),
    "torchvision": Preprocessing(crop=0.875, mean=_MEAN, std=_STD),
    "none": Preprocessing(),
}


def read_preprocessing(stated: Preprocessing | str | Path | None) -> Preprocessing | None:
    """Read a preprocessing from a TOML file, or look its name up in ``CONVENTIONS``.

    The keys of the file are the fields of ``Preprocessing``; it needs only those that differ from
    the network's own.

    Raises:
        UsageError: There is no such file or name, or the file says something else; or mean
            and std are of pixels in [0, 255].
    """
    if stated is None:
        return None
    if isinstance(stated, Preprocessing):
        return _refuse_bytes(stated)
    if str(stated) in CONVENTIONS:
        return CONVENTIONS[str(stated)]
    path = Path(stated)
    if not path.is_file():
        names = ", ".join(CONVENTIONS)
        hint = near_paths(path, f"pass a TOML file, or {names}")
        hint = did_you_mean(str(stated), CONVENTIONS, hint)
        raise UsageError(f"{path}: no such preprocessing", hint=hint)
    keys = ", ".join(name for name in Preprocessing.model_fields if name not in _FOUND)
    hint = f"state only keys of a preprocessing: {keys}"
    content = read_toml(path, hint=hint)
    try:
        read = Preprocessing.model_validate(content)
    except ValidationError as error:
        # The message of a wrong value says what is right; the keys are for a wrong key.
        unknown = error.errors(include_url=False)[0]["type"] == "extra_forbidden"
        hint = near_hint(error, Preprocessing, hint if unknown else "correct that value")
        raise UsageError(f"{path}: {first_problem(error)}", hint=hint) from error
    return _refuse_bytes(read)


def _refuse_bytes(stated: Preprocessing) -> Preprocessing:
    """Refuse mean and std of pixels in [0, 255]: those of pixels in [0, 1] are at most 1 and 1/2.

    A std of 1 changes nothing. Beside a mean above 1 it leaves pixels in [0, 255] as they are.
    """
    mean, std = max(stated.mean), max(stated.std)
    large = [name for name, value in (("mean", mean), ("std", std)) if value > 1]
    if not large:
        return stated
    hint_mean = _written(stated.mean, divided=mean > 1)
    hint_std = _written(stated.std, divided=std > 1 or (mean > 1 and std == 1))
    raise UsageError(
        f"the {' and the '.join(large)} above 1 must be of pixels in [0, 255], and pixels are "
        "scaled to [0, 1] first",
        hint=f"if so, pass the mean {hint_mean} and the std {hint_std}",
    )


def _written(values: Sequence[float], *, divided: bool) -> str:
    return ",".join(f"{value / 255 if divided else value:.6g}" for value in values)


def combined(
    stated: Preprocessing | str | Path | None, card: Preprocessing | None
) -> Preprocessing | None:
    """What the user states, and for the rest what the network's card says.

    A convention replaces the card; a file or an object needs only what differs from it.
    """
    read = read_preprocessing(stated)
    if read is None or card is None or str(stated) in CONVENTIONS:
        return card if read is None else read
    changed = {
        name: getattr(read, name)
        for name in read.model_fields_set
        if getattr(read, name) is not None
    }
    for one, other in (("resize", "crop"), ("crop", "resize")):
        if one in changed:
            changed.setdefault(other, None)
    return card.model_copy(update=changed)
