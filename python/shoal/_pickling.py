"""What the extension leaves to pickle: whatever is not small and plain."""
import io
import pickle

from . import _shoal, context

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


#: How an object of the family is opened that a C program sent: by the number of its type.
openers = {}


def open_object(kind, reference):
    from . import connection, queues, synchronize  # noqa: F401

    if kind not in openers:
        raise ValueError("an object of the family that has no type here (%d)" % kind)
    return openers[kind](reference)
