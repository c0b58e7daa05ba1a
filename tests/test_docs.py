"""Docs that can't go stale: every flag and every public function is there, and every command in them is real."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "demo" / "README.md", *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", generate.PAGES)
def test_the_generated_pages_are_up_to_date(page):
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written == generate.PAGES[page]() + "\n", "run: python docs/generate.py"


def test_every_flag_is_documented_with_a_meaning():
    text = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    commands = dict(generate.parsers())
    assert {"python train_accelerate.py", "python app.py", "python -m cyclegan translate"} <= commands.keys()
    for command, parser in commands.items():
        assert f"## `{command}`" in text
        for action in parser._actions:
            assert action.help, f"{command} {action.option_strings} has no help"
            assert all(f"`{name}`" in text for name in action.option_strings if name not in ("-h", "--help"))


@pytest.mark.parametrize("path", list(generate.modules()), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_public_function_says_what_it_does(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} says nothing of itself"
    for name, node in generate.public(tree):
        own = [d for d in getattr(node, "decorator_list", []) if "overload" in ast.unparse(d)]
        assert own or ast.get_docstring(node), f"{path.name}: {name} has no docstring"


def commands_in_docs():
    for page in PAGES:
        for block in re.findall(r"```(?:bash|sh|shell)\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.split(" #")[0].strip()
                if re.match(r"(\.venv/bin/)?python (app\.py|train_accelerate\.py|-m (cyclegan|hub))", line):
                    yield page.name, re.sub(r"^\.venv/bin/", "", line)


def test_every_command_in_the_docs_is_one_that_its_program_understands():
    parsers, seen = dict(generate.parsers()), 0
    for page, line in commands_in_docs():
        if "--help" in line:
            continue
        command = max((c for c in parsers if line == c or line.startswith(f"{c} ")), key=len, default=None)
        assert command, f"{page}: {line}"
        try:
            parsers[command].parse_args(shlex.split(line[len(command) :]))
        except SystemExit:
            pytest.fail(f"{page}: {line}")
        seen += 1
    assert seen >= 8


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
