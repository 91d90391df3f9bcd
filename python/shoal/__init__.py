"""shoal: multiprocessing's API on an engine in shared memory that survives the death of any process.

    import shoal as multiprocessing

Everything that the standard library's package offers is here under the same names. The engine is C; what the standard
library does well (start methods, reduction, the registry of managers) is used. Importing shoal changes nothing in it.
"""
import sys

from . import context

__all__ = [name for name in dir(context._default_context) if not name.startswith("_")]
globals().update((name, getattr(context._default_context, name)) for name in __all__)

from ._shoal import OwnerDiedWarning, ShutDown  # noqa: E402

__all__ += ["OwnerDiedWarning", "ShutDown"]

SUBDEBUG = 5
SUBWARNING = 25

# As the standard library does: classes of the main module are pickled under one name in all children.
if "__main__" in sys.modules:
    sys.modules.setdefault("__mp_main__", sys.modules["__main__"])

#: What is here and not in the standard library's package, loaded when it is asked for.
_BEYOND = {"inspect": "_inspect", "WorkerDied": "pool", "PoolBroken": "pool", "TaskTimeout": "pool", "ProcessPoolExecutor": "executor"}


def __getattr__(name):
    if name not in _BEYOND:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    import importlib

    value = globals()[name] = getattr(importlib.import_module("." + _BEYOND[name], __name__), name)
    return value
