"""`pacodec eval` from the command line to what it writes, and the report in a real browser."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from conftest import cli, make_video, run, screen

import pacodec
from pacodec.common.media import Frame
from pacodec.common.metrics import psnr
from pacodec.video.reader import VideoReader

FRAMES = 8
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MOVE = """
<script>
window.addEventListener("load", () => setTimeout(() => {
  const box = document.querySelector(".viewer"), [frame, left, right] = box.querySelectorAll("select");
  const change = (input, value, kind) => { input.value = value; input.dispatchEvent(new Event(kind)); };
  change(box.querySelector("input"), 25, "input");
  change(left, 0, "change");
  change(frame, frame.options.length - 1, "change");
}, 300));
</script>
"""


@dataclass(frozen=True)
class Run:
    """One comparison and the files it wrote."""

    result: Result
    folder: Path
    clip: Path

    def arguments(self, *more: object) -> list[object]:
        """Those of the command line."""
        cache = self.folder / "cache"
        return ["eval", self.clip, "--peers", "x264,zstd", "--repeats", 0, "--cache", cache, *more]

    @property
    def json(self) -> dict[str, Any]:
        return json.loads((self.folder / "out.json").read_text())

    @property
    def html(self) -> str:
        return (self.folder / "out.html").read_text()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("eval")
    rng = np.random.default_rng(1)
    noisy = [
        np.clip(screen(n).astype(int) + rng.integers(-9, 10, (32, 48, 3)), 0, 255).astype(np.uint8)
        for n in range(FRAMES)
    ]
    clip = make_video(folder / "noisy.mp4", noisy)
    unmade = Run(Result(None, b"", b"", b"", None, 0, None), folder, clip)  # type: ignore[arg-type]
    outputs = ("--json", folder / "out.json", "--html", folder / "out.html", "--plot", folder / "out.png")
    return Run(cli(*unmade.arguments(*outputs)), folder, clip)


def curves(done: Run) -> dict[str, dict[str, Any]]:
    return {curve["name"]: curve for curve in done.json["clips"][0]["curves"]}


def test_the_json_has_every_curve_and_every_figure(done: Run) -> None:
    assert done.result.exit_code == 0, done.result.output
    clip = done.json["clips"][0]
    assert (clip["clip"], clip["frames"], clip["width"], clip["height"], clip["fps"]) == ("noisy", FRAMES, 48, 32, 25)
    assert list(curves(done)) == ["pacodec", "x264 4:4:4", "x264 4:2:0", "zstd -19 of differences"]
    ours = curves(done)["pacodec"]["points"]
    assert [point["setting"] for point in ours] == ["q1", "q2", "q3", "q4", "q5", "lossless"]
    assert [point["exact"] for point in ours] == [False] * 5 + [True]
    assert ours[0]["psnr"] < ours[3]["psnr"]
    assert all(point["kbps"] == pytest.approx(point["bytes"] * 25 / FRAMES / 125) for point in ours)
    assert all(0 < point["ssim"] <= 1 and 0 < point["ms_ssim"] <= 1 for point in ours)
    assert ours[0]["psnr"] == pytest.approx(ours[0]["pooled_psnr"], abs=1)
    assert [len(curves(done)[name]["points"]) for name in ("x264 4:4:4", "x264 4:2:0")] == [7, 7]
    assert set(clip["bd_rates"]["pacodec"]) == {"x264 4:4:4", "x264 4:2:0", "zstd -19 of differences"}
    assert ours[-1]["break_even"]["peer"] is not None


def test_the_table_says_what_the_json_says(done: Run) -> None:
    printed = done.result.stdout
    for curve in curves(done).values():
        for point in curve["points"]:
            quality = "exact" if point["exact"] else f"{point['psnr']:.2f}"
            cells = [re.escape(curve["name"]), point["setting"], f"{point['kbps']:.1f}", "[^|]*", quality]
            assert re.search(r"\| +".join(f"{cell} *" for cell in cells), printed)
    assert "BD-rate" in printed
    assert "mean over frames of each frame's" in printed


def test_our_bytes_are_those_of_a_file_that_decodes_to_the_same_quality(done: Run) -> None:
    target = done.folder / "again.pac"
    assert cli("encode", done.clip, target, "-q", 2, "-y").exit_code == 0
    report = next(point for point in curves(done)["pacodec"]["points"] if point["setting"] == "q2")
    assert report["bytes"] == pytest.approx(target.stat().st_size, abs=32)  # the clip's time base is another


def test_a_second_run_measures_nothing_again(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    again = cli(*done.arguments())
    assert again.exit_code == 0, again.output
    assert again.stdout == done.result.stdout


def test_the_plot_is_a_picture(done: Run) -> None:
    assert (done.folder / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_needs_no_other_file(done: Run) -> None:
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//|file:)""", done.html)
    assert "url(http" not in done.html
    assert "<svg" in done.html


