"""Compile the C core: `python pacodec/engine/compile.py` puts the library beside this file, for use of a checkout.

`pip install` runs this file through the build hook in `build.py`. It imports nothing but the standard library.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIBRARY = "_core.dylib" if sys.platform == "darwin" else "_core.so"
"""Name of the shared library, in the folder of this file."""
FLAGS = (
    *("-std=c11", "-O3", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"),
    *("-fstack-protector-strong", "-fvisibility=default"),
)
COMPILERS = ("cc", "gcc", "clang")


def installed_compiler() -> list[str] | None:
    """The command of a C compiler: $CC, else the first of `COMPILERS` on the PATH; None where there is none."""
    if configured := os.environ.get("CC"):
        return shlex.split(configured)
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    return None


def sources_digest() -> str:
    """sha256 of the core's sources in hexadecimal, which a library is given and asked for: it must be of these."""
    digest = hashlib.sha256()
    for path in sorted((FOLDER / "core").glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build(target: Path) -> None:
    """Compile the core into the shared library `target`, by an installed compiler or by the PyPI package ziglang.

    Raises subprocess.CalledProcessError where the compiler fails, whose own messages go to standard error.
    """
    command = installed_compiler() or [sys.executable, "-m", "ziglang", "cc"]
    sources = sorted(str(path) for path in (FOLDER / "core").glob("*.c"))
    flags = (*FLAGS, f'-DPACODEC_SOURCES="{sources_digest()}"')
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        subprocess.run([*command, *flags, *sources, "-o", str(part)], check=True)  # noqa: S603 (our own arguments)
        part.replace(target)  # a process that has the old library mapped keeps it
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    """Compile where the command line says, by default beside this file."""
    parser = argparse.ArgumentParser(description="Compile the C core of pacodec.")
    parser.add_argument("--output", type=Path, default=FOLDER / LIBRARY, help="the shared library to write")
    build(parser.parse_args().output)


if __name__ == "__main__":
    main()
