"""ProcessPoolExecutor: an executor of concurrent.futures on a pool, which the death of a worker does not break.

Only the future whose worker died ends, with WorkerDied; the others go on.
"""
import os
import threading
import time
import weakref

from concurrent.futures import _base

from . import get_context, pool

__all__ = ["ProcessPoolExecutor"]


class _Pool(pool.Pool):
    """A pool whose end is the executor's business."""

    def __del__(self):
        pass


class _Future(_base.Future):
    """A future that can be cancelled until a worker has begun its task."""

    _outcome = None
    _withdrawn = False

    def cancel(self):
        outcome = self._outcome
        if outcome is None or self._state != _base.PENDING:
            return super().cancel()
        self._withdrawn = True
        if not outcome._withdraw():
            self._withdrawn = False
            return super().cancel() if self._state != _base.PENDING else False
        super().cancel()
        return True

    def running(self):
        outcome = self._outcome
        return super().running() or (self._state == _base.PENDING and outcome is not None and outcome._running())

    def _came(self, result):
        if self.set_running_or_notify_cancel():
            self.set_result(result)

    def _failed(self, exception):
        if self._withdrawn:
            super().cancel()
        if self.set_running_or_notify_cancel():
            self.set_exception(_broken(exception))


def _broken(exception):
    """What concurrent.futures calls a pool that has given up."""
    if not isinstance(exception, pool.PoolBroken):
        return exception
    from concurrent.futures.process import BrokenProcessPool

    broken = BrokenProcessPool(str(exception))
    broken.__cause__ = exception
    return broken


_executors = weakref.WeakSet()
_lock = threading.Lock()
_registered = False


def _forget_parents():
    """In a child: its parent's executors are not the child's to end, and what the parent's other threads had locked stays so."""
    global _lock
    _lock = threading.Lock()
    for executor in list(_executors):
        executor._lock = threading.Lock()
    _executors.clear()


os.register_at_fork(after_in_child=_forget_parents)


def _at_exit():
    """What was submitted is done before the interpreter ends."""
    for executor in list(_executors):
        executor.shutdown()


class ProcessPoolExecutor(_base.Executor):
    """An executor whose tasks run in processes.

    As the standard library's, and task_timeout, retries, worker_memory_limit and name as shoal.Pool's. max_tasks_per_child works with
    every start method.
    """

    def __init__(
        self,
        max_workers=None,
        mp_context=None,
        initializer=None,
        initargs=(),
        *,
        max_tasks_per_child=None,
        task_timeout=None,
        retries=0,
        worker_memory_limit=None,
        name=None,
    ):
        if max_workers is None:
            max_workers = pool._processes()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        self._max_workers = max_workers
        self._mp_context = mp_context or get_context()
        self._initializer, self._initargs, self._tasks = initializer, initargs, max_tasks_per_child
        self._options = dict(
            task_timeout=task_timeout, retries=retries, worker_memory_limit=worker_memory_limit, name=name
        )
        self._pool = None
        self._shut = False
        self._lock = threading.Lock()
        self._futures = weakref.WeakSet()

    def _running_pool(self):
        """The pool, made when there is something to do; under the lock."""
        global _registered
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._pool is None:
            with _lock:
                if not _registered:
                    threading._register_atexit(_at_exit)
                    _registered = True
            self._pool = _Pool(
                self._max_workers,
                self._initializer,
                self._initargs,
                self._tasks,
                self._mp_context,
                strict=self._initializer is not None,
                **self._options,
            )
            _executors.add(self)
        return self._pool

    def submit(self, fn, /, *args, **kwargs):
        future = _Future()
        with self._lock:
            future._outcome = self._running_pool().apply_async(fn, args, kwargs, future._came, future._failed)
            self._futures.add(future)
        return future

    submit.__doc__ = _base.Executor.submit.__doc__

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        """An iterator over fn(*arguments) for the arguments from the iterables, in their order.

        timeout: seconds from this call until the last may be asked for, then TimeoutError; chunksize: how many a worker takes at once.
        """
        end = None if timeout is None else timeout + time.monotonic()
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        inputs = list(zip(*iterables))
        with self._lock:
            results = self._running_pool()._imap(fn, inputs, True, True, chunksize, pool._ITEM_STAR)
        return _results(results, end)

    def shutdown(self, wait=True, *, cancel_futures=False):
        with self._lock:
            self._shut = True
            running = self._pool
        if running is None:
            return
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        running.close()
        if wait:
            running.join()
            self._pool = None

    shutdown.__doc__ = _base.Executor.shutdown.__doc__


def _results(results, end):
    try:
        while True:
            try:
                yield results.next(None if end is None else end - time.monotonic())
            except StopIteration:
                return
            except pool.PoolBroken as e:
                raise _broken(e) from e.__cause__
            except pool.TimeoutError as e:
                if isinstance(e, pool.TaskTimeout):
                    raise
                raise _base.TimeoutError() from None
    finally:
        results._withdraw()
