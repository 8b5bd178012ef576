"""A web server on this machine that can break off, change its files and count what it is asked."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how badly. The lists are used up, one entry an answer with a body."""

    files: dict[str, bytes] = field(default_factory=dict)  # path -> content
    tags: bool = True  # ETag given, and ranges served to who shows it
    ranges: bool = True  # else every answer starts at the first byte
    lengths: bool = True  # Content-Length given
    beyond: bytes = b""  # runs on after each body; only with no length given
    cut: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    fails: list[int] = field(default_factory=list)  # states of the next answers, whatever is asked
    between: list[Callable[[], None]] = field(default_factory=list)  # called after the answers
    status: dict[str, int] = field(default_factory=dict)  # path -> refusal
    moved: dict[str, str] = field(default_factory=dict)  # path -> address it leads to
    wanted: dict[str, str] = field(default_factory=dict)  # path -> Authorization it asks for
    more: dict[str, str] = field(default_factory=dict)  # further headers of every answer
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range header
    heads: list[str] = field(default_factory=list)  # paths asked for their size alone
    seen: list[str] = field(default_factory=list)  # Authorization headers that came
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site on a free loopback port; `site.url` has no slash at its end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers.get("Range", "")))
            answer(self, site)

        def do_HEAD(self) -> None:
            site.heads.append(self.path)
            answer(self, site)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    path, head = handler.path, handler.command == "HEAD"
    key = handler.headers.get("Authorization", "")
    site.seen += [key] if key else []
    body = site.files.get(path, b"")
    status, start, end = _status(site, path, key, head), 0, len(body) - 1
    tag, wanted = f'"{hash(body):x}"', handler.headers.get("Range", "")
    shown = handler.headers.get("If-Range", tag)
    if status == 200 and wanted and site.ranges and site.tags and shown == tag:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last or end)
        status = 206 if start < len(body) else 416
    handler.send_response(status)
    if site.tags:
        handler.send_header("ETag", tag)
    for name, value in site.more.items():
        handler.send_header(name, value)
    if status == 302:
        handler.send_header("Location", site.moved[path])
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
    if status == 416:
        handler.send_header("Content-Range", f"bytes */{len(body)}")
    body = {200: body, 206: body[start : end + 1]}.get(status, b"")
    _send(handler, site, body, head)


def _status(site: Site, path: str, key: str, head: bool) -> int:
    if site.fails and not head:
        return site.fails.pop(0)
    if key != site.wanted.get(path, key):
        return 401
    if path in site.moved:
        return 302
    return site.status.get(path, 200 if path in site.files else 404)


def _send(handler: BaseHTTPRequestHandler, site: Site, body: bytes, head: bool) -> None:
    kind = "text/html" if handler.path.endswith("/") else "application/octet-stream"
    handler.send_header("Content-Type", kind)
    handler.close_connection = not site.lengths
    handler.send_header(*_end(site, body))
    handler.end_headers()
    if head:
        return
    limit = site.cut.pop(0) if site.cut and body else len(body)
    handler.wfile.write(body[:limit] + site.beyond)
    handler.close_connection |= limit < len(body)
    if body and site.between:
        site.between.pop(0)()


def _end(site: Site, body: bytes) -> tuple[str, str]:
    """How a client knows where the body ends: by its length, or by the connection's end."""
    return ("Content-Length", str(len(body))) if site.lengths else ("Connection", "close")
