"""The study repeated on small clips: its data set, its rows, its tables, and what an interruption leaves."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import cli, make_video, screen

import pacodec
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.study import run as study_run
from pacodec.study.dataset import Dataset, prepare
from pacodec.study.networks import NETWORKS, ROWS, select
from pacodec.study.results import PUBLISHED
from pacodec.study.run import run
from pacodec.study.tables import shortfalls
from pacodec.study.train_networks import NetworkTrainer, TrainingLog
from pacodec.training.loop import TrainingProgress

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four recordings of 22 screens of 160 x 200; frame 10 of the last one occurs in the first one too."""
    folder = tmp_path_factory.mktemp("recordings")
    paths = []
    for number in range(4):
        frames = [screen(100 * number + index, 160, 200) for index in range(22)]
        if number == 0:
            frames[10] = screen(310, 160, 200)
        paths.append(str(make_video(folder / f"rec{number}.mkv", frames)))
    return paths


@pytest.fixture
def data(clips, tmp_path):
    prepare(clips, tmp_path / "data", every=1)
    return tmp_path / "data"


# The data set


def test_recordings_are_split_whole_and_no_frame_is_there_twice(clips, tmp_path):
    made = prepare(clips, tmp_path, every=1)
    assert [made.names(role) for role in ("train", "validation", "test")] == [["rec0", "rec1"], ["rec2"], ["rec3"]]
    assert [made.count(role) for role in ("train", "validation", "test")] == [22 + 22 - 1, 3, 3]
    everything = np.concatenate([frames for role in ("train", "validation", "test") for frames in made.frames(role)])
    assert everything.shape[1:] == (200, 160, 3)
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything)
    assert np.array_equal(made.frames("test")[0][1], screen(310, 160, 200))  # it is not the test split that loses it


def test_one_frame_in_ten_as_in_the_study(clips, tmp_path):
    assert prepare(clips, tmp_path).count("train") == 3 + 3 - 1


def test_named_recordings_are_held_out(clips, tmp_path):
    made = prepare(clips[1:3], tmp_path, validation=clips[3:], test=clips[:1], every=1)
    assert [made.names(role) for role in ("train", "validation", "test")] == [["rec1", "rec2"], ["rec3"], ["rec0"]]
    alone = prepare(clips[1:], tmp_path / "other", test=clips[:1])
    assert alone.names("validation") == []
    assert len(alone.names("train")) == 3


def test_the_manifest_names_sizes_and_hashes(clips, data):
    recordings = json.loads((data / "manifest.json").read_text())["recordings"]
    for clip, recording in zip(clips, recordings, strict=True):
        for path, kind in ((Path(clip), "source_"), (data / f"{recording['name']}.npy", "")):
            assert recording[f"{kind}bytes"] == path.stat().st_size
            assert recording[f"{kind}sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_what_is_new_or_changed_is_read_again(clips, data, tmp_path):
    messages = []
    first = Dataset.open(data)
    again = prepare(clips, data, every=1, report=messages.append)
    assert not messages
    assert again.sha256 == first.sha256
    changed = make_video(tmp_path / "rec1.mkv", [screen(900 + n, 160, 200) for n in range(5)])
    (data / "rec2.npy").unlink()
    new = prepare([clips[0], str(changed), *clips[2:]], data, every=1, report=messages.append)
    assert sorted(Path(message.split(":")[0]).stem for message in messages) == ["rec1", "rec2"]
    assert new.count("train") == 21 + 5
    assert new.sha256 != first.sha256


def test_folders_that_are_no_data_set(data, tmp_path):
    with pytest.raises(FileAccessError, match="prepare"):
        Dataset.open(tmp_path)
    (data / "rec0.npy").write_bytes(b"no frames")
    with pytest.raises(CorruptFileError, match=r"rec0\.npy"):
        Dataset.open(data).frames("train")
    for text in ("", "[]", '{"format": 1}', '{"format": 99, "recordings": []}', '{"format": 1, "recordings": [{}]}'):
        (data / "manifest.json").write_text(text)
        with pytest.raises(CorruptFileError, match="manifest"):
            Dataset.open(data)


def test_recordings_that_make_no_data_set(clips, tmp_path):
    with pytest.raises(UsageError, match="split"):
        prepare(clips[:2], tmp_path)
    with pytest.raises(UsageError, match="same name"):
        prepare([*clips, clips[0]], tmp_path)
    with pytest.raises(FileAccessError):
        prepare([*clips, str(tmp_path / "missing.mkv")], tmp_path)
    text = tmp_path / "text.mkv"
    text.write_text("this is no video")
    with pytest.raises(CorruptFileError):
        prepare([*clips, str(text)], tmp_path)


# Rows


def test_every_row_of_the_study_is_there():
    ours = {(row.network.name, row.quantizer) for row in ROWS if row.levels == 256}
    assert len(PUBLISHED) == 11
    assert {(row.network, row.quantizer) for row in PUBLISHED} <= ours


def test_every_architecture_has_every_quantizer_and_a_learned_one():
    for network in NETWORKS.values():
        quantizers = {row.quantizer for row in ROWS if row.network is network}
        assert {"none", "naive", "scale", "kmeans"} <= quantizers or quantizers == {"learned"}
    learned = {NETWORKS[row.network.base].arch for row in ROWS if row.network.base}
    assert {arch.split("-")[0] for arch in learned} == {"vanilla", "multilayer", "conv4", "conv5", "vae"}


def test_rows_are_chosen_by_name():
    assert [row.name for row in select("conv4/naive,vae/kmeans")] == ["conv4/naive", "vae/kmeans"]
    assert {row.network.name for row in select("conv4,vae")} == {"conv4", "vae"}
    assert select(None) == ROWS
    with pytest.raises(UsageError, match="conv6"):
        select("conv4,conv6")


# A run


@pytest.fixture
def quick(monkeypatch):
    """Training of a second or two."""
    monkeypatch.setattr(study_run, "LEAST_MINUTES", 0.01)


@pytest.fixture(scope="module")
def first_run(clips, tmp_path_factory):
    """A data set, the output of a run over it, its results and its messages."""
    folder = tmp_path_factory.mktemp("first")
    prepare(clips, folder / "data", every=1)
    messages = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_run, "LEAST_MINUTES", 0.01)
        rows = "conv4/none,conv4/naive,conv4/kmeans"
        results = run(folder / "data", folder / "out", rows=rows, minutes=0, device="cpu", report=messages.append)
    return folder, results, messages


