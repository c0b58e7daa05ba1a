"""Start the repository's programs, each in a process of its own, as a person would.

A new Python spends 2 to 5 seconds of CPU on importing torch and what belongs to it, and the tests start a hundred
programs. So most are forks of a server process (multiprocessing's forkserver) that has imported LIBRARIES and nothing
else. The child becomes what a new Python would be (arguments, environment, folder, import path, streams, signals,
random state) and runs the real program from its files, up to its exit status. It has an id of its own, gets signals,
and kill -9 kills it.

What a new Python has and a fork has not: a seed of its own for `hash(str)`, and LIBRARIES imported by the program
itself. So `plain=True` starts a new Python; at least one test of each program does. Where the environment differs in
what LIBRARIES may read, a new Python is started in any case.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARIES = (
    "numpy", "PIL.Image", "torch", "torch._dynamo", "torch.distributed.tensor", "safetensors.torch", "tqdm", "yaml",
    "matplotlib.figure", "matplotlib.backends.backend_agg",
)  # fmt: skip
NOT_BEFORE = ("accelerate", "cyclegan", "datasets", "gradio", "hub", "huggingface_hub")
"""What LIBRARIES must not bring along: what is tested, and what reads the environment as it is imported."""
UNREAD = ("ACCELERATE_", "GRADIO_", "HF_", "KMP_", "PYTEST_", "TORCHINDUCTOR_CACHE_DIR", "_TORCHINDUCTOR_")
"""How variables begin that LIBRARIES don't read. torch itself sets the last two, where it is imported and where it
compiles; joblib, which other packages import where it is installed, sets KMP_ ones, which are for Intel's OpenMP."""


def _read_by_libraries(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(UNREAD)}


SERVERS_ENVIRONMENT = _read_by_libraries(os.environ)
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*LIBRARIES])


def start(*words: object, env: Mapping[str, str], plain: bool = False) -> subprocess.Popen | Fork:
    """Start `python WORDS…` in the repository's root.

    Args:
        words: SCRIPT …, or -m MODULE …, or -c CODE ….
        env: the whole environment.
        plain: as a new Python rather than as a fork.

    Returns:
        A Popen with pipes for its text, or what is used like one.
    """
    words = [str(word) for word in words]
    if plain or _read_by_libraries(env) != SERVERS_ENVIRONMENT:
        return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=env, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    return Fork(words, env)


class Fork:
    """A program in a fork of the server; as far as needed, used like `subprocess.Popen`."""

    def __init__(self, words: list[str], env: Mapping[str, str]) -> None:
        self.args = words
        folder = tempfile.mkdtemp(prefix="output-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._texts = Path(folder, "stdout"), Path(folder, "stderr")
        for path in self._texts:
            path.touch()
        self._process = _context.Process(target=_run, args=(words, dict(env), [str(path) for path in self._texts]))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the number of the signal that ended it, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it ends; raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Until it ends; what it wrote to stdout and to stderr."""
        self.wait(timeout)
        out, err = (path.read_text() for path in self._texts)
        return out, err

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _run(words: list[str], env: dict[str, str], texts: list[str]) -> None:
    """Be `python WORDS…`: the life of the child."""
    for number, path in enumerate((os.devnull, *texts)):
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=False)  # As where it is no terminal.
    early = [name for name in NOT_BEFORE if name in sys.modules]
    assert not early, f"imported before the program could: {early}"
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    multiprocessing.set_start_method(None, force=True)  # This system's own for the program's children.
    sys.modules["numpy"].random.seed()  # Python's own generator does so at every fork.
    sys.modules["torch"].seed()
    sys.path[:] = [str(ROOT), *(path for path in sys.path if path not in ("", str(ROOT)))]
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [*words]
            runpy.run_path(words[0], run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if stop.code is not None and stop.code is not status:
            print(stop.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
        if isinstance(error, KeyboardInterrupt):
            status = -signal.SIGINT
    # How Python ends: what still runs, then what was asked for, then the streams.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:  # As Python itself ends after Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)
