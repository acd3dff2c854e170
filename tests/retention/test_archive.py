"""Runs in a file and back: what is there afterwards is what was there before, to the letter."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from grctl.ages import ENDED_STATUSES
from grctl.cli.archive import read_archive, write_archive
from grctl.client import Client, Connection
from grctl.errors import ArchiveError, StepFailed
from grctl.models.retention import Policy
from grctl.models.run import RunStatus
from grctl.postgres import migrations
from grctl.settings import load_settings
from tests.features.looking import has_status
from tests.retention.conftest import Fill, counts
from tests.support import Database, Finished, run_cli
from tests.workflows import features
from tests.workflows.archived import AWKWARD, awkward


@pytest_asyncio.fixture
async def elsewhere(empty_database: Database) -> Database:
    """Another database, migrated and empty."""
    await migrations.upgrade(empty_database.dsn)
    return empty_database


@pytest_asyncio.fixture
async def other(elsewhere: Database) -> AsyncIterator[Client]:
    settings = load_settings(database_url=elsewhere.dsn)
    async with await Connection.connect(settings=settings) as connection:
        yield Client(connection)


AT_ONCE = Policy({RunStatus(status): timedelta(0) for status in ENDED_STATUSES})


async def exported(database: Database, path: Path, *options: str) -> Finished:
    return await run_cli("export", str(path), *options, database_url=database.dsn)


async def imported(database: Database, path: Path) -> Finished:
    return await run_cli("import", str(path), database_url=database.dsn)


async def rows_of(database: Database) -> dict[str, list[Any]]:
    """All that an archive holds, as PostgreSQL prints it; numbers of workers are the database's."""
    return {
        table: [
            row[0]
            for row in await database.fetch(
                f"select regexp_replace(row_to_json(t)::text, '\"worker_no\":\\d+', '') as line"
                f" from grctl.{table} t order by line"
            )
        ]
        for table in ("runs", "events", "store", "inbox", "answers", "workflow_types")
    }


async def drop_orphans(database: Database) -> None:
    """Rows of runs that a test has deleted."""
    for table in ("events", "store", "inbox", "answers"):
        await database.execute(
            f"delete from grctl.{table} where run_id not in (select run_id from grctl.runs)"
        )


async def some_runs(client: Client, serve, database: Database) -> list[str]:
    """Ended runs of many kinds, with values that a careless copy would change; and an open one."""
    await serve(*features.ALL, awkward)
    await client.run_workflow("archive.awkward", "awkward")
    box = await client.start_workflow("features.box", "box")
    await has_status(database, "box", "waiting")
    assert await box.update("add", {"number": 2**70}) == 2**70
    await box.send("put", {"item": 'quo"te\n\\ \u2028 🙂'})
    await box.send("finish")
    await box.result(timeout=30)
    with pytest.raises(StepFailed):
        await client.run_workflow("features.child", "failed", {"how": "raise"})
    given = {"children": [{"input": {"how": "complete"}}]}
    await client.run_workflow("features.parent", "parent", given)
    await client.start_workflow("features.box", "open")
    await has_status(database, "open", "waiting")
    return ["awkward", "box", "failed", "parent", "parent/0"]


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
async def test_into_an_empty_database_it_gives_the_same_histories(
    client: Client,
    database: Database,
    other: Client,
    elsewhere: Database,
    serve,
    tmp_path: Path,
    name: str,
) -> None:
    ids = await some_runs(client, serve, database)
    path = tmp_path / name

    if name.endswith(".gz"):
        done = await exported(database, path)
        assert (done.code, done.out, done.err) == (0, "", "5 runs written\n")
        done = await imported(elsewhere, path)
        assert (done.code, done.out, done.err) == (0, "", "5 runs imported\n")
    else:
        assert await write_archive(client, AT_ONCE, path, delete=False) == "5 runs written"
        assert (await read_archive(other, path)).runs == 5

    for wf_id in ids:
        before, after = await client.get_history(wf_id), await other.get_history(wf_id)
        assert after == before
        assert any(event.worker_id for event in after)
        assert await other.describe(wf_id) == await client.describe(wf_id)
    assert (await other.describe("awkward")).result == AWKWARD
    await database.execute("delete from grctl.runs where wf_id = 'open'")
    await drop_orphans(database)
    expected = await rows_of(database)
    served = {json.loads(row)["wf_type"] for row in expected["runs"]}
    expected["workflow_types"] = [
        row for row in expected["workflow_types"] if json.loads(row)["wf_type"] in served
    ]
    assert await rows_of(elsewhere) == expected


