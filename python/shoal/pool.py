"""Pools of worker processes, which the death of a worker does not end.

The tasks lie in shared memory, where a worker's claim names it (docs/design.md, 10a and 12): who is killed loses the one that it was at,
which ends with WorkerDied, or is tried again. ThreadPool is the standard library's.
"""
import io
import itertools
import os
import pickle
import signal
import threading
import traceback
import types
import warnings
import weakref

from . import _shoal, get_context, reduction, util
from .context import TimeoutError

ApplyResult = AsyncResult = _shoal.ApplyResult
MapResult = _shoal.MapResult
IMapIterator = IMapUnorderedIterator = _shoal.IMapIterator

__all__ = ["Pool", "ThreadPool"]

INIT, RUN, CLOSE, TERMINATE = "INIT", "RUN", "CLOSE", "TERMINATE"


def __getattr__(name):
    # ThreadPool, and what else there is in the standard library's module.
    if name == "CancelledError":
        return _cancelled_error()
    if not name.startswith("__"):
        from . import _standard_pool

        if hasattr(_standard_pool, name):
            globals()[name] = getattr(_standard_pool, name)
            return globals()[name]
    raise AttributeError("module %r has no attribute %r" % (__name__, name))


def _cancelled_error():
    from concurrent.futures import CancelledError

    return CancelledError


class RemoteTraceback(Exception):
    """The cause of an exception that a worker raised: where it did, as text."""

    def __init__(self, tb):
        self.tb = tb

    def __str__(self):
        return self.tb


class MaybeEncodingError(Exception):
    """What a task returned or raised could not be sent, or could not be made again here; `exc` and `value` are shown as text."""

    def __init__(self, exc, value):
        self.exc = repr(exc)
        self.value = repr(value)
        super().__init__(self.exc, self.value)

    def __str__(self):
        return "Error sending result: '%s'. Reason: '%s'" % (self.value, self.exc)

    def __repr__(self):
        return "<%s: %s>" % (type(self).__name__, self)

    def __reduce__(self):
        return type(self), (_Shown(self.exc), _Shown(self.value))


class WorkerDied(Exception):
    """The worker that was at a task ended without its result: it was killed, or it ended itself.

    `pid` is its number, `exitcode` as Process.exitcode tells it (None: nobody knows), `signal` the signal that ended it, or None.
    """

    def __init__(self, message, pid=None, exitcode=None):
        super().__init__(message, pid, exitcode)
        self.pid = pid
        self.exitcode = exitcode
        self.signal = _signal(-exitcode) if exitcode is not None and exitcode < 0 else None

    def __str__(self):
        return self.args[0]


def _signal(number):
    try:
        return signal.Signals(number)
    except ValueError:  # a real-time one
        return number


class PoolBroken(WorkerDied):
    """Worker after worker died before it could do anything, so the pool has given up."""


class TaskTimeout(TimeoutError):
    """A task took longer than the pool's task_timeout, so its worker was killed and replaced."""


# ---- objects as bytes: what the extension asks for ----

_IN_BAND = 4096  # bytes of a buffer that are not worth a place of their own


def _dumps(obj):
    """An object's pickle, and the buffers beside it: (bytes-like, list of contiguous memoryviews)."""
    buffers = []

    def aside(buffer):
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < _IN_BAND:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    reduction.ForkingPickler(file, 5, True, aside).dump(obj)
    return file.getbuffer(), buffers


def _dumps_plain(obj, dumps=pickle.dumps):
    return dumps(obj, 5)


class _Shown:
    """What cannot be had here, as it was shown there."""

    def __init__(self, text):
        self._text = text

    def __repr__(self):
        return self._text


def _show(obj):
    try:
        return repr(obj)
    except Exception as e:
        return "<%s object, whose repr raised %s>" % (type(obj).__name__, type(e).__name__)


