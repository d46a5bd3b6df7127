"""The hatchling build hook: compiles the C core and puts it into the wheel, which then is one of this platform.

Where there is no C compiler, the PyPI package ziglang becomes a build requirement, which brings one.
"""

import runpy
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("pacodec", "engine")


class CompileCore(BuildHookInterface[Any]):
    """Compiles the core for wheels; a source distribution holds the sources as they are."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling."""
        script = runpy.run_path(str(Path(self.root, ENGINE, "compile.py")))
        return [] if script["installed_compiler"]() else ["ziglang>=0.13"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; `version` is "standard", or "editable" for an installation that runs the checkout itself."""
        if self.target_name != "wheel":
            return
        script = Path(self.root, ENGINE, "compile.py")
        name = runpy.run_path(str(script))["LIBRARY"]
        folder = Path(self.root, ENGINE) if version == "editable" else Path(tempfile.mkdtemp())
        library = folder / name
        subprocess.run([sys.executable, str(script), "--output", str(library)], check=True)  # noqa: S603
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"  # ctypes does not ask which Python it is
        if version != "editable":
            build_data["force_include"][str(library)] = str(ENGINE / name)
