"""Fuzz every target for some time, side by side: `python tests/fuzz/campaign.py --seconds 1800 FOLDER [TARGET...]`.

Python is fuzzed by atheris, the C core by clang's libFuzzer with sanitizers of addresses and of undefined behaviour.
FOLDER keeps the corpus from run to run. What a target should not have done lies in FOLDER/TARGET/found afterwards; the
exit code is 1 if there is anything. Prints a line a target.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "pacodec" / "engine" / "core"
NAMES = ("container", "coders", "decode", "model")
CORE_NAMES = {"core-decode": "decode", "core-round-trip": "round_trip", "core-colour": "colour"}
"""Targets in core.c, by the name of their function."""
FLAGS = ("-std=c11", "-g", "-O2", "-DPACODEC_BASELINE", "-fno-sanitize-recover=all", f"-I{CORE}")
SANITIZERS = "address,undefined"
SLICE = 300
"""Seconds after which a process is replaced: instrumented ones grow, by some 100 kB an execution."""
OPTIONS = ("-rss_limit_mb=4000", "-timeout=120", "-report_slow_units=120", "-print_final_stats=1")
CORE_OPTIONS = ("-max_len=400", f"-dict={HERE / 'core.dict'}")


@dataclass
class Outcome:
    """Of one target."""

    executions: int
    found: list[Path]
    peak_mb: int


def campaign(folder: Path, seconds: float, names: tuple[str, ...] = NAMES) -> dict[str, Outcome]:
    """Fuzz the targets for so long, all at once."""
    seeds = folder / "seeds"
    subprocess.run([sys.executable, HERE / "seeds.py", seeds], check=True, env=_environment())
    built = build_core(folder, [name for name in names if name in CORE_NAMES])
    with ThreadPoolExecutor(len(names)) as pool:
        commands = {name: [sys.executable, HERE / "fuzz.py", name] for name in NAMES}
        commands |= {name: [program, *CORE_OPTIONS] for name, program in built.items()}
        outcomes = pool.map(lambda name: _fuzz(commands[name], folder / name, seeds / name, seconds), names)
        return dict(zip(names, outcomes, strict=True))


def build_core(folder: Path, names: list[str]) -> dict[str, Path]:
    """The programs of targets of the core, built into a folder by clang."""
    objects = []
    instrumented = f"-fsanitize=fuzzer-no-link,{SANITIZERS}"
    compile_ = ["clang", *FLAGS, instrumented, "-fno-sanitize-coverage=trace-cmp"]  # which would trace the mixing
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(CORE.glob("*.c")) if names else ():
        objects.append(folder / f"{source.stem}.o")
        subprocess.run([*compile_, "-c", source, "-o", objects[-1]], check=True)
    programs = {name: folder / f"{name}.exe" for name in names}
    for name, program in programs.items():
        links = [f"-fsanitize=fuzzer,{SANITIZERS}", f"-DFUZZED={CORE_NAMES[name]}", HERE / "core.c", *objects]
        subprocess.run([*compile_, *links, "-o", program], check=True)
    return programs


def _fuzz(program: list[Any], folder: Path, seeds: Path, seconds: float) -> Outcome:
    corpus, found = folder / "corpus", folder / "found"
    for made in (corpus, found):
        made.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(0, [], 0)
    end = time.monotonic() + seconds
    with (folder / "log").open("a") as log:
        while (left := end - time.monotonic()) >= 1:
            options = [*OPTIONS, f"-artifact_prefix={found}/", f"-max_total_time={max(1, round(min(left, SLICE)))}"]
            began = log.tell()
            command = [*program, *options, corpus, seeds]
            subprocess.run(command, stdout=log, stderr=log, check=False, cwd=folder, env=_environment())
            log.flush()
            said = (folder / "log").read_text(errors="replace")[began:]
            outcome.executions += int(
                (re.findall(r"number_of_executed_units: (\d+)", said) or re.findall(r"#(\d+)", said) or [0])[-1]
            )
            outcome.peak_mb = max(outcome.peak_mb, *map(int, re.findall(r"peak_rss_mb: (\d+)", said)), 0)
    outcome.found = sorted(found.iterdir())
    return outcome


def _environment() -> dict[str, str]:
    paths = (HERE, HERE.parent, HERE.parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def main() -> None:
    """Run, print, and fail where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("targets", nargs="*", help="all by default", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    outcomes = campaign(options.folder.resolve(), options.seconds, tuple(options.targets) or (*NAMES, *CORE_NAMES))
    for name, outcome in outcomes.items():
        print(f"{name:16} {outcome.executions:8} executions, {len(outcome.found)} findings")
        for path in outcome.found:
            print(f"    {path}")
    sys.exit(any(outcome.found for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
