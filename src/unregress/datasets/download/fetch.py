"""Download files atomically; resume interrupted downloads.

`pooch` decides whether a file has to be fetched, checks its hash and renames it when it is complete.  Its own
downloader starts an interrupted file over, which IMDB's 7 GB do not allow: `_Resuming` takes its place.
"""

from __future__ import annotations

import errno
import http.client
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from unregress.datasets.download.resume import Partial, Version, size, writing_to
from unregress.errors import DataError, SettingError

CHUNK = 1 << 20
"""Bytes read at a time."""
PROGRESS_EVERY = 250 * CHUNK
"""Bytes between two lines of progress."""
RETRIED = (408, 425, 429, 500, 502, 503, 504)
"""Status codes after which the request is repeated."""
CHANGED = "the file was changed at its source"


def download(
    url: str,
    path: str | Path,
    *,
    checksum: str = "",
    say: Callable[[str], None] = lambda line: None,
    tries: int = 4,
    timeout: float = 60.0,
    pause: float = 1.0,
) -> Path:
    """Download a file unless it exists already; return its path.

    The data are written to `PATH.partial`, and the file gets its name when it is complete and its checksum is right.
    A file that exists is downloaded again only if its checksum differs.  An interrupted download is resumed by the next
    call if the server can (HTTP Range) and its file is still the same (ETag, Last-Modified and length, kept in
    `PATH.partial.json`); otherwise it starts over.

    Args:
        url: http or https.
        path: file to write; its folder is created.
        checksum: `sha256:...` or `md5:...` in hexadecimal digits; empty to check the length only.
        say: called with each line of progress.
        tries: attempts in a row that receive nothing, when the connection is cut off or the server is busy.
        timeout: seconds without a byte after which a connection counts as cut off.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        DataError: the server refuses, cannot be reached or keeps cutting off, the checksum differs, or the disk
            cannot be written.
        SettingError: the URL or the checksum has another form, or pooch is not installed.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise SettingError(f"The url is {url}", expected="one that begins with http:// or https://")
    if checksum and not re.fullmatch("sha256:[0-9a-fA-F]{64}|md5:[0-9a-fA-F]{32}", checksum):
        raise SettingError(f"The checksum is {checksum}", expected="sha256: or md5: and its hexadecimal digits")
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise SettingError(
            "Downloading needs pooch, which is not installed",
            remedy="Install what the experiments need: pip install 'unregress[experiments]'",
        ) from error
    pooch.get_logger().setLevel(logging.WARNING)  # progress and errors are reported here
    target = Path(path)
    downloader = _Resuming(Partial(url, target), say, tries, timeout, pause)
    known = checksum.lower() or None
    with writing_to(target):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        try:
            pooch.retrieve(url, known, fname=target.name, path=target.parent, downloader=downloader)
        except ValueError as error:  # pooch's, for another hash; it has deleted what was downloaded
            raise DataError(
                f"{url} has another checksum: {error}",
                expected=checksum.lower(),
                remedy="Try again; if that does not help, the file has changed at its source: fetch it and inspect it",
            ) from error
    return target


@dataclass(frozen=True)
class _Resuming:
    """A downloader for `pooch.retrieve` that resumes the part in `PATH.partial`, left by an earlier call."""

    partial: Partial
    say: Callable[[str], None]
    tries: int
    timeout: float
    pause: float

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Write the complete file to `output_file`."""
        partial, failures, furthest = self.partial, 0, self.partial.have
        while (problem := _attempt(partial, self.timeout, self.say)) is not None:
            failures = 0 if partial.have > furthest else failures + 1
            furthest = max(furthest, partial.have)
            if failures >= self.tries:
                raise DataError(
                    f"{url} could not be fetched: {problem}, {self.tries} times without receiving anything",
                    remedy="Try again later: the download is resumed, if the server can",
                )
            self.say(f"{partial.target.name}: {problem}; trying again")
            time.sleep(self.pause * 2 ** max(0, failures - 1))
        os.replace(partial.path, output_file)
        partial.drop()


def _attempt(partial: Partial, timeout: float, say: Callable[[str], None]) -> str | None:
    """Download the missing part; return None if the file is complete, or a problem that may be temporary."""
    if partial.whole:
        return None
    # A compressed answer has another length.
    headers = {"User-Agent": "unregress", "Accept-Encoding": "identity"}
    version, have = partial.version, partial.have
    if version is not None and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.condition}
    try:
        response = urlopen(Request(partial.url, headers=headers), timeout=timeout)
    except HTTPError as error:
        with error:
            if error.code == 416:  # the file is now shorter than the part
                partial.drop()
                return CHANGED
            return _refused(partial.url, error)
    except (OSError, http.client.HTTPException) as error:
        return _unreachable(partial.url, error)
    with response:
        found = _version(partial.url, response)
        if response.status != 206:
            partial.begin(found)
            return _receive(response, partial, found.length, say)
        starts = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if version is None or not starts or not version.fits(found):
            # The server ignored If-Range: the part is of another version.
            partial.drop()
            return CHANGED
        say(f"{partial.target.name}: resuming after {size(have)}")
        return _receive(response, partial, version.length, say)


def _version(url: str, response: http.client.HTTPResponse) -> Version:
    given = response.headers
    length = given.get("Content-Length", "")
    if response.status == 206:
        length = given.get("Content-Range", "").rpartition("/")[2]
    known = int(length) if length.isdecimal() else None
    return Version(url, given.get("ETag", ""), given.get("Last-Modified", ""), known)


def _receive(response: IO[bytes], partial: Partial, length: int | None, say: Callable[[str], None]) -> str | None:
    with writing_to(partial.target), partial.path.open("ab") as file:
        received = shown = file.tell()
        while True:
            try:
                block = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return f"the connection was cut off after {size(received)} ({str(error) or type(error).__name__})"
            if not block:
                break
            file.write(block)
            received += len(block)
            if received - shown >= PROGRESS_EVERY:
                shown = received
                say(f"{partial.target.name}: {size(received)}" + (f" of {size(length)}" if length else ""))
    if length is not None and received > length:
        partial.drop()
        return CHANGED
    if length is not None and received < length:
        return f"the connection was cut off after {size(received)} of {size(length)}"
    return None


def _refused(url: str, error: HTTPError) -> str:
    """Describe a temporary refusal; raise a permanent one."""
    if error.code in RETRIED:
        return f"the server answers {error.code} {error.reason}"
    remedy = "Look on the dataset's home page where it is now, and fetch it by hand"
    if error.code in (401, 403):
        remedy = "Look on the dataset's home page whether it asks for a login or consent, and fetch it by hand"
    raise DataError(f"The server refuses {url}: {error.code} {error.reason}", remedy=remedy) from error


def _unreachable(url: str, error: Exception) -> str:
    """Describe a temporary network problem; raise a permanent one."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, socket.gaierror | ConnectionRefusedError | ssl.SSLCertVerificationError):
        raise DataError(
            f"{urlsplit(url).netloc} cannot be reached for {url}: {reason}",
            remedy="Check the connection and the proxy's settings (HTTP_PROXY, HTTPS_PROXY), or fetch the file by hand",
        ) from error
    return f"no answer ({str(reason) or type(reason).__name__})"
