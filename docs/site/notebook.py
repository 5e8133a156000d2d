"""Run the cells of a notebook, and write what they print into it: ``make readme``.

A notebook is JSON, so this needs no Jupyter. A cell's output is what it prints, and the value of
its last line as Jupyter would show it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

NOTEBOOK = Path(__file__).parents[1] / "tutorials" / "python.ipynb"


def run_cells(notebook: dict[str, Any], folder: Path) -> None:
    """Run the code cells one after the other in ``folder``, and put their outputs in place.

    Raises:
        Exception: Whatever a cell raises.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    before = Path.cwd()
    os.chdir(folder)
    try:
        for count, cell in enumerate(cells, 1):
            cell["execution_count"] = count
            cell["outputs"] = _outputs("".join(cell["source"]), names, count)
    finally:
        os.chdir(before)


def _outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Run a cell; its outputs in the notebook format."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {count}", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        text = _lines(printed.getvalue())
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        result = {"data": data, "execution_count": count, "metadata": {}}
        outputs.append(result | {"output_type": "execute_result"})
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


@click.command()
@click.option("--notebook", type=click.Path(exists=True, path_type=Path), default=NOTEBOOK)
def main(notebook: Path) -> None:
    """Run the cells of NOTEBOOK again, and write their outputs into it."""
    sys.dont_write_bytecode = True
    content = json.loads(notebook.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        run_cells(content, Path(folder))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    notebook.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
