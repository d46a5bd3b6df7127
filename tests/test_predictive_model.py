"""Predictive models end to end: a model's colours, screens and network between a video and a .pac file."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import COLOURS, cli, make_video, screen
from predictive import make_model, network_alone

import pacodec
from pacodec import models
from pacodec.container import Reader
from pacodec.errors import CorruptFileError, LimitError, QualityError, UsageError
from pacodec.familiar import familiar
from pacodec.metrics import psnr
from pacodec.transforms.palette import PaletteTransform

FRAMES = 12
STRAY = np.array([1, 255, 2], np.uint8)
"""A colour that no model here knows."""


def pictures(frames=FRAMES):
    """A square that roams over a still picture, in the colours that the model knows."""
    return [screen(n) for n in range(frames)]


def beyond():
    """The same with a spot of more colours than any palette holds, another one in each picture."""
    shown = pictures()
    for n, rgb in enumerate(shown):
        spot = np.random.default_rng(n).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rgb[10:15, 3 * n : 3 * n + 5] = spot
    return shown


def known_screens():
    """Codes of two pictures of the clip."""
    return PaletteTransform(COLOURS).encode(np.stack([screen(0), screen(9)]))[:, 0]


@pytest.fixture(scope="module", autouse=True)
def _network_alone():
    with network_alone():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the model that knows the clip."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "roamer.pacmodel").write_bytes(make_model(COLOURS, known_screens()))
    return folder


@pytest.fixture(scope="module")
def model(home):
    return home / "roamer.pacmodel"


@pytest.fixture
def at_home(home, monkeypatch):
    """With that folder as the user's."""
    monkeypatch.setenv(models.MODEL_FOLDER_VARIABLE, str(home))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips: of the model's colours, and of more."""
    folder = tmp_path_factory.mktemp("clips")
    return {
        "known": make_video(folder / "known.mp4", pictures()),
        "beyond": make_video(folder / "beyond.mp4", beyond()),
    }


@pytest.fixture(scope="module")
def coded(clips, model):
    """The clip of the model's colours, in GOPs of 5 frames, without the model."""
    target = clips["known"].with_suffix(".pac")
    pacodec.encode(str(clips["known"]), str(target), model=str(model), gop_seconds=0.2)
    return target


def decoded(path, **options):
    with pacodec.Decoder(path, **options) as video:
        return np.stack(list(video))


def only_line(result):
    (line,) = result.stderr.splitlines()
    return line


# Encoding


def test_encode_by_the_model_as_asked(clips, model, tmp_path):
    target = tmp_path / "out.pac"
    result = cli("encode", clips["known"], target, "-m", model, "--json", "--verify")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["model"], report["transform"], report["predictor"]) == ("roamer", "palette", "learned")
    assert report["psnr"] == np.inf or report["psnr"] > 90
    np.testing.assert_array_equal(decoded(target, model=str(model)), pictures())


def test_footage_that_a_model_of_the_folder_knows_gets_that_model(clips, at_home, tmp_path):
    report = pacodec.encode(str(clips["known"]), str(tmp_path / "out.pac"))
    assert (report.model, report.predictor) == ("roamer", "learned")
    assert report.reason == "model roamer knows such footage"
    np.testing.assert_array_equal(decoded(tmp_path / "out.pac"), pictures())


def test_the_most_familiar_of_several_models_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv(models.MODEL_FOLDER_VARIABLE, str(tmp_path))
    codes = known_screens()
    far = codes.copy()
    far[:, :8] = 23
    (tmp_path / "a-far.pacmodel").write_bytes(make_model(COLOURS, far))
    (tmp_path / "b-near.pacmodel").write_bytes(make_model(COLOURS, codes))
    (tmp_path / "c-far.pacmodel").write_bytes(make_model(COLOURS, far, seed=1))
    assert familiar(pictures()).name == "b-near"


