"""The connections between ranks: one whose other end has vanished is closed in time, and errors name rank and host."""

from __future__ import annotations

import os
import re
import socket
import sys
from typing import Any, Callable, Dict, Iterator, List, Tuple

import torch.distributed as dist

SILENCE = 30  # seconds; a link that is away for a shorter time harms nothing
LOOKS = 5  # how often a host is asked in this time whether it is still there
_names: Dict[str, str] = {}  # rank and host, by address and port


def watch() -> None:
    """Let the system close connections to ranks whose host answers nothing for ``SILENCE`` seconds. All ranks call it.

    A machine that loses its power, or its link, closes no connection, so the others would wait for it forever. A rank
    that computes for long is not concerned: its system answers in its place. (Linux lists the connections of a process;
    elsewhere the timeout of the process group remains.)
    """
    here = f"rank {dist.get_rank()} on {socket.gethostname()}"
    found = list(_sockets())
    tables: List[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(tables, {own: here for _, own, _ in found})
    _names.clear()
    _names.update((own, name) for table in tables for own, name in table.items())
    for one, _, other in found:
        if other in _names:  # else it is none of this group's: a program may have connections of its own
            _limit(one)
        one.close()


def named(text: str) -> str:
    """Rank and host at the other end of the connection that an error of torch names; an empty text if unknown."""
    for host, port in re.findall(r"\[([^\[\] ]+)\]:(\d{1,5})\b", text):
        swapped = socket.ntohs(int(port) & 0xFFFF)  # gloo prints the bytes in the network's order
        for number in (int(port), swapped):
            name = _names.get(_plain(f"{host}:{number}"))
            if name is not None:
                return name
    return ""


def _sockets() -> Iterator[Tuple[socket.socket, str, str]]:
    """The TCP sockets of this process: a second handle of each, its own address, and that of the other end, if any."""
    for entry in os.listdir("/proc/self/fd") if sys.platform.startswith("linux") else ():
        try:
            if not os.readlink(f"/proc/self/fd/{entry}").startswith("socket:"):
                continue
            one = socket.socket(fileno=os.dup(int(entry)))
        except OSError:  # another thread has closed it in the meantime
            continue
        if one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM:
            yield one, _address(one.getsockname), _address(one.getpeername)
        else:
            one.close()


def _address(ask: Callable[[], Any]) -> str:
    try:
        host, port = ask()[:2]
    except OSError:  # a socket that listens has no other end
        return ""
    return _plain(f"{host}:{port}")


def _plain(address: str) -> str:
    """An address without the prefix that IPv6 puts before those of IPv4."""
    return address[len("::ffff:") :] if address.startswith("::ffff:") else address


def _limit(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # asks when nothing is to be sent
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), SILENCE // (LOOKS + 1))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, LOOKS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SILENCE)  # for what has been sent
