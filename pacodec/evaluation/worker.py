"""One measurement in a process of its own, so that its peak memory is its own: `python -m pacodec.evaluation.worker`.

Takes a file with a JSON request and a file for the JSON answer; speeds do not count the start of the interpreter.
"""

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import msgpack

from pacodec.errors import PacodecError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import (
    AomencCodec,
    BaseLayerCodec,
    Codec,
    DifferencesCodec,
    Encoded,
    FFmpegCodec,
    PacCodec,
    WebpCodec,
)

KINDS: dict[str, Callable[..., Codec]] = {
    kind.__name__: kind for kind in (FFmpegCodec, AomencCodec, WebpCodec, DifferencesCodec, PacCodec, BaseLayerCodec)
}


def codec_of(description: dict[str, Any]) -> Codec:
    """The inverse of `matrix.describe`."""
    return KINDS[description["kind"]](**description["settings"])


def read_packets(path: Path) -> list[bytes]:
    """The packets of a file that a worker wrote."""
    packets: list[bytes] = msgpack.unpackb(path.read_bytes(), max_bin_len=path.stat().st_size)
    return packets


def _point(clip: Clip, codec: Codec, packets: Path) -> dict[str, Any]:
    """Encode, keep the packets, decode, compare."""
    from pacodec.evaluation.quality import SIMILARITY_FRAMES, measure  # OpenCV's memory is not the codecs'

    encoded = codec.encode(clip)
    packets.write_bytes(msgpack.packb(encoded.packets))
    stride = 1 + (clip.frames - 1) // SIMILARITY_FRAMES
    quality = measure(clip.stream(), codec.decode(clip, encoded.packets), stride=stride)
    return {"bytes": encoded.size, "notes": dict(encoded.notes), "quality": asdict(quality)}


def _encode(clip: Clip, codec: Codec, packets: Path) -> dict[str, Any]:
    """Time of encoding, in seconds, and the peak memory in bytes."""
    began = perf_counter()
    encoded: Encoded = codec.encode(clip)
    return {"seconds": perf_counter() - began, "memory": peak_memory(), "bytes": encoded.size}


def _decode(clip: Clip, codec: Codec, packets: Path) -> dict[str, Any]:
    """The same of decoding all frames."""
    coded = read_packets(packets)
    began = perf_counter()
    frames = sum(1 for _ in codec.decode(clip, coded))
    return {"seconds": perf_counter() - began, "memory": peak_memory(), "frames": frames}


def peak_memory() -> int:
    """Bytes that this process held at most, Python and libraries included."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, from before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


TASKS = {"point": _point, "encode": _encode, "decode": _decode}


def main(request: Path, answer: Path) -> None:
    """Do what the request says; what goes wrong on purpose is an answer too."""
    wanted = json.loads(request.read_text())
    try:
        clip, codec = Clip.from_dict(wanted["clip"]), codec_of(wanted["codec"])
        result = TASKS[wanted["task"]](clip, codec, Path(wanted["packets"]))
    except PacodecError as error:
        result = {"error": str(error)}
    answer.write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
