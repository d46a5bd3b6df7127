"""Environments whose observations are recorded while they run."""

import resource
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import leftovers
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation

import pacodec
from pacodec.errors import FileAccessError, UsageError
from pacodec.integrations.gymnasium import RecordPac, VectorRecordPac

LENGTH = 6
"""Steps of an episode."""


class Dots(gymnasium.Env[Any, Any]):
    """A dot that wanders over a screen of random colours, until `LENGTH` steps are over."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012 (as Gymnasium wants it)
    render_mode = "rgb_array"
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, shape: tuple[int, ...] = (20, 30), seed: int = 0, length: int = LENGTH) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.screen = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        self.length = length

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.screen.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        shown = self.screen.copy()
        shown.reshape(-1)[self.steps * 7 % shown.size] = self.steps % 256
        return shown, 0.0, self.steps == self.length, False, {}

    def render(self) -> Any:
        return np.full((8, 8, 3), self.steps, np.uint8)


def play(env: gymnasium.Env[Any, Any], episodes: int) -> list[list[Any]]:
    """What the environment shows, by episode."""
    shown = []
    for _ in range(episodes):
        episode, ended = [env.reset()[0]], False
        while not ended:
            observation, _, ended, _, _ = env.step(0)
            episode.append(observation)
        shown.append(episode)
    return shown


@pytest.mark.parametrize("shape", [(84, 84), (21, 16, 3), (84, 84, 1), (4, 20, 20)], ids=str)
def test_every_episode_is_a_file_of_exact_observations(tmp_path: Path, shape: tuple[int, ...]) -> None:
    env = RecordPac(Dots(shape), tmp_path / "made" / "here")
    shown = play(env, 2)
    env.close()
    assert leftovers(tmp_path / "made" / "here") == ["rollout-episode-0.pac", "rollout-episode-1.pac"]
    for number, episode in enumerate(shown):
        path = tmp_path / "made" / "here" / f"rollout-episode-{number}.pac"
        assert np.array_equal(list(pacodec.read_arrays(path)), episode)
        assert pacodec.info(path).fps == 15


def test_stacked_frames(tmp_path: Path) -> None:
    env = RecordPac(FrameStackObservation(Dots(), 4), tmp_path)
    (episode,) = play(env, 1)
    env.close()
    assert np.array_equal(list(pacodec.read_arrays(tmp_path / "rollout-episode-0.pac")), np.array(episode))


def test_triggers_and_length(tmp_path: Path) -> None:
    env = RecordPac(Dots(), tmp_path / "e", episode_trigger=lambda number: number == 1, name_prefix="dots", fps=5)
    play(env, 3)
    env.close()
    assert leftovers(tmp_path / "e") == ["dots-episode-1.pac"]
    assert pacodec.info(tmp_path / "e" / "dots-episode-1.pac").fps == 5
    env = RecordPac(Dots(), tmp_path / "s", step_trigger=lambda number: number in (2, 8, 9), length=3)
    shown = play(env, 2)
    env.close()
    assert leftovers(tmp_path / "s") == ["rollout-step-2.pac", "rollout-step-8.pac"]
    assert np.array_equal(list(pacodec.read_arrays(tmp_path / "s" / "rollout-step-8.pac")), shown[1][3:6])


def test_rendered_frames(tmp_path: Path) -> None:
    env = RecordPac(Dots(), tmp_path, frames="render")
    play(env, 1)
    env.close()
    back = list(pacodec.read_arrays(tmp_path / "rollout-episode-0.pac"))
    assert [int(picture[0, 0, 0]) for picture in back] == [*range(LENGTH + 1)]


class Dictionaries(gymnasium.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        other = gymnasium.spaces.Box(0, 1, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"screen": env.observation_space, "speed": other})

    def observation(self, observation: Any) -> Any:
        return {"screen": observation, "speed": np.zeros(2, np.float32)}


def test_one_of_several_observations(tmp_path: Path) -> None:
    env = RecordPac(Dictionaries(Dots()), tmp_path, key="screen")
    (episode,) = play(env, 1)
    env.close()
    wanted = [observation["screen"] for observation in episode]
    assert np.array_equal(list(pacodec.read_arrays(tmp_path / "rollout-episode-0.pac")), wanted)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_environments(tmp_path: Path, mode: AutoresetMode) -> None:
    plain = SyncVectorEnv([lambda: Dots((20, 20, 3)), lambda: Dots((20, 20, 3), 1, 9)], autoreset_mode=mode)
    env = VectorRecordPac(plain, tmp_path)
    shown = [env.reset()[0].copy()]
    shown += [env.step(np.zeros(2, np.int64))[0].copy() for _ in range(9)]
    env.close()
    assert leftovers(tmp_path) == ["rollout-episode-0.pac", "rollout-episode-1.pac"]
    first = list(pacodec.read_arrays(tmp_path / "rollout-episode-0.pac"))
    second = list(pacodec.read_arrays(tmp_path / "rollout-episode-1.pac"))
    last = LENGTH + (mode == AutoresetMode.NEXT_STEP)  # of the first episode's frames
    assert np.array_equal(first, shown[:last])
    assert np.array_equal(second, shown[last:])


def test_what_cannot_be_recorded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="uint8"):
        RecordPac(gymnasium.wrappers.DtypeObservation(Dots(), np.float32), tmp_path)
    with pytest.raises(UsageError, match="screen, speed"):
        RecordPac(Dictionaries(Dots()), tmp_path)
    with pytest.raises(UsageError, match="dictionaries"):
        RecordPac(Dots(), tmp_path, key="screen")
    with pytest.raises(UsageError, match="sound"):
        RecordPac(Dots(), tmp_path, frames="sound")
    with pytest.raises(UsageError, match="rgb_array"):
        RecordPac(gymnasium.make("CartPole-v1"), tmp_path, frames="render")
    (tmp_path / "file").touch()
    with pytest.raises(FileAccessError, match="file"):
        RecordPac(Dots(), tmp_path / "file")


def test_files_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "rollout-episode-0.pac").touch()
    env = RecordPac(Dots(), tmp_path)
    with pytest.raises(FileAccessError, match="exists"):
        env.reset()
    env.close()
    env = RecordPac(Dots(), tmp_path, overwrite=True)
    play(env, 1)
    env.close()
    assert pacodec.info(tmp_path / "rollout-episode-0.pac").frames == LENGTH + 1


def test_memory_stays_as_it_is(tmp_path: Path) -> None:
    env = RecordPac(Dots((84, 84), length=20_000), tmp_path)
    env.reset()
    for _ in range(3000):
        env.step(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(9000):
        env.step(0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    env.close()
    assert grown < 32 << 10  # KiB; the frames of these steps are 64 MB
