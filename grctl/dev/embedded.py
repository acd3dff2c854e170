"""A PostgreSQL server that starts with the first who needs it and ends with the last.

Any number of processes and objects on one home share one server. It listens on 127.0.0.1 alone,
with a random password. When its users are gone it is stopped; when all of them were killed, the
next start adopts it if it answers, and replaces it if not.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from grctl.dev.account import as_account, reachable_installation, server_account
from grctl.dev.binaries import Installation, find_installation
from grctl.dev.home import Home, ServerRecord, default_home
from grctl.errors import ConfigurationError, GrctlError

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "default_home"]

USER = "grctl"
DATABASE = "grctl"
HOST = "127.0.0.1"

_START_SECONDS = 60
_START_ATTEMPTS = 20
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    # Its warm-up costs more than our short statements take.
    "jit": "off",
}
# What a later attempt may not find any more: another's port; the last processes of a killed server.
_PASSING = (
    "could not bind",
    "Address already in use",
    "could not create any TCP/IP sockets",
    "pre-existing shared memory block",
    'lock file "postmaster.pid" already exists',
)

StopMode = Literal["smart", "fast", "immediate"]


class EmbeddedPostgresError(GrctlError):
    """The embedded server could not be started or stopped; the message has the server's words."""


class EmbeddedPostgres:
    """One user's share in the server of a home.

    Args:
        home: the server's directory; made if need be. As root, where the server's account cannot
            reach it, a directory below /var/lib/grctl stands in for it.
        ephemeral: remove everything when the last user is gone.
        settings: of postgresql.conf, over ours; they take effect when the server is started, not
            when one that runs is joined.
        port: to listen on, when the server is started and not joined; None: the one it had, or any
            free one.

    Linux and macOS.
    """

    def __init__(
        self,
        home: Path,
        *,
        ephemeral: bool = False,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._account = server_account()
        self._home = Home(home, self._account)
        self._ephemeral = ephemeral
        self._settings = {**_SETTINGS, **(settings or {})}
        self._port = port
        self._found: Installation | None = None
        self._is_joined = False

    @property
    def is_joined(self) -> bool:
        """Whether the server ran already when it was to be started."""
        return self._is_joined

    @property
    def home(self) -> Path:
        """The directory in use."""
        return self._home.path

    @property
    def dsn(self) -> str:
        """The URL of the server's database, password included.

        Raises:
            EmbeddedPostgresError: the server was never started.
        """
        record = self._home.read_record()
        if record is None:
            raise EmbeddedPostgresError(f"no server was started in {self.home}")
        return f"postgresql://{USER}:{record.password}@{HOST}:{record.port}/{DATABASE}"

    def start(self) -> str:
        """Start the server, or join the one that runs; may be repeated.

        Returns:
            The URL of its database.

        Raises:
            ConfigurationError: there is no PostgreSQL to start, or the data is another version's.
            EmbeddedPostgresError: it does not start.
        """
        with self._home.locked():
            self._home.enter()
            try:
                self._ensure_running()
            except BaseException:
                self._home.leave()
                raise
        atexit.register(self.stop)
        return self.dsn

    def stop(self) -> None:
        """Use the server no longer; the last user stops it. May be repeated."""
        atexit.unregister(self.stop)
        if not self.home.exists():
            return
        with self._home.locked():
            self._home.leave()
            if self._home.in_use():
                return
            self._halt("fast")
            if self._ephemeral:
                self._home.remove()

    def crash(self) -> None:
        """Stop the server as if its machine lost power, for all its users; `start()` recovers."""
        with self._home.locked():
            self._halt("immediate")

    def restart(self, mode: StopMode = "fast") -> str:
        """Stop the server in the given way, for all its users, and start it on the same port."""
        with self._home.locked():
            self._halt(mode)
            self._home.enter()
            self._ensure_running()
        return self.dsn

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _installation(self) -> Installation:
        # A copy goes with its home, when the last user of an ephemeral one leaves.
        if self._found is None or not self._found.bin.exists():
            self._found = reachable_installation(find_installation(), self._account, self.home)
        return self._found

    def _ensure_running(self) -> None:
        record = self._home.read_record()
        self._is_joined = record is not None and self._adopt(record)
        if self._is_joined:
            return
        if record is None or not (self._home.data / "PG_VERSION").exists():
            self._refuse_to_overwrite()
            record = self._make_cluster()
        self._check_version()
        self._launch(record)

    def _refuse_to_overwrite(self) -> None:
        """Data whose password is lost may still be dear to someone."""
        if not (self._home.data / "PG_VERSION").exists():
            return
        if not self._ephemeral:
            raise EmbeddedPostgresError(
                f"{self.home} has data, but its server.json is gone or damaged: put it back, or "
                "remove the directory with all its data"
            )
        self._halt("immediate")

    def _adopt(self, record: ServerRecord) -> bool:
        """Take over a server that runs on our data, if it answers; end it if it does not."""
        pid = self._server_pid()
        if pid is None:
            return False
        if self._answers(record.port, seconds=_START_SECONDS / 2, pid=pid):
            return True
        self._kill(pid)
        return False

    def _server_pid(self) -> int | None:
        """The pid of the server on our data directory, if it is alive and really that."""
        try:
            first = (self._home.data / "postmaster.pid").read_text().partition("\n")[0]
            pid = abs(int(first))
            os.kill(pid, 0)
            # A pid is soon another's; a server's working directory is its data directory.
            if Path("/proc/self/cwd").exists():
                return pid if Path(f"/proc/{pid}/cwd").samefile(self._home.data) else None
        except (OSError, ValueError):
            return None
        return pid

    def _answers(self, port: int, *, seconds: float, pid: int) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            if (
                self._run("pg_isready", "-q", "-h", HOST, "-p", str(port), "-t", "2").returncode
                == 0
            ):
                return True
            if time.monotonic() > deadline or self._server_pid() != pid:
                return False
            time.sleep(0.05)

    def _make_cluster(self) -> ServerRecord:
        """Make the data directory under another name first: one that is there is complete."""
        (self._home.path / "created").unlink(missing_ok=True)
        new = self._home.own_directory("new")
        record = ServerRecord(port=_free_port(), password=secrets.token_hex(16))
        # Inside the new directory, which is the server's account's; initdb wants it empty.
        secret = self._home.own_directory("secret")
        password = secret / "password"
        password.touch(mode=0o600)
        password.write_text(record.password)
        self._home.give(password)
        try:
            made = self._run(
                "initdb", "--no-sync", "--locale=C", "--encoding=UTF8", f"--username={USER}",
                "--auth=scram-sha-256", f"--pwfile={password}", "-D", str(new),
            )  # fmt: skip
        finally:
            password.unlink()
            secret.rmdir()
        if made.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed in {new}:\n{made.stdout}")
        with (new / "postgresql.conf").open("a") as file:
            file.write("\ninclude_if_exists = 'grctl.conf'\n")
        self._home.write_record(record)
        new.rename(self._home.own_directory("data"))
        return record

    def _check_version(self) -> None:
        found = (self._home.data / "PG_VERSION").read_text().strip()
        if found != str(self._installation().major):
            raise ConfigurationError(
                f"{self._home.data} was made by PostgreSQL {found}, and "
                f"{self._installation().bin} is {self._installation().version}: name the "
                f"directory of PostgreSQL {found}'s programs in GRCTL_PG_BIN, or remove "
                f"{self.home} with all its data"
            )

    def _launch(self, record: ServerRecord) -> None:
        """Start the server, if it can be on the port it had before: URLs stay good."""
        port = self._port or record.port
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._remove_stale_pid_file()
            self._write_settings(port)
            result = self._run(
                "pg_ctl", "start", "-w", "-s", "-t", str(_START_SECONDS),
                "-D", str(self._home.data), "-l", str(self._home.log),
            )  # fmt: skip
            if result.returncode == 0:
                break
            words = result.stdout + self._end_of_log()
            if attempt == _START_ATTEMPTS or not any(each in words for each in _PASSING):
                raise EmbeddedPostgresError(f"PostgreSQL does not start in {self.home}:\n{words}")
            time.sleep(0.1)
            if self._port is not None:
                if "bind" in words:
                    raise EmbeddedPostgresError(f"port {port} of {HOST} is in use")
            elif attempt > _START_ATTEMPTS // 4 or "bind" in words:
                port = _free_port()
        self._home.write_record(ServerRecord(port=port, password=record.password))
        self._create_database(port, record.password)

    def _create_database(self, port: int, password: str) -> None:
        """Only once: its absence is a matter of the first start, or of one that was interrupted."""
        done = self._home.path / "created"
        if done.exists():
            return
        result = self._run(
            "createdb", "-h", HOST, "-p", str(port), "-U", USER, "--maintenance-db=postgres",
            DATABASE, environ={"PGPASSWORD": password},
        )  # fmt: skip
        if result.returncode != 0 and "already exists" not in result.stdout:
            raise EmbeddedPostgresError(f"createdb failed in {self.home}:\n{result.stdout}")
        done.touch()

    def _write_settings(self, port: int) -> None:
        lines = [f"{name} = {_quoted(value)}\n" for name, value in self._settings.items()]
        path = self._home.data / "grctl.conf"
        path.write_text("".join([*lines, f"port = {port}\n"]))
        path.chmod(0o600)
        self._home.give(path)

    def _remove_stale_pid_file(self) -> None:
        # Where it names a live process that is no server of ours, PostgreSQL would not start.
        if self._server_pid() is None:
            (self._home.data / "postmaster.pid").unlink(missing_ok=True)

    def _halt(self, mode: StopMode) -> None:
        pid = self._server_pid()
        if pid is None:
            return
        result = self._run(
            "pg_ctl", "stop", "-w", "-s", "-t", str(_START_SECONDS), "-m", mode,
            "-D", str(self._home.data),
        )  # fmt: skip
        if result.returncode != 0 and self._server_pid() == pid:
            self._kill(pid)

    def _kill(self, pid: int) -> None:
        """End a server that does not answer; its other processes end by themselves."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _START_SECONDS
        while self._server_pid() == pid:
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"process {pid} of {self.home} cannot be ended")
            time.sleep(0.02)

    def _run(
        self, program: str, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._installation().program(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd=self.home,
            env={**_clean_environment(), **(environ or {})},
            # Out of our process group: Ctrl-C in a terminal is for us, who stop it in good order.
            start_new_session=True,
            umask=0o077,
            **as_account(self._account),
        )

    def _end_of_log(self) -> str:
        with contextlib.suppress(OSError):
            return self._home.log.read_text(errors="replace")[-2000:]
        return ""


def _clean_environment() -> dict[str, str]:
    """Ours without libpq's variables (PGPORT …) and without a locale the server may not have."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_")) and name != "LANG"
    }
    return {**kept, "LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
