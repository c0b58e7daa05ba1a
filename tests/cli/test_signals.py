"""Signals between a launcher and its workers."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

LAUNCHER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
time.sleep(600)
"""
WORKER = """
import time
from cyclegan.cli.signals import stop_on_signals
asked = []
stop_on_signals(lambda: asked.append(1), lambda: None)
print("ready", flush=True)
while not asked:
    time.sleep(0.05)
print("stopped", flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells a process of its parent's death")
def test_workers_of_a_killed_launcher_end():
    env = {**os.environ, "WORLD_SIZE": "2", "PYTHONPATH": str(Path(__file__).parents[2])}
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, WORKER], env=env, stdout=subprocess.PIPE, text=True)
    with launcher.stdout:
        worker = int(launcher.stdout.readline())
        assert launcher.stdout.readline() == "ready\n" and psutil.pid_exists(worker)
        launcher.kill()
        assert launcher.stdout.readline() == "stopped\n"
        launcher.wait()
