"""Folders of videos, here and on a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from conftest import cli, make_video, run, screen

import pacodec
from pacodec.errors import FileAccessError, UsageError
from pacodec.folders import BatchItem


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A tree of four videos, one of them not readable, and a text."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    make_video(folder / "a.mp4", [screen(number) for number in range(12)])
    make_video(folder / "deep" / "b.mp4", [screen(3 * number) for number in range(8)])
    make_video(folder / "deep" / "er" / "b.mkv", [screen(5 * number) for number in range(8)])
    (folder / "deep" / "broken.mp4").write_bytes(b"no video at all")
    (folder / "notes.txt").write_text("nothing to encode")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def statuses(report: pacodec.BatchReport) -> dict[str, str]:
    return {Path(item.source).name: item.status for item in report.items}


def test_a_tree_is_kept_and_failures_do_not_stop_the_others(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[BatchItem] = []
    report = pacodec.batch([str(clips)], out, on_item=lambda item, total: seen.append(item))
    assert files(out) == ["a.pac", "deep/b.pac", "deep/er/b.pac"]
    assert statuses(report) == {"a.mp4": "done", "b.mp4": "done", "b.mkv": "done", "broken.mp4": "failed"}
    assert len(seen) == 4
    assert report.exit_code == 3
    failed = next(item for item in report.items if item.status == "failed")
    assert failed.error is not None
    assert "broken.mp4" in failed.error
    with pacodec.open(out / "deep" / "er" / "b.pac") as video:
        assert np.array_equal(video[:], [screen(5 * number) for number in range(8)])


def test_what_is_done_is_skipped(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (clips / "deep" / "broken.mp4").unlink()
    pacodec.batch([str(clips)], out)
    make_video(clips / "a.mp4", [screen(number) for number in range(9)])
    (out / "deep" / "b.pac").write_bytes((out / "deep" / "b.pac").read_bytes()[:-20])
    again = pacodec.batch([str(clips)], out)
    assert statuses(again) == {"a.mp4": "done", "b.mp4": "done", "b.mkv": "skipped"}
    assert pacodec.info(out / "a.pac").frames == 9
    assert {*statuses(pacodec.batch([str(clips)], out)).values()} == {"skipped"}
    assert {*statuses(pacodec.batch([str(clips)], out, overwrite=True)).values()} == {"done"}


def test_patterns_files_and_names_that_meet(clips: Path, tmp_path: Path) -> None:
    make_video(clips / "a.mkv", [screen(1)] * 3)
    pacodec.batch([f"{clips}/**/b.*"], tmp_path / "pattern")
    assert files(tmp_path / "pattern") == ["deep/b.pac", "deep/er/b.pac"]
    pacodec.batch([str(clips / "a.mp4"), str(clips / "a.mkv"), str(clips / "a.mp4")], tmp_path / "both")
    assert files(tmp_path / "both") == ["a.mkv.pac", "a.mp4.pac"]
    # Into the folder itself: outputs are no inputs.
    (clips / "deep" / "broken.mp4").unlink()
    pacodec.batch([str(clips)], clips / "out")
    assert len(pacodec.batch([str(clips)], clips / "out").items) == 4


def test_a_model_is_trained_first(tmp_path: Path) -> None:
    for number in range(4):
        start = 5 * number
        make_video(tmp_path / "in" / f"{number}.mp4", [screen(start + k) for k in range(30)]) if number else None
        (tmp_path / "in").mkdir(exist_ok=True)
    make_video(tmp_path / "in" / "other.mp4", [screen(k, 64, 40) for k in range(6)])
    report = pacodec.batch([str(tmp_path / "in")], tmp_path / "out", train_first=True)
    assert report.model == str(tmp_path / "out" / "batch.pacmodel")
    assert report.count("done") == 4
    models = {Path(item.source).name: item.report.model for item in report.items if item.report is not None}
    assert models == {"1.mp4": "batch", "2.mp4": "batch", "3.mp4": "batch", "other.mp4": None}
    with pacodec.open(tmp_path / "out" / "2.pac", model=report.model) as video:
        assert np.array_equal(video[:], [screen(10 + k) for k in range(30)])
    changed = (tmp_path / "out" / "batch.pacmodel").stat().st_mtime_ns
    make_video(tmp_path / "in" / "4.mp4", [screen(k) for k in range(20)])
    again = pacodec.batch([str(tmp_path / "in")], tmp_path / "out", train_first=True)
    assert (again.count("skipped"), again.count("done")) == (4, 1)
    assert (tmp_path / "out" / "batch.pacmodel").stat().st_mtime_ns == changed


def test_what_is_of_another_video_is_not_overwritten(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pacodec.batch([str(clips / "a.mp4")], out)
    other = make_video(tmp_path / "a.mp4", [screen(number) for number in range(5)])
    os.utime(other, (0, 0))
    report = pacodec.batch([str(other)], out)
    assert statuses(report) == {"a.mp4": "failed"}
    assert report.exit_code == 1
    assert pacodec.info(out / "a.pac").frames == 12
    assert pacodec.batch([str(other)], out, overwrite=True).exit_code == 0


def test_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no videos"):
        pacodec.batch([str(tmp_path)], tmp_path / "out")
    with pytest.raises(UsageError, match="no videos"):
        pacodec.batch([f"{tmp_path}/*.mp4"], tmp_path / "out")
    (tmp_path / "file").touch()
    make_video(tmp_path / "a.mp4", [screen(1)])
    with pytest.raises(FileAccessError, match="file"):
        pacodec.batch([str(tmp_path / "a.mp4")], tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_command_line(clips: Path, tmp_path: Path) -> None:
    done = cli("batch", clips, "-o", tmp_path / "out", "--json")
    assert done.exit_code == 3
    *items, total = map(json.loads, done.stdout.splitlines())
    assert sorted(item["status"] for item in items) == ["done", "done", "done", "failed"]
    assert total["videos"] == 4
    assert (total["done"], total["skipped"], total["failed"]) == (3, 0, 1)
    assert total["bytes"] == sum((tmp_path / "out" / name).stat().st_size for name in files(tmp_path / "out"))
    assert "broken.mp4" in done.stderr
    table = cli("batch", clips, "-o", tmp_path / "out")
    assert [line.split()[1] for line in table.stdout.splitlines()[1:]] == ["skipped", "skipped", "failed", "skipped"]
    assert "4 videos (3 skipped, 1 failed)" in table.stderr
    assert cli("batch", tmp_path / "none.mp4", "-o", tmp_path / "out").exit_code == 1
    assert cli("batch", "-o", tmp_path / "out").exit_code == 2


def test_an_interrupted_folder_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        make_video(tmp_path / "in" / f"{number}.mp4", [screen(k + number, 160, 128) for k in range(100)])
    command = [sys.executable, "-P", "-c", "from pacodec.cli import main; main()", "batch", tmp_path / "in"]
    with subprocess.Popen([*command, "-o", tmp_path / "out", "-j1", "--json"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130
    report = pacodec.batch([str(tmp_path / "in")], tmp_path / "out")
    assert report.count("skipped") >= 1
    assert report.count("skipped") + report.count("done") == 6
    assert first["target"] in [item.target for item in report.items if item.status == "skipped"]
    assert files(tmp_path / "out") == [f"{number}.pac" for number in range(6)]


def test_palettes_need_no_torch(clips: Path, tmp_path: Path) -> None:
    script = (
        "import sys, pacodec; "
        f"pacodec.batch([{str(clips)!r}], {str(tmp_path / 'out')!r}); "
        "sys.exit('torch' in sys.modules or 'distributed' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", script], timeout=120, check=False).returncode == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and two workers."""
    where = tmp_path / "scheduler.json"
    start = [sys.executable, "-P", "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    work = [sys.executable, "-P", "-m", "distributed.cli.dask_worker", "--scheduler-file", str(where), "--no-nanny"]
    work += ["--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path / "scratch")]
    with ExitStack() as stack:

        def begin(command: list[str]) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        begin([*start, "--no-dashboard", "--scheduler-file", str(where)])
        until = time.monotonic() + 60
        while not (where.exists() and where.stat().st_size) and time.monotonic() < until:
            time.sleep(0.1)
        yield json.loads(where.read_text())["address"], [begin(work), begin(work)]


def test_a_cluster_of_which_a_worker_is_killed(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster
    (tmp_path / "in").mkdir()
    for number in range(8):
        make_video(tmp_path / "in" / f"{number}.mp4", [screen(k + number, 160, 128) for k in range(30)])

    def kill_one(item: BatchItem, total: int) -> None:
        if workers[0].poll() is None:
            os.kill(workers[0].pid, signal.SIGKILL)

    report = pacodec.batch([str(tmp_path / "in")], tmp_path / "out", dask=address, on_item=kill_one)
    assert report.count("done") == 8
    assert workers[0].wait() == -signal.SIGKILL
    for number in range(8):
        with pacodec.open(tmp_path / "out" / f"{number}.pac") as video:
            assert np.array_equal(video[7], screen(7 + number, 160, 128))


def test_no_cluster_is_there(screens: Path, tmp_path: Path) -> None:
    done = run("batch", screens, "-o", tmp_path / "out", "--dask", "no such address")
    assert done.returncode == 1
    assert b"no such address" in done.stderr
    assert b"Traceback" not in done.stderr
