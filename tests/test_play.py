"""A file in the browser: what the page is given, who else is given nothing, and what it shows."""

import io
import json
import re
import shutil
import signal
import struct
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip
from conftest import cli, make_video, program, screen
from numpy.typing import NDArray
from PIL import Image

import pacodec
from pacodec.container import Reader
from pacodec.errors import FileAccessError
from pacodec.player.server import PlayServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEAD = struct.Struct("<IHHHHfI")


@pytest.fixture
def served(screens_pac: Path) -> Iterator[PlayServer]:
    with serving(screens_pac) as server:
        yield server.server


@dataclass
class serving:
    """A server that answers while the block lasts."""

    path: Path

    def __enter__(self) -> "serving":
        self.server = PlayServer(self.path)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def get(server: PlayServer, name: str) -> bytes:
    with urllib.request.urlopen(server.address + name, timeout=60) as reply:
        return reply.read()


@dataclass
class Given:
    number: int
    picture: NDArray[np.uint8]
    bits: float
    blocks: NDArray[np.float32]


def frames(server: PlayServer, query: str, before: NDArray[np.uint8] | None = None) -> list[Given]:
    """The frames of a batch, as the page puts them together."""
    data, at, made = get(server, f"frames?{query}"), 0, []
    video = server.playback.reader.header.video
    picture = np.zeros((video.height, video.width, 3), np.uint8) if before is None else before.copy()
    while at < len(data):
        number, x, y, width, height, bits, count = HEAD.unpack_from(data, at)
        at += HEAD.size
        changed = np.frombuffer(data, np.uint8, 4 * width * height, at).reshape(height, width, 4)
        assert (changed[..., 3] == 255).all()
        picture[y : y + height, x : x + width] = changed[..., :3]
        at += changed.nbytes
        blocks = np.frombuffer(data, np.float32, count, at)
        at += blocks.nbytes
        made.append(Given(number, picture.copy(), bits, blocks))
    return made


def test_frames_come_exactly_from_anywhere(served: PlayServer) -> None:
    with pacodec.open(served.playback.path) as video:
        wanted = video[:]
    given = frames(served, "start=0&count=24")
    assert [each.number for each in given] == [*range(24)]
    assert all(np.array_equal(each.picture, picture) for each, picture in zip(given, wanted, strict=True))
    (jumped,) = frames(served, "start=17&count=1&whole=1")
    assert np.array_equal(jumped.picture, wanted[17])
    following = frames(served, "start=18&count=2", jumped.picture)
    assert [np.array_equal(each.picture, wanted[each.number]) for each in following] == [True, True]
    (back,) = frames(served, "start=3&count=1")
    assert np.array_equal(back.picture, wanted[3])
    assert frames(served, "start=24&count=1") == []


def test_bits_of_blocks_are_those_of_the_file(tmp_path: Path) -> None:
    pictures = [screen(number, 160, 128) for number in range(40)]
    make_video(tmp_path / "x.mp4", pictures)
    pacodec.encode(str(tmp_path / "x.mp4"), str(tmp_path / "x.pac"), coder="engine", effort=1)
    with Reader(tmp_path / "x.pac") as reader:
        stored = sum(8 * (len(reader.gop(number).payload) - 4) for number in range(len(reader.gops)))
    with serving(tmp_path / "x.pac") as running:
        given = frames(running.server, "start=0&count=40&blocks=1")
        assert sum(each.bits for each in given) == pytest.approx(stored, abs=8 * len(given) / 40)
        for each, before in zip(given[1:], given, strict=False):
            assert each.blocks.sum() <= each.bits + 1e-3
            changed = (each.picture != before.picture).any(2).reshape(16, 8, 20, 8).any((1, 3)).reshape(-1)
            assert each.blocks[changed].sum() > 0.9 * each.blocks.sum() - 8
        counted = counts(running.server)
        assert counted == pytest.approx([each.bits for each in given], rel=1e-4)


def counts(server: PlayServer) -> list[float]:
    """Bits of all frames, waited for."""
    while True:
        counted, *bits = np.frombuffer(get(server, "bits"), np.float32).tolist()
        if counted == len(server.playback):
            return bits


