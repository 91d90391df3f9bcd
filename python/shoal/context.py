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
    """Objects of the family are pickled while a process is started, or in a message of the family, which holds them."""
    if not _shoal.carry(obj):
        _module.assert_spawning(obj)


def _pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, **more):
    """A pool of worker processes; shoal.pool.Pool says what more there is."""
    from .pool import Pool

    return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context(), **more)


_pool.__name__ = _pool.__qualname__ = "Pool"
BaseContext.Pool = _pool  # noqa: F821
