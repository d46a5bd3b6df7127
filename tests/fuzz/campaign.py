"""Fuzz every target for some time, side by side: `python tests/fuzz/campaign.py --seconds 1800 FOLDER [TARGET...]`.

Python is fuzzed by atheris, the C core by clang's libFuzzer with sanitizers of addresses and of undefined behaviour.
FOLDER keeps the corpus from run to run. What a target should not have done lies in FOLDER/TARGET/found afterwards; the
exit code is 1 if there is anything. Prints a line a target.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "pacodec" / "engine" / "core"
NAMES = ("container", "coders", "decode", "model", "postfilter", "arrays", "packets", "video", "differential")
CORE_NAMES = {
    "core-decode": "decode",
    "core-round-trip": "round_trip",
    "core-large": "round_trip_large",
    "core-start": "start",
    "core-colour": "colour",
}
"""Targets in core.c, by the name of their function."""
SMALL_TABLES = {
    "state.h": (
        ("HISTORY_BYTES = 40 << 20", "HISTORY_BYTES = 1 << 11"),
        ("COMMON_BITS = 16", "COMMON_BITS = 8"),
        ("MATCH_BITS = 18", "MATCH_BITS = 6"),
        ("SUCCESSOR_BITS = 18", "SUCCESSOR_BITS = 6"),
    ),
    "engine.c": (("table_bits = 16", "table_bits = 8"),),
}
"""Sizes of tables, in place of those of the core: an execution takes less, and what shares a place is had at once."""
FLAGS = ("-std=c11", "-g", "-O2", "-DPACODEC_BASELINE", "-fno-sanitize-recover=all")
SANITIZERS = "address,undefined"
SLICE = 300
"""Seconds after which a process is replaced: instrumented ones grow, by some 100 kB an execution."""
OPTIONS = ("-rss_limit_mb=4000", "-timeout=120", "-report_slow_units=120", "-print_final_stats=1")
CORE_OPTIONS = ("-max_len=400", "-entropic=0", f"-dict={HERE / 'core.dict'}")
"""Which seeds are rare is not kept account of: of executions as short as these, that would take a fifth."""


@dataclass
class Outcome:
    """Of one target."""

    executions: int
    found: list[Path]
    peak_mb: int


def campaign(
    folder: Path, seconds: float, names: tuple[str, ...] = NAMES, sanitizers: str = SANITIZERS, small: bool = True
) -> dict[str, Outcome]:
    """Fuzz the targets for so long, all at once; the core under these sanitizers, perhaps with small tables."""
    seeds = folder / "seeds"
    subprocess.run([sys.executable, HERE / "seeds.py", seeds], check=True, env=_environment())
    built = build_core(folder, [name for name in names if name in CORE_NAMES], sanitizers, small)
    with ThreadPoolExecutor(len(names)) as pool:
        commands = {name: [sys.executable, HERE / "fuzz.py", name] for name in NAMES}
        commands |= {name: [program, *CORE_OPTIONS] for name, program in built.items()}
        outcomes = pool.map(lambda name: _fuzz(commands[name], folder / name, seeds / name, seconds), names)
        return dict(zip(names, outcomes, strict=True))


def build_core(folder: Path, names: Sequence[str], sanitizers: str = SANITIZERS, small: bool = True) -> dict[str, Path]:
    """The programs of targets of the core, built into a folder by clang, with small tables or those of the core."""
    sources = folder / "core"
    shutil.copytree(CORE, sources, dirs_exist_ok=True)
    for name, changes in SMALL_TABLES.items() if small else ():
        text = (sources / name).read_text()
        for usual, smaller in changes:
            assert text.count(usual) == 1, f"{name} has not one {usual!r}"
            text = text.replace(usual, smaller)
        (sources / name).write_text(text)
    compile_ = ["clang", *FLAGS, "-fno-sanitize-coverage=trace-cmp", f"-I{sources}"]  # which would trace the mixing
    objects = []
    for source in sorted(sources.glob("*.c")) if names else ():
        objects.append(source.with_suffix(".o"))
        command = [*compile_, f"-fsanitize=fuzzer-no-link,{sanitizers}", "-c", source, "-o", objects[-1]]
        subprocess.run(command, check=True)
    programs = {name: folder / f"{name}.exe" for name in names}
    for name, program in programs.items():
        links = [f"-fsanitize=fuzzer,{sanitizers}", f"-DFUZZED={CORE_NAMES[name]}", HERE / "core.c", *objects]
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
    parser.add_argument("--sanitizers", default=SANITIZERS, help="of the core, as clang calls them; memory is another")
    parser.add_argument("--full-tables", action="store_true", help="of the core, as it is built for use: slow")
    options = parser.parse_args()
    names = tuple(options.targets) or (*NAMES, *CORE_NAMES)
    small = not options.full_tables
    outcomes = campaign(options.folder.resolve(), options.seconds, names, options.sanitizers, small)
    for name, outcome in outcomes.items():
        print(f"{name:16} {outcome.executions:8} executions, {len(outcome.found)} findings")
        for path in outcome.found:
            print(f"    {path}")
    sys.exit(any(outcome.found for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
