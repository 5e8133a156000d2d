"""What differs between the databases that can hold the history."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sqlalchemy import ColumnElement, Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from edgeconv.errors import UsageError, first_line
from edgeconv.store.schema import SCHEMA_VERSION


class Database(ABC):
    """A place for the history. As a string it is what messages call it."""

    OTHER = ""  # completes hints: how to name another place

    @abstractmethod
    def exists(self) -> bool:
        """Whether there may be a history yet; a database that does not exist is empty."""

    @abstractmethod
    def prepare(self) -> None:
        """Make room for a new history.

        Raises:
            OSError: That is not possible.
        """

    @abstractmethod
    def engine(self) -> Engine:
        """What connects.

        Raises:
            UsageError: The driver is not installed.
        """

    @abstractmethod
    def version(self, connection: Connection) -> int:
        """The version of the schema that the tables have; 0 where there are none."""

    @abstractmethod
    def bring_up_to_date(self, connection: Connection) -> None:
        """Make the tables, or bring older ones to SCHEMA_VERSION, in the open transaction."""

    @abstractmethod
    def matches(self, text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
        """Whether a text matches a shell pattern, by the rules of SQLite's GLOB."""

    @abstractmethod
    def hint(self, error: Exception) -> str:
        """What a user can do about an error."""

    @abstractmethod
    def start(self, connection: Connection) -> None:
        """Begin the transaction, if the driver does not."""

    def check_version(self, connection: Connection) -> None:
        """See that the tables are those of this edgeconv.

        Raises:
            UsageError: They are from a newer edgeconv.
        """
        version = self.version(connection)
        if version == SCHEMA_VERSION:
            return
        if not 0 <= version < SCHEMA_VERSION:
            raise UsageError(
                f"{self} has schema version {version}, this edgeconv reads up to {SCHEMA_VERSION}",
                hint=f"update edgeconv, or {self.OTHER}",
            )
        self.bring_up_to_date(connection)

    def unusable(self, error: Exception | str) -> UsageError:
        """The error of a database that cannot be used, on one line."""
        if isinstance(error, str):
            why, hint = error, self.OTHER
        else:
            why, hint = self.reason(error), self.hint(error)
        return UsageError(f"{self} cannot be used as the history: {why}", hint=hint)

    def reason(self, error: Exception) -> str:
        """The first line of what the driver says: SQLAlchemy adds the statement to it."""
        driver = error.orig if isinstance(error, DBAPIError) else None
        if isinstance(error, SQLAlchemyError) and driver is None:
            return first_line(error)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return first_line(driver or error)
