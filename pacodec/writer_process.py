"""The process in which a `Writer` encodes: frames come by standard input, what was done goes to standard output."""

import json
import os
import sys
from dataclasses import asdict
from typing import Any

from pacodec.common.layout import ArrayLayout
from pacodec.encoder import encode_frames
from pacodec.errors import PacodecError
from pacodec.gop.feed import PackedFrames
from pacodec.options import EncodeOptions

NICENESS = 5
"""Of the process: the program that makes the frames goes first."""


def main() -> None:
    """Encode the frames of standard input, of which the first line says in JSON what they are and what is to be done.

    One line of JSON says what came of it: {"report": fields of EncodeReport}, or {"error": class, "message": text}.
    """
    os.nice(NICENESS)
    told: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    options = EncodeOptions(**told["options"])
    assert options.frame_rate is not None
    result: dict[str, Any]
    try:
        frames = PackedFrames(sys.stdin.buffer, ArrayLayout(tuple(told["shape"])), options.frame_rate)
        result = {"report": asdict(encode_frames(frames, told["target"], options))}
    except PacodecError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        result = {"error": PacodecError.__name__, "message": f"{told['target']}: out of memory"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
