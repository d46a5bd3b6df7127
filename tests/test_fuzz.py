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
    assert set(made) == set(targets.TARGETS) == set(campaign.NAMES)
    for name, inputs in made.items():
        for data in inputs.values():
            targets.TARGETS[name](data)
    for name, data in made["decode"].items():
        with targets.opened(data) as video:
            assert len(video[:]) == len(video) > 2, name
            assert not video.damage


@pytest.mark.slow
def test_a_minute_of_fuzzing_finds_nothing(tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, FUZZ / "campaign.py", "--seconds", str(SECONDS), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    logs = "".join((tmp_path / name / "log").read_text()[-2000:] for name in campaign.NAMES)
    assert done.returncode == 0, done.stdout + done.stderr + logs
    for name in campaign.NAMES:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert int(line.split()[1]) > 0, line
