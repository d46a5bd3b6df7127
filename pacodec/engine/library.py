"""The compiled C core, and what a state of it knows before any footage: how screens behave, without their colours.

`start.zst` belongs to the format: FORMAT.md names its sha256. `pacodec/training/general_start.py` made it.
"""

import ctypes
import hashlib
from functools import cache
from pathlib import Path

import zstandard

from pacodec.engine.compile import LIBRARY, sources_digest
from pacodec.errors import UnsupportedError

_U32, _SIZE, _POINTER, _BYTES = ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p
_SIGNATURES = {
    "pac_sources": (_BYTES, ()),
    "pac_state_size": (_SIZE, (_U32, _U32, _U32, _U32)),
    "pac_state_init": (ctypes.c_int, (_POINTER, _U32, _U32, _U32, _U32, _BYTES, _SIZE)),
    "pac_state_learned": (_SIZE, (_POINTER, _POINTER, _SIZE)),
    "pac_bound": (_SIZE, (_POINTER,)),
    "pac_encode_begin": (None, (_POINTER,)),
    "pac_encode": (_SIZE, (_POINTER, _POINTER, _U32, _POINTER, _POINTER, _POINTER, _SIZE)),
    "pac_encode_end": (_SIZE, (_POINTER, _POINTER, _SIZE)),
    "pac_decode_begin": (ctypes.c_int, (_POINTER, _BYTES, _SIZE)),
    "pac_decode_costs": (ctypes.c_int, (_POINTER, _BYTES, _SIZE, _POINTER, _U32, _POINTER)),
    "pac_decode_end": (ctypes.c_int, (_POINTER, _BYTES, _SIZE)),
    "pac_colour_to_rgb": (ctypes.c_int, (_POINTER, _POINTER, ctypes.c_int64)),
}
"""Result and arguments of each function of core/engine.h and core/colour.h."""


_REMEDY = "install the package, or in a checkout run: python pacodec/engine/compile.py"


def _path() -> Path:
    return Path(__file__).with_name(LIBRARY)


@cache
def core() -> ctypes.CDLL:
    """The library, loaded once; UnsupportedError where it was not compiled, or of other sources than these."""
    try:
        library = ctypes.CDLL(str(_path()))
        functions = {name: getattr(library, name) for name in _SIGNATURES}
    except (OSError, AttributeError) as error:
        raise UnsupportedError(f"the engine is not compiled for this machine ({error}); {_REMEDY}") from error
    for name, (result, arguments) in _SIGNATURES.items():
        functions[name].restype, functions[name].argtypes = result, arguments
    if library.pac_sources() != sources_digest().encode():
        raise UnsupportedError(f"the engine was compiled of other sources than these; {_REMEDY}")
    return library


@cache
def fingerprint() -> str:
    """sha256 of the library's bytes, in hexadecimal: states of one build mean nothing to another."""
    core()
    return hashlib.sha256(_path().read_bytes()).hexdigest()


FILE = Path(__file__).with_name("start.zst")
_MOST_BYTES = 1 << 22


@cache
def general_start() -> bytes:
    """Mixers, maps, corrections and the counters of contexts without colours, as little-endian words of 32 bits."""
    return zstandard.ZstdDecompressor().decompress(FILE.read_bytes(), max_output_size=_MOST_BYTES)
