"""flat.py: whether what there is after many rounds of an operation is what there was after the first ones.

Looked at are the interpreter's reference counts (None, True, False, small ints, the types and exceptions of the package, whatever
the operation works on), what its collector tracks, its allocated blocks and the C heap; the process's descriptors; the region's
objects, processes and bytes. Where another process does the work, it is asked for its own figures, too.
"""
import ctypes
import gc
import os
import sys
import time

import shoal
from shoal import _shoal, csp, managers, pool, queues, synchronize

#: Rounds of most operations. An operation that starts processes, say, does one in so many, as its row tells.
ROUNDS = int(os.environ.get("ROUNDS") or 10000)
FEWEST = 10
#: What may have changed and is no leak: free lists and caches of the interpreter and of malloc, which are not as full as they were.
SLACK = {"blocks": 20, "tracked": 4, "heap": 48 << 10, "None": 10, "True": 10, "False": 10, "int": 20}

ROWS = {}


def row(few=1):
    """Notes a generator that makes an operation ready and yields it: round(), or (round, there), `there` giving the figures of
    another process. few: it does one round in so many."""

    def note(make):
        ROWS[make.__name__] = make, few
        return make

    return note


def raises(kind, call, *args, **kwds):
    try:
        call(*args, **kwds)
    except kind:
        return
    raise AssertionError("%r raised nothing" % (call,))


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ord sm hblks hblkhd usm fsm uord ford keep".split()]


def _heap():
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # an older or another C library
        return lambda: 0
    ask.restype = _Mallinfo

    def heap():
        info = ask()
        return info.uord + info.hblkhd

    return heap


heap = _heap()


def _watched():
    found = {"None": None, "True": True, "False": False}
    found.update(("int %d" % i, i) for i in (-1, 0, 1, 2, 7, 42, 255, 256))
    for module in (_shoal, shoal, synchronize, queues, pool, managers, csp, __builtins__):
        space = module if isinstance(module, dict) else vars(module)
        found.update((value.__name__, value) for value in space.values() if isinstance(value, type))
    return found


WATCHED = _watched()


#: The interpreter's cache of methods keeps names, also those that are made anew for each call.
_clear_caches = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


def own():
    """The figures of the calling process."""
    _clear_caches()
    gc.collect()
    found = {
        "tracked": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "heap": heap(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
    for name, thing in WATCHED.items():
        found[name] = sys.getrefcount(thing)
    return found


def _figures(made, there):
    found = own()
    region = _shoal.statistics()
    found.update(("region's " + name, region[name]) for name in ("objects", "used", "processes"))
    for i, thing in enumerate(made):
        found["what it works on, %d: %.60r" % (i, type(thing))] = sys.getrefcount(thing)
    if there is not None:
        found.update(("there: " + name, value) for name, value in there().items())
    return found


def _grown(before, after):
    grown = {}
    for name, value in after.items():
        slack = SLACK.get(name.replace("there: ", "").split(" ")[0], 0)
        if value - before.get(name, value) > slack:
            grown[name] = (before[name], value)
    return grown


def check(make, few=1):
    """Runs the rounds; AssertionError names what has grown: (before, after)."""
    rounds = max(ROUNDS // few, FEWEST)
    gc.collect()
    gc.freeze()  # what is there already need not be looked at each time
    try:
        rows = make()
        call = next(rows)
        call, there = call if isinstance(call, tuple) else (call, None)
        made = [cell.cell_contents for cell in call.__closure__ or ()]
        made = [thing for thing in made if thing is not None and not isinstance(thing, int)]  # which are WATCHED
        for _ in range(min(rounds, 1000)):
            call()
        for _ in range(2):  # the second time there are the first time's, as there will be those of before
            before = _figures(made, there)
        for _ in range(rounds):
            call()
        # Other threads, and processes that have ended, may need a moment.
        for pause in (0, 0.01, 0.1, 0.5, 2):
            time.sleep(pause)
            grown = _grown(before, _figures(made, there))
            if not grown:
                break
        for _ in rows:
            pass
    finally:
        gc.unfreeze()
    assert not grown, "after %d rounds: %r" % (rounds, grown)
