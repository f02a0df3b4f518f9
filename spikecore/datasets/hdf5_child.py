"""The program of the process that reads HDF5. It gets requests on stdin, answers on stdout, and imports no spikecore.

It writes "ready" when it can answer. A request is a line of JSON: {"path": ..., "row": null} for labels, {"path": ...,
"row": 3} for the spikes of sample 3, {"path": ..., "name": ..., "rows": [0, 3]} for rows of an array, with null for its
shape alone, or {"path": ..., "most": bytes} for a copy of the file. An answer is a line of JSON, {"error": ...} or
{"refused": ...} or {"arrays": [[dtype, length], ...], ...}, followed by the bytes of the arrays.
"""

from __future__ import annotations

import io
import json
import math
import sys
from typing import Any, Dict, List, Set, Tuple

import h5py
import numpy as np

MEMORY = 4 << 30  # bytes: a damaged file may ask for any amount
MOST_SAMPLES = 10_000_000
MOST_LEVELS = 50  # depth of groups within groups, and of links to links
COPY = "it is not opened, since a file from others could name any; if you trust it, copy the array into this file"


def answer(path: str, row: Any, files: Dict[str, Any]) -> Tuple[Dict[str, Any], List[np.ndarray]]:
    """The line of the answer as a dict, and its arrays: labels if `row` is None, else the spikes of a sample."""
    file = _opened(path, files, again=row is None)
    times, units = array_of(file, "spikes/times"), array_of(file, "spikes/units")
    if row is None:
        labels = array_of(file, "labels")
        shapes = {labels.shape, times.shape, units.shape}
        if len(shapes) != 1 or labels.ndim != 1 or not 0 < len(labels) <= MOST_SAMPLES:
            raise ValueError(f"labels, times and units have shapes {labels.shape}, {times.shape}, {units.shape}")
        return {"keys": _keys(file)}, [_numbers("labels", labels[:], "iu")]
    t, x = _numbers("times", times[row], "f"), _numbers("units", units[row], "iu")
    if len(t) != len(x):
        raise ValueError(f"{len(t)} times but {len(x)} units")
    return {}, [t, x]


def _keys(file: Any) -> List[str]:
    try:
        return [bytes(key).decode() for key in array_of(file, "extra/keys")[:1000]]
    except Absent:
        return []


def _opened(path: str, files: Dict[str, Any], again: bool) -> Any:
    """The file; a request for labels or for a shape opens it `again`, since it may have been replaced."""
    if path not in files or again:
        while files:
            files.popitem()[1].close()
        files[path] = h5py.File(path, "r")
    return files[path]


class Refused(Exception):
    """The file has an array that is not to be read; the text says why."""


class Absent(Refused):
    """The file has no such array."""


def array_of(file: Any, name: str) -> Any:
    """The array of this name, if it lies in this file: a foreign file must not make this process read another file.

    Links to other places of the same file are followed.
    """
    at, parts, links = file["/"], name.split("/"), 0
    while parts:
        part = parts.pop(0)
        link = at.get(part, getlink=True) if part and isinstance(at, h5py.Group) else None
        if isinstance(link, h5py.SoftLink) and links < MOST_LEVELS:
            at, parts, links = file["/"] if link.path.startswith("/") else at, link.path.split("/") + parts, links + 1
        elif isinstance(link, h5py.HardLink):
            at = at[part]
        elif isinstance(link, h5py.ExternalLink):
            raise Refused(f"{name} is a link to another file, {link.filename}: {COPY}")
        elif part not in ("", "."):
            at = None
    if not isinstance(at, h5py.Dataset):
        raise Absent(_absent(file, name))
    if at.external or at.is_virtual:
        place = at.external[0][0] if at.external else at.virtual_sources()[0].file_name
        raise Refused(f"{name} has its numbers in another place, {place}: {COPY}")
    return at


