"""Signals are remembered until a step is done; a second one is not waited for."""

import os
import signal
import subprocess
import sys

import pytest

from sslcli.training.signals import StopRequest, exit_code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_is_remembered_and_the_handlers_come_back(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.agreed() == 0
        os.kill(os.getpid(), number)
        assert stop.agreed() == number
    assert signal.getsignal(number) is before
    assert exit_code(number) == code


def test_a_second_signal_leaves_at_once() -> None:
    program = (
        "import os, signal\n"
        "from sslcli.training.signals import StopRequest\n"
        "with StopRequest():\n"
        "    for _ in range(2): os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (75, "")
