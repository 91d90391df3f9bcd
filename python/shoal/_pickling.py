"""What the extension leaves to pickle: whatever is not small and plain."""
import io
import pickle

from . import _shoal, context

__all__ = ["load", "dump", "load_carrying", "open_object"]

_Pickler = context.reduction.ForkingPickler

#: Bytes. Shorter buffers are copied into the pickle.
OUT_OF_BAND = 2048

def load(data, buffers=()):
    return pickle.loads(data, buffers=buffers)


def dump(obj):
    """(the pickle, its buffers), buffers being what it has out of band: pickle.PickleBuffers."""
    buffers = []

    def keep(buffer):
        if buffer.raw().nbytes < OUT_OF_BAND:
            return True
        buffers.append(buffer)

    data = io.BytesIO()
    _Pickler(data, 5, True, keep).dump(obj)
    return data.getbuffer(), buffers


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, i):
        return _shoal.carried(self.message, i)


def load_carrying(data, buffers, message):
    """Of a message that holds objects of the family; a C program's names them by their numbers."""
    unpickler = _Unpickler(io.BytesIO(data), buffers=buffers)
    unpickler.message = message
    return unpickler.load()


def open_object(kind, reference):
    """Opens an object of the family that a message names by a number: of the class `kind`, of which its reference is all."""
    if kind == "Connection":
        from . import connection

        return connection._open(reference)
    if kind == "Queue":
        from . import queues

        queue = queues.Queue.__new__(queues.Queue)
        queue.__setstate__((False, queues.UNBOUNDED, reference))
        queue._maxsize = queue._bound() or queues.UNBOUNDED
        return queue
    if kind in ("list", "dict", "Namespace"):
        from . import managers

        return managers.open_kind(kind, reference)
    from . import synchronize

    found = getattr(synchronize, kind)._open(reference)
    if kind == "Barrier":
        found._action = found._timeout = None
    return found


def _note_travellers():
    from . import synchronize

    for kind in ("Lock", "RLock", "Event"):
        _shoal.travels(getattr(synchronize, kind))


_note_travellers()
