"""Small files made to take memory, and what they take: `python tests/hostile.py [NAME ...]` prints a table.

Each command runs in a process of its own under a bound on its address space. What is measured is the peak of its
resident memory, the program with its libraries included.
"""

import hashlib
import itertools
import json
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import msgpack
import numpy as np
import zstandard
from authored import recording_model

import pacodec
from pacodec.base_layer.colour import Colour
from pacodec.base_layer.stream import CodedStream, StoredPacket, pack
from pacodec.cli import main
from pacodec.common.media import AudioStream, GridSpec, VideoFormat
from pacodec.container import Component, Gop, Header, ModelRef, ReferenceInfo, Writer
from pacodec.container.gop import FIELDS
from pacodec.container.header import pack_preamble
from pacodec.container.packing import unpack_map
from pacodec.engine import SegmentEncoder, State
from pacodec.errors import PacodecError
from pacodec.models.files import ModelFile, ModelInfo, dump_arrays
from pacodec.transforms.postfilter import MAX_ENTRIES

MIB = 1 << 20
ADDRESS_SPACE = 1024 * MIB
"""Of a command; shared libraries and the stacks and heaps of threads, hardly any of it used, take most."""
ALLOWED = 300 * MIB
REFUSED = (1, 3, 4, 5)
"""Exit codes of the project's own exceptions that a file can cause."""
OUT_OF_MEMORY = 98
"""Exit code of a command whose memory was not enough."""
SCREEN = VideoFormat(64, 48, Fraction(1, 25), Fraction(25))
NONE, ENGINE = Component("none"), Component("engine")


@dataclass(frozen=True)
class Case:
    """A hostile file: its bytes, the exit codes that `verify` may end with, and whether there is a GOP to decode."""

    data: bytes
    codes: Sequence[int] = REFUSED
    decodes: bool = False


