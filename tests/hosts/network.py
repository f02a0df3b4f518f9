"""Hosts in one machine: network namespaces with addresses and names of their own, joined by a bridge of shaped rate.

``python -m tests.hosts.network 2 100mbit COMMAND ...`` (as root) makes two hosts, runs the command in each, with HOST
in its environment (0, 1, ...), prints the bytes that each has sent, and removes the hosts, also after a failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

NETWORK = "10.143.7"
#: Hosts and databases that several tests start at once in one machine must not have the same names.
NAME = f"sc{os.getpid()}"

#: How often Linux sends again what nobody has acknowledged: for half a minute. The default, 15, is a quarter of an
#: hour, for which torchrun waits for its rendezvous. docs/many_machines.md says so.
RETRIES = 6


def absent():
    """Why hosts cannot be made here; an empty text if they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    missing = [program for program in ("ip", "tc", "unshare") if shutil.which(program) is None]
    if missing:
        return f"no {', '.join(missing)}: install iproute2 and util-linux"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    made = subprocess.run(["ip", "netns", "add", f"{NAME}try"], capture_output=True, text=True)
    if made.returncode:
        return f"this machine lets nobody make network namespaces ({made.stderr.strip()})"
    call("ip", "netns", "delete", f"{NAME}try")
    return ""


def call(*words):
    """Run a command; an error has what it said."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr or done.stdout}")
    return done.stdout


class Host:
    """A namespace with the name ``host1``, ``host2``, ... and an address. Its processes begin by ``start``."""

    def __init__(self, number, switch):
        self.name, self.address = f"host{number + 1}", f"{NETWORK}.{number + 1}"
        self.space, self.port, self.switch = f"{NAME}{self.name}", f"port{number + 1}", switch
        self.processes = []

    def start(self, words, log, cwd=None, user=None, **environment):
        """Start a command on this host; ``log`` gets what it prints."""
        own = {**os.environ, **{key: str(value) for key, value in environment.items()}}
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else []
        inner = ["unshare", "--uts", "sh", "-c", f'hostname {self.name} && exec "$@"', "sh", *as_user, *words]
        with open(log, "ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.space, *map(str, inner)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=cwd,
                env=own,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def pids(self):
        """The processes of this host that still run; those of others are in other namespaces."""
        for process in self.processes:
            process.poll()
        found = [int(pid) for pid in call("ip", "netns", "pids", self.space).split()]
        return [pid for pid in found if not _ended(pid)]

    def kill(self, number=signal.SIGKILL, pids=None):
        """Send a signal to all processes of this host, or to some."""
        for pid in self.pids() if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut(self):
        """Cut the link: what is sent gets lost, and no side is told."""
        call("ip", "-n", self.switch, "link", "set", self.port, "nomaster")

    def mend(self):
        """Join what ``cut`` has cut."""
        call("ip", "-n", self.switch, "link", "set", self.port, "master", "bridge")

    def die(self):
        """End as by a power failure: the processes are gone, and say good-bye to nobody."""
        self.cut()
        self.kill()

    def sent(self):
        """Bytes that this host has sent so far."""
        counted = "cat /sys/class/net/eth0/statistics/tx_bytes"
        return int(call("ip", "netns", "exec", self.space, "sh", "-c", counted))


def _ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextlib.contextmanager
def network(count, rate):
    """Hosts that are joined by a bridge; each of them sends and gets at most ``rate``, e.g. "100mbit"."""
    switch = f"{NAME}switch"
    hosts = [Host(number, switch) for number in range(count)]
    names = "127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in hosts)
    try:
        call("ip", "netns", "add", switch)
        call("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
        call("ip", "-n", switch, "link", "set", "bridge", "up")
        for host in hosts:
            etc = Path("/etc/netns", host.space)
            etc.mkdir(parents=True)
            (etc / "hosts").write_text(names)
            call("ip", "netns", "add", host.space)
            peer = ("peer", "name", host.port, "netns", switch)
            call("ip", "-n", host.space, "link", "add", "eth0", "type", "veth", *peer)
            call("ip", "-n", host.space, "address", "add", f"{host.address}/24", "dev", "eth0")
            host.mend()
            for space, link in ((host.space, "lo"), (host.space, "eth0"), (switch, host.port)):
                call("ip", "-n", space, "link", "set", link, "up")
            call("ip", "netns", "exec", host.space, "sh", "-c", f"echo {RETRIES} > /proc/sys/net/ipv4/tcp_retries2")
            for space, link in ((host.space, "eth0"), (switch, host.port)):  # what it sends, and what it gets
                shape = ("rate", rate, "burst", "64kb", "latency", "50ms")
                call("tc", "-n", space, "qdisc", "add", "dev", link, "root", "tbf", *shape)
        yield hosts
    finally:
        there = call("ip", "netns", "list").split()
        for host in hosts:
            if host.space in there:
                end = time.monotonic() + 20
                while host.pids() and time.monotonic() < end:
                    host.kill()
                    time.sleep(0.05)
                for process in host.processes:
                    process.wait(20)
                call("ip", "netns", "delete", host.space)
            shutil.rmtree(Path("/etc/netns", host.space), ignore_errors=True)
        if switch in there:
            call("ip", "netns", "delete", switch)


def gone(hosts, seconds):
    """Seconds until no process runs on these hosts; None if some still do."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if not any(host.pids() for host in hosts):
            for process in (process for host in hosts for process in host.processes):
                process.wait(20)  # it may have ended since it was asked
            return time.monotonic() - begun
        time.sleep(0.1)
    return None


def waited(ready, seconds, what):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not within {seconds} s: {what()}"
        time.sleep(0.02)


def main():
    """What the module's docstring says."""
    count, rate, *command = sys.argv[1:]
    with network(int(count), rate) as hosts:
        logs = [Path(f"{host.name}.txt") for host in hosts]
        started = [host.start(command, log, HOST=n) for n, (host, log) in enumerate(zip(hosts, logs))]
        codes = [process.wait() for process in started]
        for host, log, code in zip(hosts, logs, codes):
            print(f"{host.name}: exit code {code}, {host.sent()} bytes sent; what it said is in {log}")
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
