"""The C core is compiled by what is there, and the build asks for a compiler where there is none."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import leftovers

import pacodec
from pacodec.engine import compile as compiling

ROOT = Path(__file__).parent.parent


def hook_dependencies(monkeypatch: pytest.MonkeyPatch, path: str) -> list[str]:
    """What the build asks for with this PATH, as pip asks for it."""
    monkeypatch.setenv("PATH", path)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.chdir(ROOT)
    from hatchling.build import get_requires_for_build_wheel

    return get_requires_for_build_wheel()


def test_a_compiler_that_is_there_is_used(monkeypatch, tmp_path):
    fake = tmp_path / "cc"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    assert hook_dependencies(monkeypatch, str(tmp_path)) == []
    assert compiling.installed_compiler() == [str(fake)]
    monkeypatch.setenv("CC", "ccache clang -g")
    assert compiling.installed_compiler() == ["ccache", "clang", "-g"]


def test_without_a_compiler_the_build_asks_for_one(monkeypatch, tmp_path):
    assert any(name.startswith("ziglang") for name in hook_dependencies(monkeypatch, str(tmp_path)))
    assert compiling.installed_compiler() is None


@pytest.mark.slow
@pytest.mark.skipif(compiling.installed_compiler() is None, reason="there is no C compiler on this machine")
def test_the_script_compiles_in_place_or_elsewhere(tmp_path):
    script = ROOT / "pacodec" / "engine" / "compile.py"
    target = tmp_path / "core.so"
    subprocess.run([sys.executable, script, "--output", target], check=True)
    assert ctypes.CDLL(str(target)).pac_state_size(0, 1, 8, 8)
    assert leftovers(tmp_path) == ["core.so"]


def test_a_library_of_other_sources_is_not_used(tmp_path):
    shutil.copytree(Path(pacodec.__file__).parent, tmp_path / "pacodec")
    with (tmp_path / "pacodec" / "engine" / "core" / "engine.c").open("a") as source:
        source.write("/* changed after it was compiled */\n")
    done = subprocess.run(
        [sys.executable, "-c", "from pacodec.engine.library import core; core()"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "UnsupportedError: the engine was compiled of other sources than these" in done.stderr
    assert done.returncode == 1


def test_a_compiler_that_fails_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(subprocess.CalledProcessError):
        compiling.build(tmp_path / "core.so")
    assert leftovers(tmp_path) == []
