"""The ``--out`` of examples that draw."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.errors import UsageError
from edgeconv.report.plotting import check_suffix


def picture(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Refuse a name that is not that of a picture, and make its folder."""
    try:
        check_suffix(value)
        value.parent.mkdir(parents=True, exist_ok=True)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"{value.parent}: {error.strerror}") from error
    return value
