"""Locks, semaphores, conditions, events and barriers."""
import collections
import threading
import time

from . import _shoal, context, process
from ._shoal import OwnerDiedWarning  # noqa: F401

__all__ = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"]

SEM_VALUE_MAX = 0x7FFFFFFF

#: Who holds something: process, thread (as the system numbers them), and the process's name.
Holder = collections.namedtuple("Holder", "pid tid name")


def _open(kind, *arguments):
    return kind._open(*arguments)


class _Shared(context.OfContext):
    """What all of them have in common: they travel to a process that is being started, by a reference."""

    __slots__ = ()

    def __reduce__(self):
        context.assert_spawning(self)
        return _open, (type(self), self._reference()) + self._beside()

    def _beside(self):
        return ()


def _owner(holder):
    """How repr names a holder."""
    import os

    if holder is None:
        return "None"
    if holder[0] != os.getpid():
        return "SomeOtherProcess"
    if holder[1] != threading.get_native_id():
        return "SomeOtherThread"
    name = process.current_process().name
    if threading.current_thread().name != "MainThread":
        name += "|" + threading.current_thread().name
    return name


class Lock(_Shared, _shoal.Lock):
    """A lock: not recursive, and released by anybody."""

    def __init__(self, *, ctx=None, name=None):
        _shoal.Lock.__init__(self, name=name)
        self._made_in(ctx)

    def holder(self):
        """Who holds it at this moment: a Holder, or None."""
        holder = self._holder()
        return holder and Holder(*holder)

    def __repr__(self):
        return "<%s(owner=%s)>" % (type(self).__name__, _owner(self._holder()))


class RLock(_Shared, _shoal.RLock):
    """A lock that its owner, a thread, may acquire again."""

    def __init__(self, *, ctx=None, name=None):
        _shoal.RLock.__init__(self, name=name)
        self._made_in(ctx)

    def holder(self):
        """Who holds it at this moment: a Holder, or None."""
        holder = self._holder()
        return holder and Holder(*holder)

    def __repr__(self):
        name = _owner(self._holder())
        count = {"None": 0, "SomeOtherProcess": "nonzero", "SomeOtherThread": "nonzero"}.get(name)
        return "<%s(%s, %s)>" % (type(self).__name__, name, self._count() if count is None else count)


class Semaphore(_Shared, _shoal.Semaphore):
    """A semaphore. A permit taken by `with` comes back when its owner dies; others stay taken."""

    def __init__(self, value=1, *, ctx=None, name=None):
        _shoal.Semaphore.__init__(self, value, name=name)
        self._made_in(ctx)

    def holders(self):
        """Who holds permits that were taken by `with`: a list of Holders, 64 at most."""
        return [Holder(*holder) for holder in self._holders()]

    def locked(self):
        """Whether there is no permit at this moment."""
        return self.get_value() == 0

    def __repr__(self):
        return "<%s(value=%s)>" % (type(self).__name__, self.get_value())


class BoundedSemaphore(Semaphore):
    """A semaphore whose value never exceeds its first one."""

    def __init__(self, value=1, *, ctx=None, name=None):
        _shoal.Semaphore.__init__(self, value, bound=value, name=name)
        self._made_in(ctx)
        self._maxvalue = value

    def __reduce__(self):
        return super().__reduce__() + ({"_maxvalue": self._maxvalue},)

    def __repr__(self):
        return "<%s(value=%s, maxvalue=%s)>" % (type(self).__name__, self.get_value(), self._maxvalue)


class _Count(int):
    def get_value(self):
        return int(self)


class Condition(_Shared, _shoal.Condition):
    """A condition on a lock, an RLock of its own unless one is given."""

    def __init__(self, lock=None, *, ctx=None, name=None):
        if lock is None:
            lock = RLock(ctx=ctx)
        _shoal.Condition.__init__(self, lock, name=name)
        self._made_in(ctx)
        self._make_methods()

    @classmethod
    def _open(cls, reference, lock):
        self = super()._open(reference, lock)
        self._make_methods()
        return self

    def _beside(self):
        return (self._lock,)

    def _make_methods(self):
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    # What the standard library's own tests look at: how many sleep, were woken and not seen to, may go on.
    @property
    def _sleeping_count(self):
        return _Count(self._waiters())

    _woken_count = _wait_semaphore = property(lambda self: _Count(0))

    def locked(self):
        """Whether its lock is held by somebody."""
        return self._lock.locked()

    def wait_for(self, predicate, timeout=None):
        """Waits until predicate() is true, and returns that; or what it last was, when the timeout has passed."""
        result = predicate()
        end = None if timeout is None else time.monotonic() + timeout
        while not result:
            rest = None if end is None else end - time.monotonic()
            if rest is not None and rest <= 0:
                break
            self.wait(rest)
            result = predicate()
        return result

    def __repr__(self):
        return "<%s(%s, %s)>" % (type(self).__name__, self._lock, self._waiters())


class Event(_Shared, _shoal.Event):
    """An event, which is set or not."""

    def __init__(self, *, ctx=None, name=None):
        _shoal.Event.__init__(self, name=name)
        self._made_in(ctx)

    def __repr__(self):
        state = "set" if self.is_set() else "unset"
        return "<%s at %#x %s>" % (type(self).__qualname__, id(self), state)


class Barrier(_Shared, _shoal.Barrier):
    """Where a number of threads wait for each other; broken when one of them dies while it waits."""

    def __init__(self, parties, action=None, timeout=None, *, ctx=None, name=None):
        _shoal.Barrier.__init__(self, parties, name=name)
        self._made_in(ctx)
        self._action = action
        self._timeout = timeout

    def __reduce__(self):
        return super().__reduce__() + ({"_action": self._action, "_timeout": self._timeout},)

    def wait(self, timeout=None):
        """Waits until all parties wait: each gets a number of its own, 0 to parties - 1. The last calls the action first.

        BrokenBarrierError: the timeout (in seconds; that of the barrier unless given) has passed, another's has, the action
        failed, a waiting process died, it was reset or aborted.
        """
        return self._wait(self._action, self._timeout if timeout is None else timeout)

    def __repr__(self):
        if self.broken:
            return "<%s at %#x: broken>" % (type(self).__qualname__, id(self))
        return "<%s at %#x: waiters=%d/%d>" % (type(self).__qualname__, id(self), self.n_waiting, self.parties)
