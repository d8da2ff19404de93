"""A local web server with configurable faults, for tests of downloads."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """The content at a path, and the server's faults there."""

    body: bytes
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    heeds_condition: bool = True
    says_length: bool = True
    cuts: list[int] = field(default_factory=list)
    """For successive answers, the byte of the file after which the connection is cut."""
    refusals: list[int] = field(default_factory=list)
    """Status codes of the first answers."""
    asked: list[str] = field(default_factory=list)
    """The Range header of each request, empty for the whole file."""


class Web:
    """The server's pages by path."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.pages: dict[str, Page] = {}

    def put(self, path: str, body: bytes, **how: Any) -> str:
        """Publish a page; return its URL."""
        self.pages[path] = Page(body, **how)
        return f"{self.address}/{path}"


class Handler(BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        page = self.web.pages.get(self.path.strip("/"))
        if page is None:
            self.send_error(404)
            return
        given = self.headers.get("Range", "")
        page.asked.append(given)
        if page.refusals:
            self.send_error(page.refusals.pop(0))
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", given) if page.ranges else None
        if wanted and page.heeds_condition and self.headers["If-Range"] not in (page.etag, page.modified):
            wanted = None
        start = int(wanted[1]) if wanted else 0
        if wanted and start >= len(page.body):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        for name, value in (("ETag", page.etag), ("Last-Modified", page.modified)):
            if value:
                self.send_header(name, value)
        if page.says_length:
            self.send_header("Content-Length", str(len(page.body) - start))
        self.end_headers()
        end = page.cuts.pop(0) if page.cuts else len(page.body)
        self.wfile.write(page.body[start:end])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Web]:
    """Run the server during the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web = Web(server.server_address[1])
    server.RequestHandlerClass = type("WithPages", (Handler,), {"web": web})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
