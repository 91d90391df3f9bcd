"""Looking into a running family: who is there, who holds what, who waits for whom."""
import pickle
import pprint
import sys

from . import _shoal

__all__ = ["inspect", "main"]

_usage = """usage: python -m shoal inspect [--any] PID
Shows the family of shoal that process PID belongs to: deadlocks, processes, who waits for whom, objects, memory. The family
goes on meanwhile and notices nothing.
  --any   the snapshot as one value"""


def inspect(pid=None):
    """A snapshot of this process's family, or of that of process `pid`, which notices nothing: a dict.

    Its keys are processes, objects, waits, deadlocks, memory, counters; include/shoal/inspect.h says what is in them.
    OSError: there is no such process, it may not be looked into, or it has no family.
    """
    return pickle.loads(_shoal.inspect(0 if pid is None else pid))


def main(words):
    """What `python -m shoal inspect` does: an exit status."""
    if words in (["-h"], ["--help"]):
        print(_usage)
        return 0
    as_any = words[:1] == ["--any"]
    if len(words) != 1 + as_any or not words[-1].isdecimal():
        print(_usage, file=sys.stderr)
        return 2
    try:
        if as_any:
            pprint.pprint(inspect(int(words[-1])), sort_dicts=False)
        else:
            print(_shoal.inspect_text(int(words[-1])), end="", flush=True)
    except (OSError, ValueError, OverflowError) as error:
        print("python -m shoal inspect: %s" % (getattr(error, "strerror", None) or error), file=sys.stderr)
        return 1
    return 0
