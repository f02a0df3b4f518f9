"""Reading of HDF5 files in a separate process.

The HDF5 library (2.0 as well) does not check its files: of 2000 copies of a small file with some bytes changed, seven
sent it into an endless loop. Python cannot end such a loop, but it can end a process, and then raise an error.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from spikecore.datasets.errors import DataError, DataFileError, MissingExtraError
from spikecore.datasets.places import PathLike
from spikecore.installing import to_install

# The process has little memory, and thread pools reserve some. File locks would keep users from replacing a file.
SETTINGS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}


class Hdf5Reader:
    """Reads HDF5 files in a separate process, one request at a time.

    The process starts at the first request, and again after a file has crashed it.

    Args:
        timeout: longest time of a request in seconds.

    Raises:
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, timeout: float = 60.0):
        if importlib.util.find_spec("h5py") is None:
            raise MissingExtraError(f"HDF5 files need h5py: {to_install('data')}")
        self.timeout = timeout
        self._process: Optional[subprocess.Popen] = None
        self._owner = 0
        self._lock = threading.Lock()

    def labels(self, path: PathLike) -> Tuple[np.ndarray, Tuple[str, ...]]:
        """The labels (samples,), and the names of the classes; no names if the file has none."""
        head, (labels,) = self._ask(path, {"row": None}, "an HDF5 file of spikes", "labels")
        return labels, tuple(head["keys"])

    def spikes(self, path: PathLike, row: int) -> Tuple[np.ndarray, np.ndarray]:
        """Times and units of sample `row`, in the dtypes of the file."""
        _, (times, units) = self._ask(path, {"row": row}, "an HDF5 file of spikes", f"sample {row}")
        return times, units

    def described(self, path: PathLike, name: str) -> Tuple[Tuple[int, ...], np.dtype]:
        """Shape and type of the array of this name.

        Raises:
            DataFileError: the file is absent or damaged, or has no such array, or that is in another file.
        """
        head, _ = self._ask(path, {"name": name, "rows": None}, "an HDF5 file with such an array", name)
        return tuple(head["shape"]), np.dtype(head["dtype"])

    def rows(self, path: PathLike, name: str, rows: np.ndarray) -> np.ndarray:
        """Some rows of the array of this name; their numbers ascend."""
        request = {"name": name, "rows": rows.tolist()}
        head, (flat,) = self._ask(path, request, "an HDF5 file with such an array", f"rows of {name}")
        return flat.reshape(head["shape"])

    def copy(self, path: PathLike, max_bytes: int) -> bytes:
        """The bytes of a new file with the same groups, numbers and texts, which this process can read safely.

        Args:
            path: the file.
            max_bytes: most bytes of memory that its arrays may take.

        Raises:
            DataFileError: the file is absent, damaged or too large, or has links to other files.
        """
        _, (data,) = self._ask(path, {"most": max_bytes}, "an HDF5 file that can be read", "it")
        return data.tobytes()

    def close(self) -> None:
        """End the process; the next request starts a new one."""
        if self._process is not None and self._owner == os.getpid():
            _end(self._process)
        self._process = None

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.timeout,)  # a copy in another process starts its own reading process

    def _ask(
        self, path: PathLike, request: Dict[str, Any], kind: str, what: str
    ) -> Tuple[Dict[str, Any], List[np.ndarray]]:
        if not os.path.isfile(path):
            raise DataFileError(f"{path}: there is no such file")
        with self._lock:  # requests of several threads go one after another
            head, arrays = self._answered(path, request, what)
        if "refused" in head:
            raise DataFileError(f"{path}: {head['refused']}")
        if "error" in head:
            raise DataFileError(f"{path}: not {kind}, or damaged: {head['error']}")
        return head, arrays

    def _answered(self, path: PathLike, request: Dict[str, Any], what: str) -> Tuple[Dict[str, Any], List[np.ndarray]]:
        process = self._running()
        watchdog = threading.Timer(self.timeout, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            return _exchange(process, {"path": os.path.abspath(os.fspath(path)), **request})
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise DataFileError(
                f"{path}: damaged: reading {what} ended the HDF5 library "
                f"(exit status {process.returncode}), or took it more than {self.timeout:g} s; get the file again"
            ) from error
        finally:
            watchdog.cancel()

    def _running(self) -> subprocess.Popen:
        """The reading process, started if necessary. A fork of this process starts its own."""
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            script = str(Path(__file__).with_name("hdf5_child.py"))
            run = f"import sys, runpy; sys.path[:] = {sys.path!r}; runpy.run_path({script!r}, run_name='__main__')"
            pipes: Dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen([sys.executable, "-c", run], env={**os.environ, **SETTINGS}, **pipes)
            self._owner = os.getpid()
            weakref.finalize(self, _end_own, self._process, self._owner)
            if self._process.stdout.readline() != b"ready\n":  # type: ignore[union-attr]
                self.close()
                raise DataError(f"the process that reads HDF5 does not start: {sys.executable} -c 'import h5py'")
        return self._process


def _exchange(process: subprocess.Popen, request: Dict[str, Any]) -> Tuple[Dict[str, Any], List[np.ndarray]]:
    process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
    process.stdin.flush()  # type: ignore[union-attr]
    head = json.loads(_read(process, None))
    arrays = []
    for dtype, length in head.get("arrays", ()):
        kind = np.dtype(dtype)
        arrays.append(np.frombuffer(_read(process, kind.itemsize * length), kind))
    return head, arrays


def _read(process: subprocess.Popen, size: Optional[int]) -> bytes:
    """Read `size` bytes, or one line if `size` is None."""
    data = process.stdout.readline() if size is None else process.stdout.read(size)  # type: ignore[union-attr]
    if not data.endswith(b"\n") if size is None else len(data) < size:
        raise EOFError("the process has ended")
    return data


def _end_own(process: subprocess.Popen, owner: int) -> None:
    if owner == os.getpid():
        _end(process)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # closing writes what is buffered, and the process no longer reads it
            pipe.close()  # type: ignore[union-attr]
