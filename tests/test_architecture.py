"""The house's walls: who may import whom, and how large the front doors may grow. Read from the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = sorted(
    [ROOT / "app.py", ROOT / "train_accelerate.py", *ROOT.glob("cyclegan/**/*.py"), *ROOT.glob("hub/**/*.py")]
)

# What a part of the package may import of the project; itself is understood. Left to right: nothing on the left of
# the design's flow (images → data → trainer → checkpoint → source → translator → ui) knows anything on its right.
MAY = {
    "config": set(),
    "images": set(),
    "cli": {"config"},
    "networks": {"config"},
    "losses": set(),
    "image_pool": set(),
    "averages": set(),
    "progress": set(),
    "data": {"config", "images"},
    "methods": {"config", "image_pool", "losses", "networks"},
    "speed": {"config"},
    "trainer": {"averages", "config", "data", "images", "methods", "speed"},
    "evaluation": {"config", "images", "losses"},
    "checkpoint": {"config", "networks"},
    "reference": {"config", "networks"},
    "video": {"images"},
    "tiling": {"networks"},
    "runtime": {"networks"},
    "translator": {"config", "images", "checkpoint", "runtime", "tiling"},
    "export": {"config", "checkpoint"},
    "translate_video": {"config", "translator", "video"},
    "translate_files": {"config", "images", "translator"},
    # Without torch, gradio and the Hub: what is played is frozen, and callables bring the pictures.
    "study": {"config", "images"},
    "study_commands": {"checkpoint", "cli", "config", "data", "images", "progress", "study", "translator", "hub"},
    "runs": {"config", "checkpoint", "images", "trainer"},
    "monitor": {"averages", "checkpoint", "config", "evaluation", "trainer"},
    "ui": {
        "config", "evaluation", "images", "checkpoint", "study", "translator", "translate_video", "translate_files",
        "video",
    },
    # The shell's door to the library, which nothing imports: like app.py, it may open the Hub's checkpoints.
    "__main__": {
        "cli", "config", "checkpoint", "data", "export", "images", "progress", "reference", "study_commands",
        "translate_video", "translator", "video", "hub",
    },
    "__init__": set(),
    "app": {"ui", "checkpoint", "cli", "config", "hub", "study"},
    "train_accelerate": {
        "checkpoint", "cli", "config", "data", "evaluation", "images", "methods", "monitor", "runs", "speed",
        "trainer", "hub",
    },
    "hub": {"checkpoint", "config", "cli", "study"},
}  # fmt: skip
# Only these may import these packages, at whatever depth.
ONLY = {
    "huggingface_hub": {"hub"},
    "gradio": {"ui", "app"},
    "spaces": {"ui"},
    "datasets": {"data"},
    "accelerate": {"trainer", "monitor", "train_accelerate"},
}
# The app serves its page before any of these is loaded.
SLOW = {"torch", "torchvision", "datasets", "accelerate", "sqlalchemy", "pandas", "scipy", "statsmodels"}


def part_of(path):
    """`cyclegan/ui/translate.py` → `ui`."""
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
        assert target in (None, part, "__init__") or target in MAY[part], f"{path.name} may not import {name}"
        package = name.split(".")[0]
        assert part in ONLY.get(package, {part}), f"{path.name} may not import {package}"


def test_the_app_and_its_pages_import_nothing_slow_at_start():
    reached, queue = set(), [ROOT / "app.py", *ROOT.glob("cyclegan/ui/*.py")]
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
    assert ROOT / "cyclegan" / "checkpoint.py" in reached


def test_the_front_doors_stay_small():
    for name, limit in (("app.py", 100), ("train_accelerate.py", 200)):
        assert len((ROOT / name).read_text().splitlines()) <= limit


def test_nothing_loads_pickles_from_strangers():
    """torch.load appears where files are a person's own or named in an import, and always with weights_only."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                assert part_of(path) in ("checkpoint", "reference")
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
