"""Values and arrays of ctypes in the family's memory: the standard library's module, run here, with its parts in C.

Each is an object of its own, which lives as long as a process holds it. Its type may be any of ctypes', structures too.
"""
import ctypes

from . import _shoal, _standard, context

_standard.run("sharedctypes", globals())


def assert_spawning(obj):
    """A wrapper or a ctypes object is pickled while a process is started, or in a message, which holds its memory."""
    memory = (obj._obj if isinstance(obj, SynchronizedBase) else obj)._wrapper  # noqa: F821
    if not _shoal.carry(memory):
        _standard.module("context").assert_spawning(obj)


class Memory(_shoal.Memory):
    """Bytes of the family's memory, which hold a ctypes object."""

    __slots__ = ()

    def __reduce__(self):
        context.assert_spawning(self)
        return _open, (self._reference(),)


def _open(reference):
    return Memory._open(reference)


def _new_value(type_):
    return rebuild_ctype(type_, Memory(ctypes.sizeof(type_)), None)  # noqa: F821


#: Types whose items the C wrappers read and write themselves, with their characters. Not those of another byte order.
_CODES = {
    getattr(ctypes, name): getattr(ctypes, name)._type_
    for name in (
        "c_byte c_ubyte c_short c_ushort c_int c_uint c_long c_ulong c_longlong c_ulonglong "
        "c_float c_double c_bool c_char"
    ).split()
}


class Synchronized(_shoal.Synchronized, Synchronized):  # noqa: F821
    """A number and its lock. value: read and written with the lock held; it stays held in `with`."""

    def __init__(self, obj, lock=None, ctx=None):
        SynchronizedBase.__init__(self, obj, lock, ctx)  # noqa: F821
        code = _CODES.get(type(obj), "")
        _shoal.Synchronized.__init__(self, obj, self._lock, code, ctypes.sizeof(obj) if code else 0)


class _Array:
    def __init__(self, obj, lock=None, ctx=None):
        SynchronizedBase.__init__(self, obj, lock, ctx)  # noqa: F821
        code = _CODES.get(obj._type_, "")
        _shoal.SynchronizedArray.__init__(self, obj, self._lock, code, ctypes.sizeof(obj._type_) if code else 0)


class SynchronizedArray(_Array, _shoal.SynchronizedArray, SynchronizedArray):  # noqa: F821
    """An array and its lock, which is held for each access to an item or a slice."""


class SynchronizedString(_Array, _shoal.SynchronizedArray, SynchronizedString):  # noqa: F821
    """An array of characters and its lock. value: up to the first zero byte; raw: all of it."""