def chunk(kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    """With checksums that fit, and perhaps a length that does not."""
    head = struct.pack("<4sI", kind, len(payload) if length is None else length)
    return head + struct.pack("<I", zlib.crc32(head)) + payload + struct.pack("<I", zlib.crc32(payload))


def zstd_of(size: int, byte: bytes = b"\0") -> bytes:
    """A frame of one byte many times over, in pieces: it need not fit the memory of whoever makes it."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    step = min(size, 4 * MIB)
    parts = [compressor.compress(byte * min(step, size - at)) for at in range(0, size, step)]
    return b"".join(parts) + compressor.flush()


def declared(size: int, window: int = 20) -> bytes:
    """A zstd frame that says it holds so many bytes, and ends at once."""
    return b"\x28\xb5\x2f\xfd" + bytes([0xC0, (window - 10) << 3]) + struct.pack("<Q", size) + b"\x01\0\0"


def header(width: int = 64, height: int = 48, channels: int = 1, ordinal: bool = False, **more: Any) -> Header:
    """Of a palette, or whatever else."""
    video = replace(SCREEN, width=width, height=height)
    palette = {"palette": bytes(range(6)), "correction_step": {1: 0, 4: 1}.get(channels, 0)}
    parts = {
        "transform": Component("palette", palette),
        "quantizer": Component("palette"),
        **more,
    }
    return Header("hostile", video, GridSpec(channels, height, width, ordinal=ordinal), **parts)


def file(
    head: Header,
    payload: bytes,
    frames: int = 2,
    *,
    gops: int = 1,
    model: bytes | None = None,
    still: bool = False,
    crc: int = 0,
    coder: Component = NONE,
) -> bytes:
    """A .pac file as a writer makes it; `still`: all frames but the first repeat it; `crc`: of the codes."""
    with tempfile.TemporaryFile() as out:
        writer = Writer(out, head, model)
        repeats = np.arange(frames) > (0 if still else frames)
        for number in range(gops):
            first = number * frames
            writer.add_gop(Gop(first, np.arange(first, first + frames + 1), repeats, crc, payload, coder=coder))
        writer.close()
        out.seek(0)
        return out.read()


def engine(head: Header, data: bytes, frames: int = 2) -> bytes:
    """A file of one GOP of grids, which are whatever the engine makes of some bytes."""
    return file(head, data, frames, coder=ENGINE)


def stored(values: Any) -> bytes:
    """A map as it may be stored: plain."""
    return b"\0" + (values if isinstance(values, bytes) else msgpack.packb(values))


def deflated(data: bytes) -> bytes:
    """A map as it may be stored: deflated."""
    deflate = zlib.compressobj(9, wbits=-15)
    return b"\1" + deflate.compress(data) + deflate.flush()


def front(values: Any = None) -> bytes:
    """The preamble and a HEAD chunk of a map, or of the usual one."""
    packed = header().to_msgpack() if values is None else stored(values)
    return pack_preamble(0) + chunk(b"HEAD", packed)


def usual(**more: Any) -> dict[str, Any]:
    """The header's map with changes."""
    return {**unpack_map(header().to_msgpack(), "header", MIB), **more}


def gop(side: Any, frames: int = 4, coded: int = 4) -> bytes:
    """A GOPC chunk of any side map."""
    packed = stored(side)
    return chunk(b"GOPC", FIELDS.pack(0, frames, coded, 0, len(packed)) + packed)


def index(front_bytes: bytes, values: Any, gops: bytes = b"") -> bytes:
    """A file that ends with such an index and a tail that points at it."""
    body = front_bytes + gops
    packed = stored(values)
    return body + chunk(b"indx", packed) + chunk(b"tail", struct.pack("<Q", len(body)))


def empty_maps(size: int) -> bytes:
    """A msgpack map of lists of lists of empty maps, a byte each."""
    inner = b"\xdc\x40\0" + b"\x80" * 16384
    lists = min(size // len(inner), 16384)
    return b"\x81\xa1x\xdc" + struct.pack(">H", lists) + inner * lists


def entries(*columns: Sequence[int]) -> dict[str, Any]:
    """An index map of six columns of numbers below 2^63."""

    def varint(value: int) -> bytes:
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    table = b"\0" + b"".join(varint(value) for column in columns for value in column)
    counts = {"source_bytes": None, "codes_bytes": 0, "audio_bytes": 0}
    return {**counts, "gops": len(columns[0]), "coders": ["engine"], "entries": table}


def container_cases() -> Iterator[tuple[str, Case]]:
    """Sizes that lie, bombs, and indexes that lead nowhere."""
    head, sound = front(), AudioStream("aac", Fraction(1, 8000), 8000, "mono", "fltp")
    yield "frames beyond all", Case(pack_preamble((1 << 32) - 1) + head[20:], (5,))
    for kind in (b"HEAD", b"GOPC", b"audp", b"indx", b"modl", b"abcd"):
        name = kind.decode()
        yield f"{name} of 2^32 bytes", Case((head[:20] if kind == b"HEAD" else head) + chunk(kind, b"", (1 << 32) - 1))
        yield f"{name} cut short", Case((head[:20] if kind == b"HEAD" else head) + chunk(kind, b"", MIB), (3,))
    yield "msgpack of empty maps", Case(front(empty_maps(MIB)), (3,))
    yield "deflated bomb", Case(front()[:20] + chunk(b"HEAD", deflated(bytes(256 * MIB))), (3, 5))
    yield "msgpack of depth 5000", Case(front(b"\x81\xa1x" + b"\x91" * 5000 + b"\xc0"), (3,))
    for name, start in {"list": b"\xdd", "map": b"\xdf", "bytes": b"\xc6", "str": b"\xdb"}.items():
        yield f"msgpack {name} of 2^32", Case(front(b"\x81\xa1x" + start + b"\xff" * 4), (3,))
    yield "side map of empty maps", Case(head + gop(empty_maps(MIB - 100)), (3,))
    for name, video in {"sides": {"width": 1 << 31}, "pixels": {"width": 16384, "height": 16384}}.items():
        yield f"picture's {name}", Case(front(usual(video={**usual()["video"], **video})), (5,))
    grid = {"channels": 1 << 28, "height": 1, "width": 1, "ordinal": False}
    yield "channels without end", Case(front(usual(grid=grid)) + gop({"pts": b"\0"}), (3, 5))
    for name, data in {
        "size": declared(1 << 40),
        "size within": declared(9 * 65537),
        "no size": zstd_of(MIB),
        "window": declared(100, 31),
    }.items():
        yield f"timestamps: {name}", Case(head + gop({"pts": b"\1" + data}, 65536, 65536))
        yield f"repeats: {name}", Case(head + gop({"pts": b"\0", "repeats": b"\1" + data}, 65536, 1))
    with_sound = replace(header(), video=replace(SCREEN, audio=(sound,) * 32)).to_msgpack()
    for name, table in {"zeros": zstandard.compress(bytes(45 << 16)), "size": declared(1 << 40)}.items():
        packets = struct.pack("<II", 1 << 16, 1 + len(table)) + b"\1" + table
        yield f"audio table: {name}", Case(pack_preamble(0) + chunk(b"HEAD", with_sound) + chunk(b"audp", packets))
    tiny = zstandard.compress(np.concatenate([np.zeros(4 << 16), np.ones(1 << 16)]).astype(np.uint8).tobytes())
    packets = struct.pack("<II", 1 << 16, 1 + len(tiny)) + b"\1" + tiny + bytes(1 << 16)
    yield (
        "audio packets of a byte",
        Case(pack_preamble(0) + chunk(b"HEAD", with_sound) + chunk(b"audp", packets) * 4, (3,)),
    )
    yield "index of empty maps", Case(index(head, empty_maps(8 * MIB)), (3,))
    yield "index of 10^8 GOPs", Case(index(head, {**entries([1], [1], [1], [1], [1], [0]), "gops": 10**8}), (3,))
    padding = chunk(b"pad ".replace(b" ", b"x"), bytes(8 * MIB))
    room = {**entries([1], [1], [1], [1], [1], [0]), "gops": 8 * MIB // 36}
    yield (
        "index bomb",
        Case(index(head, {**room, "entries": b"\1" + zstandard.compress(bytes(8 * MIB))}, padding), (3,)),
    )
    ends = {"beyond": (1 << 60, 24), "wrapping": ((1 << 62) - 20, 1 << 62), "on itself": (0, 24)}
    two = gop({"pts": b"\0"}, 1, 1) * 2
    for name, (gap, length) in ends.items():
        columns = [[0, gap], [length, length], [1, 1], [0, 0], [1, 1], [0, 0]]
        yield f"index {name}", Case(index(head, entries(*columns), two), (3,))
    yield "tail at itself", Case(head + chunk(b"tail", struct.pack("<Q", len(head))), (3,))
    yield "tail at the header", Case(head + chunk(b"tail", struct.pack("<Q", 20)), (3,))
    yield "prefixes all the way", Case(head + chunk(b"GOPC", b"", MIB)[:12] * 65536, (3,))
    yield "many GOPs", Case(file(header(8, 8), zstd_of(64), 1, gops=2000), (3,))
    still = file(header(), zstd_of(64 * 48), 65536, gops=1500, still=True)
    yield "10^8 frames", Case(still, (3,))


def codes_cases() -> Iterator[tuple[str, Case]]:
    """A few bytes that hold as much as is allowed, and a little more."""
    noise = np.random.default_rng(0).bytes(1 << 14)
    for channels in (1, 4):
        for side in (8192, 4096, 2048):
            bomb = zstd_of(2 * channels * side * side)
            wide = header(side, side, channels)
            yield f"none {channels}x{side}", Case(file(wide, bomb), (0, 3, 5), True)
            yield f"engine {channels}x{side}", Case(engine(wide, noise), (3, 5), True)
    yield "none goes on", Case(file(header(), zstd_of(64 * MIB)), (3,), True)
    for side in (4096, 1024, 512):
        yield f"ordinal {side}", Case(engine(header(side, side, 4, True), noise), (3, 5))
    yield "still picture", Case(file(header(2048, 1024), zstd_of(2 << 20), 300, still=True), (3,), True)
    yield "many large pictures", Case(file(header(2048, 2048), zstd_of(64 << 22), 64), (3,), True)
    many = file(header(1024, 1024), zstd_of(32 << 20), 32, gops=16)
    yield "many large GOPs", Case(many, (3,), True)
    shades = header(channels=2, transform=Component("shades", {"palette": b"abc", "shades": b"\1" + declared(1 << 34)}))
    yield "shades of 2^34 bytes", Case(file(shades, zstd_of(2 * 64 * 48 * 2)), (5,), True)


def packet_cases() -> Iterator[tuple[str, Case]]:
    """Packets of a standard codec that hold more than they or the header say."""
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width = codec.height = 1024
    codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, 25)
    black = av.VideoFrame(codec.width, codec.height, "yuv420p")
    packets = [StoredPacket.of(packet) for packet in (*codec.encode(black), *codec.encode(None))]
    stream = CodedStream("h264", Colour("yuv420p", 1, False), codec.time_base)
    described = Component("picture", {"h264": stream.to_dict()})
    head = replace(header(transform=described), grid=GridSpec(48, 64, 3, ordinal=True), quantizer=NONE)
    bomb = declared(1 << 34)
    table = struct.pack("<III", 2, len(bomb), 0) + bomb
    for name, payload, code in (("larger pictures", pack(packets), 3), ("a table of 2^34 bytes", table, 5)):
        yield f"packets of {name}", Case(file(head, payload, len(packets), coder=Component("h264")), (code,), True)


def recorded_cases() -> Iterator[tuple[str, Case]]:
    """Models and files that bring a reference which lies."""
    palette = np.zeros((2, 3), np.uint8)
    noise = np.frombuffer(np.random.default_rng(0).bytes(1 << 14), np.uint8)
    whole = {"frames": 2, "bytes": len(noise)}
    for name, shape in {
        "noise": {"grid": [1, 48, 64], "segments": [whole]},
        "of 2^16 frames": {"grid": [1, 48, 64], "segments": [{**whole, "frames": 1 << 16}]},
        "of 2^40 frames": {"grid": [1, 48, 64], "segments": [{**whole, "frames": 1 << 40}]},
        "of 2^40 bytes": {"grid": [1, 48, 64], "segments": [{**whole, "bytes": 1 << 40}]},
        "of 2^40 pixels": {"grid": [1, 1 << 20, 1 << 20], "segments": [whole]},
        "of no grid": {"segments": [whole]},
        "of no segments": {"grid": [1, 48, 64]},
        "of too many segments": {"grid": [1, 48, 64], "segments": [{"frames": 1, "bytes": 0}] * 5000},
    }.items():
        model = recording_model(palette, arrays={"reference": noise}, **shape)
        yield f"recording {name}", Case(with_model(model), (3, 5))
    info = ReferenceInfo(1 << 20, 0, ((1 << 16, 1 << 20),))
    yield "reference of nothing", Case(file(header(reference=info), b"", coder=ENGINE), (3,))


def filtered_cases() -> Iterator[tuple[str, Case]]:
    """Post-filters as large as they may be, and larger ones."""
    palette = np.zeros((2, 3), np.uint8)
    full = struct.pack("<I", MAX_ENTRIES) + bytes(6 * MAX_ENTRIES)
    for name, content, codes in (
        ("filtered", full * 5 + bytes(4), (0,)),
        ("filtered by 2^32 entries", b"\xff" * 24, (5,)),
        ("filtered by a table that unfolds", bytes(1 << 30), (5,)),
    ):
        table = np.frombuffer(zstandard.ZstdCompressor(1).compress(content), np.uint8)
        model = recording_model(palette, arrays={"postfilter": table}, noise=8, grid=[1, 256, 256])
        found = ModelFile.parse(model, "hostile", "hostile")
        transform = Component("filtered", {"correction_step": 0})
        head = header(256, 256, transform=transform, model=ModelRef(found.name, found.sha256))
        size = 2 * head.grid.size
        data = file(head, zstd_of(size), model=model, crc=zlib.crc32(bytes(size)))
        yield name, Case(data, codes, True)


def with_model(model: bytes) -> bytes:
    """A file that carries a model and needs it."""
    reference = ModelRef("hostile", hashlib.sha256(model).digest())
    head = header(transform=Component("palette", {"correction_step": 0}), model=reference)
    return file(head, b"\0", model=model, coder=ENGINE)


def model_cases() -> Iterator[tuple[str, bytes]]:
    """Model files with absurd shapes."""

    def stored(tensors: Mapping[str, Any], data: bytes = b"", **more: str) -> bytes:
        metadata = {"pacodec": "1", "arch": "recording", "training": "{}", "quality": "{}", "hyperparameters": "{}"}
        text = json.dumps({"__metadata__": {**metadata, **more}, **tensors}).encode()
        return struct.pack("<Q", len(text)) + text + data

    yield "header of 2^63 bytes", struct.pack("<Q", 1 << 63) + b"{}"
    yield "header beyond the file", struct.pack("<Q", 1 << 20) + b"{"
    yield "header of lists", struct.pack("<Q", MIB) + b'{"a":' + b"[" * (MIB - 5)
    huge = {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}
    yield "tensor of 2^80", stored({"embedding": huge}, b"1234")
    yield "tensor beyond the file", stored({"embedding": {**huge, "shape": [1 << 30], "data_offsets": [0, 1 << 32]}})
    yield (
        "overlapping tensors",
        stored({name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for name in ("a", "b")}, b"1234"),
    )
    for arch in ("vae", "vanilla-1000", "multilayer-1000"):
        for side in (1024, 1 << 30):
            yield (
                f"{arch} of {side}",
                stored({}, arch=arch, hyperparameters=json.dumps({"height": side, "width": side})),
            )
    empty = {f"{n}": np.empty((0, 1 << 20), np.int8) for n in range(9000)}
    yield "many empty tensors", dump_arrays(empty, ModelInfo("recording", {}))


def slow_cases() -> Iterator[tuple[str, Case]]:
    """Files that are as they should be, of a few bytes that take a reader as long for each frame as any that small."""
    for frames, height, width in ((600, 512, 512), (100, 1080, 1920)):
        grids = np.zeros((1, 1, height, width), np.uint8)
        encoder = SegmentEncoder(State.fresh(GridSpec(1, height, width, ordinal=False)))
        crc = 0
        for number in range(frames):
            grids[0, 0, 5, 5] = number % 2
            encoder.push(grids)
            crc = zlib.crc32(grids.tobytes(), crc)
        data = file(header(width, height), encoder.finish(), frames, crc=crc, coder=ENGINE)
        yield f"slow: {frames} of {width}x{height}", Case(data, (0,), True)


def cases() -> Iterator[tuple[str, Case]]:
    """All files but the slow ones, by name."""
    yield from container_cases()
    yield from codes_cases()
    yield from packet_cases()
    yield from recorded_cases()
    yield from filtered_cases()
    for name, model in model_cases():
        yield f"model: {name}", Case(with_model(model))


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code, what it said on stderr, and the peak of its resident memory in bytes."""

    code: int
    text: str
    peak: int


class Commands:
    """Runs commands under a bound on their memory, each in a fork of a process that has imported little else."""

    def __enter__(self) -> "Commands":
        pipe = subprocess.PIPE
        # One heap for all threads: how much of each heap is in use would be a matter of chance.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def run(self, *arguments: object) -> Outcome:
        """`pacodec` with these arguments, or `pictures FILE`: the first of them, and the last, by the API."""
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


def serve() -> None:
    """Run each command that comes on stdin, a JSON list a line, and answer with its outcome."""
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as said:
            child = os.fork()
            if not child:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(said.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
                code = 99
                try:
                    code = _execute(json.loads(line))
                finally:
                    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
                    os.write(2, f"\n{peak[1] if peak else 0}".encode())
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            said.seek(0)
            text, _, peak_kb = said.read().rpartition("\n")
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "text": text, "peak": int(peak_kb or 0) << 10}), flush=True)


def _execute(arguments: Sequence[str]) -> int:
    try:
        if arguments[0] == "pictures":
            with pacodec.open(arguments[1]) as video:
                for _ in itertools.islice(video.batches(), 8):
                    pass
                if len(video):
                    video[len(video) - 1]
        else:
            main(list(arguments))
    except PacodecError as error:
        sys.stderr.write(f"pacodec: {error}\n")
        return error.exit_code
    except MemoryError:
        return OUT_OF_MEMORY
    except SystemExit as done:
        sys.stderr.flush()
        return int(done.code or 0)
    return 0


def table(names: Sequence[str]) -> None:
    """Print what every command takes on every file, or on those named."""
    with tempfile.TemporaryDirectory() as folder, Commands() as commands:
        for name, case in itertools.chain(cases(), slow_cases()):
            if names and not any(wanted in name for wanted in names):
                continue
            path = Path(folder) / "hostile.pac"
            path.write_bytes(case.data)
            cells = []
            for command in ("info", "verify", "pictures"):
                began = time.monotonic()
                done = commands.run(command, path)
                cells.append(f"{command} {done.code} {done.peak // MIB:4} MiB {time.monotonic() - began:5.1f} s")
            print(f"{name:28} {len(case.data):9} bytes  {'  '.join(cells)}  {done.text.strip()[:150]}", flush=True)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else table(sys.argv[1:])