@pytest.fixture
def after(first_run, tmp_path):
    """A copy of that folder, to go on with."""
    return shutil.copytree(first_run[0] / "data", tmp_path / "data")


def test_a_run_trains_measures_and_writes(first_run):
    folder, results, messages = first_run
    assert [result.row for result in results] == ["conv4/none", "conv4/naive", "conv4/kmeans"]
    assert any(isinstance(message, TrainingProgress) for message in messages)
    none, naive, kmeans = results
    assert naive.values == 16640
    assert naive.ratio == none.ratio / 4 == pytest.approx(16640 / 96000)
    assert naive.trained_bytes > naive.stored_bytes > 1e6
    assert kmeans.coded.psnr == pytest.approx(none.coded.psnr, abs=1)
    assert naive.coded.ssim <= 1
    assert 0 < naive.coded.pac_ratio < naive.ratio
    assert none.study["psnr"] == 30.364
    assert naive.study is None
    table = (folder / "out" / "results.md").read_text()
    assert "| conv4 " in table
    assert "SSIM: Gaussian window 11x11" in table
    assert json.loads((folder / "out" / "results.json").read_text())[1]["row"] == "conv4/naive"
    for name in ("ratios.png", "strip.png"):
        assert (folder / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_nothing_is_done_twice(first_run, after, tmp_path):
    messages = []
    again = run(after, tmp_path / "out", rows="conv4/naive", minutes=0, device="cpu", report=messages.append)
    assert again == first_run[1][1:2]
    assert not messages


def test_a_row_of_other_weights_is_measured_anew(after, tmp_path):
    row = after / "rows" / "conv4-naive.json"
    row.write_text(json.dumps({**json.loads(row.read_text()), "model": "of another file"}))
    messages = []
    run(after, tmp_path / "out", rows="conv4/naive", minutes=0, device="cpu", report=messages.append)
    assert [message.split(":")[0] for message in messages] == ["conv4/naive"]


def test_training_goes_on_from_the_networks_of_another_data_set(first_run, data, quick, tmp_path):
    earlier = first_run[1][1].coded.psnr
    (result,) = run(data, tmp_path / "out", rows="conv4/naive", minutes=0, start=first_run[0] / "data", device="cpu")
    assert result.coded.psnr > earlier - 0.1  # what it starts with counts


def test_a_vae_goes_on_from_another_too(data, tmp_path, quick):
    shutil.copytree(data, tmp_path / "other")
    run(tmp_path / "other", tmp_path / "out", rows="vae/naive", minutes=0, device="cpu")
    (result,) = run(data, tmp_path / "out", rows="vae/naive", minutes=0, start=tmp_path / "other", device="cpu")
    assert result.steps > 0


def test_what_the_table_says_is_what_a_pac_file_holds(first_run, after, tmp_path):
    result = first_run[1][2].coded
    frames = Dataset.open(after).frames("test")[0]
    clip = make_video(tmp_path / "test.mkv", list(frames), rate=3)
    model = after / "models" / "conv4.pacmodel"
    done = pacodec.encode(str(clip), str(tmp_path / "a.pac"), model=str(model), quantizer="kmeans", min_psnr=0)
    assert done.psnr == pytest.approx(result.psnr, abs=0.05)
    assert done.bytes / (len(frames) * 96000) == pytest.approx(result.pac_ratio, rel=0.02)


def test_a_figure_under_the_studys_is_named(first_run):
    none = first_run[1][0]
    good = replace(none, coded=replace(none.coded, psnr=31.0, ssim=0.9))
    scale = replace(good, row="conv4/scale", quantizer="scale", study=None)
    assert not shortfalls([good, scale])
    assert "ssim 0.800" in shortfalls([replace(good, coded=replace(good.coded, ssim=0.8))])[0]
    assert "psnr 30.000" in shortfalls([replace(good, coded=replace(good.coded, psnr=30.0))])[0]
    assert "0.50 dB under none" in shortfalls([good, replace(scale, coded=replace(good.coded, psnr=30.5))])[0]


def test_on_the_authors_clips_their_figures_are_those_of_the_clips(first_run):
    none = first_run[1][0]
    ours = next(iter(none.clips.values()))
    on_demo = replace(none, study=None, clips={"demo1": replace(ours, psnr=28.0, ssim=0.9)})
    (line,) = shortfalls([on_demo])
    assert line == "demo1, conv4: psnr 28.000, the study had 28.357"


class Interrupting(list):
    """Stops the training as Ctrl-C would at its first validation."""

    def __call__(self, message):
        self.append(message)
        if isinstance(message, TrainingProgress):
            raise KeyboardInterrupt


def test_a_row_killed_in_the_middle_goes_on(quick, data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "out", rows="conv4/naive", minutes=0, device="cpu", report=Interrupting())
    assert (data / "models" / "conv4.pacmodel.checkpoint").exists()
    messages = []
    run(data, tmp_path / "out", rows="conv4/naive", minutes=0, device="cpu", report=messages.append)
    assert any(isinstance(message, str) and message.startswith("resuming") for message in messages)
    assert not (data / "models" / "conv4.pacmodel.checkpoint").exists()


def test_what_a_network_took_is_counted_over_all_processes(tmp_path):
    path = tmp_path / "network.json"
    assert TrainingLog(path).late_gain() is None
    for first, scores in ((0, (20.0, 25.0)), (2, (26.0, 27.5))):
        journal = TrainingLog(path)  # as a process that goes on makes it
        for step, score in enumerate(scores, first + 1):
            journal.note(TrainingProgress(10 * step, 40, 0.1, score, "dB", 0, 0))
    assert TrainingLog(path).late_gain() == 2.5  # 25 dB by step 26
    path.write_text(json.dumps({"seconds": 90, "reached": []}))
    assert TrainingLog(path).earlier == 90
    assert TrainingLog(path).seconds >= 90
    path.write_text("{}")
    assert TrainingLog(path).earlier == 0


def test_minutes_are_shared_by_what_is_trained_after_what_is_computed(data, tmp_path, monkeypatch):
    (data / "models").mkdir()
    (data / "models" / "conv5.json").write_text(json.dumps({"seconds": 600, "reached": []}))
    given = {}

    class Enough(Exception):
        pass

    def train(trainer, network, minutes):
        given[network.name] = minutes
        if network.name == "conv5":
            raise Enough

    monkeypatch.setattr(NetworkTrainer, "train", train)
    with pytest.raises(Enough):
        run(data, tmp_path / "out", rows="conv4,conv5,pca-500", minutes=70, device="cpu")
    conv4, conv5 = NETWORKS["conv4"].share, NETWORKS["conv5"].share
    assert list(given) == ["pca-500", "conv4", "conv5"]
    assert given["conv4"] == pytest.approx((70 - 10) * conv4 / (conv4 + conv5))
    assert given["conv5"] == pytest.approx(70 - 10)  # the others took none


def test_the_command_line(clips, after, tmp_path):
    made = cli("study", "prepare", *clips, "-o", after, "--every", 1, "--json")
    assert made.exit_code == 0
    assert json.loads(made.stdout)["frames"] == {"train": 43, "validation": 3, "test": 3}
    done = cli("study", "run", after, "-o", tmp_path / "out", "--rows", "conv4/naive", "--budget", 0, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"][0]["row"] == "conv4/naive"
    assert cli("study", "run", after, "-o", tmp_path / "out", "--rows", "conv6").exit_code == 2
    assert cli("study", "run", tmp_path / "none", "-o", tmp_path / "out").exit_code == 1
