"""The history of a team: a database of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import NullPool

from edgeconv.errors import UsageError
from edgeconv.store.database import Database
from edgeconv.store.glob import as_regular_expression
from edgeconv.store.schema import SCHEMA_VERSION, TABLES

SCHEMES = ("postgresql", "postgres")
ISOLATION = "READ COMMITTED"  # whoever waited for the tables must see them
EXAMPLE = "postgresql://user@host/database"
SECRETS = ("password", "sslpassword")  # among what may follow the question mark of an address
# Whoever makes the tables holds this lock, a number of our own, until they are there.
_LOCK = 0x6564_6765_636F_6E76
_OWN = MetaData()
_VERSION = Table("edgeconv_history", _OWN, Column("version", Integer, nullable=False))
# A server that is gone is noticed within this time, as libpq's parameters.
_LIMITS = {"connect_timeout": "10", "tcp_user_timeout": "30000", "application_name": "edgeconv"}


@dataclass(frozen=True)
class PostgreSQL(Database):
    """A history in a database of a server.

    The user, the password and more may come from libpq's own environment variables and files.
    """

    OTHER = "name another database with --store"

    url: URL = field(repr=False)

    @classmethod
    def at(cls, address: str) -> PostgreSQL:
        """The database at an address such as ``postgresql://user@host/database``.

        Raises:
            UsageError: It is not such an address. The message never holds any of it.
        """
        try:
            url = make_url(address)
        except (ArgumentError, ValueError):
            raise _not_an_address() from None  # the error holds the address
        # An @ in a password makes a part of the password look like the host.
        if url.drivername not in SCHEMES or "@" in (url.host or ""):
            raise _not_an_address()
        return cls(url)

    def __str__(self) -> str:
        shown = self.url.set(drivername="postgresql", query={})._replace(password=None)
        return shown.render_as_string()

    def exists(self) -> bool:
        """A database of a server is there, or it is an error."""
        return True

    def prepare(self) -> None:
        """Nothing is to be made."""

    def engine(self) -> Engine:
        """Connect by psycopg, which is libpq."""
        missing = {key: text for key, text in _LIMITS.items() if key not in self.url.query}
        url = self.url.set(drivername="postgresql+psycopg").update_query_dict(missing)
        try:
            return create_engine(
                url, poolclass=NullPool, hide_parameters=True, isolation_level=ISOLATION
            )
        except ImportError as error:
            raise UsageError(
                f"{self} needs psycopg: {error}", hint="pip install 'edgeconv[postgresql]'"
            ) from error

    def start(self, connection: Connection) -> None:
        """Nothing is to be done: psycopg begins a transaction with the first statement."""

    def version(self, connection: Connection) -> int:
        """The number in a table of its own; 0 where the table is not there."""
        # Not to_regclass(), which may remember within a transaction that there was none.
        if not inspect(connection).has_table(_VERSION.name):
            return 0
        return int(connection.scalar(select(func.max(_VERSION.c.version))) or 0)

    def bring_up_to_date(self, connection: Connection) -> None:
        """Make the tables, unless another process did so meanwhile."""
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        if self.version(connection) == SCHEMA_VERSION:
            return
        TABLES.create_all(connection, checkfirst=False)
        _OWN.create_all(connection, checkfirst=False)
        connection.execute(insert(_VERSION).values(version=SCHEMA_VERSION))

    def matches(self, text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
        """By a regular expression."""
        return text.regexp_match(as_regular_expression(pattern))

    def hint(self, error: Exception) -> str:
        """A connection fails for other reasons than a statement."""
        if isinstance(error, OperationalError):
            return "check that the server runs, the user, and the password (PGPASSWORD, ~/.pgpass)"
        return (
            f"give edgeconv a database of its own, in which {self.url.username or 'its user'} "
            "may make tables"
        )

    def reason(self, error: Exception) -> str:
        """What the driver says, without the password, should it ever quote it."""
        text = super().reason(error)
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> set[str]:
        named = [self.url.password, *(self.url.query.get(key) for key in SECRETS)]
        plain = [str(secret) for secret in named if secret]
        return {form for secret in plain for form in (secret, quote(secret), quote_plus(secret))}


def _not_an_address() -> UsageError:
    return UsageError(
        "the store is not an address of PostgreSQL",
        hint=f"write {EXAMPLE}, with %40 for an @ in a user's name or a password",
    )
