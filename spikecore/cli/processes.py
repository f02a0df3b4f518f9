"""Several processes that run one command together, as torchrun starts them."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable, Iterator, Optional, TypeVar

from spikecore.api.core.ranks import Ranks
from spikecore.cli.exit_codes import TERMINATED, Interrupted
from spikecore.cli.messages import ConfigError
from spikecore.errors import RankError, RankLost
from spikecore.installing import to_install

Result = TypeVar("Result")
TIMEOUT = datetime.timedelta(minutes=10)  # for a rank that neither answers nor ends: loading and saving take less

WHEELS = "https://pytorch.org/get-started"


class AlreadyReported(Exception):
    """An error that rank 0 reports: this process ends silently, with the exit code of the exception's ``__cause__``."""


def rank() -> int:
    """The number of this process among those that torchrun has started; 0 if it has started none."""
    return int(os.environ["RANK"]) if under_torchrun() else 0


def under_torchrun() -> bool:
    """Whether torchrun, or what sets the same variables, has started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ)


def restarted() -> bool:
    """Whether torchrun has started this process again, after another one had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def restarts() -> int:
    """Number of times that torchrun starts the processes again after a failure."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Make a process group of all processes that torchrun has started, until the block ends.

    Raises:
        ConfigError: PyTorch is missing, or was built without processes.
    """
    if not under_torchrun():
        yield Ranks()
        return
    try:
        import torch
        import torch.distributed as dist

        if not dist.is_available():
            raise ConfigError(
                [_together(f"this torch {torch.__version__} is built without it: install one of {WHEELS}")]
            )
        # Defaults of its functions hold the group that is there when it is imported, which torch's optimisers do. The
        # group's threads would then outlive it, and could end the process by SIGABRT while Python ends.
        import torch.distributed.nn.functional
    except ModuleNotFoundError:
        raise ConfigError([_together(to_install("torch"))]) from None
    from spikecore.engines.torch.ranks import collective, ranks_of

    here = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available() and dist.is_nccl_available() and here < torch.cuda.device_count()
    if cuda:
        torch.cuda.set_device(here)
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":  # what torchrun sets unless the user has set a number
        torch.set_num_threads(max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))))
    store, number, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
    # After a restart the store may still have addresses of processes that have ended: each attempt has its own names.
    fresh = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    options: Any = {"store": fresh, "rank": number, "world_size": size, "timeout": TIMEOUT}
    collective(dist.init_process_group)("cpu:gloo,cuda:nccl" if cuda else "gloo", **options)
    try:
        ranks = ranks_of()
        ranks.watch()
        yield ranks
    finally:
        dist.destroy_process_group()


def _together(remedy: str) -> str:
    return f"{os.environ['WORLD_SIZE']} processes train together with torch.distributed only: {remedy}"


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_of(name: Optional[str]) -> Optional[str]:
    """The device of this process: of several CUDA devices each process takes its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" and under_torchrun() else name


def everywhere(ranks: Ranks, function: Callable[[], Result]) -> Result:
    """The result of a function; if it fails on one rank, all fail.

    Raises:
        Exception: that of the function, on the ranks on which it has failed.
        Said: in its place, if rank 0 has failed for the same reason.
        RankError: on the other ranks.
    """
    error, result = None, None
    try:
        result = function()
    except Exception as raised:
        error = raised
    texts = ranks.gathered(error and f"{type(error).__name__}: {error}")
    if error is not None:
        if ranks.rank and texts[0] == texts[ranks.rank]:
            raise AlreadyReported from error
        raise error
    for number, text in enumerate(texts):
        if text is not None:
            raise RankError(f"rank {number} of {ranks.size} has failed: {text}")
    return result  # type: ignore[return-value]  # no error, so there is a result


def silent(error: BaseException) -> bool:
    """Whether this process need not say an error, because rank 0 does."""
    common = isinstance(error, (RankError, Interrupted)) and not isinstance(error, RankLost)
    return isinstance(error, AlreadyReported) or (rank() > 0 and common)


def named(text: Any) -> str:
    """A message with the number of this process, if there are several."""
    return f"rank {rank()}: {text}" if under_torchrun() and rank() else str(text)


@contextlib.contextmanager
def ending_within(seconds: Optional[float], message: Callable[[], str]) -> Iterator[None]:
    """End the process if the block still runs so long after SIGTERM, even in the middle of a training step.

    Args:
        seconds: how long; None never ends it.
        message: makes what is printed.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    here, signals = socket.socketpair()
    signals.setblocking(False)
    before = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            came = here.recv(64)
            if not came:
                return
            if signal.SIGTERM in came:
                break
        end = time.monotonic() + seconds  # type: ignore[operator]
        while time.monotonic() < end:
            here.settimeout(max(0.001, end - time.monotonic()))
            with contextlib.suppress(socket.timeout):
                if not here.recv(64):
                    return
        print(message(), file=sys.stderr, flush=True)
        os._exit(TERMINATED)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        signals.close()