@pytest.mark.parametrize("what", ["nothing", "screens", "content", "size", "colours"])
def test_a_model_that_does_not_know_the_footage_is_not_chosen(what, tmp_path, monkeypatch):
    monkeypatch.setenv(models.MODEL_FOLDER_VARIABLE, str(tmp_path))
    colours, codes = COLOURS, known_screens()
    if what == "screens":
        codes = None
    elif what == "content":
        codes = 23 - codes
    elif what == "size":
        codes = codes.transpose(0, 2, 1)
    elif what == "colours":
        colours = np.zeros_like(COLOURS)
    if what != "nothing":
        (tmp_path / "other.pacmodel").write_bytes(make_model(colours, codes))
    assert familiar(pictures()) is None


def test_broken_models_in_the_folder_are_passed_over(clips, model, tmp_path, monkeypatch):
    monkeypatch.setenv(models.MODEL_FOLDER_VARIABLE, str(tmp_path))
    whole = model.read_bytes()
    (tmp_path / "a-cut.pacmodel").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b-colourless.pacmodel").write_bytes(make_model(COLOURS[:0], known_screens()))
    (tmp_path / "c-colourful.pacmodel").write_bytes(make_model(np.zeros((300, 3), np.uint8), known_screens()))
    (tmp_path / "d-junk.pacmodel").write_bytes(b"junk")
    shutil.copy(model, tmp_path / "e-whole.pacmodel")
    report = pacodec.encode(str(clips["known"]), str(tmp_path / "out.pac"))
    assert report.model == "e-whole"


@pytest.mark.parametrize("colours", [0, 300])
def test_a_model_without_a_palette_of_use_is_refused(colours, clips, tmp_path):
    (tmp_path / "odd.pacmodel").write_bytes(make_model(np.zeros((colours, 3), np.uint8)))
    with pytest.raises(CorruptFileError, match="odd: a palette of"):
        pacodec.encode(str(clips["known"]), str(tmp_path / "out.pac"), model=str(tmp_path / "odd.pacmodel"))


def test_the_screens_spare_the_first_picture(clips, model, tmp_path):
    (tmp_path / "plain.pacmodel").write_bytes(make_model(COLOURS))
    sizes = []
    for number, path in enumerate([model, tmp_path / "plain.pacmodel"]):
        target = tmp_path / f"{number}.pac"
        pacodec.encode(str(clips["known"]), str(target), model=str(path))
        with Reader(target) as reader:
            sizes.append(len(reader.gop(0).payload))
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("predictor", ["adaptive", "none"])
def test_the_models_palette_under_another_predictor(predictor, clips, model, tmp_path):
    target = tmp_path / "out.pac"
    result = cli("encode", clips["known"], target, "-m", model, "--predictor", predictor, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["model"], report["predictor"]) == ("roamer", predictor)
    np.testing.assert_array_equal(decoded(target, model=str(model)), pictures())
    assert pacodec.verify(target) == []  # the codes need no network


def test_the_learned_predictor_needs_a_model_that_has_one(clips, tmp_path):
    result = cli("encode", clips["known"], tmp_path / "out.pac", "--predictor", "learned")
    assert result.exit_code == 4
    assert "the predictor learned needs a model" in only_line(result)


def test_a_quantizer_is_no_part_of_a_predictive_model(clips, model, tmp_path):
    with pytest.raises(UsageError, match="roamer predicts palette codes"):
        pacodec.encode(str(clips["known"]), str(tmp_path / "out.pac"), model=str(model), quantizer="scale")


# Qualities


@pytest.mark.parametrize("clip", ["known", "beyond"])
def test_lossless_is_exact(clip, clips, model, tmp_path):
    target = tmp_path / "out.pac"
    pacodec.encode(str(clips[clip]), str(target), model=str(model), lossless=True, verify=True, gop_seconds=0.3)
    np.testing.assert_array_equal(decoded(target, model=str(model)), pictures() if clip == "known" else beyond())


