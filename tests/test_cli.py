"""The command line: what it prints, where, its exit codes, and what it does not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import Clip
from conftest import cli, leftovers, make_model, make_video, program, run, screen

import pacodec
from pacodec.cli import COMMANDS
from pacodec.models.library import MODEL_FOLDER_VARIABLE

INFO_KEYS = {
    *("frames", "width", "height", "fps", "duration", "model", "quantizer", "gops", "bytes", "raw_bytes", "ratio"),
    *("source_bytes", "bitrate_kbps", "sizes", "truncated", "damage"),
}


def only_line(text):
    """The one line that there is, a blank one that ends a ^C left out."""
    (line,) = [line for line in text.splitlines() if line]
    return line


# --- help and usage ---


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_every_command_has_an_example(command, flag):
    result = cli(command, flag)
    assert result.exit_code == 0
    assert f"Example: pacodec {command}" in result.stdout


def test_help_names_the_commands_and_the_exit_codes():
    result = cli("-h")
    assert result.exit_code == 0
    assert all(f"  {command} " in result.stdout for command in COMMANDS)
    assert "130 or 143 interrupted" in result.stdout
    assert cli("--version").stdout.startswith("pacodec, version")


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"],
        ["encode", "in.mp4"],
        ["encode", "in.mp4", "out.pac", "-q", "6"],
        ["encode", "in.mp4", "out.pac", "-q", "4", "--lossless"],
        ["encode", "in.mp4", "out.pac", "--quantizer", "vector"],
        ["encode", "in.mp4", "out.pac", "--gop", "0"],
        ["encode", "in.mp4", "out.pac", "--gop", "nan"],
        ["encode", "in.mp4", "out.pac", "--device", "abacus"],
        ["encode", "in.mp4", "out.pac", "-j", "0"],
        ["encode", "in.mp4", "out.pac", "--frobnicate"],
        ["decode", "in.pac", "out.mp4", "--crf", "52"],
        ["decode", "in.pac", "out.mp4", "--start", "-1"],
        ["decode", "in.pac", "out.mp4", "--start", "2", "--end", "1"],
        ["decode", "in.pac", "out.mp4", "--start", "nan"],
        ["info"],
        ["frobnicate"],
        ["train", "-o", "out.pacmodel"],
        ["train", "in.mp4", "-o", "out.txt"],
        ["train", "in.mp4", "-o", "out.pacmodel", "--size", "big"],
        ["train", "in.mp4", "-o", "out.pacmodel", "--rank", "3"],
    ],
)
def test_wrong_usage_is_2_and_writes_nothing(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert "Traceback" not in result.stderr
    assert leftovers(tmp_path) == []


def test_output_whose_suffix_says_nothing(screens_pac, tmp_path):
    result = cli("decode", screens_pac, tmp_path / "out.avi")
    assert result.exit_code == 2
    assert ".avi" in only_line(result.stderr)
    assert leftovers(tmp_path) == []


# --- what it prints ---


def test_encode_says_what_it_chose_and_what_that_gave(screens, tmp_path):
    result = cli("encode", screens, tmp_path / "a.pac", "-j", 1)
    assert (result.exit_code, result.stdout) == (0, "")
    for text in (
        "24 frames of 48x32",
        "palette",
        "all of it has 17 colours",
        "of raw RGB",
        "quality  exact",
        "frames/s",
        "kbit/s",
    ):
        assert text in result.stderr
    assert "\r" not in result.stderr  # progress is for terminals
    assert cli("encode", screens, tmp_path / "a.pac").exit_code == 1
    assert cli("encode", screens, tmp_path / "a.pac", "-y", "--verify").exit_code == 0


def test_encode_decode_info_verify_speak_json(screens, tmp_path):
    coded, target = tmp_path / "a.pac", tmp_path / "a.mp4"
    encoded = cli("encode", screens, coded, "--gop", 0.4, "--json")
    values = json.loads(encoded.stdout)
    assert (values["frames"], values["gops"], values["transform"], values["output"]) == (24, 3, "palette", str(coded))
    assert values["bytes"] == coded.stat().st_size
    assert values["ratio"] == pytest.approx(24 * 48 * 32 * 3 / values["bytes"])
    assert {"psnr", "seconds", "frames_per_second", "reason", "warnings", "source_bytes"} <= set(values)

    decoded = json.loads(cli("decode", coded, target, "--json").stdout)
    assert (decoded["frames"], decoded["bytes"], decoded["damage"]) == (24, target.stat().st_size, [])
    assert json.loads(cli("verify", coded, "--json").stdout) == {"file": str(coded), "ok": True, "problems": []}

    found = json.loads(cli("info", coded, "--json").stdout)
    assert set(found) >= INFO_KEYS
    assert {"codes", "header", "index", "audio"} <= set(found["sizes"])
    assert sum(found["sizes"].values()) == found["bytes"] == values["bytes"]
    assert (found["frames"], found["width"], found["height"], found["fps"], found["gops"]) == (24, 48, 32, 25.0, 3)
    assert (found["model"], found["quantizer"], found["truncated"], found["damage"]) == (None, "palette", False, [])
    assert found["source_bytes"] == screens.stat().st_size
    assert found["raw_bytes"] == 24 * 48 * 32 * 3


def test_info_for_people(screens_pac):
    result = cli("info", screens_pac)
    assert (result.exit_code, result.stderr) == (0, "")
    for text in (str(screens_pac), "24 frames of 48x32, 25.0 frames/s", "palette", "GOPs     ", "codes", "index"):
        assert text in result.stdout


def test_info_and_verify_of_a_file_cut_short(screens_pac, tmp_path):
    cut = tmp_path / "cut.pac"
    cut.write_bytes(screens_pac.read_bytes()[:-40])
    result = cli("info", cut)
    assert result.exit_code == 0
    assert "cut short" in result.stdout
    values = json.loads(cli("info", cut, "--json").stdout)
    assert (values["truncated"], values["frames"]) == (True, 24)
    assert values["damage"]
    result = cli("verify", cut)
    assert result.exit_code == 3
    assert only_line(result.stderr).startswith(f"pacodec: {cut}: ")
    assert json.loads(cli("verify", cut, "--json").stdout)["ok"] is False


def test_info_of_a_file_cut_anywhere(screens_pac, tmp_path):
    cut, data, kept = tmp_path / "cut.pac", screens_pac.read_bytes(), []
    for length in range(0, len(data), 23):
        cut.write_bytes(data[:length])
        result = cli("info", cut)
        assert result.exit_code in (0, 3), result.stderr
        if result.exit_code == 3:
            assert only_line(result.stderr).startswith(f"pacodec: {cut}: ")
        else:
            kept.append(int(result.stdout.split("video")[1].split()[0]))
            assert ("no raw RGB to compare with" in result.stdout) == (kept[-1] == 0)
    assert kept == sorted(kept)
    assert set(kept) >= {0, 24}


def test_verify_for_people(screens_pac):
    result = cli("verify", screens_pac)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{screens_pac}: good\n", "")


def test_models_lists_the_users_folder(zoo, tmp_path, monkeypatch):
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path))
    make_model(tmp_path / "mine.pacmodel", "conv4", {})
    (tmp_path / "broken.pacmodel").write_text("no model")
    result = cli("models")
    assert result.exit_code == 0
    assert "mine" in result.stdout
    assert "conv4" in result.stdout
    assert "broken.pacmodel" in only_line(result.stderr)
    (values,) = json.loads(cli("models", "--json").stdout)["models"]
    assert (values["name"], values["arch"], values["path"]) == ("mine", "conv4", str(tmp_path / "mine.pacmodel"))


# --- options reach the codec ---


def test_models_that_are_shipped_are_found_and_used(tmp_path):
    """In a process of its own, where nothing hides them from the tests."""
    listed = subprocess.run(program("models"), capture_output=True, text=True, check=True).stdout
    shipped = sorted(path.stem for path in (Path(__file__).parents[1] / "weights").glob("*.pacmodel"))
    assert shipped
    assert {line.split()[0] for line in listed.splitlines()} >= set(shipped)
    sample = Path(__file__).parents[1] / "examples" / "ms_pacman.mp4"
    done = subprocess.run(program("encode", sample, tmp_path / "out.pac", "--json"), capture_output=True, check=True)
    report = json.loads(done.stdout)
    assert report["model"] == "ms-pacman"
    assert report["bytes"] < 4500
    assert " 0.0 kB" not in report["reason"]


def test_options_of_encode_and_decode(screens, zoo, tmp_path):
    coded, target, model = tmp_path / "a.pac", tmp_path / "a.mkv", zoo / "conv4.pacmodel"
    options = ["--quantizer", "kmeans", "--coder", "none", "--gop", 0.2, "-q", 2, "--device", "cpu", "-j", 2]
    assert cli("encode", screens, coded, "-m", model, *options).exit_code == 0
    found = pacodec.info(coded)
    assert (found.model, found.quantizer, found.coders) == ("conv4", "kmeans", {"none": 5})
    assert cli("decode", coded, target, "-m", model, "--start", 0.2, "--end", 0.6, "--lossless").exit_code == 0
    assert len(Clip(target).frames) == 10


def test_exit_codes_of_models_and_quality(screens, zoo, tmp_path):
    coded, target = tmp_path / "a.pac", tmp_path / "a.mp4"
    result = cli("encode", screens, coded, "-m", "unheard-of")
    assert (result.exit_code, leftovers(tmp_path)) == (4, [])
    assert "unheard-of: no such model" in only_line(result.stderr)
    result = cli("encode", screens, coded, "-m", zoo / "conv5.pacmodel", "--min-psnr", 60)
    assert (result.exit_code, leftovers(tmp_path)) == (6, [])
    assert "60 dB" in only_line(result.stderr)

    assert cli("encode", screens, coded, "-m", zoo / "conv4.pacmodel").exit_code == 0
    for options in ([], ["-m", zoo / "conv5.pacmodel"], ["-m", "unheard-of"]):
        result = cli("decode", coded, target, *options)
        assert (result.exit_code, leftovers(tmp_path)) == (4, ["a.pac"])
        assert str(coded) in only_line(result.stderr)
    assert cli("info", coded).exit_code == cli("verify", coded).exit_code == 0  # neither needs the model

    assert cli("encode", screens, coded, "-y", "-m", zoo / "conv4.pacmodel", "--embed-model").exit_code == 0
    assert cli("decode", coded, target).exit_code == 0


def test_train_then_encode(tmp_path, monkeypatch):
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path))
    clip = make_video(tmp_path / "in.mp4", [screen(n, 32, 32) for n in range(10)])
    model = tmp_path / "mine.pacmodel"
    result = cli("train", clip, "-o", model, "--arch", "vae", "--size", "32x32", "--rank", 2, "--steps", 2, "--json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    assert (values["arch"], values["steps"], values["model_bytes"]) == ("vae", 2, model.stat().st_size)
    assert "step 1/1" in result.stderr
    assert cli("train", clip, "-o", model).exit_code == 1
    assert cli("train", clip, "-o", model, "-y", "--steps", 1).exit_code == 2  # a recording has none
    assert cli("encode", clip, tmp_path / "a.pac", "-m", "mine").exit_code == 0
    assert leftovers(tmp_path) == ["a.pac", "in.mp4", "mine.pacmodel"]


# --- pipes and processes ---


def test_from_pipe_to_pipe(tmp_path):
    pictures = [screen(n) for n in range(24)]
    source = make_video(tmp_path / "in.mkv", pictures)
    encoded = run("encode", "-", "-", "--gop", 0.4, "--json", input=source.read_bytes())
    assert encoded.returncode == 0, encoded.stderr
    (tmp_path / "a.pac").write_bytes(encoded.stdout)
    assert pacodec.verify(tmp_path / "a.pac") == []
    found = pacodec.info(tmp_path / "a.pac")
    assert (found.frames, found.gops, found.source_bytes) == (24, 3, None)
    decoded = run("decode", "-", "-", "--lossless", input=encoded.stdout)
    assert decoded.returncode == 0, decoded.stderr
    (tmp_path / "out.mp4").write_bytes(decoded.stdout)
    np.testing.assert_array_equal(Clip(tmp_path / "out.mp4").pictures, pictures)


def test_nothing_but_the_file_goes_to_a_pipe_and_it_is_the_same_file(screens, screens_pac):
    encoded = run("encode", screens, "-", "--gop", 0.4)
    assert encoded.returncode == 0
    whole = screens_pac.read_bytes()
    # The count in the first 32 bytes is not known when they go into a pipe.
    assert (encoded.stdout[:8], encoded.stdout[32:]) == (whole[:8], whole[32:])


def test_a_pipe_is_written_once_though_the_quality_is_missed(tmp_path):
    rng = np.random.default_rng(2)
    pictures = [screen(n % 5, 32, 24) for n in range(100)]
    pictures[50:70:2] = list(rng.integers(0, 256, (10, 24, 32, 3), dtype=np.uint8))
    source = make_video(tmp_path / "in.mp4", pictures)
    encoded = run("encode", source, "-", "--min-psnr", 99)
    assert encoded.returncode in (0, 6)
    assert encoded.stdout.count(b"\x89PAC\r\n\x1a\n") == 1


def test_a_reader_that_goes_away(screens):
    process = subprocess.Popen(
        program("encode", screens, "-", "--lossless"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    message = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert only_line(message).startswith("pacodec: ")


@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["verify"], ["models"], ["-h"]])
def test_quick_commands_import_neither_torch_nor_av(command, screens_pac, conv_pac):
    code = (
        "import sys\nfrom pacodec.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code\n"
        "loaded = {'torch', 'av', 'cv2'} & set(sys.modules)\nassert not loaded, loaded"
    )
    for path in (screens_pac, conv_pac):
        arguments = [*command, str(path)] if command[0] in ("info", "verify") else command
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def conv_pac(screens, zoo):
    target = screens.with_name("conv4.pac")
    pacodec.encode(str(screens), str(target), model=str(zoo / "conv4.pacmodel"))
    return target


def test_palettes_need_neither_torch_nor_cv2(screens, tmp_path):
    code = (
        "import sys, pacodec\n"
        "assert pacodec.encode(*sys.argv[1:3]).exact\n"
        "with pacodec.open(sys.argv[2]) as video: assert video[5].shape == (32, 48, 3)\n"
        "pacodec.decode(*sys.argv[2:4])\n"
        "pacodec.train(sys.argv[1:2], sys.argv[4])\n"
        "assert not {'torch', 'cv2'} & set(sys.modules)"
    )
    files = [screens, tmp_path / "out.pac", tmp_path / "out.mp4", tmp_path / "mine.pacmodel"]
    subprocess.run([sys.executable, "-P", "-c", code, *files], check=True, timeout=60)


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-P", "-m", "pacodec", "--version"], capture_output=True, check=True)
    assert pacodec.__version__ in done.stdout.decode()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["en"], ["plain", "encode"]),
        (["decode", "--keep"], ["plain", "--keep-going"]),
        (["encode", "-q"], ["plain", "-q"]),
        (["play", "some.p"], ["file", "some.p"]),
        (["batch", "-o", "some"], ["file", "some"]),
    ],
)
def test_shells_complete(words: list[str], found: list[str]) -> None:
    asked = {
        "_PACODEC_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["pacodec", *words]),
        "COMP_CWORD": str(len(words)),
    }
    script = "from pacodec.cli import main; main(prog_name='pacodec')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env={**os.environ, **asked}, capture_output=True, check=True
    )
    assert found == done.stdout.decode().strip().split(",")[:2]
