"""A PostgreSQL server for tests, if PostgreSQL is installed."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

PROGRAM_FOLDERS = "/usr/lib/postgresql/*/bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_postgres() -> Iterator[str]:
    """Run a server, and yield the URL of a user who may create databases, without the name of a database."""
    pytest.importorskip("psycopg", reason="psycopg comes with pip install '.[scale]'")
    programs = [str(path) for path in sorted(Path("/").glob(PROGRAM_FOLDERS.lstrip("/")))]
    path = os.pathsep.join([*programs, os.environ["PATH"]])
    if shutil.which("initdb", path=path) is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # only the current user can read the folders of pytest
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        try:
            shutil.chown(folder, "postgres")
        except LookupError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    port, data = free_port(), folder / "data"

    def call(*command: str) -> None:
        subprocess.run([*as_user, "env", f"PATH={path}", *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    call("initdb", "--pgdata", str(data), "--auth", "trust", "--username", "lab", "--encoding", "UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control = ["pg_ctl", "--pgdata", str(data), "--log", str(folder / "log"), "--wait"]
    call(*control, "--options", options, "start")
    try:
        yield f"postgresql://lab@127.0.0.1:{port}"
    finally:
        call(*control, "--mode", "immediate", "stop")
        shutil.rmtree(folder)


def make_database(server: str) -> str:
    """Create an empty database and return its URL."""
    import psycopg

    name = f"test_{secrets.token_hex(4)}"
    with closing(psycopg.connect(f"{server}/postgres", autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"
