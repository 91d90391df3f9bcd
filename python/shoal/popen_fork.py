"""Children by fork: the library's own, so that they have their place in the family from birth."""
import signal

from . import _shoal, _standard, util

_module = _standard.module("popen_fork")

__all__ = ["Popen"]


class Popen:
    """A child process. `returncode` is None until its end was seen."""

    method = "fork"

    def __init__(self, process_obj):
        util._flush_std_streams()
        self.returncode = None
        self._child = None
        self._launch(process_obj)

    def duplicate_for_child(self, fd):
        return fd

    def poll(self, flag=None):
        if self.returncode is None:
            try:
                code = self._child.exit_code()
            except (OSError, ValueError):
                return None  # another process's child
            if isinstance(code, int):
                self.returncode = code
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None and not self._child.join(timeout):
            return None
        return self.poll()

    def terminate(self):
        self._signal(signal.SIGTERM)

    def interrupt(self):
        self._signal(signal.SIGINT)

    def kill(self):
        self._signal(signal.SIGKILL)

    def _signal(self, number):
        if self.returncode is None:
            self._child.signal(number)

    def close(self):
        if self._child is not None:
            self._child.close()
            self._child = None

    @property
    def sentinel(self):
        return self._child.sentinel()

    @property
    def pid(self):
        return self._pid

    def _began(self, child):
        self._child = child
        self._pid = child.pid

    def _launch(self, process_obj):
        child = _shoal.fork(process_obj._name, bool(process_obj.daemon))
        if child is not None:
            self._began(child)
            return
        code = 1
        try:
            sentinel = _shoal.parent_sentinel()
            code = run_child(process_obj._bootstrap, sentinel)
        finally:
            _shoal.exit(code)


_atexit = getattr(_module, "atexit", None)


def run_child(call, *arguments):
    """What a forked child does: calls `call`, and gives what that returns. The exit handlers run as with this
    interpreter's own package: in a child none of its parent's."""
    if _atexit is None:
        return call(*arguments)
    _atexit._clear()
    try:
        _atexit.register(util._exit_function)
        return call(*arguments)
    finally:
        _atexit._run_exitfuncs()
