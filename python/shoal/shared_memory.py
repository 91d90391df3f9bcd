"""Shared memory that has a name, for processes that are not of one family: the standard library's module, run here.

Its blocks are files in /dev/shm, as any process finds them by name; nothing else of shoal's needs that folder. A block
has its memory from the beginning: where there is none, the constructor says so (MemoryError), and no later write ends
the process.
"""
import errno
import os

from . import _standard, resource_tracker

_standard.run("shared_memory", globals())


class SharedMemory(SharedMemory):  # noqa: F821
    """A block of shared memory by its name; create=True makes it. track=False: it outlives its programs."""

    def __init__(self, name=None, create=False, size=0, *, track=True):
        if _tracks_by_itself:
            super().__init__(name, create, size, track=track)
        else:
            super().__init__(name, create, size)
            self._track = track
            if not track:
                resource_tracker.unregister(self._name, "shared_memory")
        if create:
            self._populate()

    def _populate(self):
        try:
            os.posix_fallocate(self._fd, 0, self._size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM):
                return  # a file system that cannot tell
            self.close()
            self.unlink()
            raise MemoryError("no room for %d bytes of shared memory" % self._size) from None

    if "_track" not in vars(SharedMemory):  # noqa: F821
        _track = True

        def unlink(self):
            """Takes the name away; the memory goes when nobody has it open any more."""
            if not self._track:
                resource_tracker.register(self._name, "shared_memory")  # which the next line undoes
            super().unlink()


_tracks_by_itself = "_track" in vars(SharedMemory.__mro__[1])
