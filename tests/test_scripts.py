"""A fork of the server is to its program what a new Python would be."""

import json
import os
import signal

import pytest

from tests import scripts

FACTS = """
import json, logging, multiprocessing, os, signal, sys, threading
print(json.dumps({
    "argv": sys.argv, "folder": os.getcwd(), "path": [path for path in sys.path if path],
    "environment": dict(os.environ), "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "threads": threading.active_count(), "input": sys.stdin.read(), "closed": os.read(0, 1).decode(),
    "streams": [[s.encoding, s.errors, s.line_buffering, s.isatty()] for s in (sys.stdout, sys.stderr)],
    "logging": [len(logging.root.handlers), logging.root.level], "context": multiprocessing.get_start_method(),
    "flags": str(sys.flags), "recursion": sys.getrecursionlimit(), "name": __name__,
}))
"""


def test_a_fork_finds_what_a_new_python_finds(run_script):
    env = {"HF_HOME": "/here"}
    fork, plain = (json.loads(run_script("-c", FACTS, "a b", env=env, plain=p).stdout) for p in (False, True))
    plain["path"].insert(0, str(scripts.ROOT))  # `-c` writes it as ''.
    assert fork == plain and fork["environment"]["HF_HOME"] == "/here"


def test_random_numbers_are_new_in_every_fork(run_script):
    code = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())"
    one, other = (run_script("-c", code).stdout.split() for _ in range(2))
    assert len({*one, *other}) == 6


@pytest.mark.parametrize(
    ("code", "status", "out", "err"),
    [
        ("print(1)", 0, "1\n", ""),
        ("raise SystemExit('no')", 1, "", "no\n"),
        ("raise SystemExit(3)", 3, "", ""),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, "", ""),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM, "", ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "", "KeyboardInterrupt\n"),
        ("1 / 0", 1, "", "ZeroDivisionError: division by zero\n"),
        ("import atexit, threading as t; atexit.register(print, 2); t.Timer(0.1, print, [1]).start()", 0, "1\n2\n", ""),
    ],
)
def test_it_ends_as_python_ends(start_script, code, status, out, err):
    process = start_script("-c", code)
    text, errors = process.communicate(timeout=300)
    assert isinstance(process, scripts.Fork)
    assert (process.returncode, text, errors[-len(err) :] if err else errors) == (status, out, err)


def test_another_environment_needs_a_new_python(start_script):
    assert isinstance(start_script("-c", "", env={"HF_TOKEN": "x"}), scripts.Fork)
    process = start_script("-c", "import os; print(os.environ['TZ'])", env={"TZ": "x"})
    assert not isinstance(process, scripts.Fork) and process.communicate() == ("x\n", "")


def test_it_is_killed(start_script):
    process = start_script("-c", "import time; time.sleep(100)")
    assert process.poll() is None and os.getpgid(process.pid) == os.getpgid(0)
    process.kill()
    assert process.wait(300) == -signal.SIGKILL
