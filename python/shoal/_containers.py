"""Lists, dicts, sets and namespaces that a family shares: what is said in Python of them.

What is about one item or key is one step, in C. What depends on how values compare (index, remove, sort …) looks at a
copy of one moment, or acquires the container, which keeps others from changing it meanwhile.
"""
import io
import sys

from . import _shoal, context

__all__ = ["List", "Dict", "Set", "Namespace", "Lock", "MISSING"]

#: Nothing, where compare_and_set wants to know what is expected, or what is to be there.
MISSING = _shoal.Dict


def pickle_key(key):
    """A key that is neither number nor text, as bytes that equal keys of one type have in common."""
    data = io.BytesIO()
    pickler = context.reduction.ForkingPickler(data, 4)
    pickler.fast = True  # without a memo
    pickler.dump(key)
    return data.getvalue()


class Lock:
    """Keeps others from changing a container while several steps are made. They still look at it."""

    __slots__ = ("_container",)

    def __init__(self, container):
        self._container = container

    def acquire(self, block=True, timeout=None):
        """True, or False when the timeout (in seconds) has passed. RuntimeError: this thread has it already."""
        acquired = self._container._acquire(block, timeout)
        if acquired is None:
            raise RuntimeError("this thread has acquired it already")
        return acquired

    def release(self):
        """RuntimeError: this thread has not acquired it."""
        self._container._release()

    __enter__ = acquire

    def __exit__(self, *unused):
        self._container._release()


class _Held:
    """Acquires a container, unless the thread has it already."""

    __slots__ = ("_container", "_mine")

    def __init__(self, container):
        self._container = container

    def __enter__(self):
        self._mine = self._container._acquire()

    def __exit__(self, *unused):
        if self._mine:
            self._container._release()


def _plain(value):
    """A copy of a shared container; any other value itself."""
    if isinstance(value, (List, Dict, Set)):
        return value.copy()
    return value


class List(_shoal.List):
    """A list."""

    def __init__(self, items=(), /, *, name=None):
        super().__init__(name=name)
        self.extend(items)

    @property
    def lock(self):
        """Acquired, it keeps others from changing the list."""
        return Lock(self)

    def index(self, value, start=0, stop=sys.maxsize, /):
        return self.copy().index(value, start, stop)

    def count(self, value, /):
        return self.copy().count(value)

    def __contains__(self, value):
        return value in self.copy()

    def remove(self, value, /):
        with _Held(self):
            items = self.copy()
            if value not in items:
                raise ValueError("list.remove(x): x not in list")
            del self[items.index(value)]

    def sort(self, /, *, key=None, reverse=False):
        with _Held(self):
            items = self.copy()
            items.sort(key=key, reverse=reverse)
            self[:] = items

    def __add__(self, other):
        return self.copy() + _plain(other)

    def __radd__(self, other):
        return other + self.copy()

    def __mul__(self, n):
        return self.copy() * n

    __rmul__ = __mul__

    def __iadd__(self, other):
        self.extend(other)
        return self

    def __imul__(self, n):
        with _Held(self):
            self[:] = self.copy() * n
        return self

    def __reversed__(self):
        return reversed(self.copy())


