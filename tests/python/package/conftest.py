"""A net against hanging: a test that takes this long is shown, with all its threads, and ends the run."""
import faulthandler
import multiprocessing
import signal

import pytest

SECONDS = 120

# Who runs in the background of a shell may have been told to ignore it, and so would all children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def net():
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    left = multiprocessing.active_children()
    for child in left:
        child.kill()
    assert not left, "processes that the test left behind"
