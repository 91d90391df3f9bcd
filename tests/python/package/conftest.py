"""A net against hanging: a test that takes this long is shown, with all its threads, and ends the run."""
import faulthandler
import multiprocessing
import os
import signal
import threading
import time

import killing
import pytest

SECONDS = int(os.environ.get("NET") or 120)
# Where it is shown; pytest keeps what goes to the usual place, and it ends with the run.
SHOWN = int(os.environ.get("NET_SHOWN") or 2)

# Who runs in the background of a shell may have been told to ignore it, and so would all children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)



def _calm():
    """Before a fork: gcc 12's AddressSanitizer leaves its allocator locked in the child if another thread is in it just then, as one
    that begins or ends is, the net's too."""
    for _ in range(200):
        time.sleep(0.001)
        if len(os.listdir("/proc/self/task")) <= threading.active_count() + 1:
            return


if "libasan" in os.environ.get("LD_PRELOAD", ""):
    os.register_at_fork(before=_calm)


@pytest.fixture(autouse=True)
def net():
    faulthandler.dump_traceback_later(SECONDS, exit=True, file=SHOWN)
    yield
    faulthandler.cancel_dump_traceback_later()
    left = multiprocessing.active_children()
    for child in left:
        child.kill()
    assert not left, "processes that the test left behind"


def pytest_terminal_summary(terminalreporter):
    for line in killing.figures:
        terminalreporter.write_line(line)
