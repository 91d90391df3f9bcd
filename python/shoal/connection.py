"""Pipes on the engine; listeners, clients and connections of sockets as the standard library has them, run here."""
import threading

from . import _pickling, _shoal, _standard, context  # noqa: F401

_standard.run("connection", globals())


class _End(_shoal.Connection, Connection):  # noqa: F821
    """The end of a pipe: a Connection whose messages travel in shared memory."""

    def __reduce__(self):
        context.assert_spawning(self)
        return _open, (self._reference(),)


_End.__name__ = _End.__qualname__ = "Connection"


_shoal.travels(_End)


def _open(reference):
    return _End._open(reference)


def Pipe(duplex=True, *, name=None):
    """Two Connections that lead to each other; if not duplex the first only receives, the second only sends."""
    return _End._pipe(duplex, name)


def _waitable(item):
    if isinstance(item, (int, _shoal.Connection)):
        return item
    queue = getattr(item, "_queue", None)
    return queue if isinstance(queue, (_shoal.Queue, _shoal.SimpleQueue)) else item.fileno()


def wait(object_list, timeout=None):
    """Waits until one of these is ready: Connections, queues' readers, sockets, sentinels. Those that are, as a list.

    timeout: in seconds; None: none. An empty list: none was ready in time.
    """
    objects = list(object_list)
    if not objects:
        threading.Event().wait(timeout)
        return []
    ready = _shoal.wait([_waitable(item) for item in objects], timeout)
    return [item for item, is_ready in zip(objects, ready or ()) if is_ready]

