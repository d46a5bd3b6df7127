"""The API reference is made of the docstrings without a warning, and shows all public names."""

import re
import runpy
from pathlib import Path

import pacodec

SCRIPT = Path(__file__).parent.parent / "examples" / "api_reference.py"


def test_the_reference_shows_every_public_name(tmp_path):
    runpy.run_path(str(SCRIPT))["write_reference"](tmp_path)
    shown = set(re.findall(r'<section id="(\w+)"', (tmp_path / "pacodec.html").read_text()))
    assert shown == set(pacodec.__all__)