def _encode_failure(exception, *unsent):
    """What a task raised, as bytes; or, with what it returned, why that cannot be sent."""
    text = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    if unsent:
        exception = MaybeEncodingError(exception, _Shown(_show(unsent[0])))
    shown = _show(exception)
    try:
        data = bytes(reduction.ForkingPickler.dumps(exception))
    except Exception as e:
        data = pickle.dumps(MaybeEncodingError(e, _Shown(shown)))
    return pickle.dumps((data, '\n"""\n%s"""' % text, shown))


def _decode_failure(data):
    """The exception: as it was raised, its cause the worker's traceback; one that cannot be made here is a MaybeEncodingError."""
    data, text, shown = pickle.loads(data)
    try:
        exception = pickle.loads(data)
        if not isinstance(exception, BaseException):
            raise TypeError("%s is no exception" % _show(exception))
    except Exception as e:
        exception = MaybeEncodingError(e, _Shown(shown))
    exception.__cause__ = RemoteTraceback(text)
    return exception


def _failure(error, pid, exitcode, text):
    """The exception of a task that its worker said nothing of."""
    import errno

    if error == errno.ETIME:
        return TaskTimeout(text)
    if error == errno.ECANCELED:
        return _cancelled_error()(text)
    if error in (errno.EOWNERDEAD, errno.ECONNABORTED):
        return (WorkerDied if error == errno.EOWNERDEAD else PoolBroken)(text, pid or None, exitcode if pid and abs(exitcode) < 1 << 16 else None)
    if error in (errno.ENOMEM, errno.EMSGSIZE):
        return MemoryError(text)
    return OSError(error, text)


def _is_custom(kind):
    """Whether a type has a pickling function of its own."""
    import copyreg

    return kind in copyreg.dispatch_table or kind in reduction.ForkingPickler._extra_reducers


_shoal.pool_helpers(_dumps, _dumps_plain, pickle.loads, _encode_failure, _decode_failure, _failure, _is_custom)


# ---- workers ----


class _Seat:
    """A place in a pool, on its way to the worker that takes it."""

    def __init__(self, reference, place, memory):
        self.reference = reference
        self.place = place
        self.memory = memory

    def __reduce__(self):
        return _open_seat, (self.reference, self.place, self.memory)

    def begin(self):
        return _shoal.work_begin(self.reference, self.place, self.memory)


def _open_seat(*what):
    _shoal.pool_hold(what[0])  # before the process gives up what it inherited and has not opened
    return _Seat(*what)


def worker(seat, initializer=None, initargs=(), maxtasks=None):
    """What a worker's process runs."""
    if not seat.begin():
        return
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            _shoal.work_ready(1)
            raise
    _shoal.work_ready(0)
    _shoal.work(maxtasks or 0)


class _Staff(_shoal.Engine):
    """The pool's engine, and its processes. Nothing here refers to the Pool, so that one that is forgotten can end."""

    def __init__(self, processes, make, arguments, memory, **options):
        super().__init__(processes, **options)
        self._make = make
        self._arguments = arguments
        self._memory = memory
        self.pid = os.getpid()
        self.processes = []
        self.thread = None

    def fill(self):
        """Starts workers where they are wanted."""
        while True:
            place = self.vacancy()
            if place is None:
                return
            process = None
            try:
                process = self._start(place)
            except OSError as e:
                util.info("a worker could not be started: %s", e)
            finally:
                self._hire(place, process)

    def _start(self, place):
        process = self._make(target=worker, args=(_Seat(self.reference(), place, self._memory),) + self._arguments)
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        process.start()
        return process

    def _hire(self, place, process):
        self.hired(place, None if process is None else process._popen._child)
        if process is not None:
            # those that were replaced are told from those that are to be judged
            self.processes[:] = [p for p in self.processes if p.pid is not None and self.employs(p.pid)] + [process]
            util.debug("added worker")

    def begin(self):
        """Starts the first workers: all of them, or none and an exception."""
        started = []
        try:
            while True:
                place = self.vacancy()
                if place is None:
                    break
                started.append((place, None))
                started[-1] = (place, self._start(place))
        except BaseException:
            for place, process in started:
                if process is not None:
                    process.terminate()
            for place, process in started:
                if process is not None:
                    process.join()
            self.terminate()
            for place, process in started:
                self.hired(place, None)
            raise
        for place, process in started:
            self._hire(place, process)

    def begin_minding(self):
        """Starts the pool's thread."""
        if not self.claim(True):
            return
        try:
            self.thread = threading.Thread(target=_mind, args=(self,), name="shoal-pool", daemon=True)
            self.thread.start()
        except BaseException:
            self.claim(False)
            raise

    def end(self):
        """Terminates the workers, and waits for them."""
        if self.pid != os.getpid():
            return
        self.terminate()
        if threading.current_thread() is not self.thread:
            self.join(None)
            if self.thread is not None:
                self.thread.join()
        for process in self.processes:
            process.join()


