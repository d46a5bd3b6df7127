"""Ended from outside: killed at any moment, asked to stop, or left by whoever reads the output."""

import os
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import leftovers, lengthen, make_video, program, run, screen

import pacodec
from pacodec.errors import FileAccessError, PacodecError

OLD = b"what was there before"
FEW, MANY = 4, 50
CODING = {"gop_seconds": 0.1, "jobs": 2, "coder": "none"}


def forked(work: Callable[[], object]) -> int:
    """Start the work in a forked process, which spares the start-up; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def killed_at_random(work: Callable[[Path], object], target: Path, reference: bytes, kills: int, seed: int) -> None:
    """Kill the work at random moments of its run: the target is the old file, none, or complete."""
    rng = random.Random(seed)
    began = time.monotonic()
    assert os.waitpid(forked(lambda: work(target)), 0)[1] == 0
    length = time.monotonic() - began
    assert target.read_bytes() == reference
    outcomes: Counter[str] = Counter()
    for number in range(kills):
        target.unlink(missing_ok=True)
        if number % 2:
            target.write_bytes(OLD)
        child = forked(lambda: work(target))
        time.sleep(rng.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = target.read_bytes() if target.exists() else None
        assert found in ((OLD, reference) if number % 2 else (None, reference)), number
        outcomes["none" if found is None else "old" if found == OLD else "complete"] += 1
        for name in leftovers(target.parent):
            # Nobody can clean up after this; but what is left looks like no result.
            assert name == target.name or (name.startswith(".") and ".part" in name), name
    print(f"{kills} kills within {length:.2f} s each: {dict(outcomes)}")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("kill") / "in.mp4", [screen(n) for n in range(48)])


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_killed_while_encoding(kills, clip, tmp_path):
    pacodec.encode(str(clip), str(tmp_path / "reference.pac"), **CODING)
    reference = (tmp_path / "reference.pac").read_bytes()
    (tmp_path / "out").mkdir()

    def work(target: Path) -> None:
        pacodec.encode(str(clip), str(target), **CODING, overwrite=True)

    killed_at_random(work, tmp_path / "out" / "out.pac", reference, kills, seed=1)


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_killed_while_decoding(kills, clip, tmp_path):
    source = tmp_path / "in.pac"
    pacodec.encode(str(clip), str(source), **CODING)
    # Lossy x264 makes one in a hundred videos of such small pictures otherwise, of the same frames and with one thread.
    pacodec.decode(str(source), str(tmp_path / "reference.mp4"), jobs=2, lossless=True)
    reference = (tmp_path / "reference.mp4").read_bytes()
    (tmp_path / "out").mkdir()

    def work(target: Path) -> None:
        pacodec.decode(str(source), str(target), jobs=2, lossless=True, overwrite=True)

    killed_at_random(work, tmp_path / "out" / "out.mp4", reference, kills, seed=2)


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_killed_while_frames_are_written(kills, tmp_path):
    """Whoever dies: the process that encodes sees that nothing more comes, and leaves nothing."""
    (tmp_path / "out").mkdir()

    def work(target: Path) -> None:
        with pacodec.Writer(target, overwrite=True) as writer:
            for number in range(48):
                writer.write(screen(number))

    work(tmp_path / "reference.pac")
    killed_at_random(work, tmp_path / "out" / "out.pac", (tmp_path / "reference.pac").read_bytes(), kills, seed=3)
    deadline = time.monotonic() + 60
    while any(".part" in name for name in leftovers(tmp_path / "out")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [name for name in leftovers(tmp_path / "out") if name != "out.pac"] == []


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_killed_while_a_folder_is_encoded(kills, tmp_path):
    """What is in its place is complete, and the same command goes on to the end."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        make_video(tmp_path / "in" / f"{number}.mp4", [screen(n + number) for n in range(24)])
    options = {"jobs": 2, "gop_seconds": 0.1, "coder": "none"}
    began = time.monotonic()
    pacodec.batch([str(tmp_path / "in")], tmp_path / "reference", **options)
    length = time.monotonic() - began
    expected = {path.name: path.read_bytes() for path in (tmp_path / "reference").glob("*.pac")}
    assert len(expected) == 3
    rng, target = random.Random(4), tmp_path / "out"
    for number in range(kills):
        child = forked(lambda: pacodec.batch([str(tmp_path / "in")], target, **options))
        time.sleep(rng.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = {path.name: path.read_bytes() for path in target.glob("*.pac")}
        assert found.items() <= expected.items(), number
        for path in list(target.glob("*.pac"))[: number % 2]:
            path.unlink()
    report = pacodec.batch([str(tmp_path / "in")], target, **options)
    assert report.exit_code == 0
    assert {path.name: path.read_bytes() for path in target.glob("*.pac")} == expected
    assert not list(target.glob("*.part*"))


# --- asked to stop ---


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("long") / "in.mp4", [screen(n % 50, 320, 240) for n in range(300)])