def _absent(file: Any, name: str) -> str:
    arrays: List[str] = []
    file.visititems(lambda at, what: arrays.append(at) if isinstance(what, h5py.Dataset) else None)
    return f"no array {name}; it holds {', '.join(arrays)[:200]}"


def array_rows(path: str, name: str, rows: Any, files: Dict[str, Any]) -> Tuple[Dict[str, Any], List[np.ndarray]]:
    """Shape and type of an array, and some of its rows; no rows if `rows` is None."""
    file = _opened(path, files, again=rows is None)
    array = array_of(file, name)
    if rows is None:
        return {"shape": list(array.shape or ()), "dtype": array.dtype.str}, []
    needed = len(rows) * math.prod(array.shape[1:]) * array.dtype.itemsize
    if needed > MEMORY // 2:
        raise Refused(
            f"{len(rows)} rows of {name}, which has the shape {array.shape}, take {needed:,} bytes, more than are read "
            f"at once ({MEMORY // 2:,}): take fewer, such as batches of a smaller size, if it is to be so large"
        )
    found = array[rows]
    return {"shape": list(found.shape)}, [np.ascontiguousarray(found).ravel()]


def _numbers(name: str, array: Any, kinds: str) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in kinds:
        raise ValueError(f"{name}: {getattr(array, 'dtype', type(array).__name__)} is not an array of kind {kinds!r}")
    return np.ascontiguousarray(array)


def copied(path: str, most: int) -> np.ndarray:
    """The bytes of a new file with the groups, numbers and texts of this file, and nothing else.

    Links to other places, data in other files, and other types of HDF5 are refused.
    """
    target, left = io.BytesIO(), [most]
    with h5py.File(path, "r") as file, h5py.File(target, "w") as clean:
        _copy(file, clean, left, set(), 0)
    return np.frombuffer(target.getvalue(), np.uint8)


def _copy(source: Any, target: Any, left: List[int], seen: Set[int], level: int) -> None:
    address = h5py.h5o.get_info(source.id).addr
    if address in seen or level > MOST_LEVELS:  # a group may contain itself, directly or through others
        raise ValueError(f"{source.name} is in two places, or more than {MOST_LEVELS} levels deep")
    seen.add(address)
    for name in source:
        if not isinstance(source.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to another place")
        item = source[name]
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name), left, seen, level + 1)
        else:
            target.create_dataset(name, data=_content(name, item, left), dtype=item.dtype)


def _content(name: str, item: Any, left: List[int]) -> Any:
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.external or item.is_virtual:
        raise ValueError(f"{name} is not an array in this file")
    if h5py.check_string_dtype(item.dtype) is None and item.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {item.dtype}, neither numbers nor text")
    left[0] -= item.size * item.dtype.itemsize
    if left[0] < 0:
        raise ValueError(f"{name} of shape {item.shape} takes more memory than allowed")
    return item[()]


def serve(requests: Any, answers: Any) -> None:
    """Answer requests until the other process closes the pipe."""
    files: Dict[str, Any] = {}
    answers.write(b"ready\n")
    answers.flush()
    for line in requests:
        request = json.loads(line)
        arrays: List[np.ndarray] = []
        try:
            if "most" in request:
                limit_memory(max(MEMORY, 5 * request["most"]))  # room for the arrays, the copy, and its bytes
                head: Dict[str, Any] = {}
                arrays = [copied(request["path"], request["most"])]
            elif "name" in request:
                head, arrays = array_rows(request["path"], request["name"], request["rows"], files)
            else:
                head, arrays = answer(request["path"], request["row"], files)
            head["arrays"] = [[array.dtype.str, len(array)] for array in arrays]
        except Refused as error:
            head = {"refused": str(error)}
        except Exception as error:  # HDF5 and h5py raise errors of many kinds for damaged files; the answer names them
            head = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(head).encode() + b"\n")
        for array in arrays:
            answers.write(array.tobytes())
        answers.flush()


def limit_memory(most: int = MEMORY) -> None:
    """Limit the memory of this process, so that a huge allocation fails at once. Windows has no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