def _mind(staff):
    while staff.mind():
        pass


# ---- the pool ----

_ITEM, _ITEM_STAR = 3, 4  # what the extension calls func(item) and func(*item)

#: Iterators of these make nobody wait.
_SIMPLE = (list, tuple, range, str, bytes, bytearray, set, frozenset, dict, type({}.keys()), type({}.values()), type({}.items()))


class Pool(_shoal.Pool):
    """A pool of worker processes, which are replaced when they die.

    As the standard library's, and:
    task_timeout: seconds that a task (or a chunk of one) may take, then its worker is killed and it ends with TaskTimeout.
    retries: how often a task is tried again whose worker died.
    progress: True, or progress(done, total, seconds), called some ten times a second while map or imap is waited for.
    worker_memory_limit: bytes that a worker may allocate, then its task gets MemoryError.
    name: what the pool is called where it is inspected.
    strict: the first initializer that fails ends the pool.
    """

    _wrap_exception = True

    @staticmethod
    def Process(ctx, *args, **kwds):
        return ctx.Process(*args, **kwds)

    def __init__(
        self,
        processes=None,
        initializer=None,
        initargs=(),
        maxtasksperchild=None,
        context=None,
        *,
        task_timeout=None,
        retries=0,
        progress=None,
        worker_memory_limit=None,
        name=None,
        strict=False,
    ):
        self._state = INIT
        self._staff = None
        self._ctx = context or get_context()
        if processes is None:
            processes = _processes()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None:
            if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
                raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._progress = _progress_of(progress)
        self._staff = _Staff(
            processes,
            _Maker(self.Process, self._ctx),
            (initializer, initargs, maxtasksperchild),
            worker_memory_limit or 0,
            task_timeout=task_timeout or 0,
            retries=retries,
            name=name,
            strict=strict,
        )
        super().__init__(self._staff)
        self._staff.begin()
        if maxtasksperchild is not None:
            self._staff.begin_minding()
        self._terminate = util.Finalize(self, _end, args=(self._staff,), exitpriority=15)
        self._state = RUN

    @property
    def _pool(self):
        return self._staff.processes if self._staff is not None else []

    def _repopulate_pool(self):
        self._staff.fill()

    def __del__(self, _warn=warnings.warn, RUN=RUN):
        if getattr(self, "_state", None) == RUN and self._staff.pid == os.getpid():
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self):
        cls = self.__class__
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={len(self._pool)}>"

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def _check_running(self):
        if self._state != RUN:
            raise ValueError("Pool not running")

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        self.terminate()

    # ---- tasks ----

    def map(self, func, iterable, chunksize=None):
        """[func(item) for item in iterable], by the workers."""
        return self._wait_map(self._map_async(func, iterable, False, chunksize, None, None, self._progress is not None))

    def starmap(self, func, iterable, chunksize=None):
        """[func(*item) for item in iterable], by the workers."""
        return self._wait_map(self._map_async(func, iterable, True, chunksize, None, None, self._progress is not None))

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """map without waiting: a MapResult."""
        return self._map_async(func, iterable, False, chunksize, callback, error_callback)

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """starmap without waiting: a MapResult."""
        return self._map_async(func, iterable, True, chunksize, callback, error_callback)

    def _map_async(self, func, iterable, star, chunksize, callback, error_callback, asynchronous=True):
        self._check_running()
        if not isinstance(iterable, (list, tuple)):
            iterable = list(iterable)
        if chunksize is None:
            chunksize, extra = divmod(len(iterable), self._processes * 4)
            if extra:
                chunksize += 1
        elif iterable and chunksize < 1:
            raise ValueError("Chunksize must be 1+, not {0!r}".format(chunksize))
        return self._map(func, iterable, star, chunksize, callback, error_callback, asynchronous)

    def _wait_map(self, result):
        if self._progress is not None:
            total = len(result)
            meter = self._progress(total)
            while not result.ready():
                result.wait(0.1)
                meter(result._done())
            meter(total, True)
        return result.get()

    def imap(self, func, iterable, chunksize=1):
        """An iterator over the results, in the order of the inputs."""
        return self._row(func, iterable, chunksize, True)

    def imap_unordered(self, func, iterable, chunksize=1):
        """An iterator over the results, as they become ready."""
        return self._row(func, iterable, chunksize, False)

    def _row(self, func, iterable, chunksize, ordered):
        self._check_running()
        if chunksize < 1:
            raise ValueError("Chunksize must be 1+, not {0!r}".format(chunksize))
        simple = type(iterable) in _SIMPLE
        try:
            source = iter(iterable)
        except TypeError as e:
            source, simple = _raise_first(e), True
        result = self._imap(func, source, simple, ordered, chunksize, _ITEM)
        if not simple:
            thread = threading.Thread(target=result._feed, name="shoal-imap", daemon=True)
            thread.start()
        if self._progress is not None:
            return _metered(result, self._progress(len(iterable) if hasattr(iterable, "__len__") else None))
        return result

    # ---- ending ----

    def close(self):
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._staff.close()

    def terminate(self):
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self):
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        elif self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        if self._staff.pid != os.getpid():
            return  # a child has nothing of it to wait for
        self._staff.join(None)
        if self._staff.thread is not None:
            self._staff.thread.join()
        for process in self._pool:
            process.join()