class Dict(_shoal.Dict):
    """A dict. Keys are what Python can hash and pickle."""

    def __init__(self, *args, **kwds):
        super().__init__()
        self.update(*args, **kwds)

    @property
    def lock(self):
        """Acquired, it keeps others from changing the dict."""
        return Lock(self)

    def update(self, *args, **kwds):
        """All entries, as one step."""
        entries = dict(*map(_plain, args), **kwds)
        if entries:
            self._update(entries)

    def __iter__(self):
        return self._walk(self.keys())

    def _walk(self, keys):
        for key in keys:
            if len(self) != len(keys):
                raise RuntimeError("dictionary changed size during iteration")
            yield key

    def __reversed__(self):
        return self._walk(self.keys()[::-1])

    def popitem(self):
        with _Held(self):
            keys = self.keys()
            if not keys:
                raise KeyError("popitem(): dictionary is empty")
            return keys[-1], self.pop(keys[-1])

    def fromkeys(self, iterable, value=None, /):
        return dict.fromkeys(iterable, value)

    def __or__(self, other):
        return self.copy() | _plain(other)

    def __ror__(self, other):
        return other | self.copy()

    def __ior__(self, other):
        self.update(other)
        return self

    def append(self, key, item):
        """Appends to the shared list that is the key's value; if there is none, makes one. Two steps."""
        value = self.get(key, MISSING)
        if value is MISSING:
            value = self.setdefault(key, self._new_list())
        value.append(item)

    def compare_and_set(self, key, expected, value):
        """Sets the value if it equals `expected`, as one step: whether it did. Either may be MISSING."""
        return self._compare_and_set(key, expected, value)

    def _new_list(self):
        return List()


class Set(_shoal.Dict):
    """A set. Members are what Python can hash and pickle."""

    __getitem__ = __setitem__ = __delitem__ = None

    def __init__(self, members=(), /):
        super().__init__()
        self.update(members)

    @property
    def lock(self):
        """Acquired, it keeps others from changing the set."""
        return Lock(self)

    def copy(self):
        return set(self.keys())

    def add(self, member, /):
        self.setdefault(member, True)

    def discard(self, member, /):
        _shoal.Dict.pop(self, member, None)

    def remove(self, member, /):
        _shoal.Dict.pop(self, member)

    def pop(self):
        with _Held(self):
            members = self.keys()
            if not members:
                raise KeyError("pop from an empty set")
            _shoal.Dict.pop(self, members[-1])
            return members[-1]

    def __iter__(self):
        return self._walk(self.keys())

    def _walk(self, members):
        for member in members:
            if len(self) != len(members):
                raise RuntimeError("Set changed size during iteration")
            yield member

    def update(self, *others):
        members = {member: True for other in others for member in other}
        if members:
            self._update(members)

    def _become(self, wanted):
        """Held, and with no members that it has not already, or with some."""
        for member in self.copy() - wanted:
            _shoal.Dict.pop(self, member)
        self.update(wanted)

    def _change(self, operation, others):
        with _Held(self):
            members = self.copy()
            getattr(members, operation)(*map(_plain, others))
            self._become(members)

    def difference_update(self, *others):
        self._change("difference_update", others)

    def intersection_update(self, *others):
        self._change("intersection_update", others)

    def symmetric_difference_update(self, other, /):
        self._change("symmetric_difference_update", (other,))


def _look(name):
    def look(self, *others):
        return getattr(self.copy(), name)(*map(_plain, others))

    look.__name__ = name
    return look


def _turned(name):
    """A binary operator with the set on the right."""

    def operate(self, other):
        return getattr(_plain(other), name)(self.copy())

    operate.__name__ = "__r" + name[2:]
    return operate


def _in_place(operation):
    def operate(self, other):
        other = _plain(other)
        if not isinstance(other, (set, frozenset)):
            return NotImplemented
        getattr(self, operation)(other)
        return self

    return operate


for _name in (
    "union intersection difference symmetric_difference isdisjoint issubset issuperset "
    "__and__ __or__ __sub__ __xor__ __le__ __lt__ __ge__ __gt__"
).split():
    setattr(Set, _name, _look(_name))
for _name in ("__and__", "__or__", "__sub__", "__xor__"):
    setattr(Set, "__r" + _name[2:], _turned(_name))
for _name, _operation in (
    ("__ior__", "update"),
    ("__iand__", "intersection_update"),
    ("__isub__", "difference_update"),
    ("__ixor__", "symmetric_difference_update"),
):
    setattr(Set, _name, _in_place(_operation))
del _name, _operation


class Namespace(_shoal.Namespace):
    """Attributes. Those with a _ in front are this process's own."""

    def __init__(self, /, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)

    @property
    def _lock(self):
        """Acquired, it keeps others from changing the namespace."""
        return Lock(self)
