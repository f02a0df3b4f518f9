"""What only some systems have is asked for before it is used: nobody needs to own each system to see this."""

from __future__ import annotations

import ast
import re

import pytest

from tests import ROOT

#: By module: what Windows, or Windows and macOS, do not have. "" stands for a whole module.
ABSENT = {
    "os": """
        fork forkpty register_at_fork getuid geteuid getgid getegid getgroups setuid setgid chown lchown fchown
        fchmod nice getpriority sched_getaffinity sched_setaffinity sched_yield killpg getpgid getpgrp setpgid
        setsid mkfifo mknod wait wait3 wait4 WNOHANG WIFEXITED statvfs fstatvfs uname pread pwrite sendfile
        posix_fadvise posix_fallocate sync fdatasync getloadavg sysconf ctermid ttyname openpty memfd_create
        eventfd pidfd_open O_NONBLOCK O_NOFOLLOW O_CLOEXEC O_DIRECTORY O_SYNC O_BINARY startfile""",
    "signal": """
        SIGKILL SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGQUIT SIGSTOP SIGCONT SIGTSTP SIGWINCH alarm
        setitimer pause pthread_kill pthread_sigmask siginterrupt sigwait CTRL_C_EVENT CTRL_BREAK_EVENT""",
    "socket": "AF_UNIX SO_REUSEPORT",
    "time": "tzset clock_gettime",
    "sys": "getwindowsversion",
    "subprocess": "CREATE_NEW_PROCESS_GROUP STARTUPINFO",
    **dict.fromkeys("fcntl resource pwd grp termios tty pty syslog posix msvcrt winreg _winapi".split(), ""),
}
ABSENT = {module: names.split() for module, names in ABSENT.items()}
NAMES = "|".join(
    {name for names in ABSENT.values() for name in names} | {m for m, names in ABSENT.items() if not names}
)
WORDS = re.compile(rf"\b({NAMES})\b|['\"](/[a-z]|[A-Z]:)")
ASKS = re.compile(
    r"sys\.platform|os\.name|platform\.system|hasattr\((os|signal|socket)\b|\b(fcntl|resource) is (not )?None"
)
PLACES = re.compile(r"(/tmp|/proc|/sys|/dev|/var|/etc|/usr|/home|[A-Za-z]:\\)(/|\\|$)")

#: Uses without a question, and why none is needed.
REVIEWED = {
    ("spikecore/files.py", "os.chown"): "owners differ: on Windows each is 0",
    ("spikecore/kernels/runtime/allocator.py", "'/proc/self/cgroup'"): "a system without this file has no groups",
    ("spikecore/kernels/runtime/allocator.py", "'/sys/fs/cgroup'"): "the same",
}
#: All that is used: a new line here is looked at by somebody who thinks of other systems.
USED = {
    "spikecore/cli/lock.py": {"fcntl", "msvcrt"},
    "spikecore/cli/processes.py": {"os.sched_getaffinity"},
    "spikecore/datasets/hdf5_child.py": {"resource"},
    "spikecore/engines/torch/connections.py": {"'/proc/self/fd'", "'/proc/self/fd/'"},
    "spikecore/files.py": {"fcntl", "os.O_NOFOLLOW", "os.O_NONBLOCK", "os.chown"},
    "spikecore/kernels/runtime/allocator.py": {"'/proc/self/cgroup'", "'/sys/fs/cgroup'", "os.sysconf"},
    "spikecore/kernels/runtime/background.py": {"os.nice"},
    "spikecore/kernels/runtime/blas.py": {"os.register_at_fork"},
    "spikecore/kernels/runtime/openmp.py": {"os.register_at_fork"},
    "spikecore/kernels/runtime/store.py": {"os.getuid"},
}


def uses(text):
    """Each use of what not every system has, and whether its function asks first; ``getattr(os, name, other)`` does."""
    if not WORDS.search(text):
        return set()
    tree = ast.parse(text)
    scopes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in ABSENT.get(node.value.id, ()):
                names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names if ABSENT.get(each.name, True) == []]
        elif isinstance(node, ast.ImportFrom):
            given = ABSENT.get(node.module)
            names = [f"{node.module}.{each.name}" for each in node.names if given == [] or each.name in (given or ())]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and PLACES.match(node.value):
            names = [repr(node.value)]
        if names:
            around = [scope for scope in scopes if scope.lineno <= node.lineno <= scope.end_lineno]
            inner = max(around, key=lambda scope: scope.lineno, default=tree)
            found |= {(name, any(_asks(each, node, text) for each in ast.walk(inner))) for name in names}
    return found


def _asks(other, use, text):
    """Whether a statement asks which system this is, before or around a use."""
    if getattr(other, "lineno", use.lineno + 1) > use.lineno:
        return False
    if isinstance(other, (ast.If, ast.IfExp)):
        return bool(ASKS.search(ast.get_source_segment(text, other.test) or ""))
    handlers = " ".join(ast.unparse(each.type) for each in getattr(other, "handlers", ()) if each.type)
    return bool(re.search("ImportError|AttributeError", handlers)) and use.lineno <= other.end_lineno


FILES = sorted(path for path in (ROOT / "spikecore").rglob("*.py") if "conformance" not in path.parts)


@pytest.fixture(scope="module")
def used():
    found = {path.relative_to(ROOT).as_posix(): uses(path.read_text(encoding="utf-8")) for path in FILES}
    return {name: each for name, each in found.items() if each}


def test_every_use_is_on_the_list_and_the_list_has_no_other(used):
    assert {name: {each for each, _ in found} for name, found in used.items()} == USED


def test_every_use_asks_for_the_system_first(used):
    unasked = {(name, each) for name, found in used.items() for each, asked in found if not asked}
    assert unasked == set(REVIEWED)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.sched_getaffinity(0)",
        "import os, signal\ndef f(pid):\n    os.kill(pid, signal.SIGKILL)",
        "import fcntl",
        "from os import getuid",
        "from resource import setrlimit",
        "open('/tmp/x')",
        "path = '/proc/self/status'",
        "import os\ndef f():\n    if hasattr(os, 'fork'):\n        pass\ndef g():\n    os.fork()",
        "import os\ndef f():\n    os.fork()\n    if hasattr(os, 'fork'):\n        pass",
    ],
)
def test_what_is_unasked_is_found(text):
    assert False in {asked for _, asked in uses(text)}


@pytest.mark.parametrize(
    "text",
    [
        "import os\ncount = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
        "import os\nflag = getattr(os, 'O_NOFOLLOW', 0)",
        "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None",
        "import os\ndef f():\n    if not hasattr(os, 'getuid'):\n        return\n    os.getuid()",
        "import sys\ndef f():\n    if sys.platform == 'win32':\n        import msvcrt",
    ],
)
def test_what_asks_is_let_pass(text):
    assert False not in {asked for _, asked in uses(text)}
