from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from grctl.errors import ConfigurationError
from grctl.settings import (
    Settings,
    load_settings,
    mask_url,
    normalize_url,
    unknown_variables,
    variable_of,
    with_database,
)

DEFAULTS = {
    "database_url": None,
    "listen_url": None,
    "db_schema": "grctl",
    "worker_name": None,
    "concurrency": 500,
    "lease_seconds": 15.0,
    "poll_seconds": 2.0,
    "max_step_crashes": 10,
    "max_payload_bytes": 2 * 1024 * 1024,
    "max_loop_stall_seconds": 60.0,
    "shutdown_seconds": 30.0,
    "writers": 2,
    "batch_rows": 1000,
    "batch_bytes": 8 * 1024 * 1024,
    "pool_size": 4,
    "statement_cache": 100,
    "retention": None,
    "dashboard_host": "127.0.0.1",
    "dashboard_port": 8233,
    "dashboard_token": None,
    "dashboard_token_file": None,
    "dashboard_proxy_header": None,
    "dashboard_proxy_peers": None,
    "dashboard_hosts": None,
    "dashboard_read_only": False,
    "metrics_port": None,
    "metrics_host": "127.0.0.1",
    "tracing": False,
    "log_format": "auto",
    "log_level": "info",
}


def test_the_defaults_are_those_of_the_contract():
    assert load_settings().model_dump() == DEFAULTS


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())


def test_a_variable_sets_its_field_and_an_override_goes_before_it(monkeypatch):
    monkeypatch.setenv("GRCTL_CONCURRENCY", "7")
    monkeypatch.setenv("GRCTL_SCHEMA", "other")
    monkeypatch.setenv("GRCTL_LOG_LEVEL", "DEBUG")
    assert load_settings().concurrency == 7
    assert load_settings().db_schema == "other"
    assert load_settings().log_level == "debug"
    assert load_settings(concurrency=9, db_schema="third").concurrency == 9
    assert load_settings(concurrency=None).concurrency == 7
    assert load_settings(db_schema="third").db_schema == "third"


def test_an_empty_variable_is_as_good_as_none(monkeypatch):
    monkeypatch.setenv("GRCTL_CONCURRENCY", "")
    assert load_settings().concurrency == 500


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("GRCTL_CONCURRENCY", "many", "integer"),
        ("GRCTL_CONCURRENCY", "0", "greater than or equal to 1"),
        ("GRCTL_CONCURRENCY", "100001", "less than or equal to 100000"),
        ("GRCTL_RETENTION", "completed", "STATUS=AGE"),
        ("GRCTL_RETENTION", "running=1d", "none of completed, failed"),
        ("GRCTL_RETENTION", "completed=30", "such as 30d"),
        ("GRCTL_LEASE_SECONDS", "0.5", "greater than or equal to 1"),
        ("GRCTL_LEASE_SECONDS", "nan", "finite"),
        ("GRCTL_SCHEMA", "Grctl", "lower-case"),
        ("GRCTL_SCHEMA", "a" * 41, "at most 40"),
        ("GRCTL_SCHEMA", 'x"; drop table y', "lower-case"),
        ("GRCTL_SCHEMA", "pg_mine", "not with pg_"),
        ("GRCTL_LOG_FORMAT", "xml", "'console'"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_what_is_allowed(
    monkeypatch, variable, value, allowed
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    text = str(caught.value)
    assert variable in text
    assert value in text
    assert allowed in text


def test_all_bad_values_are_named_at_once(monkeypatch):
    monkeypatch.setenv("GRCTL_CONCURRENCY", "many")
    monkeypatch.setenv("GRCTL_WRITERS", "few")
    with pytest.raises(ConfigurationError, match=r"(?s)GRCTL_CONCURRENCY.*GRCTL_WRITERS"):
        load_settings()


def test_an_unknown_override_is_refused():
    with pytest.raises(ConfigurationError, match="concurency: there is no such setting"):
        load_settings(concurency=1)


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgres://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        (" postgresql+asyncpg://u@[::1]:5432/d\n", "postgresql://u@[::1]:5432/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=/run/postgresql"),
        ("postgresql://u:p@one:5432,two:5433/d", "postgresql://u:p@one:5432,two:5433/d"),
    ],
)
def test_the_usual_forms_of_a_url_are_taken(given_url, expected):
    assert normalize_url(given_url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/d",
        "host=h password=secret",
        "postgresql://u:sec/ret@h:5432/d",
        "postgresql://u:secret@h:port/d",
        "postgresql+psycopg://u:secret@h/d",
    ],
)
def test_a_bad_url_is_refused_with_an_example_and_without_its_password(monkeypatch, url):
    monkeypatch.setenv("GRCTL_DATABASE_URL", url)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "GRCTL_DATABASE_URL" in str(caught.value)
    assert "postgresql://user:password@localhost:5432/app" in str(caught.value)
    shown = f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"
    assert "secret" not in shown
    assert "ret@" not in shown


def test_no_database_is_said_only_when_one_is_needed():
    with pytest.raises(ConfigurationError, match="set GRCTL_DATABASE_URL"):
        load_settings().require_database_url()


def test_passwords_are_neither_in_what_is_printed_nor_in_the_repr():
    settings = load_settings(
        database_url="postgresql://me:secret@h/d", listen_url="postgresql://h/d?password=secret"
    )
    assert settings.masked()["database_url"] == "postgresql://me:****@h/d"
    assert settings.masked()["listen_url"] == "postgresql://h/d?password=****"
    assert "secret" not in repr(settings)


@given(st.text(alphabet=st.characters(exclude_characters="?#", codec="ascii"), min_size=1))
def test_no_password_gets_through_the_mask(password):
    masked = mask_url(f"postgresql://me:{password}@host:5432/d?sslmode=require")
    assert masked == "postgresql://me:****@host:5432/d?sslmode=require"


def test_settings_that_are_made_without_load_settings_show_no_password_either():
    for wrong in ({"database_url": "mysql://u:hidden@db/app"}, {"dashboard_token": "hidden"}):
        with pytest.raises(ValidationError) as told:
            Settings(**wrong)
        assert "hidden" not in str(told.value)


def test_another_database_of_the_same_server():
    url = "postgresql://u:p%2F@h:1/d?sslmode=require"
    assert with_database(url, "a b") == "postgresql://u:p%2F@h:1/a%20b?sslmode=require"


def test_a_mistyped_variable_is_noticed():
    found = unknown_variables(
        {"GRCTL_CONCURENCY": "1", "GRCTL_PG_BIN": "x", "GRCTL_TEST_DOCKER": "1", "HOME": "/"}
    )
    assert found == [
        "GRCTL_CONCURENCY is set, but there is no such setting; did you mean GRCTL_CONCURRENCY?"
    ]


def test_every_variable_is_known_by_its_name():
    environ = {variable_of(name): "" for name in Settings.model_fields}
    assert "GRCTL_SCHEMA" in environ
    assert unknown_variables(environ) == []
    assert not any(name.startswith("GRCTL_CONC") for name in os.environ)