def test_a_higher_quality_is_larger_and_better(clips, model, tmp_path):
    sizes, quality = [], []
    for q in (1, 2, 3, 4, 5):
        target = tmp_path / f"{q}.pac"
        report = pacodec.encode(str(clips["beyond"]), str(target), model=str(model), quality=q)
        assert (report.model, report.predictor) == ("roamer", "learned")
        shown = decoded(target, model=str(model))
        quality.append(float(psnr(np.stack(beyond()), shown).mean()))
        sizes.append(report.bytes)
    assert sizes[0] < sizes[3] < sizes[4]
    assert quality[0] < quality[3] < quality[4]
    assert np.abs(shown.astype(int) - beyond()).max() <= 2


def test_a_colour_that_the_model_lacks_does_not_become_a_distant_one(model, tmp_path):
    """Not where codes are chosen either, by the errors that they make."""
    shown = pictures()
    for rgb in shown[6:8]:
        rgb[8:24, 8:24] = STRAY
    clip = make_video(tmp_path / "stray.mp4", shown)
    pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), quality=1)
    nearest = np.square(COLOURS.astype(int) - STRAY).sum(1).min()
    spot = decoded(tmp_path / "out.pac", model=str(model))[6:8, 8:24, 8:24].astype(int)
    assert np.square(spot - STRAY).sum(-1).max() <= nearest


@pytest.mark.parametrize("noise", [-5, 0, 7, 10**400, 2.5, True, "7", None])
def test_whatever_a_model_says_of_noise_is_no_accident(noise, clips, tmp_path):
    data = make_model(COLOURS, known_screens(), noise=noise)
    (tmp_path / "noisy.pacmodel").write_bytes(data)
    with contextlib.suppress(CorruptFileError):
        pacodec.encode(
            str(clips["known"]), str(tmp_path / "out.pac"), model=str(tmp_path / "noisy.pacmodel"), quality=1
        )


def test_effort_is_never_worse_at_what_it_optimises(clips, model, tmp_path):
    sizes = []
    for effort in (1, 2, 3):
        target = tmp_path / f"{effort}.pac"
        report = pacodec.encode(str(clips["beyond"]), str(target), model=str(model), quality=1, effort=effort)
        sizes.append(report.bytes)
        assert len(decoded(target, model=str(model))) == FRAMES
    assert sizes[2] <= sizes[1]


def test_effort_is_one_to_three(clips, model, tmp_path):
    with pytest.raises(UsageError, match="effort is 4"):
        pacodec.encode(str(clips["beyond"]), str(tmp_path / "out.pac"), model=str(model), effort=4)


def test_the_least_psnr_is_kept_by_the_whole_clip(clips, model, tmp_path):
    target = tmp_path / "out.pac"
    report = pacodec.encode(str(clips["beyond"]), str(target), model=str(model), quality=1, min_psnr=40)
    assert report.psnr_frames == FRAMES
    assert report.psnr == pytest.approx(psnr(np.stack(beyond()), decoded(target, model=str(model))).mean())
    assert report.psnr >= 40


def test_a_psnr_that_is_missed_on_standard_output_is_an_error(clips, model, capsysbinary):
    with pytest.raises(QualityError, match="the clip reaches"):
        pacodec.encode(str(clips["beyond"]), "-", model=str(model), quality=1, min_psnr=40)


# Decoding


