"""A PostgreSQL server on a host of ``network.py``, with a password, that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.hosts.network import waited

USER, NAME, PASSWORD = "spiker", "sweeps", "not-in-any-file"


def programs():
    """The folder of PostgreSQL's programs, the newest ones; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    one = str(found[-1]) if found else shutil.which("initdb")
    return Path(one).parent if one else None


class Server:
    """The server. Its files are in a folder of its own, which the user postgres owns."""

    def __init__(self, host, folder):
        self.host, self.folder, self.bin = host, folder, programs()
        self.log = folder / "server.txt"
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        shutil.chown(folder, "postgres", "postgres")
        shutil.chown(secret, "postgres", "postgres")
        options = f"--pgdata {folder}/data --username {USER} --auth scram-sha-256 --pwfile {secret} --no-sync".split()
        subprocess.run(
            ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", self.bin / "initdb", *options],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        secret.unlink()
        with open(folder / "data" / "pg_hba.conf", "a") as file:
            file.write("host all all samenet scram-sha-256\n")
        with open(folder / "data" / "postgresql.conf", "a") as file:
            file.write(f"listen_addresses = '*'\nunix_socket_directories = '{folder}'\nmax_connections = 60\n")

    @property
    def url(self):
        """What ``--storage`` takes: without the password."""
        return f"postgresql+psycopg://{USER}@{self.host.name}/{NAME}"

    def start(self):
        """Start the server, and wait until it answers."""
        words = [self.bin / "postgres", "-D", self.folder / "data"]
        self.process = self.host.start(words, self.log, self.folder, user="postgres")
        ready = [self.bin / "pg_isready", "-h", self.folder, "-U", USER, "-d", "postgres"]
        waited(lambda: subprocess.run(ready, capture_output=True).returncode == 0, 60, self.log.read_text)

    def query(self, text, database=NAME):
        """Rows of an answer, as texts; at the server's socket."""
        words = [self.bin / "psql", "-h", self.folder, "-U", USER, "-d", database, "-At", "-c", text]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": PASSWORD})
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def end(self, number=signal.SIGQUIT):
        """End it: SIGQUIT at once, as a crash does; SIGINT in good order."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, number)
        self.process.wait(60)


@contextlib.contextmanager
def server(host):
    """A server with an empty database."""
    with tempfile.TemporaryDirectory(prefix="spikecore-database-") as folder:
        one = Server(host, Path(folder))
        one.start()
        try:
            one.query(f"create database {NAME}", "postgres")
            yield one
        finally:
            if one.process.poll() is None:
                one.end()
