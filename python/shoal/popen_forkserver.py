"""Children by a fork server, members of the family and children of the process that started them."""
import io
import os
import pickle
import signal

from . import _shoal, forkserver, popen_fork, spawn
from .context import reduction, set_spawning_popen

__all__ = ["Popen"]


class _DupFd:
    def __init__(self, ind):
        self.ind = ind

    def detach(self):
        return forkserver.get_inherited_fds()[self.ind]


class Popen(popen_fork.Popen):
    """A child process. The server may be gone: its end and, if it ended by itself, its exit code are known all the same;
    255 stands for a status that nobody has."""

    method = "forkserver"
    DupFd = _DupFd

    def __init__(self, process_obj):
        self._fds = []
        self._pidfd = None
        super().__init__(process_obj)

    def duplicate_for_child(self, fd):
        self._fds.append(fd)
        return len(self._fds) - 1

    def _launch(self, process_obj):
        data = io.BytesIO()
        references = []
        set_spawning_popen(self)
        _shoal.collect(references)
        try:
            reduction.dump(spawn.get_preparation_data(process_obj._name), data)
            reduction.dump(process_obj, data)
        finally:
            _shoal.collect(None)
            set_spawning_popen(None)
        name, daemon = process_obj._name, bool(process_obj.daemon)
        if daemon:
            _shoal.expect_daemon()
        head = pickle.dumps((_shoal.identity(), name, daemon, list(set(references))))
        with data.getbuffer() as body:
            birth, end = forkserver.connect_to_new_process(self._fds, head, body)
        self._began(_shoal.served_child(name, daemon, *birth, end))

    def poll(self, flag=None):
        if self.returncode is None:
            try:
                code = self._child.exit_code()
            except (OSError, ValueError):
                return None  # another process's child
            if code is not None:
                self.returncode = 255 if code == "unknown" else code
        return self.returncode

    def _signal(self, number):
        # The server is who reaps it. Its number is its own as long as the word of its end is not there.
        if self._pidfd is None and self.poll() is None:
            try:
                self._pidfd = os.pidfd_open(self.pid)
            except OSError:
                pass
        if self.poll() is not None:
            return
        try:
            if self._pidfd is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass

    def close(self):
        super().close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def __del__(self):
        if self._pidfd is not None:
            os.close(self._pidfd)
