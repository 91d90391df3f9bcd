"""Types of shoal.pool."""
from collections.abc import Callable, Iterable, Iterator, Mapping
from signal import Signals
from types import TracebackType
from typing import Any, Generic, TypeVar

from .context import BaseContext
from .context import TimeoutError as TimeoutError

_T = TypeVar("_T")
_R = TypeVar("_R")

__all__: list[str]

INIT: str
RUN: str
CLOSE: str
TERMINATE: str

class RemoteTraceback(Exception):
    tb: str
    def __init__(self, tb: str) -> None: ...

class MaybeEncodingError(Exception):
    exc: str
    value: str
    def __init__(self, exc: object, value: object) -> None: ...

class WorkerDied(Exception):
    pid: int | None
    exitcode: int | None
    signal: Signals | int | None
    def __init__(self, message: str, pid: int | None = None, exitcode: int | None = None) -> None: ...

class PoolBroken(WorkerDied): ...
class TaskTimeout(TimeoutError): ...

class ApplyResult(Generic[_T]):
    def get(self, timeout: float | None = None) -> _T: ...
    def wait(self, timeout: float | None = None) -> None: ...
    def ready(self) -> bool: ...
    def successful(self) -> bool: ...
    def cancel(self) -> bool: ...

AsyncResult = ApplyResult

class MapResult(ApplyResult[list[_T]]): ...

class IMapIterator(Iterator[_T]):
    def __iter__(self) -> IMapIterator[_T]: ...
    def __next__(self) -> _T: ...
    def next(self, timeout: float | None = None) -> _T: ...

IMapUnorderedIterator = IMapIterator

class Pool:
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
        *,
        task_timeout: float | None = None,
        retries: int = 0,
        progress: bool | Callable[[int, int | None, float], object] | None = None,
        worker_memory_limit: int | None = None,
        name: str | None = None,
        strict: bool = False,
    ) -> None: ...
    def apply(self, func: Callable[..., _R], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> _R: ...
    def apply_async(
        self,
        func: Callable[..., _R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[_R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult[_R]: ...
    def map(self, func: Callable[[_T], _R], iterable: Iterable[_T], chunksize: int | None = None) -> list[_R]: ...
    def map_async(
        self,
        func: Callable[[_T], _R],
        iterable: Iterable[_T],
        chunksize: int | None = None,
        callback: Callable[[list[_R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[_R]: ...
    def starmap(self, func: Callable[..., _R], iterable: Iterable[Iterable[Any]], chunksize: int | None = None) -> list[_R]: ...
    def starmap_async(
        self,
        func: Callable[..., _R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[_R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[_R]: ...
    def imap(self, func: Callable[[_T], _R], iterable: Iterable[_T], chunksize: int = 1) -> Iterator[_R]: ...
    def imap_unordered(self, func: Callable[[_T], _R], iterable: Iterable[_T], chunksize: int = 1) -> Iterator[_R]: ...
    def close(self) -> None: ...
    def terminate(self) -> None: ...
    def join(self) -> None: ...
    def __enter__(self) -> Pool: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None: ...

class ThreadPool:
    """The standard library's."""

    def __init__(
        self, processes: int | None = None, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()
    ) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
