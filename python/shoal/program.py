"""Programs in any language as members of the family: a C program takes from a Python queue."""
import os

from . import _shoal
from .popen_fork import Popen

__all__ = ["Program", "reference"]


def reference(obj):
    """The text by which a program of the family opens a shared object: its three numbers, in hexadecimal, with colons."""
    data = obj._reference()
    return "%x:%x:%x" % tuple(int.from_bytes(data[i:j], "little") for i, j in ((0, 8), (8, 12), (12, 16)))


class Program(Popen):
    """Another program that runs as a child of this process and belongs to the family.

    words: the program's path and its arguments, as the program gets them; a shared object (a queue, a Connection, a lock …)
    stands for its reference(), and stays open here until the program has opened it. fds: descriptors that it gets.
    The rest is as with Process: wait(timeout), poll, returncode, pid, sentinel, terminate, kill, close. OSError: it cannot
    be run.
    """

    method = "program"

    def __init__(self, words, *, name=None, daemon=False, fds=()):
        words = [reference(word) if hasattr(word, "_reference") else word for word in words]
        self.returncode = None
        self._began(
            _shoal.execute(
                os.fsencode(words[0]),
                tuple(map(os.fsencode, words)),
                tuple(set(fds)),
                os.path.basename(os.fsdecode(words[0])) if name is None else name,
                bool(daemon),
            )
        )
