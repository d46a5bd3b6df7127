"""The imports of the package point one way: each layer builds on those below it and knows nothing of those above."""

import ast
from pathlib import Path

import pacodec

PACKAGE = Path(pacodec.__file__).parent
PUBLIC = ["metadata", "export", "verification", "decoder", "encoder", "compare", "writer", "writer_process"]
PUBLIC += ["stored_arrays"]
"""Modules that may import each other: each holds a public function of the package, or what one of them needs."""
LAYERS = [
    ["errors"],
    ["limits"],
    ["options", "reports"],
    ["common"],
    ["container", "engine", "video"],
    ["transforms"],
    ["models"],
    ["autoencoders"],
    ["base_layer"],
    ["gop"],
    PUBLIC,
    ["integrations", "player"],
    ["training"],
    ["folders"],
    ["evaluation"],
    ["study"],
    ["cli"],
    ["__main__"],
]
"""Folders and modules of the package from the lowest layer up; folders of one layer do not know each other."""


def test_every_folder_and_module_has_a_layer():
    present = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert present - {"__init__"} == {name for layer in LAYERS for name in layer}


def test_imports_point_downwards():
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    upward = []
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own == "__init__":  # which names the public verbs, each of which is loaded when it is first used
            continue
        for imported in _imports(path):
            if not (own == imported or {own, imported} <= set(PUBLIC) or level[imported] < level[own]):
                upward.append(f"{path.relative_to(PACKAGE)} imports pacodec.{imported}")
    assert not upward


def _imports(path: Path) -> set[str]:
    """The folders and modules of the package that a file imports, anywhere in it; the package itself does not count."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "pacodec" else {node.module}
            )
    inner = {name.split(".")[1] for name in names if name.startswith("pacodec.")}
    return {name for name in inner if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}
