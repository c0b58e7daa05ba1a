"""The house's walls: who may import whom, and how large the front doors may grow. Read from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = sorted(
    [ROOT / "app.py", ROOT / "train_accelerate.py", *ROOT.glob("cyclegan/**/*.py"), *ROOT.glob("hub/**/*.py")]
)

# What a room of the house may import of the project; itself is understood. Left to right: nothing on the left of the
# design's flow (pictures → data → training → checkpoints → translation → study → pages) knows anything on its right.
# Training stands beyond the checkpoints that it writes and the figures that it watches.
LEAVES = {"config", "errors", "files", "values"}
"""Every room may use them."""
MAY = {
    "errors": set(),
    "files": set(),
    "values": set(),
    "config": set(),
    "locale": set(),
    "pixels": set(),
    "images": {"pixels"},
    "rasters": {"images", "pixels"},
    "cli": set(),
    "data": {"images", "rasters", "pixels"},
    "networks": set(),
    "methods": {"networks"},
    "checkpoints": {"networks"},
    "translation": {"checkpoints", "images", "rasters", "networks", "pixels"},
    # Scores look at whole test sets, and their segmenters are networks; only commands and programs call them.
    "evaluation": {"checkpoints", "data", "images", "rasters", "networks", "translation"},
    "training": {"checkpoints", "data", "evaluation", "images", "rasters", "methods"},
    # Without gradio and the Hub. Only make.py uses data and translation, and only inside of functions: it is one call
    # for the command, the page and the library, and neither knows studies. A study is played without torch.
    # Its answers are compared with scores.
    "study": {"data", "evaluation", "images", "rasters", "locale", "translation"},
    # A server's flags, which are `cli`'s, say who may open it.
    "ui": {"checkpoints", "cli", "locale", "evaluation", "images", "rasters", "study", "translation", "pixels"},
    # Experiments run the trainer as a program, and score what it wrote.
    "experiments": {"checkpoints", "cli", "data", "evaluation", "images", "rasters", "study", "translation"},
    # The shell's door to the library, which nothing imports: like app.py, it may open the Hub's checkpoints.
    "commands": {
        "checkpoints", "cli", "data", "evaluation", "experiments", "images", "rasters", "study", "translation", "hub",
        "pixels",
    },
    "__main__": {"cli", "commands", "hub"},
    "__init__": set(),
    "app": {"checkpoints", "cli", "study", "ui", "hub"},
    "train_accelerate": {"cli", "data", "methods", "training", "hub"},
    "hub": {"checkpoints", "cli", "evaluation", "locale", "study"},
}
# Only these may import these packages, at whatever depth.
ONLY = {
    "huggingface_hub": {"hub"},
    "gradio": {"ui", "app"},
    "spaces": {"ui"},
    "datasets": {"data"},
    "accelerate": {"training", "train_accelerate"},
}
# The app serves its page before any of these is loaded.
SLOW = {"torch", "torchvision", "datasets", "accelerate", "sqlalchemy", "pandas", "scipy", "statsmodels"}


def part_of(path):
    """`cyclegan/ui/pages/translate.py` → `ui`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "cyclegan" and len(parts) > 1 else parts[0]


def imports(path, *, top_only=False):
    """Full names of what a file imports; under `if TYPE_CHECKING` nothing is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_part(name):
    parts = name.split(".")
    if parts[0] == "cyclegan":
        return (
            parts[1]
            if len(parts) > 1
            and (ROOT / "cyclegan" / parts[1]).exists()
            or (len(parts) > 1 and (ROOT / "cyclegan" / f"{parts[1]}.py").exists())
            else "__init__"
        )
    return parts[0] if parts[0] in ("hub", "app", "train_accelerate") else None


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    part = part_of(path)
    assert part in MAY, f"{part} is a new part of the house: say in MAY what it may know"
    for name in imports(path):
        target = project_part(name)
        assert target in (None, part, "__init__") or target in MAY[part] | LEAVES, f"{path.name} may not import {name}"
        package = name.split(".")[0]
        assert part in ONLY.get(package, {part}), f"{path.name} may not import {package}"


def test_the_app_and_its_pages_import_nothing_slow_at_start():
    reached, queue = set(), [ROOT / "app.py", *ROOT.glob("cyclegan/ui/**/*.py")]
    while queue:
        path = queue.pop()
        if path in reached:
            continue
        reached.add(path)
        for name in imports(path, top_only=True):
            assert name.split(".")[0] not in SLOW, f"{path.name} imports {name} at its top"
            parts = name.split(".")
            if parts[0] == "cyclegan":
                for depth in range(1, len(parts) + 1):
                    base = ROOT.joinpath(*parts[:depth])
                    queue += [p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()]
    assert ROOT / "cyclegan" / "checkpoints" / "format.py" in reached


def test_a_study_is_played_without_what_builds_it():
    """Only make.py may import data and translation, and never at its top, because they load torch."""
    for path in ROOT.glob("cyclegan/study/**/*.py"):
        top = {project_part(name) for name in imports(path, top_only=True)}
        anywhere = {project_part(name) for name in imports(path)}
        assert not top & {"data", "translation", "checkpoints"}, path
        assert path.name == "make.py" or not anywhere & {"data", "translation", "checkpoints"}, path


def test_the_front_doors_stay_small():
    for name, limit in (("app.py", 100), ("train_accelerate.py", 200)):
        assert len((ROOT / name).read_text().splitlines()) <= limit


def test_nothing_loads_pickles_from_strangers():
    """torch.load appears where files are a person's own or named in an import, or come in an installed package, and
    always with weights_only. Ray's workers exchange pictures with the process that started them."""
    for path in (path for path in CODE if path.name != "ray_engine.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                assert part_of(path) == "checkpoints" or path == ROOT / "cyclegan/networks/features.py"
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
