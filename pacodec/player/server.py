"""A server for one file and one reader: on loopback alone, behind a random token, with a page that asks nobody else."""

import json
import secrets
from collections.abc import Callable
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

from pacodec.errors import FileAccessError, PacodecError
from pacodec.metadata import Metadata
from pacodec.player.playback import Playback
from pacodec.player.sound import sound_of

HOST = "127.0.0.1"
MOST_FRAMES = 256
"""Frames of a batch."""
BINARY = "application/octet-stream"

_Reply = tuple[str, bytes]
"""Type and content."""


class PlayServer(ThreadingHTTPServer):
    """Serves a file at `address` until it is shut down; used as any `socketserver`.

    Raises what `pacodec.open` raises, and FileAccessError where the port is taken.
    """

    daemon_threads = True

    def __init__(self, path: str | Path, *, port: int = 0, model: str | None = None, device: str = "auto") -> None:
        """`port` 0 is any that is free."""
        self.playback = Playback(path, model, device)
        self.token = secrets.token_urlsafe(24)
        self.name = Path(path).name
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise FileAccessError(f"port {port}: {error.strerror or error}") from error

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @cached_property
    def sound(self) -> _Reply | None:
        """The sound, made when first asked for."""
        return sound_of(self.playback.reader)

    def server_close(self) -> None:
        """Release the port and the file."""
        super().server_close()
        self.playback.reader.close()


class _Handler(BaseHTTPRequestHandler):
    server: PlayServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        _, _, rest = url.path.partition("/")
        token, _, name = rest.partition("/")
        # Who asks for another host was led here by a name that an outsider chose.
        known = self.headers.get("Host") == f"{HOST}:{self.server.server_port}"
        if not known or not secrets.compare_digest(token.encode(), self.server.token.encode()) or name not in _PAGES:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
            return
        query = {key: int(values[0]) for key, values in parse_qs(url.query).items() if values[0].isdecimal()}
        try:
            kind, content = _PAGES[name](self.server, query)
        except PacodecError as error:
            self._send(HTTPStatus.CONFLICT, "text/plain; charset=utf-8", str(error).encode())
            return
        self._send(HTTPStatus.OK, kind, content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is not for that."""

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        own = "'self'"
        policy = f"default-src 'none'; script-src {own}; style-src {own}; connect-src {own}; img-src data:"
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"{policy}; media-src blob:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:  # the page went elsewhere
            self.close_connection = True


def _file(name: str, kind: str) -> Callable[[PlayServer, dict[str, int]], _Reply]:
    return lambda server, query: (kind, (files("pacodec.player") / name).read_bytes())


def _info(server: PlayServer, query: dict[str, int]) -> _Reply:
    playback = server.playback
    header = playback.reader.header
    aspect = header.video.pixel_aspect
    metadata = Metadata.of(playback.reader)
    told = {
        "name": server.name,
        "frames": len(playback),
        "width": header.video.width,
        "height": header.video.height,
        "rotation": header.video.rotation,
        "pixelAspect": float(aspect) if aspect else 1,
        "fps": metadata.fps or 25,
        "bytes": metadata.bytes,
        "ratio": metadata.ratio,
        "coders": metadata.coders,
        "block": playback.block,
        "sound": bool(header.video.audio),
        "damage": playback.reader.damage,
    }
    return "application/json", json.dumps(told).encode()


def _frames(server: PlayServer, query: dict[str, int]) -> _Reply:
    start, count = query.get("start", 0), min(query.get("count", 1), MOST_FRAMES)
    if not 0 <= start < len(server.playback):
        return BINARY, b""
    whole, blocks = bool(query.get("whole")), bool(query.get("blocks"))
    return BINARY, server.playback.frames(start, count, whole=whole, blocks=blocks)


def _times(server: PlayServer, query: dict[str, int]) -> _Reply:
    """When each frame is shown, and the end, in seconds."""
    playback = server.playback
    return BINARY, np.append(playback.times(), playback.bounds()[1]).astype("<f8").tobytes()


def _bits(server: PlayServer, query: dict[str, int]) -> _Reply:
    """How many frames have been counted, as a float, then the bits of those from `start` on."""
    server.playback.count_bits()
    counted = server.playback.counted
    bits = server.playback.bits[query.get("start", 0) : counted]
    return BINARY, np.concatenate([np.array([counted], "<f4"), bits]).astype("<f4").tobytes()


def _sound(server: PlayServer, query: dict[str, int]) -> _Reply:
    return server.sound or (BINARY, b"")


_PAGES: dict[str, Callable[[PlayServer, dict[str, int]], _Reply]] = {
    "": _file("page.html", "text/html; charset=utf-8"),
    "page.js": _file("page.js", "text/javascript; charset=utf-8"),
    "page.css": _file("page.css", "text/css; charset=utf-8"),
    "info": _info,
    "frames": _frames,
    "times": _times,
    "bits": _bits,
    "sound": _sound,
}
