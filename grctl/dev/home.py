"""The directory of one embedded server: who uses it, and one at a time who changes it.

Who uses the server holds a lock on a file of its own in `users/`. The kernel lets go of it when the
process ends in whatever way, so a killed user counts no more, and no pid is ever trusted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from grctl.dev.account import Account
from grctl.errors import ConfigurationError

# For root, where the server's account cannot reach the home that was asked for.
_SHARED_HOMES = Path("/var/lib/grctl")


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """How to reach the server of a home; written once the server answers."""

    port: int
    password: str


def default_home() -> Path:
    """Where `grctl dev` keeps its data: the user's data directory, as the platform has it.

    Where that cannot be written (no home directory, as for service accounts): a directory of the
    user's own below the temporary one.
    """
    home = _data_directory() / "grctl" / "postgres"
    if home.is_absolute() and _can_be_made(home):
        return home
    return Path(tempfile.gettempdir()) / f"grctl-{os.geteuid()}" / "postgres"


def _data_directory() -> Path:
    if sys.platform == "darwin":
        return _below_user("Library/Application Support")
    told = Path(os.environ.get("XDG_DATA_HOME", ""))
    return told if told.is_absolute() else _below_user(".local/share")


def _below_user(path: str) -> Path:
    try:
        return Path.home() / path
    except RuntimeError:
        return Path()  # an account without a home; no absolute path, so not taken


def _can_be_made(path: Path) -> bool:
    nearest = next(each for each in (path, *path.parents) if each.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


class Home:
    """The files of one embedded server."""

    def __init__(self, asked: Path, account: Account | None) -> None:
        self._account = account
        self.path = self._reachable(asked.absolute())
        self.data = self.path / "data"
        self._users = self.path / "users"
        self._record = self.path / "server.json"
        self._own: tuple[Path, int] | None = None

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data / "server.log"

    def make(self) -> None:
        """Make the directory, if need be, and refuse one that somebody else could have laid."""
        mode = 0o700 if self._account is None else 0o711
        self._make_parents()
        self.path.mkdir(exist_ok=True, mode=mode)
        found = self.path.lstat()
        if found.st_uid != os.geteuid() or self.path.is_symlink():
            raise ConfigurationError(
                f"{self.path} belongs to another user (uid {found.st_uid}): remove it, or choose "
                "another directory for the server"
            )
        self.path.chmod(mode)
        self._users.mkdir(exist_ok=True, mode=0o700)

    def _make_parents(self) -> None:
        missing = [each for each in self.path.parents if not each.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            if self._account is not None:
                path.chmod(0o755)  # whatever the umask: the server's account must pass

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who starts or stops the server, or looks whether it runs."""
        descriptor = self._open_lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        while True:
            self.make()
            path = self.path / "lock"
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue  # removed between the two calls, by the last user of an ephemeral home
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # The one who held it before us may have removed the home, and with it this very file.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return descriptor
            os.close(descriptor)

    def enter(self) -> None:
        """Count as a user of the server, until `leave()` or the end of the process."""
        if self._own is not None:
            return
        path = self._users / f"{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._own = (path, descriptor)

    def leave(self) -> None:
        """Count no longer."""
        if self._own is None:
            return
        path, descriptor = self._own
        path.unlink(missing_ok=True)
        os.close(descriptor)
        self._own = None

    def in_use(self) -> bool:
        """Whether anyone counts as a user; files of dead ones are removed."""
        alive = [path for path in self._users.iterdir() if not self._is_stale(path)]
        return bool(alive)

    def _is_stale(self, path: Path) -> bool:
        if self._own is not None and path == self._own[0]:
            return False
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(descriptor)

    def read_record(self) -> ServerRecord | None:
        """How to reach the server; None if it was never started or the record is unreadable."""
        try:
            return ServerRecord(**json.loads(self._record.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_record(self, record: ServerRecord) -> None:
        """Keep `record`; readable by us alone, since it has the password."""
        unfinished = self._record.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(record), file)
        unfinished.rename(self._record)

    def own_directory(self, name: str) -> Path:
        """An empty directory that belongs to the server's account."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make `path` the server's account's."""
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def remove(self) -> None:
        """Remove everything. Only under the lock, with the server stopped."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _reachable(self, asked: Path) -> Path:
        """`asked`, or its stand-in where the server's account could not reach it (/root/…)."""
        if self._account is None:
            return asked
        nearest = next(each for each in asked.parents if each.exists())
        if self._account.reaches(nearest):
            return asked
        name = hashlib.sha256(os.fsencode(asked.resolve())).hexdigest()[:16]
        return _SHARED_HOMES / name
