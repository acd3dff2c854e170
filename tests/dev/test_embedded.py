from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from grctl.dev import EmbeddedPostgres, default_home
from grctl.dev.account import server_account
from grctl.dev.binaries import find_installation
from grctl.dev.embedded import EmbeddedPostgresError
from grctl.errors import ConfigurationError
from tests.support import environment, wait_until

# A user of a server in a process of its own: says the URL, and leaves when its stdin ends.
_USER = """
import sys
from pathlib import Path
from grctl.dev import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), ephemeral=True) as server:
    print(server.dsn, flush=True)
    sys.stdin.read()
"""


def user_process(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _USER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def let_go(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)


async def ask(dsn: str, sql: str) -> object:
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


async def answers(dsn: str) -> bool:
    try:
        return await ask(dsn, "select 1") == 1
    except (OSError, asyncpg.PostgresError):
        return False


def server_pid(server: EmbeddedPostgres) -> int:
    return int((server.home / "data" / "postmaster.pid").read_text().split("\n")[0])


async def test_a_server_begins_and_ends_with_its_only_user(server_home):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        assert await ask(server.dsn, "select current_database()") == "grctl"
        dsn = server.dsn
    assert not await answers(dsn)
    assert not server.home.exists()


async def test_starting_and_stopping_may_be_repeated(server_home):
    server = EmbeddedPostgres(server_home, ephemeral=True)
    assert server.start() == server.start()
    server.stop()
    server.stop()
    assert await answers(server.start())
    server.stop()


async def test_the_last_of_two_users_stops_the_server(server_home):
    first = EmbeddedPostgres(server_home, ephemeral=True)
    second = EmbeddedPostgres(server_home, ephemeral=True)
    dsn = first.start()
    assert second.start() == dsn
    first.stop()
    assert await answers(dsn)
    second.stop()
    assert not await answers(dsn)


async def test_several_processes_at_once_get_one_server(server_home):
    processes = [user_process(server_home) for _ in range(4)]
    try:
        dsns = {said_by(each) for each in processes}
        assert len(dsns) == 1
        dsn = dsns.pop()
        for each in processes[:-1]:
            let_go(each)
        assert await answers(dsn)
        let_go(processes[-1])
        assert not await answers(dsn)
    finally:
        for each in processes:
            each.kill()
            each.communicate()


async def test_the_server_of_killed_users_is_adopted_and_ends_with_who_adopted_it(server_home):
    process = user_process(server_home)
    dsn = said_by(process)
    process.kill()
    process.communicate()
    assert await answers(dsn)
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        assert server.dsn == dsn
    assert not await answers(dsn)


async def test_a_server_that_was_killed_is_replaced_and_its_data_is_there(server_home):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        await ask(server.dsn, "create table kept as select 7 as n")
        os.kill(server_pid(server), signal.SIGKILL)
        await wait_until(lambda: _gone(server.dsn), "the killed server answers no more")
        assert await ask(server.start(), "select n from kept") == 7


async def _gone(dsn: str) -> bool:
    return not await answers(dsn)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restarted_server_has_its_data_and_its_url(server_home, mode):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        await ask(server.dsn, "create table kept as select 7 as n")
        before = server.dsn
        assert server.restart(mode) == before
        assert await ask(before, "select n from kept") == 7


async def test_a_crashed_server_is_down_until_it_is_started(server_home):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        dsn = server.dsn
        server.crash()
        assert not await answers(dsn)
        assert server.start() == dsn
        assert await answers(dsn)


async def test_data_outlives_the_server_unless_it_is_ephemeral(server_home):
    with EmbeddedPostgres(server_home) as server:
        await ask(server.dsn, "create table kept as select 7 as n")
        dsn = server.dsn
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        assert server.dsn == dsn
        assert await ask(server.dsn, "select n from kept") == 7


async def test_only_who_knows_the_password_gets_in_and_only_from_this_machine(server_home):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        record = server.home / "server.json"
        password = json.loads(record.read_text())["password"]
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(server.dsn.replace(password, "guess"), "select 1")
        assert await ask(server.dsn, "show listen_addresses") == "127.0.0.1"
        assert await ask(server.dsn, "show unix_socket_directories") == ""
        stored = "select rolpassword from pg_authid where rolname = 'grctl'"
        assert str(await ask(server.dsn, stored)).startswith("SCRAM-SHA-256")


async def test_settings_reach_the_server(server_home):
    settings = {"work_mem": "12MB", "application_name": "it's"}
    with EmbeddedPostgres(server_home, ephemeral=True, settings=settings) as server:
        assert await ask(server.dsn, "show work_mem") == "12MB"
        assert await ask(server.dsn, "show application_name") == "it's"


async def test_a_pid_file_that_names_a_stranger_is_no_server(server_home):
    with EmbeddedPostgres(server_home) as server:
        pass
    (server.home / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{server.home}/data\n")
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        assert await answers(server.dsn)


async def test_data_of_another_version_is_left_alone(server_home):
    with EmbeddedPostgres(server_home) as server:
        pass
    (server.home / "data" / "PG_VERSION").write_text("11\n")
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 11.*GRCTL_PG_BIN"):
        server.start()
    assert (server.home / "data" / "PG_VERSION").read_text() == "11\n"


async def test_data_whose_password_is_lost_is_not_overwritten(server_home):
    with EmbeddedPostgres(server_home) as server:
        pass
    (server.home / "server.json").unlink()
    with pytest.raises(EmbeddedPostgresError, match=r"server\.json is gone"):
        server.start()
    assert (server.home / "data" / "PG_VERSION").exists()


async def test_a_half_made_cluster_is_made_again(server_home):
    with EmbeddedPostgres(server_home) as server:
        pass
    (server.home / "data").rename(server.home / "new")
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        assert await answers(server.dsn)


async def test_a_bad_setting_is_reported_in_the_servers_words(server_home):
    server = EmbeddedPostgres(server_home, settings={"no_such_setting": "1"})
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
async def test_for_root_a_home_that_the_server_cannot_reach_has_a_stand_in(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "server", ephemeral=True) as server:
        assert not server.home.is_relative_to(closed)
        assert await answers(server.dsn)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    account = server_account()
    assert account is not None
    assert account.uid != 0


def test_a_home_of_somebody_else_is_refused(server_home):
    server_home.parent.joinpath("elsewhere").mkdir()
    server_home.symlink_to(server_home.parent / "elsewhere")
    with pytest.raises(ConfigurationError, match="remove it, or choose another"):
        EmbeddedPostgres(server_home).start()


def test_a_directory_without_postgresql_is_no_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("GRCTL_PG_BIN", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"GRCTL_PG_BIN=.*initdb"):
        find_installation()


def test_the_data_directory_follows_the_platforms_conventions(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform != "darwin":
        assert default_home() == tmp_path / "grctl" / "postgres"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_without_a_writable_home_the_data_goes_to_the_temporary_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o500)
    assert default_home().parent.name == f"grctl-{os.geteuid()}"
