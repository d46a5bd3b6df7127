"""GOPs coded in several processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from predictive import integers, make_model, parse, play, pull, push, spec_of

from pacodec.errors import CorruptFileError, PacodecError
from pacodec.predictors import get_predictor
from pacodec.predictors.crew import Crew

GRIDS = play(20, 40, 48)
SPEC = spec_of(GRIDS)


@pytest.fixture(params=["adaptive", "learned"])
def predictor(request):
    colours = integers("colours", (64, 3), 8).astype(np.uint8)
    return get_predictor(request.param, parse(make_model(colours)) if request.param == "learned" else None)


def workers():
    """Processes that were started from this one and run a desk."""
    listed = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], stdout=subprocess.PIPE)
    return [int(line.split()[0]) for line in listed.stdout.decode().splitlines() if "pacodec.predictors.desk" in line]


def test_every_place_gives_the_same_bytes(predictor):
    costs = np.full((256, 256), 9.0)
    np.fill_diagonal(costs, 0)
    with Crew(predictor, 3) as crew:
        for given in (None, costs):
            alone, _ = push(predictor.encoder(SPEC, given), GRIDS)
            coded = pull(predictor.decoder(SPEC, alone), len(GRIDS))
            for encoder in [crew.encoder(SPEC, given) for _ in range(5)]:
                np.testing.assert_array_equal(encoder.push(GRIDS), coded)
                assert encoder.finish() == alone
            for decoder in [crew.decoder(SPEC, alone) for _ in range(5)]:
                np.testing.assert_array_equal(pull(decoder, len(GRIDS), [3]), coded)
        assert len(workers()) == 2
    assert not workers()


def test_what_lies_in_the_current_folder_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "pacodec").mkdir()
    (tmp_path / "pacodec" / "__init__.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    with Crew(get_predictor("adaptive"), 2) as crew:
        encoders = [crew.encoder(SPEC) for _ in range(2)]
        assert len({push(encoder, GRIDS)[0] for encoder in encoders}) == 1


def test_one_gop_at_a_time_needs_no_process(predictor):
    with Crew(predictor, 3) as crew:
        for _ in range(3):
            push(crew.encoder(SPEC), GRIDS)
        assert not workers()


def test_zstd_needs_no_processes():
    with Crew(get_predictor("none"), 3) as crew:
        encoders = [crew.encoder(SPEC) for _ in range(3)]
        assert not workers()
        assert len({push(encoder, GRIDS)[0] for encoder in encoders}) == 1


def test_an_error_there_is_the_error_here(predictor):
    with Crew(predictor, 2) as crew:
        payload, _ = push(crew.encoder(SPEC), GRIDS)
        crew.decoder(SPEC, payload)
        with pytest.raises(CorruptFileError) as here:
            pull(predictor.decoder(SPEC, b""), len(GRIDS))
        for _ in range(2):  # the second time in the place that the first one left
            with pytest.raises(CorruptFileError) as there:
                pull(crew.decoder(SPEC, b""), len(GRIDS))
            assert str(there.value) == str(here.value)
        assert len(workers()) == 1


def test_a_process_that_is_killed_is_one_clear_error(predictor):
    with Crew(predictor, 2) as crew:
        crew.encoder(SPEC)
        encoder = crew.encoder(SPEC)
        encoder.push(GRIDS)
        os.kill(workers()[0], signal.SIGKILL)
        with pytest.raises(PacodecError, match="has ended before its time"):
            push(encoder, GRIDS)


def test_processes_end_with_the_one_that_started_them():
    code = """
import os, signal
from pacodec.grids import GridSpec
from pacodec.predictors import get_predictor
from pacodec.predictors.crew import Crew

with Crew(get_predictor("adaptive"), 2) as crew:
    coding = [crew.encoder(GridSpec(1, 8, 8, False)) for _ in range(2)]
    print(crew._workers[0]._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    started = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE)
    worker = int(started.stdout)
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the worker outlived its parent")
