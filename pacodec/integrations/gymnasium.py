"""Recording what a Gymnasium environment shows: `RecordPac`, and `VectorRecordPac` for vector environments.

Needs the extra `pacodec[gymnasium]`.
"""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, SupportsFloat, TypeVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from pacodec.common.files import failing
from pacodec.errors import UsageError
from pacodec.gop.feed import QUEUE_BYTES
from pacodec.writer import Writer
from pacodec.writer_process import FrameEncoder

Observation = TypeVar("Observation")
Action = TypeVar("Action")
Trigger = Callable[[int], bool]
"""Takes the number of an episode, or of a step, from 0; says whether a file begins there."""

FRAMES = ("observation", "render")
_USUAL_RATE = 30.0


class _Recorder:
    """Files of frames: when they begin and end, and what they are called."""

    def __init__(
        self,
        env: "gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]",
        folder: str | os.PathLike[str],
        *,
        episode_trigger: Trigger | None,
        step_trigger: Trigger | None,
        length: int,
        name_prefix: str,
        frames: str,
        key: str | None,
        fps: float | None,
        **options: Any,
    ) -> None:
        if frames not in FRAMES:
            raise UsageError(f"unknown frames {frames!r}; known are {', '.join(FRAMES)}")
        if length < 0:
            raise UsageError(f"a file of {length} frames is not possible")
        self._env, self._frames, self._key = env, frames, key
        if frames == "observation":
            _check_space(env.observation_space, key)
        elif env.render_mode not in ("rgb_array", "rgb_array_list"):
            raise UsageError(f"rendered frames need an environment of the render mode rgb_array, not {env.render_mode}")
        if episode_trigger is None and step_trigger is None:
            episode_trigger = _every_one
        self._episode_trigger, self._step_trigger = episode_trigger, step_trigger
        self._length, self._prefix = length, name_prefix
        self._options = {"fps": fps or env.metadata.get("render_fps") or _USUAL_RATE, **options}
        self._folder = Path(folder)
        with failing(str(folder)):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._writer: Writer | None = None
        self._encoder = FrameEncoder()
        self._finishing: deque[Writer] = deque()
        self.episode, self.step = -1, -1

    def begin_episode(self, observation: object) -> None:
        self.end_file()
        self.episode += 1
        if self._episode_trigger is not None and self._episode_trigger(self.episode):
            self._begin_file(f"episode-{self.episode}")
        self._write(observation)

    def add(self, observation: object) -> None:
        self.step += 1
        if self._writer is None and self._step_trigger is not None and self._step_trigger(self.step):
            self._begin_file(f"step-{self.step}")
        self._write(observation)

    def end_file(self) -> None:
        """Let the file be finished meanwhile; waits where too much is to be done."""
        if self._writer is None:
            return
        self._writer.end()
        self._finishing.append(self._writer)
        self._writer = None
        while self._finishing and (self._finishing[0].done or self._waiting() > QUEUE_BYTES):
            self._finishing.popleft().close()

    def close(self) -> None:
        """Wait until all files are in their places; raises what went wrong with the first that is not."""
        self.end_file()
        try:
            while self._finishing:
                self._finishing.popleft().close()
        finally:
            self._encoder.close()

    def _waiting(self) -> int:
        return sum(writer.waiting for writer in self._finishing)

    def _begin_file(self, name: str) -> None:
        self._writer = Writer(self._folder / f"{self._prefix}-{name}.pac", encoder=self._encoder, **self._options)

    def _write(self, observation: object) -> None:
        if self._writer is None:
            return
        self._writer.write(self._frame(observation))
        if self._writer.frames == self._length:
            self.end_file()

    def _frame(self, observation: object) -> NDArray[Any]:
        if self._frames == "observation":
            return np.asarray(observation if self._key is None else observation[self._key])  # type: ignore[index]
        shown: Any = self._env.render()
        if self._env.render_mode == "rgb_array_list" and isinstance(self._env, gymnasium.Env):
            shown = shown[-1]
        return np.asarray(shown)


