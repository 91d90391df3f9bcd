"""Types of shoal.executor."""
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

from .context import BaseContext

__all__: list[str]

class ProcessPoolExecutor(Executor):
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        task_timeout: float | None = None,
        retries: int = 0,
        worker_memory_limit: int | None = None,
        name: str | None = None,
    ) -> None: ...
