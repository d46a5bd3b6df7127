"""What fuzzing found stays fixed, and a short run of it in the open."""

import subprocess
import sys
from pathlib import Path

import campaign
import pytest
import seeds
import targets

FUZZ = Path(campaign.__file__).parent
FINDINGS = sorted((FUZZ / "findings").glob("*.bin"))
SECONDS = 15


@pytest.fixture(autouse=True)
def _embedded_models_only(monkeypatch, one_thread):
    monkeypatch.setattr("pacodec.models.library.find_by_hash", targets.only_embedded)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_a_finding_raises_no_more(path):
    """Named after its target: TARGET-WHAT.bin."""
    targets.TARGETS[path.name.partition("-")[0]](path.read_bytes())


def test_seeds_are_good_and_cover_every_target():
    made = seeds.seeds()
    assert set(made) == {*targets.TARGETS, *campaign.CORE_NAMES}
    assert set(targets.TARGETS) == set(campaign.NAMES)
    for name in campaign.NAMES:
        for data in made[name].values():
            targets.TARGETS[name](data)
    for name, data in made["decode"].items():
        with targets.opened(data) as video:
            assert len(video[:]) == len(video) > 2, name
            assert not video.damage


@pytest.mark.slow
@pytest.mark.parametrize("names", [campaign.NAMES, tuple(campaign.CORE_NAMES)], ids=["python", "core"])
def test_a_minute_of_fuzzing_finds_nothing(names, tmp_path):
    """That of the core needs clang."""
    command = [sys.executable, FUZZ / "campaign.py", "--seconds", str(SECONDS), tmp_path, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("*/log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    for name in names:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name} ")]
        assert int(line.split()[1]) > 0, line
