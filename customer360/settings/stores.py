"""Settings of databases and object stores. No secret is in them: they name the environment variables that hold it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from customer360.settings.fields import WITHOUT_SLASH, Strict, matching

DsnVariable = Annotated[
    str,
    matching(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "give the name of an environment variable, such as SHOP_POSTGRES_DSN, and put the connection string into it: "
        "no password belongs into shop.yaml",
    ),
]


class PostgresSource(Strict):
    """Where a reference table is in PostgreSQL: a table or a query, read by the account that an environment variable holds.

    With a ``cursor`` only rows from its last value on are read, less ``overlap_minutes``, and all of them every
    ``full_every_days``.
    """

    dsn: DsnVariable
    table: (
        Annotated[
            str,
            matching(
                r"[^.]+(\.[^.]+)?",
                "write table or schema.table, as PostgreSQL stores the names, without quotes; else give a query",
            ),
        ]
        | None
    ) = None
    query: Annotated[str, Field(min_length=1), AfterValidator(lambda text: text.strip().rstrip(";"))] | None = None
    cursor: Annotated[str, Field(min_length=1)] | None = None
    overlap_minutes: Annotated[int, Field(ge=0, le=10_080)] = 15
    full_every_days: Annotated[int, Field(ge=1, le=366)] = 7
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60

    @model_validator(mode="after")
    def _table_or_query(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either a table or a query")
        useless = self.model_fields_set & {"overlap_minutes", "full_every_days"}
        if self.cursor is None and useless:
            raise ValueError(f"{' and '.join(sorted(useless))} mean nothing without a cursor: every load reads the whole table")
        return self

    @property
    def title(self) -> str:
        """The source, for messages; it holds no secret."""
        return f"{self.table or 'a query'} in PostgreSQL ({self.dsn})"


class ReferenceSource(Strict):
    """Where a reference table comes from, if not from files in ``landing/reference``."""

    postgres: PostgresSource


StoreUrl = Annotated[
    str,
    matching(
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]*)*/?",
        "write s3://bucket or s3://bucket/prefix, in letters, digits and . _ = -",
    ),
    WITHOUT_SLASH,
]
KeyVariable = Annotated[  # with an underscore, because a key of AWS would pass for a name without one
    str,
    matching(
        r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+",
        "give the name of an environment variable, such as SHOP_S3_SECRET_KEY, and put the key into it: "
        "no key belongs into shop.yaml",
    ),
]


class ObjectStorage(Strict):
    """An S3-compatible store for landing, for the published versions, or for both.

    Credentials are given by the names of environment variables; without them the usual chain of AWS is asked (its own
    environment variables, ``~/.aws``, the machine's or container's role).
    """

    landing: StoreUrl | None = None
    publish: StoreUrl | None = None
    endpoint: (
        Annotated[
            str,
            matching(
                r"https?://[A-Za-z0-9.-]+(:\d{1,5})?/?",
                "write the store's address as https://host or http://host:port, without anything else",
            ),
            WITHOUT_SLASH,
        ]
        | None
    ) = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    addressing: Literal["path", "virtual"] | None = None
    access_key: KeyVariable | None = None
    secret_key: KeyVariable | None = None
    session_token: KeyVariable | None = None
    delete_old_landing: bool = True
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = 30

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        if self.landing is None and self.publish is None:
            raise ValueError("give landing, publish or both, as s3://bucket/prefix")
        if (self.access_key is None) != (self.secret_key is None) or (self.session_token and not self.access_key):
            raise ValueError("give access_key and secret_key together, or neither for the usual chain of AWS")
        if self.landing and self.publish:
            ours, theirs = f"{self.publish}/", f"{self.landing}/"
            if ours.startswith(theirs) or theirs.startswith(ours):
                raise ValueError("landing and publish must not lie inside one another")
        return self


class PostgresTarget(Strict):
    """A schema of a PostgreSQL database that has the published tables too, by the account that an environment variable holds.

    A publication that takes longer than ``timeout_seconds`` is continued by the next run.
    """

    dsn: DsnVariable
    db_schema: Annotated[
        str,
        Field(alias="schema"),
        matching(r"(?!pg_)[a-z_][a-z0-9_]{0,49}", "write up to 50 of a-z, 0-9 and _, not beginning with pg_"),
    ] = "customer360"
    timeout_seconds: Annotated[int, Field(ge=10, le=600)] = 300

    @property
    def title(self) -> str:
        """The schema, for messages; it holds no secret."""
        return f"schema {self.db_schema} in PostgreSQL ({self.dsn})"


class PublishTo(Strict):
    """Where published versions go as well, beside the folder and the object store."""

    postgres: PostgresTarget
