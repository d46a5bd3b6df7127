"""Bad input and bad luck: one clear line that names the file, the right exit code, and nothing left behind."""

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import msgpack
import numpy as np
import pytest
from clips import Clip, make_clip, make_sound
from conftest import cli, leftovers, lengthen, make_model, make_video, program, run, screen

import pacodec
from pacodec.container.packing import unpack_map
from pacodec.errors import PacodecError

LOSSLESS = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}
UNSHARE = ["unshare", "--map-root-user", "--mount", "sh", "-c"]


def can_mount() -> bool:
    """Whether a test may have a file system of its own."""
    if not shutil.which("unshare"):
        return False
    return not subprocess.run([*UNSHARE, "mount -t tmpfs tmpfs /tmp"], capture_output=True, check=False).returncode


def refused(code, about, *arguments, message=""):
    """Run a command that must end with `code` and one line that names `about`; what is beside its files stays."""
    folder = Path(about).parent
    before = leftovers(folder)
    result = cli(*arguments)
    explain_refusal(code, about, result.exit_code, result.stderr, message)
    assert result.stdout == ""
    assert leftovers(folder) == before


def explain_refusal(code, about, returned, text, message=""):
    assert "Traceback" not in text
    assert returned == code, text
    (line,) = [line for line in text.splitlines() if line]
    assert line.startswith("pacodec: ")
    assert str(about) in line
    assert message in line


# --- what is no video ---


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify", "train"])
@pytest.mark.parametrize(
    ("kind", "code"), [("missing", 1), ("directory", 1), ("empty", 3), ("text", 3), ("sound", 3), ("random", 3)]
)
def test_input_that_is_not_what_it_should_be(command, kind, code, tmp_path):
    path = tmp_path / "in.mp4"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no video\n" * 50)
    elif kind == "sound":
        make_sound(path, "aac")
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    targets = {"encode": ["out.pac"], "decode": ["out.mp4"], "train": ["-o", "out.pacmodel"]}.get(command, [])
    refused(code, path, command, path, *[tmp_path / t if t.startswith("out") else t for t in targets])


@pytest.mark.parametrize("content", [b"", b"no video\n" * 50])
def test_a_pipe_that_brings_no_video(content, tmp_path):
    for command, target in (("encode", "out.pac"), ("decode", "out.mp4")):
        done = run(command, "-", tmp_path / target, input=content)
        explain_refusal(3, "stdin" if command == "encode" else "standard input", done.returncode, done.stderr.decode())
        assert leftovers(tmp_path) == []


