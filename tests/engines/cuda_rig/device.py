"""A pretended ``cuda:0`` in this process, and a log of what is done on it: see ``device.cpp``.

Importing this module makes the device, so it comes before torch, in a process of its own:

    from tests.engines.cuda_rig.device import logged     # before torch
    with logged() as log:
        model.train_step(x, y)
    log.count("launch"), log.waits
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import re
import sys
import time
import types
from collections import Counter

from tests.engines.cuda_rig.build import library, torch_folder

atexit.register(time.sleep, 0.2)  # autograd's thread for the device may be about to free its last graph, with Python's
assert "torch" not in sys.modules, "the pretended device must be there before torch looks for one"
ctypes.CDLL(str(torch_folder() / "lib" / "libtorch_cpu.so"))
DEVICE = ctypes.CDLL(str(library()))
DEVICE.pretended_logged.restype = ctypes.c_char_p

import torch  # noqa: E402

WAITS = ("wait", "upload", "download")  # the host goes on after the device has done all that it was given


def note(line):
    """Log what happens beside torch's operators."""
    DEVICE.pretended_note(line.encode())


class Log:
    """What a block did on the device.

    Attributes:
        events: for each event its kind, see ``device.cpp``, its operator, and its tensors as "Float[2,3,]@address".
    """

    def __init__(self):
        self.events = []

    def count(self, *kinds):
        return sum(event[0] in kinds for event in self.events)

    @property
    def waits(self):
        """How often the host has waited for the device."""
        return self.count(*WAITS)

    def names(self, *kinds):
        """The operators of some kinds, and how often each."""
        return Counter(name for kind, name, _ in self.events if kind in kinds)

    def shapes(self):
        """The events without addresses."""
        return [(kind, name, re.sub(r"@\d+", "", tensors)) for kind, name, tensors in self.events]


@contextlib.contextmanager
def one_launch(name):
    """A block that is one launch on a real device, whatever it does here."""
    note(f"launch {name}")
    note("begins")
    try:
        yield
    finally:
        note("ends")


@contextlib.contextmanager
def logged():
    """A block whose events are in the log that it gives."""
    log = Log()
    DEVICE.pretended_log(True)
    try:
        yield log
    finally:
        lines = DEVICE.pretended_logged().decode().splitlines()
        DEVICE.pretended_log(False)
        depth = 0
        for kind, _, rest in (line.partition(" ") for line in lines):
            depth += {"begins": 1, "ends": -1}.get(kind, 0)
            if not depth and kind != "ends":
                log.events.append((kind, *rest.partition(" ")[::2]))


class Event:
    """An event of the only stream: what was put into the queue before it is done when the host has waited for it."""

    def __init__(self, *_, **__):
        pass

    def record(self, *_):
        pass

    def query(self):
        return True

    def synchronize(self):
        note("wait event")


class Stream:
    """A queue of work; there is but one."""

    def __init__(self, *_, **__):
        pass

    def wait_stream(self, other):
        pass


class Anywhere(contextlib.nullcontext):
    """The current device or stream, which is the only one."""

    def __init__(self, *_):
        super().__init__()


class Properties(types.SimpleNamespace):
    """What is asked about a card: those of an H100."""

    name, gcnArchName = "a pretended device", ""
    major, minor, warp_size, multi_processor_count = 9, 0, 32, 132
    total_memory, L2_cache_size = 80 << 30, 50 << 20
    regs_per_multiprocessor, max_threads_per_multi_processor = 65536, 2048
    shared_memory_per_block_optin = 232448


# Python's half of torch.cuda asks a torch that was compiled with CUDA; this one was not.
CUDA = {
    "_lazy_init": lambda: None,
    "_is_compiled": lambda: True,
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "is_bf16_supported": lambda *_, **__: True,
    "is_current_stream_capturing": lambda: False,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda *_: None,
    "device": Anywhere,
    "device_of": Anywhere,
    "synchronize": lambda *_: note("wait synchronize"),
    "empty_cache": lambda: None,
    "mem_get_info": lambda *_: (80 << 30, 80 << 30),
    "get_device_name": lambda *_: Properties.name,
    "get_device_capability": lambda *_: (9, 0),
    "get_device_properties": lambda *_, **__: Properties(),
    "Event": Event,
    "Stream": Stream,
    "stream": Anywhere,
    "current_stream": Stream,
    # one generator for both: random numbers of the device are those of the host
    "get_rng_state": lambda *_, **__: torch.get_rng_state(),
    "get_rng_state_all": lambda: [torch.get_rng_state()],
    "set_rng_state": lambda state, *_, **__: torch.set_rng_state(state),
    "set_rng_state_all": lambda states: torch.set_rng_state(states[0]),
    "manual_seed": lambda *_: None,
    "manual_seed_all": lambda *_: None,
    "seed_all": lambda: None,
}
for name, value in CUDA.items():
    setattr(torch.cuda, name, value)
torch._C._cuda_getCurrentRawStream = lambda *_: 0
torch._C._cuda_getDeviceCount = lambda: 1
