"""Sizes in a ``.pt2`` file: expressions that SymPy evaluates as Python when the file is loaded."""

from __future__ import annotations

import ast
import re

_SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=True)*\)")
_CHARACTERS = re.compile(r"[\w\s+*/(),<>=&|~-]*")
_WORDS = re.compile(
    r"[sufz]{1,2}\d+|\d+|Add|Mul|Pow|Rational|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|"
    r"CeilToInt|FloorToInt|"
    r"ModularIndexing|Where|ToFloat|TruncToInt|IntTrueDiv|FloatTrueDiv|PowByNatural|Eq|Ne|Lt|Le|"
    r"Gt|Ge|And|Or|Not|Integer|int_oo|oo|True|False"
)
_MOST_CHARACTERS = 10_000
_MOST_DIGITS = 19
_HIGHEST_POWER = 64
_MOST_POWERS = 2
_SHIFTS = (ast.LShift, ast.RShift)


def is_of_sizes(text: str) -> bool:
    """Whether ``text`` is arithmetic on sizes, and a small piece of it.

    ``9**9**9`` is a number of 370 million digits.
    """
    sizes = _SYMBOL.sub("s0", text)
    words = re.findall(r"\w+", sizes)
    if len(sizes) > _MOST_CHARACTERS or not _CHARACTERS.fullmatch(sizes):
        return False
    if not all(_WORDS.fullmatch(word) and len(word) <= _MOST_DIGITS for word in words):
        return False
    try:
        tree = ast.parse(sizes.strip(), mode="eval").body
        return _powers(tree) <= _MOST_POWERS
    except (SyntaxError, RecursionError, MemoryError, ValueError):  # no Python, or nested too deep
        return False


def _powers(node: ast.AST) -> int:
    """How many powers lie within each other.

    Raises:
        ValueError: An exponent is no small number, or bits are shifted.
    """
    exponent = None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exponent = node.right
    elif isinstance(node, ast.BinOp) and isinstance(node.op, _SHIFTS):
        raise ValueError
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Pow", "PowByNatural"):
        exponent = node.args[-1] if node.args else node
    if exponent is not None and not _is_small(exponent):
        raise ValueError
    inner = max(map(_powers, ast.iter_child_nodes(node)), default=0)
    return inner + (exponent is not None)


def _is_small(node: ast.expr) -> bool:
    """Whether an exponent is a small number, as it is or within ``Integer`` or ``Rational``."""
    if isinstance(node, ast.UnaryOp):
        return _is_small(node.operand)
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", "")
        return name in ("Integer", "Rational") and all(map(_is_small, node.args))
    number = node.value if isinstance(node, ast.Constant) else None
    return isinstance(number, int) and number <= _HIGHEST_POWER
