"""The git commit at which something is measured."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Revision:
    """A git commit; ``changed``: the work tree had changes that were not committed."""

    commit: str
    changed: bool


def current_revision(folder: Path) -> Revision | None:
    """The commit of the git work tree that ``folder`` is in, if it is in one."""
    commit = commit_of("HEAD", folder)
    if commit is None:
        return None
    return Revision(commit, changed=bool(_git(folder, "status", "--porcelain")))


def commit_of(reference: str, folder: Path) -> str | None:
    """The commit that a git reference means in the work tree that ``folder`` is in."""
    # The suffix keeps a reference from being read as an option, and asks for a commit.
    return _git(folder, "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
