"""Docs that can't go stale: every flag and every public function is there, and every command in them is real."""

import ast
import importlib.util
import re
import shlex
import subprocess
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


def ignored_folders():
    """The top-level folders that git leaves alone, such as runs."""
    return {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if re.fullmatch(r"/\w+/", line)}


def test_what_the_docs_write_stays_out_of_git():
    """Somebody who works in a clone finds `git status` clean after each command and each piece of Python."""
    folders, seen = ignored_folders(), 0
    for page in (page for page in PAGES if page.parent.name != "demo"):  # That one writes what is in git.
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:bash|sh|shell|python)\n(.*?)```", text, re.S):
            for path in re.findall(r"(?:--output(?:_dir)? |\bsave\(\")([\w./-]+)", block):
                assert path.split("/")[0] in folders and "/" in path, f"{page.name} writes {path}"
                seen += 1
    assert seen >= 30


def test_an_environment_that_is_a_link_stays_out_of_git(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".venv").symlink_to("elsewhere")
    done = subprocess.run(["git", "-C", tmp_path, "status", "--porcelain"], capture_output=True, text=True, check=True)
    assert done.stdout == "?? .gitignore\n"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
