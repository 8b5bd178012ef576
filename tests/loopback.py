"""A web server on this machine that can break off, change its files and count what it is asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how badly."""

    files: dict[str, bytes] = field(default_factory=dict)  # path -> content
    tags: bool = True  # ETag given, and ranges served to who shows it
    cut: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    status: dict[str, int] = field(default_factory=dict)  # path -> refusal
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range header
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site on a free loopback port; `site.url` has no slash at its end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
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
    path, wanted = handler.path, handler.headers.get("Range", "")
    site.asked.append((path, wanted))
    body = site.files.get(path, b"")
    status = site.status.get(path, 200 if path in site.files else 404)
    tag, start = f'"{hash(body):x}"', 0
    if status == 200 and wanted and handler.headers.get("If-Range") == tag:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        status = 206 if start < len(body) else 416
    handler.send_response(status)
    if site.tags:
        handler.send_header("ETag", tag)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    if status == 416:
        handler.send_header("Content-Range", f"bytes */{len(body)}")
    body = body[start:] if status in (200, 206) else b""
    kind = "text/html" if path.endswith("/") else "application/octet-stream"
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    limit = site.cut.pop(0) if site.cut and body else len(body)
    handler.wfile.write(body[:limit])
    handler.close_connection = limit < len(body)