def test_bits_of_a_reference_and_of_repeats(tmp_path: Path) -> None:
    pictures = [screen(number // 2, 160, 128) for number in range(60)]
    make_video(tmp_path / "x.mp4", pictures)
    pacodec.encode(str(tmp_path / "x.mp4"), str(tmp_path / "x.pac"), gop_seconds=0.4, coder="engine")
    assert "reference" in pacodec.info(tmp_path / "x.pac").coders
    with serving(tmp_path / "x.pac") as running:
        given = frames(running.server, "start=0&count=60&blocks=1")
    assert all(np.array_equal(each.picture, picture) for each, picture in zip(given, pictures, strict=True))
    assert all(each.bits >= 0 for each in given)
    assert sum(each.bits == 0 for each in given) >= 20


def test_bits_of_what_the_engine_did_not_code(tmp_path: Path) -> None:
    make_video(tmp_path / "x.mp4", [screen(number) for number in range(6)])
    pacodec.encode(str(tmp_path / "x.mp4"), str(tmp_path / "none.pac"), coder="none")
    make_clip(tmp_path / "y.mp4", frames=10)
    pacodec.encode(str(tmp_path / "y.mp4"), str(tmp_path / "packets.pac"))
    for name in ("none.pac", "packets.pac"):
        with serving(tmp_path / name) as running:
            assert np.isnan([each.bits for each in frames(running.server, "start=0&count=6&blocks=1")]).all()
            counted = counts(running.server)
        assert sum(counted) > 0
        assert sum(counted) < 8 * (tmp_path / name).stat().st_size


def test_times_and_what_the_page_is_told(served: PlayServer) -> None:
    times = np.frombuffer(get(served, "times"), np.float64)
    assert times == pytest.approx(np.arange(25) / 25)
    told = json.loads(get(served, "info"))
    assert (told["frames"], told["width"], told["height"]) == (24, 48, 32)
    assert told["block"] == [8, 8]


@pytest.mark.parametrize("codec", ["aac", "libopus", "pcm_s16le"])
def test_sound_is_given_as_it_is(tmp_path: Path, codec: str) -> None:
    make_clip(tmp_path / "x.mkv", frames=30, audio=codec)
    pacodec.encode(str(tmp_path / "x.mkv"), str(tmp_path / "x.pac"))
    with serving(tmp_path / "x.pac") as running:
        sound = get(running.server, "sound")
    with av.open(io.BytesIO(sound)) as given, Reader(tmp_path / "x.pac") as reader:
        packets = [bytes(packet) for packet in given.demux(audio=0) if packet.size]
        assert b"".join(packets) == b"".join(packet.data for packet in reader.audio())


def status(server: PlayServer, path: str, host: str | None = None) -> int:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    code = connection.getresponse().status
    connection.close()
    return code


def test_nobody_else_is_served(served: PlayServer) -> None:
    assert served.server_address[0] == "127.0.0.1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", served.address)
    assert status(served, f"/{served.token}/info") == 200
    for path in ("/", "/info", f"/{served.token[:-1]}/info", f"/{served.token}/../info", f"/{served.token}/page.py"):
        assert status(served, path) == 404
    assert status(served, f"/{served.token}/info", "evil.example") == 404
    with urllib.request.urlopen(served.address, timeout=60) as reply:
        policy = reply.headers["Content-Security-Policy"]
        page = reply.read().decode()
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    for text in (page, get(served, "page.js").decode(), get(served, "page.css").decode()):
        assert "//" not in re.sub(r"^\s*//.*|[;{] //.*", "", text, flags=re.MULTILINE)


def test_a_damaged_frame_is_said(tmp_path: Path, screens_pac: Path) -> None:
    with Reader(screens_pac) as reader:
        place = reader.gops[1].offset
    data = bytearray(screens_pac.read_bytes())
    data[place + 60] ^= 255
    (tmp_path / "x.pac").write_bytes(data)
    with serving(tmp_path / "x.pac") as running, pytest.raises(urllib.error.HTTPError) as failed:
        get(running.server, "frames?start=12&count=1")
    assert failed.value.code == 409
    assert b"x.pac" in failed.value.read()


def test_command_line(screens_pac: Path, tmp_path: Path) -> None:
    command = program("play", screens_pac, "--no-browser", "--json")
    with_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a job in the background ignores
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=with_ctrl_c) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(url + "info", timeout=60) as reply:
            assert json.load(reply)["frames"] == 24
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    (tmp_path / "bad.pac").write_bytes(b"nothing")
    assert cli("play", tmp_path / "bad.pac", "--no-browser").exit_code == 3
    assert cli("play", tmp_path / "none.pac", "--no-browser").exit_code == 1


def test_a_port_that_is_taken(served: PlayServer, screens_pac: Path) -> None:
    with pytest.raises(FileAccessError, match=f"port {served.server_port}"):
        PlayServer(screens_pac, port=served.server_port)


def browse(url: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[bytes]:
    assert CHROMIUM is not None
    usual = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *usual, "--window-size=400,500", "--virtual-time-budget=10000", profile, *flags, url]
    return subprocess.run(command, capture_output=True, timeout=200, check=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_the_browser_shows_the_decoded_pixels(served: PlayServer, tmp_path: Path) -> None:
    browse(f"{served.address}#frame=13&zoom=3", tmp_path, f"--screenshot={tmp_path / 'shot.png'}")
    with Image.open(tmp_path / "shot.png") as shot, pacodec.open(served.playback.path) as video:
        shown = np.asarray(shot.convert("RGB"))
        assert np.array_equal(shown[:96, :144], video[13].repeat(3, 0).repeat(3, 1))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
def test_the_browser_plays_to_the_end_and_counts_bits(served: PlayServer, tmp_path: Path) -> None:
    page = browse(f"{served.address}#play=1&speed=2&blocks=1", tmp_path, "--dump-dom").stdout.decode()
    found = dict(re.findall(r'data-(\w+)="([^"]*)"', page))
    assert found["frame"] == "23"
    assert found["counted"] == "24"
    assert float(found["bits"]) >= 0
    assert re.search(r'<p id="trouble"[^>]*></p>', page)
