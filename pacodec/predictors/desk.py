"""A predictor at work in a process of its own, asked in messages: `python -m pacodec.predictors.desk`.

A message is its size, uint64 (little-endian), and a msgpack map. The first one names the predictor and brings its
model; each later one has its answer before the next is sent. The process ends when its input does.
"""

import os
import signal
import struct
import sys
from typing import IO, Any

import msgpack
import numpy as np

from pacodec import errors
from pacodec.errors import PacodecError
from pacodec.grids import Grids, GridSpec
from pacodec.predictors import get_predictor
from pacodec.predictors.base import GridDecoder, GridEncoder, Predictor
from pacodec.weights import ModelFile

Message = dict[str, Any]
_SIZE = struct.Struct("<Q")


def send(pipe: IO[bytes], message: Message) -> None:
    """Write a message."""
    data = msgpack.packb(message)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Message | None:
    """Read a message; None where there is no more."""
    size = pipe.read(_SIZE.size)
    if len(size) < _SIZE.size:
        return None
    data = pipe.read(*_SIZE.unpack(size))
    message: Message = msgpack.unpackb(data, max_bin_len=len(data))
    return message


def pack_grids(grids: Grids) -> Message:
    """Grids as a part of a message."""
    return {"shape": grids.shape, "codes": grids.tobytes()}


def unpack_grids(message: Message) -> Grids:
    """The inverse of `pack_grids`; not to be written to."""
    return np.frombuffer(message["codes"], np.uint8).reshape(message["shape"])


class Desk:
    """Where one GOP at a time is encoded or decoded."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._encoder: GridEncoder
        self._decoder: GridDecoder

    def answer(self, message: Message) -> Message:
        """Do what a message asks for; raises what the predictor raises."""
        match message["do"]:
            case "encoder":
                costs = message["costs"]
                known = None if costs is None else np.frombuffer(costs, np.float64).reshape(256, 256)
                self._encoder = self._predictor.encoder(GridSpec(*message["spec"]), known)
            case "decoder":
                self._decoder = self._predictor.decoder(GridSpec(*message["spec"]), message["payload"])
            case "push":
                return pack_grids(self._encoder.push(unpack_grids(message)))
            case "pull":
                return pack_grids(self._decoder.pull(message["n"]))
            case "finish encoder":
                return {"payload": self._encoder.finish()}
            case "finish decoder":
                self._decoder.finish()
        return {}


def raise_error(answer: Message) -> None:
    """Raise the project's exception that an answer stands for, if it does."""
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["text"])


def serve(source: IO[bytes], target: IO[bytes]) -> None:
    """Answer until the input ends."""
    first = receive(source)
    if first is None:
        return
    model = first["model"]
    desk = Desk(get_predictor(first["predictor"], ModelFile.parse(model, "", "the model") if model else None))
    while (message := receive(source)) is not None:
        try:
            answer = desk.answer(message)
        except PacodecError as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        send(target, answer)


def main() -> None:
    """Serve standard input and output, whose other end alone decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as target:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever prints must not get between the answers
        try:
            serve(sys.stdin.buffer, target)
        except BrokenPipeError:
            os._exit(1)  # nobody is left to tell


if __name__ == "__main__":
    main()
