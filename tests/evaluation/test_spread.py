"""Work by several processes: results in order, the first failure, and nobody left behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sslcli.data.loader import workers_of
from sslcli.errors import UserError
from sslcli.evaluation.spread import by_processes, take_share

WORKER = """
import os, sys, time
from pathlib import Path
def work(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
if __name__ == "__main__":
    from sslcli.evaluation.spread import by_processes
    by_processes(work, [sys.argv[1]] * 2)
"""


def loader_workers(processes):
    take_share(0, processes)
    return workers_of("auto", 1, accelerator=True)


def test_the_loaders_of_several_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr("sslcli.data.loader.available_cores", lambda: 16)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert [loader_workers(1), loader_workers(4)] == [15, 3]


def test_results_come_in_order():
    assert by_processes(abs, [-3, 2]) == [3, 2]


def fail(part):
    raise UserError(f"part {part}")


def test_a_failure_is_raised():
    with pytest.raises(UserError, match="part 1"):
        by_processes(fail, [1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(tmp_path, number):
    (tmp_path / "script.py").write_text(WORKER)
    (tmp_path / "seen").mkdir()
    parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(tmp_path / "seen")])
    waited(lambda: len(list((tmp_path / "seen").iterdir())) == 2)
    parent.send_signal(number)
    assert parent.wait(timeout=60) != 0
    waited(lambda: not any(Path("/proc", entry.name).exists() for entry in (tmp_path / "seen").iterdir()))


def waited(condition):
    """Wait until it holds."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