class _Maker:
    """Makes processes of a context in the way that a class of pools does."""

    def __init__(self, process, ctx):
        self._process = process
        self._ctx = ctx

    def __call__(self, **what):
        return self._process(self._ctx, **what)


def _end(staff):
    staff.end()


def _raise_first(exception):
    raise exception
    yield


def _processes():
    """How many workers a pool has that is not told."""
    try:
        return os.process_cpu_count() or 1
    except AttributeError:
        return os.cpu_count() or 1


# ---- progress ----


def _progress_of(progress):
    """A function of the total that makes a meter: meter(done, over=False)."""
    if progress is None or progress is False:
        return None
    if progress is True:
        return _bar

    def make(total):
        import time

        began = time.monotonic()
        last = [0.0]

        def meter(done, over=False):
            now = time.monotonic()
            if over or now - last[0] >= 0.1:
                last[0] = now
                progress(done, total, now - began)

        return meter

    return make


def _bar(total):
    """A bar on standard error: tqdm's where it is installed, or none of its own."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _plain_bar(total)
    bar = tqdm(total=total)

    def meter(done, over=False):
        bar.update(done - bar.n)
        if over:
            bar.close()

    return meter


def _plain_bar(total):
    import sys

    file = sys.stderr
    if file is None or not file.isatty():
        return lambda done, over=False: None

    def meter(done, over=False):
        file.write("\r%d%s" % (done, " of %d (%d%%)" % (total, 100 * done // total) if total else ""))
        if over:
            file.write("\n")
        file.flush()

    return meter


def _metered(results, meter):
    n = 0
    for n, one in enumerate(results, 1):
        meter(n)
        yield one
    meter(n, True)
