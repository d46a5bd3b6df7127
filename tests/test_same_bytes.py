"""Every build of the core makes the same bytes, on any processor; so do any number of threads."""

import subprocess
import sys
from pathlib import Path

import pytest
import same_bytes
from conftest import make_video, screen

import pacodec

POSSIBLE = [build for build in same_bytes.builds() if build.possible]
PLAIN = next(build for build in POSSIBLE if build.name.endswith("-O0 baseline"))
FAST = [build for build in POSSIBLE if build.name.endswith("-O3")][-1]
"""Of the last compiler that is here, PLAIN being of the first."""


def test_compilers_make_the_same_bytes(tmp_path):
    """What lacks optimisation and AVX2 against what has both; `-m slow` compares all that are installed."""
    same_bytes.written(tmp_path / "vectors")
    outcomes = {build.name: same_bytes.outcome(build, tmp_path / "vectors", tmp_path) for build in (FAST, PLAIN)}
    assert len(set(outcomes.values())) == 1, outcomes
    assert "wrong" not in "".join(outcomes.values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_builds_make_the_same_bytes():
    done = subprocess.run([sys.executable, same_bytes.__file__], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("effort", [1, 2])
def test_threads_make_the_same_file(effort, tmp_path):
    source = make_video(tmp_path / "in.mp4", [screen(number) for number in range(30)])
    made = set[bytes]()
    for jobs in (1, 2, 5):
        target = Path(tmp_path / f"{jobs}.pac")
        pacodec.encode(str(source), str(target), gop_seconds=0.2, effort=effort, jobs=jobs)
        made.add(target.read_bytes())
    assert len(made) == 1
