"""Types of shoal: multiprocessing's names as they are here, and what there is beyond them."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from logging import Logger
from types import ModuleType
from typing import Any, Literal, overload

from . import context as context
from . import process as process
from .connection import Connection
from .context import AuthenticationError as AuthenticationError
from .context import BaseContext
from .context import BufferTooShort as BufferTooShort
from .context import ProcessError as ProcessError
from .context import TimeoutError as TimeoutError
from .managers import SyncManager
from .pool import Pool as _Pool
from .pool import PoolBroken as PoolBroken
from .pool import TaskTimeout as TaskTimeout
from .pool import WorkerDied as WorkerDied
from .process import BaseProcess
from .queues import JoinableQueue as _JoinableQueue
from .queues import Queue as _Queue
from .queues import SimpleQueue as _SimpleQueue
from .synchronize import Barrier as _Barrier
from .synchronize import BoundedSemaphore as _BoundedSemaphore
from .synchronize import Condition as _Condition
from .synchronize import Event as _Event
from .synchronize import Lock as _Lock
from .synchronize import RLock as _RLock
from .synchronize import Semaphore as _Semaphore


_Method = Literal["fork", "spawn", "forkserver"]

SUBDEBUG: int
SUBWARNING: int
reducer: ModuleType

class OwnerDiedWarning(RuntimeWarning): ...
class ShutDown(Exception): ...

class Process(BaseProcess):
    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] = ...,
        *,
        daemon: bool | None = None,
    ) -> None: ...
    def interrupt(self) -> None: ...

class ProcessPoolExecutor(Executor):
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        **more: Any,
    ) -> None: ...

def inspect(pid: int | None = None) -> dict[str, Any]: ...

# ---- processes ----
def active_children() -> list[BaseProcess]: ...
def current_process() -> BaseProcess: ...
def parent_process() -> BaseProcess | None: ...
def cpu_count() -> int: ...
def freeze_support() -> None: ...
def get_logger() -> Logger: ...
def log_to_stderr(level: str | int | None = None) -> Logger: ...
def allow_connection_pickling() -> None: ...
def get_all_start_methods() -> list[str]: ...
def get_context(method: str | None = None) -> BaseContext: ...
@overload
def get_start_method(allow_none: Literal[False] = False) -> str: ...
@overload
def get_start_method(allow_none: bool) -> str | None: ...
def set_start_method(method: _Method | None, force: bool = False) -> None: ...
def set_executable(executable: str) -> None: ...
def set_forkserver_preload(module_names: list[str]) -> None: ...

# ---- objects; each may have a name, which inspection and errors show ----
def Lock(*, name: str | None = None) -> _Lock: ...
def RLock(*, name: str | None = None) -> _RLock: ...
def Condition(lock: _Lock | _RLock | None = None, *, name: str | None = None) -> _Condition: ...
def Semaphore(value: int = 1, *, name: str | None = None) -> _Semaphore: ...
def BoundedSemaphore(value: int = 1, *, name: str | None = None) -> _BoundedSemaphore: ...
def Event(*, name: str | None = None) -> _Event: ...
def Barrier(
    parties: int,
    action: Callable[[], object] | None = None,
    timeout: float | None = None,
    *,
    name: str | None = None,
) -> _Barrier: ...
def Queue(maxsize: int = 0, *, name: str | None = None) -> _Queue: ...
def JoinableQueue(maxsize: int = 0, *, name: str | None = None) -> _JoinableQueue: ...
def SimpleQueue(*, name: str | None = None) -> _SimpleQueue: ...
def Pipe(duplex: bool = True) -> tuple[Connection, Connection]: ...
def Manager() -> SyncManager: ...
def Pool(
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
    *,
    task_timeout: float | None = None,
    retries: int = 0,
    progress: Any = None,
    worker_memory_limit: int | None = None,
    name: str | None = None,
) -> _Pool: ...

# ---- shared memory ----
def RawValue(typecode_or_type: str | type[Any], *args: Any) -> Any: ...
def RawArray(typecode_or_type: str | type[Any], size_or_initializer: int | Sequence[Any]) -> Any: ...
def Value(typecode_or_type: str | type[Any], *args: Any, lock: bool | _Lock | _RLock = True) -> Any: ...
def Array(
    typecode_or_type: str | type[Any], size_or_initializer: int | Sequence[Any], *, lock: bool | _Lock | _RLock = True
) -> Any: ...

__all__: list[str]
