"""What a user names on the command line, and which result goes with which."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgeconv.bench.compare.kinds import kind_named, kind_of
from edgeconv.bundle import MANIFEST_NAME
from edgeconv.errors import DataError, MeasurementError, UsageError
from edgeconv.near_names import near_paths
from edgeconv.store.history import History
from edgeconv.store.revision import commit_of
from edgeconv.versioned import Head, Versioned, read_document

SUFFIX = ".json"
ONLY_SHOWN = ("operators", "sustained", "together", "end-to-end", "blame", "sweep")  # by a report


@dataclass(frozen=True)
class Matched:
    """Results to compare.

    ``pairs`` are of one kind each, by name: the file's name in both folders, or the kind.
    ``missing`` are files of the first folder, or kinds of results of what was named first, that the
    second lacks. ``notes`` name what else has no partner.
    """

    pairs: dict[str, tuple[Versioned, Versioned]]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def read_result(path: Path) -> Versioned:
    """Read a result file, whatever kind of result it holds.

    Raises:
        UsageError: There is no such file, it holds no result, or one of another schema version.
    """
    try:
        text = read_document(path)
        named = Head.model_validate_json(text).kind
        if named in ONLY_SHOWN:
            raise UsageError(
                f"{path} is a result of kind {named}, which is not compared",
                hint=f"look at it with `edgeconv report {shlex.quote(str(path))}`; what is "
                "compared are latencies, instruction counts and accuracies",
            )
        kind = kind_named(named)
        result: Versioned = kind.result.parse(text, path)
    except ValidationError as error:
        raise UsageError(
            f"{path} is not a result of `edgeconv bench -o` or `edgeconv evaluate -o`",
            hint="name another file, or measure again",
        ) from error
    except (MeasurementError, DataError) as error:  # here the file is what was asked for
        raise UsageError(error.message, hint=error.hint) from error
    return result


def resolve(reference: str, history: History, folder: Path) -> tuple[Versioned, ...]:
    """Find what a user names: a file, a run's number in the history, or a git revision.

    Args:
        reference: What the user wrote.
        history: Where runs and revisions are looked up.
        folder: A folder in the git work tree that revisions are looked up in.

    Returns:
        One result; for a revision, the latest result of each kind.

    Raises:
        UsageError: It is none of these or cannot be used as such, or nothing was measured at that
            revision.
    """
    path = Path(reference)
    if path.is_file():
        return (read_result(path),)
    if (path / MANIFEST_NAME).is_file():
        raise UsageError(
            f"{reference} is a bundle, not a result",
            hint=f"make one with `edgeconv bench {reference} -o FILE` or "
            f"`edgeconv evaluate {reference} --data DATA -o FILE`",
        )
    if is_run(reference):
        return (history.get(int(reference)),)
    commit = commit_of(reference, folder)
    if commit is None and path.is_dir():
        raise UsageError(
            f"{reference} is a folder that has no {SUFFIX} results",
            hint="name a folder of result files",
        )
    if commit is None:
        raise UsageError(
            f"{reference} is not a result file, a folder of them, a run of the history or a git "
            "revision",
            hint=near_paths(path, "check the spelling; `edgeconv history` lists the runs"),
        )
    results = history.of_revision(commit)
    if not results:
        raise UsageError(
            f"nothing was measured at {reference} ({commit[:12]})",
            hint="`edgeconv history` lists what was",
        )
    return results


def match(before: str, after: str, history: History, folder: Path) -> Matched:
    """Find what ``before`` and ``after`` name, and pair the results.

    Files of two folders are paired by their names, everything else by kind.

    Raises:
        UsageError: One names nothing that can be used, both name the same, or they have no kind in
            common.
    """
    folders = [_result_files(Path(reference)) for reference in (before, after)]
    if folders[0] and folders[1]:
        return _match_folders(Path(before), folders[0], Path(after), folders[1])
    for files, one, other in ((folders[0], before, after), (folders[1], after, before)):
        if files and commit_of(one, folder) is None:  # a branch may be called like a folder
            resolve(other, history, folder)  # which may be nothing at all
            raise UsageError(
                f"{one} is a folder of results and {other} is not",
                hint="name two folders or two results",
            )
    old, new = (resolve(reference, history, folder) for reference in (before, after))
    pairs = {kind_of(a).plural: (a, b) for a in old for b in new if type(a) is type(b)}
    if not pairs:
        raise UsageError(
            f"{before} holds {_words(old)} and {after} holds {_words(new)}",
            hint="name two of one kind",
        )
    _refuse_same_path(Path(before), Path(after))
    for a, b in pairs.values():
        # Two evaluations of the same file may well be equal; two measurements never are.
        history_run = kind_of(a).history_run
        if a == b and history_run is not None:
            run = history_run(a)
            raise UsageError(
                f"{before} and {after} are the same run, of {run.started:%Y-%m-%d %H:%M} UTC on "
                f"{run.device}",
                hint="name two; `edgeconv history` lists them",
            )
    gone, added = _without_partner(old, pairs), _without_partner(new, pairs)
    if Path(after).is_file() or is_run(after):  # one result; the kinds it is not were not asked
        return Matched(pairs, (), tuple(f"only {before} has {words}" for words in gone))
    return Matched(pairs, gone, tuple(f"only {after} has {words}" for words in added))


def is_run(reference: str) -> bool:
    """Whether it is a number, as the history has. Longer ones may be abbreviated commits."""
    return reference.isascii() and reference.isdigit() and len(reference) < 10


def _refuse_same_path(before: Path, after: Path) -> None:
    if before.exists() and after.exists() and before.samefile(after):
        raise UsageError(f"{before} and {after} are the same", hint="name two")


def _without_partner(results: Sequence[Versioned], pairs: Collection[str]) -> tuple[str, ...]:
    """The kinds of results that are in no pair."""
    return tuple(words for result in results if (words := kind_of(result).plural) not in pairs)


def _result_files(path: Path) -> set[str]:
    """The result files in a folder and below, relative to it; none of a bundle."""
    if not path.is_dir() or (path / MANIFEST_NAME).is_file():
        return set()
    return {str(file.relative_to(path)) for file in path.rglob(f"*{SUFFIX}") if file.is_file()}


def _match_folders(before: Path, old: set[str], after: Path, new: set[str]) -> Matched:
    _refuse_same_path(before, after)
    if not old & new:
        raise UsageError(
            f"no file is in both folders: {before} has {', '.join(sorted(old))}, {after} has "
            f"{', '.join(sorted(new))}",
            hint="give two folders whose files have the same names",
        )
    pairs: dict[str, tuple[Versioned, Versioned]] = {}
    for name in sorted(old & new):
        a, b = read_result(before / name), read_result(after / name)
        if type(a) is not type(b):
            raise UsageError(
                f"{name} holds {_words([a])} in {before} and {_words([b])} in {after}",
                hint="give files of one kind the same name",
            )
        pairs[name] = (a, b)
    notes = tuple(f"only {after} has {name}" for name in sorted(new - old))
    return Matched(pairs, tuple(sorted(old - new)), notes)


def _words(results: Sequence[Versioned]) -> str:
    return " and ".join(kind_of(result).plural for result in results)
