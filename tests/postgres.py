"""A PostgreSQL of the tests' own, where Debian's package or another one is installed."""

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

PLACES = "/usr/lib/postgresql/*/bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_postgres() -> Iterator[str]:
    """A server; gives the URL of a user who may make databases, without a database's name."""
    pytest.importorskip("psycopg", reason="psycopg comes with pip install '.[scale]'")
    programs = [str(path) for path in sorted(Path("/").glob(PLACES.lstrip("/")))]
    path = os.pathsep.join([*programs, os.environ["PATH"]])
    if shutil.which("initdb", path=path) is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are its user's alone
    as_user: list[str] = []
    if os.geteuid() == 0:  # which it refuses
        try:
            shutil.chown(folder, "postgres")
        except LookupError:
            pytest.skip("PostgreSQL refuses root, and there is no user postgres")
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
    """The URL of a new, empty database."""
    import psycopg

    name = f"test_{secrets.token_hex(4)}"
    with closing(psycopg.connect(f"{server}/postgres", autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"