async def test_an_import_may_be_repeated(
    client: Client, database: Database, other: Client, elsewhere: Database, serve, tmp_path: Path
) -> None:
    await some_runs(client, serve, database)
    path = tmp_path / "runs.jsonl"
    await write_archive(client, AT_ONCE, path, delete=False)
    assert (await read_archive(other, path)).runs == 5
    before, workers = await counts(elsewhere), await elsewhere.fetch("select * from grctl.workers")

    done = await imported(elsewhere, path)

    assert (done.code, done.err) == (0, "0 runs imported; 5 were there already\n")
    assert await counts(elsewhere) == before
    assert await elsewhere.fetch("select * from grctl.workers") == workers
    # And where it came from it changes nothing either.
    assert (await read_archive(client, path)).known == 5


async def test_a_run_that_ended_otherwise_is_left_and_named(
    client: Client, other: Client, elsewhere: Database, fill: Fill, tmp_path: Path
) -> None:
    await fill(3, days=1)
    path = tmp_path / "runs.jsonl"
    await write_archive(client, AT_ONCE, path, delete=False)
    await read_archive(other, path)
    await elsewhere.execute(
        "update grctl.runs set ended_at = now(), result = '2' where wf_id like '%2';"
        "delete from grctl.runs where wf_id like '%3'"
    )
    await drop_orphans(elsewhere)

    done = await imported(elsewhere, path)

    assert done.code == 1
    assert "1 run imported; 1 was there already\n" in done.err
    assert "ended otherwise: t completed 1 2 (run " in done.err
    kept = await elsewhere.fetchval("select result::text from grctl.runs where wf_id like '%2'")
    assert kept == "2"
    assert (await counts(elsewhere))["events"] == 9


async def test_export_and_delete(
    database: Database, other: Client, elsewhere: Database, fill: Fill, tmp_path: Path
) -> None:
    await fill(1200, days=40, events=2)
    await fill(10, days=5)
    path = tmp_path / "old.jsonl.gz"

    done = await exported(database, path, "--older-than", "30d", "--delete")

    assert done.code == 0
    assert done.err == (
        "1200 runs written; deleted: 1200 runs, 2400 events, 1200 store, 1200 inbox, 1200 answers\n"
    )
    assert (await counts(database))["runs"] == 10
    assert (await read_archive(other, path)).runs == 1200
    assert (await counts(elsewhere))["events"] == 2400


async def test_filters_choose_what_is_written(
    database: Database, fill: Fill, tmp_path: Path
) -> None:
    await fill(2, days=9)
    await fill(3, days=9, status="failed")
    await fill(4, days=9, status="failed", wf_type="other")
    path = tmp_path / "some.jsonl"

    done = await exported(database, path, "--status", "failed", "--type", "other")

    assert done.err == "4 runs written\n"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["run"]["wf_type"] for line in lines if "run" in line} == {"other"}
    assert lines[0]["archive"]["format"] == 1
    assert lines[0]["archive"]["revision"] == migrations.known_revisions().head
    assert lines[-1] == {"end": {"runs": 4}}