class _Recording:
    """What both wrappers share; the wrapper of Gymnasium comes after it in the order of base classes."""

    def __init__(
        self,
        env: "gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any]",
        folder: str | os.PathLike[str],
        *,
        episode_trigger: Trigger | None = None,
        step_trigger: Trigger | None = None,
        length: int = 0,
        name_prefix: str = "rollout",
        frames: str = "observation",
        key: str | None = None,
        fps: float | None = None,
        **options: Any,
    ) -> None:
        """Record `env` into the `folder`, which is made where it is not there.

        Args:
            env: whose observations are uint8 arrays of one shape, or whose frames are rendered as RGB.
            folder: for files called PREFIX-episode-N.pac or PREFIX-step-N.pac.
            episode_trigger: says of which episodes, counted from 0, a file is made; by default of all.
            step_trigger: says at which steps, counted over all episodes, a file begins; it ends with the episode.
            length: frames after which a file ends, whatever the episode does; 0 for no such end.
            name_prefix: what the names of the files begin with.
            frames: "observation", or "render" for what `env.render()` gives.
            key: of the observation to be recorded, where they are dictionaries.
            fps: frames/s of the files, by default what the environment's metadata say, else 30.
            options: further arguments of `pacodec.Writer`: overwrite, lossless and others.

        Raises UsageError for what cannot be recorded, FileAccessError for a folder that cannot be made; `reset` and
        `step` raise what `Writer.write` does, `close` what `Writer.close` does.
        """
        super().__init__(env)  # type: ignore[call-arg]
        self._recorder = _Recorder(
            env,
            folder,
            episode_trigger=episode_trigger,
            step_trigger=step_trigger,
            length=length,
            name_prefix=name_prefix,
            frames=frames,
            key=key,
            fps=fps,
            **options,
        )

    def close(self, **kwargs: Any) -> None:
        """Close the environment, and wait until all files are complete."""
        try:
            super().close(**kwargs)  # type: ignore[misc]
        finally:
            self._recorder.close()


class RecordPac(_Recording, gymnasium.Wrapper[Observation, Action, Observation, Action], Generic[Observation, Action]):
    """Records what an environment shows into .pac files, exactly, while it runs; used as Gymnasium's `RecordVideo`.

        env = RecordPac(gymnasium.make("ALE/MsPacman-v5"), "rollouts", episode_trigger=lambda number: number % 10 == 0)

    A file holds the observation that `reset` gave and those of the steps after it, to the end of the episode. Files
    are in their places after `close`, at the latest, which waits for them. `pacodec.read_arrays` gives the
    observations back as they were. See `pacodec.Writer` for how they are coded.
    """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset the environment, which begins an episode."""
        observation, info = super().reset(seed=seed, options=options)
        self._recorder.begin_episode(observation)
        return observation, info

    def step(self, action: Action) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step, and record what it shows."""
        observation, reward, terminated, truncated, info = super().step(action)
        self._recorder.add(observation)
        if terminated or truncated:
            self._recorder.end_file()
        return observation, reward, terminated, truncated, info


class VectorRecordPac(_Recording, gymnasium.vector.VectorWrapper[Any, Any, Any]):
    """`RecordPac` for a vector environment: a frame of a file holds the observations of all sub-environments.

    Episodes are those of the first of them; the others begin and end theirs in the midst of a file.
    """

    def __init__(
        self, env: "gymnasium.vector.VectorEnv[Any, Any, Any]", folder: str | os.PathLike[str], **arguments: Any
    ) -> None:
        """As of `RecordPac`."""
        super().__init__(env, folder, **arguments)
        self._ended = False
        self._same_step = env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environments, which begins an episode."""
        observations, info = super().reset(seed=seed, options=options)
        self._recorder.begin_episode(observations)
        self._ended = False
        return observations, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step in all of them, and record what they show."""
        observations, rewards, terminated, truncated, info = super().step(actions)
        ends = bool(terminated[0] or truncated[0])
        # What is shown after an end is the next episode's, in this step or in the next one.
        begins = ends if self._same_step else self._ended
        if begins:
            self._recorder.begin_episode(observations)
        else:
            self._recorder.add(observations)
            if ends:
                self._recorder.end_file()
        self._ended = ends
        return observations, rewards, terminated, truncated, info


def _check_space(space: gymnasium.Space[Any], key: str | None) -> None:
    if isinstance(space, gymnasium.spaces.Dict):
        if key not in space.spaces:
            raise UsageError(f"observations have the keys {', '.join(space.spaces)}: name one of them with key=")
        space = space.spaces[key]
    elif key is not None:
        raise UsageError(f"observations are no dictionaries, so that there is no {key!r}")
    if space.dtype != np.uint8:
        raise UsageError(
            f"observations of {space.dtype or space} are no uint8 arrays; frames='render' records pictures"
        )


def _every_one(number: int) -> bool:
    return True