def test_half_an_mp4_is_encoded_as_far_as_it_goes_and_said_so(tmp_path):
    path, coded = tmp_path / "in.mp4", tmp_path / "out.pac"
    make_clip(path, width=16, height=16, frames=100, container_options={"movflags": "faststart"}, **LOSSLESS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    decodable = Clip(path).pictures
    result = cli("encode", path, coded, "--lossless")
    assert result.exit_code == 0
    assert f"warning: input is damaged: {len(decodable)} frames decoded of 100 announced" in result.stderr
    with pacodec.open(coded) as video:
        np.testing.assert_array_equal(video[:], decodable)


def test_half_an_mp4_without_its_index_is_refused(tmp_path):
    make_clip(tmp_path / "in.mp4", width=16, height=16, frames=50)
    (tmp_path / "in.mp4").write_bytes((tmp_path / "in.mp4").read_bytes()[:2000])
    refused(3, tmp_path / "in.mp4", "encode", tmp_path / "in.mp4", tmp_path / "out.pac")


# --- .pac files that are damaged, new, or lie ---


@pytest.fixture(scope="module")
def pac(tmp_path_factory):
    """Bytes of a small file with sound and three GOPs."""
    folder = tmp_path_factory.mktemp("bad")
    make_clip(folder / "in.mp4", width=16, height=16, frames=15, audio="aac", **LOSSLESS)
    pacodec.encode(str(folder / "in.mp4"), str(folder / "a.pac"), gop_seconds=0.2, quality=1)
    return (folder / "a.pac").read_bytes()


def test_a_file_cut_anywhere(pac, tmp_path):
    path, target = tmp_path / "cut.pac", tmp_path / "out.mp4"
    frames = -1
    for size in sorted({1, 8, 19, 20, 28, len(pac) - 1, *np.linspace(48, len(pac) - 2, 12, dtype=int).tolist()}):
        path.write_bytes(pac[:size])
        refused(3, path, "decode", path, target)
        assert cli("verify", path).exit_code == 3
        result = cli("decode", path, target, "--keep-going", "-y")
        assert result.exit_code == 3
        if not target.exists():
            explain_refusal(3, path, result.exit_code, result.stderr)
            assert frames <= 0
            continue
        assert "damaged: " in result.stderr
        found = Clip(target).frames
        assert 0 < len(found) >= frames
        frames = len(found)
        target.unlink()
    assert frames == 15


def test_a_bit_flipped_anywhere(pac, tmp_path):
    path, target = tmp_path / "flipped.pac", tmp_path / "out.mp4"
    unharmed = set(range(10, 12))  # reserved, but covered by the CRC all the same
    offsets = {*range(0, 60, 3), *unharmed, *np.linspace(60, len(pac) - 1, 25, dtype=int).tolist()}
    for offset in sorted(offsets):
        data = bytearray(pac)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(data)
        result = cli("verify", path)
        assert result.exit_code in (3, 4), offset
        assert "Traceback" not in result.stderr
        result = cli("decode", path, target, "-y", "--no-audio")
        if result.exit_code:
            explain_refusal(result.exit_code, path, result.exit_code, result.stderr)
            assert result.exit_code in (3, 4, 5)
            assert leftovers(tmp_path) == ["flipped.pac"]
        else:  # the sound, the index or the size of the source: the pictures are whole
            assert len(Clip(target).frames) == 15
            target.unlink()


def chunk(kind, payload):
    head = struct.pack("<4sI", kind, len(payload))
    return head + struct.pack("<I", zlib.crc32(head)) + payload + struct.pack("<I", zlib.crc32(payload))


def preamble(version=2, reader=2, frames=0):
    fields = struct.pack("<8sBBHI", b"\x89PAC\r\n\x1a\n", version, reader, 0, frames)
    return fields + struct.pack("<I", zlib.crc32(fields))


def with_header(pac, **changes):
    """The file with other values in its header map; `video` and `grid` are merged."""
    (size,) = struct.unpack_from("<I", pac, 24)
    values = unpack_map(pac[32 : 32 + size], "header", size * 100)
    for key, value in changes.items():
        values[key] = {**values[key], **value} if key in ("video", "grid") else value
    return pac[:20] + chunk(b"HEAD", b"\0" + msgpack.packb(values)) + pac[32 + size + 4 :]


LIES = {
    "newer version": (lambda pac: preamble(3, 3) + pac[20:], 4),
    "a billion frames": (lambda pac: preamble(frames=10**9) + pac[20:], 5),
    "huge picture": (lambda pac: with_header(pac, video={"width": 10**6, "height": 10**6}), 5),
    "huge grid": (lambda pac: with_header(pac, grid={"height": 10**6, "width": 10**6}), 5),
    "many pixels": (lambda pac: with_header(pac, video={"width": 16_000, "height": 16_000}), 5),
}


@pytest.mark.parametrize("name", LIES)
def test_a_newer_version_and_headers_that_claim_too_much(name, pac, tmp_path):
    change, code = LIES[name]
    path = tmp_path / "lie.pac"
    path.write_bytes(change(pac))
    for arguments in (["info"], ["verify"], ["decode"]):
        refused(code, path, *arguments, path, *([tmp_path / "out.mp4"] if arguments == ["decode"] else []))
    done = run("decode", "-", tmp_path / "out.mp4", input=path.read_bytes())
    explain_refusal(code, "standard input", done.returncode, done.stderr.decode())
    assert leftovers(tmp_path) == ["lie.pac"]


@pytest.mark.parametrize("key", ["transform", "quantizer"])
def test_a_transform_or_quantizer_of_the_future(key, pac, tmp_path):
    path = tmp_path / "new.pac"
    path.write_bytes(with_header(pac, **{key: {"name": "oracle", "params": {}}}))
    assert cli("info", path).exit_code in (0, 3, 4)
    result = cli("decode", path, tmp_path / "out.mp4")
    explain_refusal(result.exit_code, path, result.exit_code, result.stderr)
    assert result.exit_code in (3, 4)
    assert leftovers(tmp_path) == ["new.pac"]


def test_a_palette_and_size_that_do_not_fit_the_codes(pac, tmp_path):
    for number, changes in enumerate(
        [
            {"video": {"width": 12}},
            {"grid": {"channels": 2}},
            {"transform": {"name": "palette", "params": {"palette": b"\1\2\3", "correction_step": 0}}},
            {"transform": {"name": "palette", "params": {}}},
            {"transform": {"name": "conv5", "params": {}}},
        ]
    ):
        path = tmp_path / f"{number}.pac"
        path.write_bytes(with_header(pac, **changes))
        refused(3, path, "decode", path, tmp_path / "out.mp4", "--no-audio")


# --- models ---


def safetensors(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def metadata(arch="vae", hyperparameters='{"height": 24, "width": 32, "rank": 8}', **others):
    fields = {"pacodec": "1", "arch": arch, "hyperparameters": hyperparameters, "training": "{}", "quality": "{}"}
    return {"__metadata__": {**fields, **others}}


def big(shape):
    return {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}


BAD_MODELS = {
    "empty": (b"", 3),
    "text": (b"I am a model, honestly\n", 3),
    "pickle": (b"\x80\x04\x95" + bytes(60), 3),
    "length over the limit": ((1 << 62).to_bytes(8, "little") + b"{}", 5),
    "length over the file": ((9000).to_bytes(8, "little") + b"{}", 3),
    "other safetensors": (safetensors({"__metadata__": {"format": "pt"}}), 3),
    "no tensors": (safetensors(metadata()), 3),
    "newer format": (safetensors(metadata(pacodec="2")), 4),
    "unknown architecture": (safetensors(metadata("transformer", "{}")), 4),
    "absurd shape": (safetensors({**metadata(), **big([1 << 40, 1 << 40])}), 3),
    "absurd size": (safetensors(metadata(hyperparameters='{"height": 1000000, "width": 1000000}')), 5),
    "absurd rank": (safetensors(metadata(hyperparameters='{"rank": 1000000000}')), 5),
    "largest of all": (safetensors(metadata("vanilla-1000", '{"height": 1024, "width": 1024, "rank": 0}')), 3),
    "negative": (safetensors(metadata(hyperparameters='{"height": -4}')), 5),
    "not a number": (safetensors(metadata(hyperparameters='{"height": "tall"}')), 3),
    "not a map": (safetensors(metadata(hyperparameters="[1]")), 3),
    "unknown hyper-parameter": (safetensors(metadata(hyperparameters='{"depth": 4}')), 3),
    "deep": (safetensors(metadata(hyperparameters="[" * 5000)), 3),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_file_that_is_none(name, screens, tmp_path):
    data, code = BAD_MODELS[name]
    model = tmp_path / "bad.pacmodel"
    model.write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir()
    result = cli("encode", screens, folder / "out.pac", "-m", model)
    explain_refusal(code, "bad", result.exit_code, result.stderr)
    assert leftovers(folder) == []


def test_a_model_file_cut_or_flipped(screens, tmp_path):
    data = make_model(tmp_path / "good.pacmodel", "conv4", {}).read_bytes()
    model = tmp_path / "bad.pacmodel"
    for size in (7, 8, 100, len(data) // 2, len(data) - 1):
        model.write_bytes(data[:size])
        result = cli("encode", screens, tmp_path / "out.pac", "-m", model)
        explain_refusal(3, "bad", result.exit_code, result.stderr)
    values = bytearray(data)
    values[-2:] = b"\xff\x7f"  # a half-precision NaN
    model.write_bytes(values)
    result = cli("encode", screens, tmp_path / "out.pac", "-m", model)
    explain_refusal(3, "bad", result.exit_code, result.stderr, "no numbers")
    assert leftovers(tmp_path) == ["bad.pacmodel", "good.pacmodel"]


def test_a_model_that_is_missing_is_4_and_one_line(screens, tmp_path):
    refused(4, tmp_path / "no.pacmodel", "encode", screens, tmp_path / "out.pac", "-m", tmp_path / "no.pacmodel")


def test_an_embedded_model_that_is_damaged(screens, zoo, tmp_path):
    path = tmp_path / "a.pac"
    pacodec.encode(str(screens), str(path), model=str(zoo / "conv4.pacmodel"), embed_model=True)
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    assert cli("decode", path, tmp_path / "out.mp4").exit_code == 0
    assert cli("verify", path).exit_code == 3
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(3, path, "decode", path, tmp_path / "out.mp4", "-y")
    assert cli("verify", path).exit_code == 3


# --- outputs ---


def commands(screens, screens_pac):
    return (
        (["encode", screens], "out.pac"),
        (["decode", screens_pac], "out.mp4"),
        (["train", screens, "-o"], "o.pacmodel"),
    )


def test_output_that_exists_is_kept_unless_told_otherwise(screens, screens_pac, tmp_path):
    for arguments, name in commands(screens, screens_pac):
        target = tmp_path / name
        target.write_text("precious")
        refused(1, target, *arguments, target, message="exists")
        assert target.read_text() == "precious"
    assert cli("encode", screens, tmp_path / "out.pac", "-y").exit_code == 0
    assert pacodec.verify(tmp_path / "out.pac") == []


def test_a_failure_keeps_the_output_that_was_there(screens, zoo, pac, tmp_path):
    target = tmp_path / "out.pac"
    target.write_text("precious")
    refused(6, "dB", "encode", screens, target, "-y", "-m", zoo / "conv4.pacmodel", "--min-psnr", 60)
    (tmp_path / "bad.pac").write_bytes(pac[:-100])
    refused(3, tmp_path / "bad.pac", "decode", tmp_path / "bad.pac", target.with_suffix(".mp4"), "-y")
    assert target.read_text() == "precious"


def test_output_over_the_input(screens, screens_pac, tmp_path):
    clip, link = tmp_path / "in.mp4", tmp_path / "link.mp4"
    clip.write_bytes(screens.read_bytes())
    link.symlink_to(clip)
    for target in (clip, link, f"{tmp_path}/./in.mp4"):
        refused(2, target, "encode", clip, target, "-y", message="same file")
    assert clip.read_bytes() == screens.read_bytes()


def test_output_into_a_folder_that_is_missing_or_none(screens, screens_pac, tmp_path):
    (tmp_path / "file").touch()
    for arguments, name in commands(screens, screens_pac):
        for folder in ("none", "file"):
            refused(1, tmp_path / folder, *arguments, tmp_path / folder / name, message="does not exist")
        refused(1, tmp_path, *arguments, tmp_path if name != "o.pacmodel" else tmp_path / "none" / name)


def test_output_onto_a_device(screens, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(1, pipe, "encode", screens, pipe, "-y", message="not a regular file")
    assert pipe.is_fifo()


def test_a_long_name_of_the_output(screens, tmp_path):
    target = tmp_path / ("n" * 250 + ".pac")
    assert cli("encode", screens, target).exit_code == 0
    refused(1, tmp_path, "encode", screens, tmp_path / ("n" * 300 + ".pac"))


def test_output_into_a_folder_that_may_not_be_written(screens, screens_pac, tmp_path, monkeypatch):
    # The superuser may write anywhere, so the system's answer is given for it; a real mount is tried below.
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o555)
    else:
        allowed = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(folder) and allowed(path, mode))
    for arguments, name in commands(screens, screens_pac):
        refused(1, folder / name, *arguments, folder / name, message="not writable")
    folder.chmod(0o755)


@pytest.mark.skipif(not can_mount(), reason="user namespaces are not allowed here; simulated in the test above")
def test_output_into_a_file_system_that_is_read_only(screens, screens_pac, tmp_path):
    for arguments, name in commands(screens, screens_pac)[:2]:
        script = f'mount -t tmpfs -o ro tmpfs "{tmp_path}" && exec "$@"'
        command = [*UNSHARE, script, "sh", *program(*arguments, tmp_path / name)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        explain_refusal(1, tmp_path / name, done.returncode, done.stderr.decode())
    assert leftovers(tmp_path) == []


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A clip that does not get small, and its .pac."""
    folder = tmp_path_factory.mktemp("noise")
    pictures = list(np.random.default_rng(0).integers(0, 200, (10, 64, 96, 3), dtype=np.uint8) // 50 * 50)
    clip = make_video(folder / "noise.mp4", pictures)
    pacodec.encode(str(clip), str(folder / "noise.pac"), coder="none")
    return clip, folder / "noise.pac"


def limit_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))


@pytest.mark.parametrize("target", ["out.pac", "out.mp4"])
@pytest.mark.parametrize("way", ["limit", "full"])
def test_a_full_disk(way, target, noise, tmp_path):
    command = program(*(["encode", noise[0], "--coder", "none"] if target == "out.pac" else ["decode", noise[1]]))
    command.append(str(tmp_path / target))
    if way == "limit":
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, preexec_fn=limit_files)
        explain_refusal(1, tmp_path / target, done.returncode, done.stderr.decode(), "cannot write: File too large")
    elif not can_mount():
        pytest.skip("user namespaces are not allowed here; the limit on file sizes stands for a full disk")
    else:
        script = f'mount -t tmpfs -o size=12k tmpfs "{tmp_path}" && "$@"; code=$?; ls -A "{tmp_path}"; exit $code'
        done = subprocess.run([*UNSHARE, script, "sh", *command], capture_output=True, timeout=60, check=False)
        explain_refusal(1, tmp_path / target, done.returncode, done.stderr.decode(), "No space left on device")
        assert done.stdout == b""
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_that_is_full(screens, screens_pac, noise):
    for arguments in (
        ["encode", screens, "-"],
        ["encode", noise[0], "-"],
        ["decode", screens_pac, "-"],
        ["info", screens_pac],
        ["play", screens_pac, "--no-browser"],
    ):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(program(*arguments), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        text = done.stderr.decode()
        explain_refusal(1, "", done.returncode, text, "No space left on device")
        assert "stdout" in text or "standard output" in text


# --- interruptions ---


@pytest.mark.parametrize("command", ["encode", "decode", "train"])
@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_ctrl_c(command, delay, noise, tmp_path):
    sources, folder = tmp_path / "in", tmp_path / "out"
    sources.mkdir()
    folder.mkdir()
    pictures = [screen(n % 50, 320, 240) for n in range(300)]
    if command == "decode":
        pacodec.encode(str(make_video(sources / "a.mp4", pictures[:50])), str(sources / "short.pac"))
        long = sources / "in.pac"
        lengthen(sources / "short.pac", long, 400)
        arguments = ["decode", long, folder / "out.mp4"]
    elif command == "encode":
        arguments = ["encode", make_video(sources / "a.mp4", pictures[:300]), folder / "out.pac", "--gop", "1"]
    else:
        clip = make_video(sources / "a.mp4", [screen(n, 64, 64) for n in range(20)])
        arguments = ["train", clip, "-o", folder / "out.pacmodel", "--arch", "conv4", "--steps", "100000"]
    # A shell starts background jobs with Ctrl-C ignored, and these tests may be one: a terminal would not.
    with_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        program(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=with_ctrl_c
    )
    deadline = time.monotonic() + 60
    if command == "train":
        assert process.stderr
        process.stderr.readline()
    while command != "train" and not leftovers(folder) and time.monotonic() < deadline:
        assert process.poll() is None, "it was done before it could be interrupted"
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in errors.decode()
    assert process.returncode == 130, errors
    assert "interrupted" in errors.decode().splitlines()[-1]
    assert [name for name in leftovers(folder) if not name.endswith(".checkpoint")] == []


def test_errors_have_the_documented_exit_codes():
    found = {kind.__name__: kind.exit_code for kind in PacodecError.__subclasses__()}
    assert found == {
        "FileAccessError": 1,
        "UsageError": 2,
        "CorruptFileError": 3,
        "UnsupportedError": 4,
        "LimitError": 5,
        "QualityError": 6,
    }
    assert sys.exc_info() == (None, None, None)
