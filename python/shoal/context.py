"""Contexts: the standard library's, run here, so that what they make is shoal's."""
from . import _shoal, _standard

_module = _standard.module("context")

_standard.run("context", globals())

# What both packages share: the exceptions, and which process is being started.
for _name in ("ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"):
    globals()[_name] = getattr(_module, _name)
    setattr(BaseContext, _name, getattr(_module, _name))  # noqa: F821
for _name in ("_tls", "get_spawning_popen", "set_spawning_popen"):
    globals()[_name] = getattr(_module, _name)
del _name


def assert_spawning(obj):
    """Objects of the family are pickled while a process is started, or in a message of the family, which holds them.

    RuntimeError: neither; or it was made in a fork context, which the standard library's refuses a process that is started
    otherwise.
    """
    if _shoal.carry(obj):
        return
    _module.assert_spawning(obj)
    if getattr(obj, "_is_fork_ctx", False):
        raise RuntimeError(
            "A SemLock created in a fork context (here: %s) is for children by fork; make it and the process in one context"
            % type(obj).__name__
        )


class OfContext:
    """What knows whether a fork context made it. After a pickle nobody asks."""

    __slots__ = ()

    _is_fork_ctx = False

    def _made_in(self, ctx):
        if ctx is not None and ctx.get_start_method() == "fork":
            self._is_fork_ctx = True


def _pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, **more):
    """A pool of worker processes; shoal.pool.Pool says what more there is."""
    from .pool import Pool

    return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context(), **more)


_pool.__name__ = _pool.__qualname__ = "Pool"
BaseContext.Pool = _pool  # noqa: F821


class _Named:
    """What makes objects of the family: each may be given a name, which inspection and errors show."""

    def Lock(self, *, name=None):
        """A lock, not recursive."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context(), name=name)

    def RLock(self, *, name=None):
        """A lock that its owner may acquire again."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context(), name=name)

    def Condition(self, lock=None, *, name=None):
        """A condition on a lock, an RLock of its own unless one is given."""
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context(), name=name)

    def Semaphore(self, value=1, *, name=None):
        """A semaphore."""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context(), name=name)

    def BoundedSemaphore(self, value=1, *, name=None):
        """A semaphore whose value never exceeds its first one."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context(), name=name)

    def Event(self, *, name=None):
        """An event."""
        from .synchronize import Event

        return Event(ctx=self.get_context(), name=name)

    def Barrier(self, parties, action=None, timeout=None, *, name=None):
        """A barrier."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context(), name=name)

    def Queue(self, maxsize=0, *, name=None):
        """A queue."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context(), name=name)

    def JoinableQueue(self, maxsize=0, *, name=None):
        """A queue with task_done and join."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context(), name=name)

    def SimpleQueue(self, *, name=None):
        """A queue with get, put and empty."""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context(), name=name)


for _name, _method in list(vars(_Named).items()):
    if not _name.startswith("_"):
        setattr(BaseContext, _name, _method)  # noqa: F821
del _name, _method

process._force_start_method = _force_start_method  # noqa: F821