@pytest.mark.parametrize("how", ["folder", "name", "path", "embedded"])
def test_decoding_finds_the_model(how, clips, coded, model, home, tmp_path, monkeypatch):
    source, options = coded, []
    if how in ("folder", "name"):
        monkeypatch.setenv(models.MODEL_FOLDER_VARIABLE, str(home))
    if how == "embedded":
        source = tmp_path / "embedded.pac"
        assert cli("encode", clips["known"], source, "-m", model, "--embed-model").exit_code == 0
    if how in ("name", "path"):
        options = ["-m", "roamer" if how == "name" else model]
    assert cli("verify", source, *options).exit_code == 0
    result = cli("decode", source, tmp_path / "out.mkv", "--lossless", *options)
    assert result.exit_code == 0, result.stderr
    again = pacodec.encode(str(tmp_path / "out.mkv"), str(tmp_path / "again.pac"), lossless=True)
    assert again.frames == FRAMES
    np.testing.assert_array_equal(decoded(tmp_path / "again.pac", model=None), pictures())


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_a_missing_model_is_said(command, coded, tmp_path):
    result = cli(command, coded, *([tmp_path / "out.mp4"] if command == "decode" else []))
    assert result.exit_code == 4
    line = only_line(result)
    assert "the model roamer (sha256 " in line
    assert "-m" in line
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("command", ["decode", "verify"])
def test_another_model_is_refused(command, coded, tmp_path):
    (tmp_path / "roamer.pacmodel").write_bytes(make_model(COLOURS, known_screens(), seed=1))
    result = cli(
        *(command, coded, *([tmp_path / "out.mp4"] if command == "decode" else [])),
        *("-m", tmp_path / "roamer.pacmodel"),
    )
    assert result.exit_code == 4
    assert "not the model this file was made with" in only_line(result)


def test_pictures_come_back_in_any_order(coded, model):
    with pacodec.Decoder(coded, model=str(model)) as video:
        assert len(video) == FRAMES
        for n in (9, 3, 4, 11, 0, 10, 5, 9):
            np.testing.assert_array_equal(video[n], screen(n))
        np.testing.assert_array_equal(np.stack(video[3:11]), pictures()[3:11])


def test_damaged_codes_are_noticed(coded, model, tmp_path):
    damaged = bytearray(coded.read_bytes())
    with Reader(coded) as reader:
        at = damaged.index(reader.gop(1).payload)
    damaged[at + 3] ^= 1
    (tmp_path / "damaged.pac").write_bytes(damaged)
    result = cli("verify", tmp_path / "damaged.pac", "-m", model)
    assert result.exit_code == 3
    assert "GOP 1" in result.output or "damaged" in result.output


def test_jobs_change_nothing(clips, model, tmp_path):
    files = set()
    for jobs in (1, 2):
        target = tmp_path / f"{jobs}.pac"
        pacodec.encode(str(clips["beyond"]), str(target), model=str(model), quality=2, gop_seconds=0.12, jobs=jobs)
        files.add(hashlib.sha256(target.read_bytes()).hexdigest())
    assert len(files) == 1
    a, b = (decoded(tmp_path / "1.pac", model=str(model), jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(a, b)


# Looking


def test_info_tells_of_model_and_predictor(coded, model):
    result = cli("info", coded, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["model"], found["predictor"], found["frames"]) == ("roamer", "learned", FRAMES)
    assert found["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()


@pytest.mark.parametrize("arguments", [["info"], ["verify", "-m"]])
def test_looking_needs_neither_torch_nor_a_video_library(arguments, coded, model):
    arguments = [*arguments, str(model)] if "-m" in arguments else arguments
    code = (
        "import sys; from pacodec.cli import main\n"
        f"try: main({[*arguments, str(coded)]!r})\n"
        "finally: assert not {'torch', 'av'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_models_lists_it(at_home):
    result = cli("models")
    assert result.exit_code == 0
    assert "roamer" in result.stdout


def test_a_picture_too_large_for_the_network_is_coded_without_it(clips, model, tmp_path, monkeypatch):
    monkeypatch.setenv("PACODEC_MEMORY", "24")
    target = tmp_path / "out.pac"
    report = pacodec.encode(str(clips["known"]), str(target), model=str(model))
    assert report.predictor == "none"
    assert any("coded with none" in warning and "PACODEC_MEMORY" in warning for warning in report.warnings)
    np.testing.assert_array_equal(decoded(target, model=str(model)), np.stack(pictures()))
    with pytest.raises(LimitError, match="PACODEC_MEMORY"):
        pacodec.encode(str(clips["known"]), str(tmp_path / "2.pac"), model=str(model), predictor="learned")
