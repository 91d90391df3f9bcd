"""The heap of blocks in arenas: the standard library's module, run here, with arenas in the family's memory.

shoal's own values and arrays do not need it: each is an object of its own, which lives as long as a process holds it.
"""
from . import _shoal, _standard

_standard.run("heap", globals())


class Arena:
    """Memory from which blocks are taken. size: in bytes."""

    def __init__(self, size):
        self._hold(_shoal.Memory(size), size)

    def _hold(self, memory, size):
        self.size = size
        self._memory = memory
        self.buffer = memoryview(memory)

    def __reduce__(self):
        assert_spawning(self._memory)  # noqa: F821
        return _reopen, (self._memory._reference(), self.size)


def _reopen(reference, size):
    arena = Arena.__new__(Arena)
    arena._hold(_shoal.Memory._open(reference), size)
    return arena
