"""Files from the internet: fetched once, continued where a connection was cut, and used if their checksum is right.

The standard library is enough: pooch, which others use, cannot continue a download, and would be one more dependency.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator, Optional

from spikecore.datasets.errors import DataFileError
from spikecore.progress import Progress

CHUNK = 1 << 20
LARGEST = 1 << 36  # bytes; no data set here has a tenth of it
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # connections for one file; each continues where the one before was cut
AGENT = {"User-Agent": "spikecore"}  # some servers refuse the name of Python's library


class _Cut(Exception):
    """The connection ended before the file did."""


def fetch(url: str, target: Path, md5: str, page: str) -> Path:
    """Fetch a file, unless it is there already. Until it is whole and checked it is called NAME.part.

    Args:
        url: its address; empty if it can only be fetched with a browser.
        target: where it goes; its folder is made if it is not there.
        md5: its checksum.
        page: web page for people, for messages.

    Returns:
        ``target``.

    Raises:
        DataFileError: the server or the network fails, the checksum is another, or the file cannot be written. What was
            fetched stays, except if its checksum is wrong, and the next call continues.
    """
    target = Path(os.path.realpath(target))  # a link to another disk stays, and the part is there as well
    name, folder = target.name, target.parent
    if target.exists():
        _check(target, md5, f"delete it, and it is fetched again, or get it from {page}")
        return target
    if not url:
        raise DataFileError(
            f"{name} can only be fetched with a browser: get it from {page}, put it into {folder}, and call with "
            "download=True again, which checks and unpacks it"
        )
    part = target.with_name(f"{name}.part")
    by_hand = f"try again later, or get {name} from {page} and put it into {folder}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _receive(url, part)
                break
            except _Cut as cut:
                if attempt == ATTEMPTS:
                    raise _said(f"{url}: {cut}; call again to continue there, or {by_hand}") from None
        _check(part, md5, f"it was deleted; {by_hand}", delete=True)
        os.replace(part, target)
    except urllib.error.HTTPError as error:
        raise _said(f"{url}: the server answers {error.code} {error.reason}: {by_hand}") from None
    except urllib.error.URLError as error:
        raise _said(f"{url}: cannot be reached: {error.reason}: {by_hand}") from None
    except OSError as error:
        raise DataFileError(f"{part}: cannot be written: {error.strerror}; what is there is kept") from error
    return target


def _said(text: str) -> DataFileError:
    """The error with a text that may be a server's, of which a terminal must not obey anything."""
    return DataFileError("".join(letter if letter.isprintable() else "?" for letter in text))


def _receive(url: str, part: Path) -> None:
    """Append to ``part`` what is missing of the file.

    Raises:
        _Cut: the connection ended too early.
    """
    there = part.stat().st_size if part.exists() else 0
    wanted = {**AGENT, **({"Range": f"bytes={there}-"} if there else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=wanted), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and there:
            return  # nothing is missing; the checksum says whether it is the file
        raise
    except urllib.error.URLError:
        raise
    except ValueError as error:  # the server sends on to what is no address
        raise urllib.error.URLError(str(error)) from None
    except (OSError, http.client.HTTPException) as error:  # of a server that takes the question and does not answer
        raise _Cut(f"the connection was cut after {there:,} bytes ({error})") from None
    with answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            there = 0  # the server sends the whole file
        length = answer.headers.get("Content-Length", "")
        total = there + int(length) if length.isdecimal() else None
        bar = Progress(part.stem, total, unit="B", done=there)
        with closing(bar), open(part, "ab" if there else "wb") as file:
            for chunk in _chunks(answer, there, total):
                file.write(chunk)
                bar.update(len(chunk))


def _chunks(answer: Any, there: int, total: Optional[int]) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Cut(f"the connection was cut after {there:,} bytes ({error})") from None
        if not chunk:
            break
        yield chunk
        there += len(chunk)
        if there > LARGEST:
            raise urllib.error.URLError(f"it sends more than {LARGEST:,} bytes, and no data set has so many")
    if total is not None and there < total:
        raise _Cut(f"the connection was cut after {there:,} of {total:,} bytes")


def _check(path: Path, md5: str, remedy: str, delete: bool = False) -> None:
    """Refuse a file with another checksum."""
    found = hashlib.md5()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            found.update(chunk)
    if found.hexdigest() != md5:
        if delete:
            path.unlink()
        raise DataFileError(
            f"{path}: its MD5 checksum is {found.hexdigest()}, expected {md5}: it is damaged, or another file: {remedy}"
        )
