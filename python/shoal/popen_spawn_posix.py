"""Children by a fresh interpreter, members of the family from the beginning."""
import io
import os

from . import _shoal, popen_fork, resource_tracker, spawn
from .context import reduction, set_spawning_popen

__all__ = ["Popen"]


class _DupFd:
    def __init__(self, fd):
        self.fd = fd

    def detach(self):
        return self.fd


class Popen(popen_fork.Popen):
    method = "spawn"
    DupFd = _DupFd

    def __init__(self, process_obj):
        self._fds = []
        super().__init__(process_obj)

    def duplicate_for_child(self, fd):
        self._fds.append(fd)
        return fd

    def _launch(self, process_obj):
        tracker = resource_tracker.getfd()
        self._fds.append(tracker)
        data = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(spawn.get_preparation_data(process_obj._name), data)
            reduction.dump(process_obj, data)
        finally:
            set_spawning_popen(None)
        reader, writer = os.pipe()
        try:
            line = spawn.get_command_line(tracker_fd=tracker, pipe_handle=reader)
            self._fds.append(reader)
            self._began(
                _shoal.execute(
                    os.fsencode(spawn.get_executable()),
                    tuple(os.fsencode(word) for word in line),
                    tuple(set(self._fds)),
                    process_obj._name,
                    bool(process_obj.daemon),
                )
            )
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        try:
            with open(writer, "wb") as file:
                file.write(data.getbuffer())
        except BrokenPipeError:
            pass  # it ended before it had read it all: its exit code tells
