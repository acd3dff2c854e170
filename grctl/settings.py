"""Every setting there is, in one object, read once from GRCTL_* variables.

A `Settings` that exists is valid: bad values end as `ConfigurationError`, whose message names the
variable, the value found and what is allowed, and never shows a password.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from grctl.ages import parse_retention
from grctl.errors import ConfigurationError

PREFIX = "GRCTL_"
URL_EXAMPLE = "postgresql://user:password@localhost:5432/app"
MASK = "****"

# Read elsewhere, on purpose: by the embedded server and by the tests.
_OTHER_VARIABLES = frozenset({"GRCTL_PG_BIN"})
_OTHER_PREFIXES = ("GRCTL_TEST_", "GRCTL_BENCH_", "GRCTL_CHAOS_")

_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_SECRET_PARAMETERS = frozenset({"password", "sslpassword"})
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Settings(BaseSettings):
    """What a worker, a client and the command line may be told from outside.

    Made by `load_settings()`; a field is set by the variable of its name in upper case, after
    `GRCTL_` (the schema's is `GRCTL_SCHEMA`).
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # it may be a password
    )

    database_url: str | None = Field(
        None, repr=False, description=f"PostgreSQL, as a URL: {URL_EXAMPLE}"
    )
    listen_url: str | None = Field(
        None,
        repr=False,
        description="URL for LISTEN where database_url leads to PgBouncer; default: database_url",
    )
    db_schema: str = Field(
        "grctl",
        validation_alias=f"{PREFIX}SCHEMA",
        description="PostgreSQL schema of the tables: a-z, 0-9 and _, at most 40 characters",
    )
    worker_name: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="name of the worker; default: made from the set of its workflow types",
    )
    concurrency: int = Field(
        500, ge=1, le=100_000, description="runs in flight in a worker, at most"
    )
    lease_seconds: float = Field(
        15.0,
        ge=1,
        le=3600,
        description="seconds until the runs of a worker that is gone are taken over",
    )
    poll_seconds: float = Field(
        2.0,
        gt=0,
        le=300,
        description="seconds between looks at the tables when no notification comes",
    )
    max_step_crashes: int = Field(
        10, ge=1, le=1_000_000, description="workers that a step may kill before its run is failed"
    )
    max_payload_bytes: int = Field(
        2 * 1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="bytes of one value as JSON (input, result, event, store), at most",
    )
    max_loop_stall_seconds: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="seconds that a step may block the event loop before the worker gives up",
    )
    shutdown_seconds: float = Field(
        30.0, ge=0, le=86_400, description="seconds that running steps get to end at a stop"
    )
    writers: int = Field(
        2, ge=1, le=16, description="connections of a worker that write batches to the journal"
    )
    batch_rows: int = Field(1000, ge=1, le=100_000, description="rows of one batch, at most")
    batch_bytes: int = Field(
        8 * 1024 * 1024,
        ge=64 * 1024,
        le=256 * 1024 * 1024,
        description="bytes of one batch, at most",
    )
    pool_size: int = Field(
        4, ge=1, le=1000, description="connections of a process for reads and claims, at most"
    )
    statement_cache: int = Field(
        100,
        ge=0,
        le=10_000,
        description="prepared statements kept a connection; 0 behind PgBouncer",
    )
    retention: str | None = Field(
        None,
        description="how long ended runs are kept, such as completed=30d,failed=90d or all=90d; "
        "what is not named is kept for ever. Workers delete the others; workers=90d and audit=365d "
        "are of what else grows",
    )
    dashboard_host: str = Field(
        "127.0.0.1", description="address that the dashboard listens on; see docs/dashboard.md"
    )
    dashboard_port: int = Field(
        8233, ge=0, le=65_535, description="port of the dashboard; 0: any free one"
    )
    dashboard_token: str | None = Field(
        None, repr=False, min_length=16, description="what people sign in to the dashboard with"
    )
    dashboard_token_file: str | None = Field(
        None, description="a file with the dashboard's token, instead of dashboard_token"
    )
    dashboard_proxy_header: str | None = Field(
        None, description="header by which an authenticating proxy names the dashboard's user"
    )
    dashboard_proxy_peers: str | None = Field(
        None, description="addresses or networks of that proxy, with commas between"
    )
    dashboard_hosts: str | None = Field(
        None, description="names under which the dashboard is reached, with commas between"
    )
    dashboard_read_only: bool = Field(
        default=False, description="whether the dashboard only shows, and does nothing to runs"
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of a worker's /metrics, /healthz, /readyz; 0: any free; default: none",
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="address that the metrics port is bound to"
    )
    tracing: bool = Field(
        default=False,
        description="make OpenTelemetry spans; where they go is set by OTEL_* variables",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="console, json, or auto: console when stderr is a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="the least severe level that is logged"
    )

    @field_validator("database_url", "listen_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return None if value is None else normalize_url(value)

    @field_validator("db_schema")
    @classmethod
    def _check_schema(cls, value: str) -> str:
        return checked_schema(value)

    @field_validator("retention")
    @classmethod
    def _check_retention(cls, value: str | None) -> str | None:
        if value is not None:
            parse_retention(value)
        return value

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    def require_database_url(self) -> str:
        """The database's URL.

        Raises:
            ConfigurationError: none is set.
        """
        if self.database_url is None:
            raise ConfigurationError(
                "no database: set GRCTL_DATABASE_URL, e.g. "
                f"{URL_EXAMPLE}, or try `grctl dev`, which brings a PostgreSQL of its own"
            )
        return self.database_url

    def masked(self) -> dict[str, Any]:
        """Every setting by name, fit to be printed: passwords are masked."""
        values = self.model_dump()
        for name in ("database_url", "listen_url"):
            if values[name] is not None:
                values[name] = mask_url(values[name])
        if values["dashboard_token"] is not None:
            values["dashboard_token"] = MASK
        return values


def variable_of(field: str) -> str:
    """The environment variable that sets `field`."""
    return f"{PREFIX}SCHEMA" if field == "db_schema" else f"{PREFIX}{field.upper()}"


def load_settings(**overrides: Any) -> Settings:
    """The settings: `overrides` that are not None, else GRCTL_* variables, else the defaults.

    Raises:
        ConfigurationError: a value is not allowed; every one is named, with what is.
    """
    return _made(Settings, overrides)


def change_settings(settings: Settings, **overrides: Any) -> Settings:
    """`settings`, with the `overrides` that are not None; no variable has a say.

    Raises:
        ConfigurationError: as of `load_settings`.
    """
    made = _made(_Given, overrides)
    given = [name for name, value in overrides.items() if value is not None]
    return settings.model_copy(update={name: getattr(made, name) for name in given})


class _Given(Settings):
    """Settings of what is given alone."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, and no variable."""
        return (init_settings,)


def _made(kind: type[Settings], overrides: Mapping[str, Any]) -> Settings:
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as error:
        problems = [_problem(dict(item), given) for item in error.errors(include_url=False)]
    # Raised out here: chained, the original would print the value, and with it a password.
    raise ConfigurationError("\n".join(problems))


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A warning for each GRCTL_* variable that sets nothing, with the likely right name."""
    known = sorted({variable_of(name) for name in Settings.model_fields} | _OTHER_VARIABLES)
    warnings = []
    for name in sorted(os.environ if environ is None else environ):
        if not name.startswith(PREFIX) or name in known or name.startswith(_OTHER_PREFIXES):
            continue
        likely = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {likely[0]}?" if likely else ""
        warnings.append(f"{name} is set, but there is no such setting{hint}")
    return warnings


def checked_schema(name: str) -> str:
    """`name`, if it can stand in SQL as it is.

    Raises:
        ValueError: it cannot.
    """
    if not _SCHEMA.fullmatch(name) or name.startswith("pg_"):
        raise ValueError(
            "a schema's name is lower-case letters, digits and _, begins with no digit and not "
            "with pg_, and has at most 40 characters"
        )
    return name


def normalize_url(url: str) -> str:
    """`url` in the form asyncpg takes: `postgresql://…`.

    `postgres://` and `postgresql+asyncpg://` are accepted too.

    Raises:
        ValueError: it is no URL of a PostgreSQL; the message does not repeat it.
    """
    expected = f"expected a PostgreSQL URL such as {URL_EXAMPLE}"
    text = url.strip()
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        found = f"the scheme {scheme!r}" if separator else "no '://'"
        raise ValueError(f"{expected}; found {found}")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        port_is_given = parts.port is not None
    except ValueError:
        # Several hosts, each with its port, are libpq's form; everything else is a mistake.
        port_is_given = "," in rest.partition("/")[0].rpartition("@")[2]
        if not port_is_given:
            raise ValueError(
                f"{expected}; the host or port is malformed (special characters of a password "
                "must be percent-encoded, e.g. '/' as %2F)"
            ) from None
    return f"postgresql://{rest}"


def mask_url(url: str) -> str:
    """`url` with its passwords masked, wherever they stand."""
    head, separator, query = url.partition("?")
    if "@" in query and "@" not in head:
        # A ? that was left unescaped in a password: rather mask too much.
        head, separator, query = url, "", ""
    # The last @ before the path ends the credentials; before it, the first : begins the password.
    scheme, marker, rest = head.partition("://")
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    head = f"{scheme}{marker}{user}{colon}{MASK if colon else ''}{at}{place}"
    if not separator:
        return head
    pairs = [
        (key, MASK if key.lower() in _SECRET_PARAMETERS else value)
        for key, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{head}?{urlencode(pairs, safe='*/')}"


def with_database(url: str, database: str) -> str:
    """`url`, leading to another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database, safe="")))


def _problem(item: dict[str, Any], overrides: Mapping[str, Any]) -> str:
    location = str(item["loc"][0]) if item["loc"] else ""
    field = "db_schema" if location == f"{PREFIX}SCHEMA" else location
    if field not in Settings.model_fields:
        return f"{location}: there is no such setting"
    reason = str(item["msg"]).removeprefix("Value error, ")
    name = field if field in overrides else variable_of(field)
    if field in {"database_url", "listen_url", "dashboard_token"}:
        return f"{name}: {reason}"
    return f"{name}={item['input']!r}: {reason} ({Settings.model_fields[field].description})"