@pytest.fixture(scope="module")
def long_pac(long_clip, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("long_pac")
    make_video(folder / "in.mp4", [screen(n, 320, 240) for n in range(50)])
    pacodec.encode(str(folder / "in.mp4"), str(folder / "short.pac"), coder="none")
    lengthen(folder / "short.pac", folder / "in.pac", 400)
    return folder / "in.pac"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_request_to_end_cleans_up_and_says_which(command, ending, long_clip, long_pac, tmp_path):
    arguments = {
        "encode": ["encode", long_clip, tmp_path / "out.pac", "--gop", "1"],
        "decode": ["decode", long_pac, tmp_path / "out.mp4"],
    }
    process = subprocess.Popen(
        program(*arguments[command]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, ending, signal.SIG_DFL),  # `nohup pytest` hands on an ignored SIGHUP
    )
    deadline = time.monotonic() + 60
    while not leftovers(tmp_path) and time.monotonic() < deadline:
        assert process.poll() is None, "it was done before it could be interrupted"
        time.sleep(0.01)
    time.sleep(0.02)
    process.send_signal(ending)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + ending, errors
    assert errors.decode().split("\n")[-2] == "pacodec: interrupted"
    assert "Traceback" not in errors.decode()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("gap", [0, 0.02])
@pytest.mark.parametrize("endings", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,) * 2, (signal.SIGINT,) * 3])
def test_several_requests_to_end_in_a_row(endings, gap, long_pac, tmp_path):
    process = subprocess.Popen(
        program("decode", long_pac, tmp_path / "out.mp4"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not leftovers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    for ending in endings:
        process.send_signal(ending)
        time.sleep(gap)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + endings[0], errors
    assert set(errors.decode().split("\n")) == {"pacodec: interrupted", ""}
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("way", ["verify", "decode", "pictures"])
def test_a_time_limit_ends_a_command_in_one_line(way, long_pac, tmp_path):
    arguments = {
        "verify": ["verify", long_pac],
        "decode": ["decode", long_pac, tmp_path / "out.mp4"],
        "pictures": ["decode", long_pac, tmp_path / "%05d.png"],
    }
    done = run(*arguments[way], "--time-limit", "0.7")
    assert done.returncode == 5, done.stderr
    (line,) = done.stderr.decode().splitlines()
    assert line == f"pacodec: {long_pac}: takes longer than the 0.7 seconds that --time-limit allows"
    assert leftovers(tmp_path) == []


def test_a_time_limit_that_is_kept_changes_nothing(screens_pac, tmp_path):
    done = run("decode", screens_pac, tmp_path / "out.mp4", "--time-limit", "100")
    assert (done.returncode, leftovers(tmp_path)) == (0, ["out.mp4"])


def test_a_signal_that_is_ignored_stays_so(long_pac, tmp_path):
    """As under nohup."""
    code = (
        "import os, signal\nfrom pacodec.cli import main\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import pacodec.metadata\ninfo = pacodec.metadata.info\n"
        "def hung_up(path):\n    os.kill(os.getpid(), signal.SIGHUP)\n    return info(path)\n"
        "pacodec.metadata.info = hung_up\nmain()"
    )
    command = [*program()[:-1], code, "info", str(long_pac)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"20000" in done.stdout


# --- nobody reads on ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode", "IN", "-"],
        ["info", "IN"],
        ["verify", "IN"],
        ["info", "IN", "--json"],
        ["play", "IN", "--no-browser"],
    ],
)
def test_a_closed_pipe_is_one_line(arguments, screens_pac):
    arguments = [screens_pac if argument == "IN" else argument for argument in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program(*arguments), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), lines
    assert lines[0].startswith("pacodec: ")


# --- no room, and company ---


NOISE = [np.random.default_rng(number).integers(0, 4, (64, 96, 3), np.uint8) * 60 for number in range(6)]


def write_noise(target: Path) -> None:
    with pacodec.Writer(target, coder="none") as writer:
        for picture in NOISE:
            writer.write(picture)


def reported(work: Callable[[], object], word: Path, most_bytes: int) -> tuple[int, str]:
    """The exit code of the work in a forked process that may write no larger files, and its error, told in a file."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        try:
            work()
        except PacodecError as error:
            word.write_text(str(error))
            os._exit(error.exit_code)

    word.write_text("")
    return os.waitstatus_to_exitcode(os.waitpid(forked(limited), 0)[1]), word.read_text()


@pytest.mark.parametrize("name", ["out.pac", "out.gif", "out.webp", "out.apng", "%04d.bmp"])
def test_no_room_for_what_is_written(name, tmp_path):
    folder, source = tmp_path / "out", tmp_path / "in.pac"
    folder.mkdir()
    write_noise(source)
    target = folder / name

    def work() -> None:
        if name == "out.pac":
            write_noise(target)
        else:
            pacodec.decode(str(source), str(target))

    assert reported(work, tmp_path / "word", 6000) == (1, f"{target}: cannot write: File too large")
    assert leftovers(folder) == []


def test_no_room_for_a_folder(tmp_path):
    """What is small enough is done; the rest says why it is not, and is gone on with when there is room."""
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "large.mp4", NOISE)
    make_video(tmp_path / "in" / "small.mp4", [screen(n) for n in range(3)])
    items = tmp_path / "items"

    def work() -> None:
        report = pacodec.batch([str(tmp_path / "in")], tmp_path / "out", coder="none")
        items.write_text("\n".join(f"{item.status} {item.error}" for item in report.items))
        os._exit(report.exit_code)

    assert reported(work, tmp_path / "word", 6000)[0] == 1
    failed = f"failed {tmp_path / 'out' / 'large.pac'}: cannot write: File too large"
    assert items.read_text().splitlines() == [failed, "done None"]
    report = pacodec.batch([str(tmp_path / "in")], tmp_path / "out", coder="none")
    assert [item.status for item in report.items] == ["done", "skipped"]
    assert leftovers(tmp_path / "out") == ["large.pac", "small.pac"]


@pytest.mark.parametrize("way", ["encode", "resume", "batch", "writer"])
def test_several_runs_with_one_output(way, clip, tmp_path):
    """Each ends well, or says that there is another one; what is there is whole."""
    target, said = tmp_path / "out" / "in.pac", tmp_path / "said"
    target.parent.mkdir()
    said.touch()

    def work() -> None:
        problems = list[str]()
        if way == "batch":
            report = pacodec.batch([str(clip)], target.parent, **CODING)
            problems = [item.error for item in report.items if item.error is not None]
        elif way == "writer":
            write_noise(target)
        else:
            try:
                pacodec.encode(str(clip), str(target), **CODING, resume=way == "resume")
            except FileAccessError as error:
                problems = [str(error)]
        with said.open("a") as file:
            file.writelines(f"{problem}\n" for problem in problems)

    children = [forked(work) for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    lines = said.read_text().splitlines()
    assert all("another process" in line or "exists already" in line for line in lines), lines
    assert len(lines) < len(children)
    assert leftovers(target.parent) == [target.name]
    assert pacodec.verify(target) == []
