"""Queue, JoinableQueue and SimpleQueue, on the library's queues: without a thread, a lock or a pipe."""
import types
from queue import Empty, Full  # noqa: F401

from . import _shoal, context
from ._shoal import ShutDown  # noqa: F401

__all__ = ["Queue", "SimpleQueue", "JoinableQueue"]


UNBOUNDED = 0x7FFFFFFF  # what the standard library's maxsize is where there is none


class _End:
    """What a queue's `_reader` and `_writer` have in common: they are made when somebody asks for them."""

    __slots__ = ("_queue", "_shut")

    def __init__(self, queue):
        self._queue = queue
        self._shut = False

    @property
    def closed(self):
        return self._shut or self._queue._handle_closed()

    def close(self):
        self._shut = True

    def _open_queue(self):
        if self.closed:
            raise OSError("handle is closed")
        return self._queue

    def fileno(self):
        return self._open_queue()._fileno()

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, exc_tb):
        self.close()


class _Reader(_End):
    """Where a queue's objects come out, for who waits for it together with others."""

    __slots__ = ()

    readable, writable = True, False

    def poll(self, timeout=0.0):
        return self._open_queue()._poll(timeout)

    def recv(self):
        return self._open_queue().get()

    def recv_bytes(self, maxlength=None):
        return context.reduction.ForkingPickler.dumps(self.recv())


class _Writer(_End):
    __slots__ = ()

    readable, writable = False, True

    def send(self, obj):
        self._open_queue().put(obj)

    def send_bytes(self, buf, offset=0, size=None):
        view = memoryview(buf).cast("B")[offset:]
        self.send(context.reduction.ForkingPickler.loads(view if size is None else view[:size]))


class _Ends(context.OfContext):
    """_reader and _writer, kept from the first time on that somebody asks for them."""

    @property
    def _reader(self):
        return self.__dict__.setdefault("_reading", _Reader(self))

    @property
    def _writer(self):
        return self.__dict__.setdefault("_writing", _Writer(self))


class Queue(_Ends, _shoal.Queue):
    """A queue for many processes that put objects in and get them out, first in, first out.

    maxsize: how many objects there is room for; 0 or less: any number. put waits while it is full. What pickling raises
    is raised by put, unless a class of one's own has an `_on_queue_feeder_error(exception, object)`, which is then called.
    """

    def __init__(self, maxsize=0, *, ctx=None, name=None):
        _shoal.Queue.__init__(self, maxsize, name=name)
        self._made_in(ctx)
        self._maxsize = maxsize if maxsize > 0 else UNBOUNDED
        self._ignore_epipe = False  # concurrent.futures sets it

    def __getstate__(self):
        context.assert_spawning(self)
        return self._ignore_epipe, self._maxsize, self._reference()

    def __setstate__(self, state):
        self._ignore_epipe, self._maxsize, reference = state
        self._open(reference)

    def _handle_closed(self):
        return False

    def join_thread(self):
        """Returns at once: there is no thread to join. The queue must be closed."""
        assert self._closed, "Queue {0!r} not closed".format(self)

    def cancel_join_thread(self):
        """Does nothing: what was put is in the queue already, and stays there."""

    def _terminate_broken(self):
        self.close()

    def _not_pickled(self, exception, obj):
        if type(self)._on_queue_feeder_error is Queue._on_queue_feeder_error:
            try:
                raise exception
            finally:
                del exception  # which would refer to itself by its traceback
        self._on_queue_feeder_error(exception, obj)

    @staticmethod
    def _on_queue_feeder_error(e, obj):
        """For classes that override it: put calls it with an exception that pickling raised, and returns."""
        import traceback

        traceback.print_exception(type(e), e, e.__traceback__)

    __class_getitem__ = classmethod(types.GenericAlias)


class JoinableQueue(Queue):
    """A Queue that counts what is not finished yet."""

    def task_done(self):
        """An object that was got is finished. ValueError: more than were put."""
        self._task_done()

    def join(self, timeout=None):
        """Waits until all that was put is finished. With a timeout in seconds: whether it is."""
        return self._join(timeout)


class SimpleQueue(_Ends, _shoal.SimpleQueue):
    """A queue without a bound: put, get and empty."""

    def __init__(self, *, ctx=None, name=None):
        _shoal.SimpleQueue.__init__(self, name=name)
        self._made_in(ctx)

    def __getstate__(self):
        context.assert_spawning(self)
        return self._reference()

    def __setstate__(self, state):
        self._open(state)

    def _handle_closed(self):
        return self._closed

    __class_getitem__ = classmethod(types.GenericAlias)


_shoal.travels(Queue)
from . import _pickling  # noqa: E402, F401 - from now on other types travel, too
