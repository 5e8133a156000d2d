"""Shared by the tests of the history."""

from support.history_fixtures import edgeconv, history_path, repository

__all__ = ["edgeconv", "history_path", "repository"]  # fixtures