def test_the_report_works_in_a_browser(done: Run) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH")
    worst = browse(done.folder / "out.html")
    assert attribute(worst, "data-frame") == str(int(np.argmin(frame_psnr(done))))
    assert attribute(worst, "data-shown") == "48x32"
    options = re.findall(r"<option value=\"\d\">([^<]*)</option>", worst)
    assert "original" in options
    assert any(text.startswith("pacodec q4") for text in options)
    assert any(text.startswith("x264 4:4:4 crf") for text in options)
    moved_page = done.folder / "moved.html"
    moved_page.write_text(done.html.replace("</body>", MOVE + "</body>"))
    moved = browse(moved_page)
    assert "inset(0px 50% 0px 0px)" in worst
    assert "inset(0px 75% 0px 0px)" in moved
    assert attribute(moved, "data-frame") != attribute(worst, "data-frame")
    assert "left: original" in moved


def frame_psnr(done: Run) -> list[float]:
    """Of the frames that `encode` makes at the quality that the viewer shows."""
    target = done.folder / "q4.pac"
    pacodec.encode(str(done.clip), str(target), quality=4, overwrite=True)
    with pacodec.open(target) as ours:
        decoded = np.stack(ours[:])
    with VideoReader(str(done.clip)) as reader:
        original = np.stack([event.rgb for event in reader if isinstance(event, Frame)])
    return psnr(original, decoded).tolist()


def browse(page: Path) -> str:
    """The page as a browser has made it, scripts run."""
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    shown = subprocess.run([CHROMIUM, *flags, profile, page.as_uri()], capture_output=True, timeout=120, check=True)
    return shown.stdout.decode()


def attribute(dom: str, name: str) -> str | None:
    found = re.search(rf'class="viewer"[^>]*{name}="([^"]*)"', dom)
    return found and found[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--peers", "h266"], 2, "unknown peer 'h266'"),
        (["--size", "big"], 2, "not like 160x200"),
        (["--json", "{clip}"], 2, "input and output are the same file"),
        (["-m", "nowhere"], 4, "nowhere: no such model"),
        (["--html", "{clip}/x.html"], 1, "x.html"),
    ],
)
def test_wrong_usage_is_one_line_and_an_exit_code(done: Run, arguments, code: int, message: str) -> None:
    given = [argument.format(clip=done.clip) for argument in arguments]
    result = cli("eval", done.clip, "--cache", done.folder / "cache", *given, "-y")
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_existing_output_is_not_overwritten(done: Run) -> None:
    result = cli(*done.arguments("--json", done.folder / "out.json"))
    assert result.exit_code == 1
    assert "-y overwrites" in result.stderr


def test_a_clip_that_is_none(done: Run, tmp_path: Path) -> None:
    text = tmp_path / "clip.mp4"
    text.write_text("no video")
    result = cli("eval", text, "--cache", tmp_path / "cache")
    assert (result.exit_code, "clip.mp4" in result.stderr) == (3, True)


def test_without_its_extra_it_says_what_to_install(done: Run) -> None:
    start = "import sys; sys.modules['bjontegaard'] = None; from pacodec.cli import main; main()"
    result = subprocess.run([sys.executable, "-P", "-c", start, "eval", done.clip], capture_output=True, check=False)
    assert result.returncode == 2
    assert result.stderr.decode() == "pacodec: bjontegaard is missing: pip install 'pacodec[eval]'\n"


def test_json_to_standard_output(done: Run) -> None:
    result = cli(*done.arguments("--json", "-"))
    assert json.loads(result.stdout) == done.json


def test_help_has_an_example() -> None:
    assert b"Example: pacodec eval" in run("eval", "-h").stdout