async def test_nothing_is_overwritten_and_nothing_is_deleted_into_a_pipe(
    database: Database, fill: Fill, tmp_path: Path
) -> None:
    await fill(2, days=9)
    path = tmp_path / "kept.jsonl"
    path.write_text("precious")

    done = await exported(database, path, "--delete")
    assert (done.code, done.err) == (2, f"error: {path} is there already: give another name\n")
    done = await exported(database, Path("-"), "--delete")
    assert (done.code, done.out) == (2, "")
    assert "needs a file" in done.err
    assert path.read_text() == "precious"
    assert (await counts(database))["runs"] == 2

    piped = await exported(database, Path("-"))
    assert piped.err == "2 runs written\n"
    assert len(piped.out.splitlines()) == 2 + 2 * (1 + 3 + 3)


async def test_a_full_disk_deletes_nothing(database: Database, fill: Fill) -> None:
    await fill(2, days=9)
    done = await exported(database, Path("/dev/full"), "--delete")
    assert done.code != 0
    assert (await counts(database))["runs"] == 2


@pytest.mark.parametrize("name", ["cut.jsonl", "cut.jsonl.gz"])
async def test_an_archive_that_was_cut_off_gives_its_whole_runs(
    client: Client, elsewhere: Database, fill: Fill, tmp_path: Path, name: str
) -> None:
    await fill(20, days=9)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / name
    await write_archive(client, AT_ONCE, whole, delete=False)
    text = whole.read_text()
    runs = [found.start() for found in re.finditer(r'^\{"lines"', text, re.MULTILINE)]
    data = text[: runs[15] + 200].encode()  # in the middle of the 16th run's line
    if name.endswith(".gz"):
        data = gzip.compress(data)[:-12]
    cut.write_bytes(data)

    done = await imported(elsewhere, cut)

    assert done.code == 1
    assert "the archive was cut off" in done.err
    imported_runs = (await counts(elsewhere))["runs"]
    assert f"{imported_runs} runs imported" in done.err
    assert imported_runs >= 14
    if not name.endswith(".gz"):
        assert imported_runs == 15
    assert (await counts(elsewhere))["events"] == 3 * imported_runs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hello\n", "line 1: this is no line of an archive"),
        ('{"run":{}}\n', "line 1: this is no archive of grctl: its first line does not say so"),
        ('{"archive":{"format":7,"grctl":"9.0"}}\n', "format 7, made by grctl 9.0"),
        ('{"archive":{"format":1}}\n{"event":{}}\n', "line 2: a line of the kind 'event' that bel"),
        ('{"archive":{"format":1}}\n{"poem":{}}\n', "line 2: a line of a kind that is not known"),
        ('{"archive":{"format":1}}\n{"run":{"wf_id":1}}\n', "is damaged: 'run_id'"),
        ('{"archive":{}}\n', "line 1: the archive's format is not known here: None"),
        ('{"archive":{"format":"1"}}\n', "line 1: the archive's format is not known here: '1'"),
        ('{"archive":{"format":1}}\n{"type":{"wf_type":1}}\n', "line 2: a row that is damaged"),
        ('{"archive":{"format":1}}\n{"worker":{}}\n', "line 2: a row that is damaged"),
        ('{"archive":{"format":1}}\n{"worker":{"worker_no":1}}\n', "line 2: a row that is damaged"),
        ('{"archive":{"format":1}}\n[1]\n', "line 2: this is no line of an archive"),
        (
            '{"archive":{"format":1}}\n{"run":{"run_id":"01a20c6d-6034-7000-ae14-790100a20425"}}\n',
            "cannot be put there: null value in column",
        ),
    ],
)  # fmt: skip
async def test_what_is_no_archive_is_said_to_be_none(
    client: Client, database: Database, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ArchiveError, match=re.escape(said)):
        await read_archive(client, path)
    assert set((await counts(database)).values()) == {0}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("file.gz", b"hello"),
        ("file.gz", gzip.compress(b'{"archive":{"format":1}}\n', mtime=0)[:12] + b"\xff" * 30),
        ("file", b"\xff\xfe\x00"),
    ],
    ids=["no gzip", "a damaged gzip", "no text"],
)
async def test_what_cannot_be_read_as_text_is_no_archive(
    client: Client, tmp_path: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="cannot be read"):
        await read_archive(client, path)
