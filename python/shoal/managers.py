"""Managers: the standard library's module, run here, so that any type can be registered and stock clients are served.

What a SyncManager makes for the family (lists, dicts, locks, queues …) needs no server: it lies in the family's memory,
and every process works on it directly. It is a proxy like any other, with an ident; and the manager's server gives it
to clients that are not of the family under that ident.
"""
# The names that are used and not defined here are the standard module's. flake8: noqa: F821
import array
import os
import queue
import socket
import struct
import sys
import threading

from . import _containers, _replace, _shoal, _standard, queues, synchronize

_standard.run("managers", globals())

MISSING = _containers.MISSING

if _replace.installed:
    # The names by which programs that have nothing but the standard library know them, in pickles.
    for _name in list(globals()):
        if getattr(globals()[_name], "__module__", None) == __name__:
            globals()[_name].__module__ = "multiprocessing.managers"
else:
    Token = _standard.module("managers").Token


# ---- proxies of what is in a server ----


class _AnyManager:
    """What a proxy asks its manager for, where that is not known: in a child, or where it came in a message."""

    _state = None

    def __init__(self, authkey):
        self._authkey = authkey
        self._registry = {}
        classes = [BaseManager]
        for cls in classes:
            classes += cls.__subclasses__()
            self._registry.update(cls._registry)


def _patched(cls):
    """Replaces a method of a class, which is this package's own copy, by a function that may call it."""

    def patch(function):
        name = function.__name__
        standard = getattr(cls, name)

        def method(*args, **kwds):
            return function(standard, *args, **kwds)

        method.__name__ = name
        setattr(cls, name, method)
        return function

    return patch


@_patched(BaseProxy)
def _callmethod(standard, self, *args, **kwds):
    if self._manager is None:
        self._manager = _AnyManager(self._authkey)
    return standard(self, *args, **kwds)


@_patched(BaseProxy)
def __reduce__(standard, self):
    if _shoal.is_stored() and not self._owned_by_manager:
        # A container of the family's does not tell the server when it drops the proxy: so the object stays there.
        connection = self._Client(self._token.address, authkey=self._authkey)
        try:
            dispatch(connection, None, "incref", (self._id,))
        finally:
            connection.close()
    return standard(self)


def _forget_connections():
    """In a child, however it was forked: its parent's connections are its parent's."""
    for local, _ in BaseProxy._address_to_local.values():
        local.__dict__.clear()


os.register_at_fork(after_in_child=_forget_connections)

# ---- what is in the family's memory ----

#: By the kinds that idents name.
_kinds = {}

#: .server: that of the thread, which pickles for its client; .to_family: whether that is of the family.
_serving = threading.local()


class _Local:
    """A proxy of an object in the family's memory: its methods are the object's."""

    _address = None  # of the manager that made it
    _extra = ""
    _serializer = "pickle"
    _manager = None
    _owned_by_manager = False

    def __init_subclass__(cls, kind=None, proxy=None):
        super().__init_subclass__()
        if kind is not None:
            _kinds[kind] = cls
            cls._kind, cls._proxy = kind, proxy

    @property
    def _id(self):
        return "|".join((self._kind, self._extra, self._reference().hex()))

    @property
    def _token(self):
        server = getattr(_serving, "server", None)
        return Token(self._kind, server.address if server else self._address, self._id)

    @classmethod
    def _rebuild(cls, reference, extra):
        self = cls._open(reference)
        if extra:
            self._extra = extra
        return self

    def _beside(self):
        return {}

    def __reduce__(self):
        if getattr(_serving, "server", None) and not _serving.to_family:
            return _outside(self)
        _shoal.carry(self)
        return RebuildProxy, (self._proxy, self._token, "pickle", self._beside())

    def _callmethod(self, methodname, args=(), kwds={}):
        """Calls a method by its name, as the manager's server would."""
        if methodname == "#GETVALUE":
            return self._getvalue()
        if methodname in self._exposed_:
            return getattr(self, methodname)(*args, **kwds)
        if methodname in ("__str__", "__repr__"):
            return str(self)
        raise RemoteError(
            "AttributeError: method %r of %r object is not in exposed=%r\n"
            % (methodname, type(self), self._exposed_)
        )

    def _getvalue(self):
        """A copy of the value."""
        return self.copy()

    def __deepcopy__(self, memo):
        return self._getvalue()

    def __repr__(self):
        return "<%s object, typeid %r at %#x>" % (self._proxy.__name__, self._kind, id(self))

    def __str__(self):
        return repr(self._getvalue())


def _outside(local):
    """How it is pickled for a client that need not have shoal."""
    module = sys.modules[__name__] if _replace.installed else _standard.module("managers")
    proxy = getattr(module, local._proxy.__name__, None)
    if proxy is None:  # one that this version has not
        return module.RebuildProxy, (module.AutoProxy, local._token, "pickle", {"exposed": _exposed(local)})
    return module.RebuildProxy, (proxy, local._token, "pickle", {})


def _open_local(token):
    """The object of the family that a token names; None: it names something else."""
    kind, _, rest = token.id.partition("|")
    extra, _, reference = rest.rpartition("|")
    if kind not in _kinds or not rest:
        return None
    reference = bytes.fromhex(reference)
    if not reference.startswith(_shoal.family()):
        return None
    self = _kinds[kind]._rebuild(reference, extra)
    self._address = token.address
    return self


def open_kind(kind, reference):
    """An object of the family by its reference alone, as C programs put it into messages and containers."""
    return _kinds[kind]._rebuild(reference, "")


_standard_rebuild = RebuildProxy


def RebuildProxy(func, token, serializer, kwds):
    """A proxy that comes out of a pickle."""
    state = kwds.pop("local", None)
    self = _open_local(token)
    if self is None:
        return _standard_rebuild(func, token, serializer, kwds)
    if state is not None:
        self.__dict__.update(state)
    return self


RebuildProxy.__module__ = _standard_rebuild.__module__


class _LocalList(_Local, _containers.List, ListProxy, kind="list", proxy=ListProxy):
    """A list of the family's."""


class _LocalDict(_Local, _containers.Dict, DictProxy, kind="dict", proxy=DictProxy):
    """A dict of the family's."""

    def _new_list(self):
        made = _LocalList()
        made._address = self._address
        return made


if "SetProxy" not in globals():
    _BaseSetProxy = MakeProxyType(
        "_BaseSetProxy",
        (
            "__and__ __contains__ __iand__ __ior__ __isub__ __iter__ __ixor__ __len__ __or__ __rand__ __ror__ __rsub__ "
            "__rxor__ __sub__ __xor__ __ge__ __gt__ __le__ __lt__ add clear copy difference difference_update discard "
            "intersection intersection_update isdisjoint issubset issuperset pop remove symmetric_difference "
            "symmetric_difference_update union update"
        ).split(),
    )

    class SetProxy(_BaseSetProxy):
        """A set in a server."""

        _method_to_typeid_ = {"__iter__": "Iterator"}
        __class_getitem__ = classmethod(type(list[int]))

        def _in_place(name):
            def operate(self, value):
                self._callmethod(name, (value,))
                return self

            return operate

        __ior__, __iand__ = _in_place("update"), _in_place("intersection_update")
        __isub__, __ixor__ = _in_place("difference_update"), _in_place("symmetric_difference_update")
        del _in_place

    SetProxy.__module__ = _standard_rebuild.__module__


class _LocalSet(_Local, _containers.Set, SetProxy, kind="set", proxy=SetProxy):
    """A set of the family's."""


class _HasLocals(type):
    def __instancecheck__(cls, instance):
        return type.__instancecheck__(cls, instance) or (
            cls is NamespaceProxy and isinstance(instance, _LocalNamespace)
        )


class NamespaceProxy(NamespaceProxy, metaclass=_HasLocals):
    """A namespace in a server; to isinstance also one of the family's."""

    __module__ = _standard_rebuild.__module__


class _LocalNamespace(_Local, _containers.Namespace, BaseProxy, kind="Namespace", proxy=NamespaceProxy):
    """A namespace of the family's."""

    _exposed_ = NamespaceProxy._exposed_

    def _getvalue(self):
        return Namespace(**self._copy())


class _LocalValue(_Local, _shoal.List, ValueProxy, kind="Value", proxy=ValueProxy):
    """A value of any kind: the first item of a list, whose second one is the typecode."""

    def __init__(self, typecode, value, lock=True):
        super().__init__()
        self.extend((value, typecode))

    def get(self):
        return self[0]

    def set(self, value):
        self[0] = value

    value = property(get, set)

    def _getvalue(self):
        value, typecode = self.copy()
        return Value(typecode, value)


class _LocalArray(_Local, _shoal.List, ArrayProxy, kind="Array", proxy=ArrayProxy):
    """An array.array: its items in a list."""

    def __init__(self, typecode, sequence, lock=True):
        super().__init__()
        self._extra = typecode
        self.extend(array.array(typecode, sequence))

    def __getitem__(self, key):
        value = super().__getitem__(key)
        return array.array(self._extra, value) if isinstance(value, list) else value

    def __setitem__(self, key, value):
        if isinstance(key, slice):
            with _containers._Held(self):
                items = self._getvalue()
                items[key] = value
                super().__setitem__(slice(None), items)
        else:
            super().__setitem__(key, array.array(self._extra, (value,))[0])

    def _getvalue(self):
        return array.array(self._extra, self.copy())


class _Holder:
    """What locks and semaphores have in common: acquire as threading's has it."""

    def acquire(self, blocking=True, timeout=None):
        return super().acquire(blocking, None if timeout == -1 else timeout)

    def _getvalue(self):
        raise RemoteError("TypeError: cannot pickle %r object\n" % self._kind)

    def __str__(self):
        return super(_Local, self).__repr__()


class _LocalLock(_Holder, _Local, synchronize.Lock, AcquirerProxy, kind="Lock", proxy=AcquirerProxy):
    def __init__(self):
        super().__init__()

    def release(self):
        try:
            super().release()
        except ValueError:
            # One whose process has ended with it may be released, as here nobody asks whose it is.
            if not self._take_from_dead():
                raise RuntimeError("release unlocked lock") from None


class _LocalRLock(_Holder, _Local, synchronize.RLock, AcquirerProxy, kind="RLock", proxy=AcquirerProxy):
    def __init__(self):
        super().__init__()

    def release(self):
        try:
            super().release()
        except AssertionError:
            raise RuntimeError("cannot release un-acquired lock") from None


class _LocalSemaphore(
    _Holder, _Local, synchronize.Semaphore, AcquirerProxy, kind="Semaphore", proxy=AcquirerProxy
):
    def __init__(self, value=1):
        super().__init__(value)


class _LocalBoundedSemaphore(
    _Holder, _Local, synchronize.BoundedSemaphore, AcquirerProxy, kind="BoundedSemaphore", proxy=AcquirerProxy
):
    def __init__(self, value=1):
        super().__init__(value)

    def _beside(self):
        return {"local": {"_maxvalue": self._maxvalue}}


class _LocalCondition(_Holder, _Local, synchronize.Condition, ConditionProxy, kind="Condition", proxy=ConditionProxy):
    def __init__(self, lock=None):
        super().__init__(_LocalRLock() if lock is None else lock)

    @property
    def _extra(self):
        return self._lock._id

    @classmethod
    def _rebuild(cls, reference, extra):
        return cls._open(reference, _open_local(Token("", None, extra)))

    def wait(self, timeout=None):
        return self._held(super().wait, timeout)

    def notify(self, n=1):
        return self._held(super().notify, n)

    def notify_all(self):
        return self._held(super().notify_all)

    def _held(self, method, *args):
        try:
            return method(*args)
        except AssertionError as error:
            raise RuntimeError(*error.args) from None


class _LocalEvent(_Holder, _Local, synchronize.Event, EventProxy, kind="Event", proxy=EventProxy):
    def __init__(self):
        super().__init__()


class _LocalBarrier(_Holder, _Local, synchronize.Barrier, BarrierProxy, kind="Barrier", proxy=BarrierProxy):
    def __init__(self, parties, action=None, timeout=None):
        super().__init__(parties, action, timeout)

    def _beside(self):
        return {"local": {"_action": self._action, "_timeout": self._timeout}}


class _LocalQueue(_Holder, _Local, queues.JoinableQueue, BaseProxy):
    """A queue, as queue.Queue has it."""

    _exposed_ = tuple(public_methods(queue.Queue()))

    def __init__(self, maxsize=0):
        super().__init__(maxsize)
        self._extra = str(maxsize)

    @classmethod
    def _rebuild(cls, reference, extra):
        self = cls.__new__(cls)
        self.__setstate__((False, int(extra), reference))
        self._extra = extra
        return self

    def __reduce__(self):
        function, (_, token, serializer, kwds) = super().__reduce__()
        return function, (AutoProxy, token, serializer, {"exposed": self._exposed_, **kwds})


class _LocalJoinableQueue(_LocalQueue):
    """The same by another name."""


for _kind, _cls in (("Queue", _LocalQueue), ("JoinableQueue", _LocalJoinableQueue)):
    _cls._kind, _cls._proxy = _kind, MakeProxyType("AutoProxy[%s]" % _kind, _cls._exposed_)
    _kinds[_kind] = _cls

for _cls in (_LocalList, _LocalDict, _LocalNamespace):
    _shoal.travels(_cls)

# ---- the server ----


class _Objects(dict):
    """A server's objects by their idents; objects of the family are there whenever they are asked for."""

    def __missing__(self, ident):
        local = _open_local(Token("", None, ident))
        if local is None:
            raise KeyError(ident)
        entry = self[ident] = (local, set(_exposed(local)), getattr(local._proxy, "_method_to_typeid_", None))
        return entry


def _exposed(local):
    return tuple(local._exposed_) + tuple(getattr(local._proxy, "_method_to_typeid_", None) or ())


@_patched(Server)
def __init__(standard, self, *args, **kwds):
    standard(self, *args, **kwds)
    self.id_to_obj = _Objects(self.id_to_obj)


@_patched(Server)
def serve_client(standard, self, conn):
    _serving.server, _serving.to_family = self, _is_of_family(conn)
    standard(self, conn)


@_patched(Server)
def create(standard, self, c, typeid, /, *args, **kwds):
    ident, exposed = standard(self, c, typeid, *args, **kwds)
    local = self.id_to_obj[ident][0]
    if not isinstance(local, _Local):
        return ident, exposed
    if local._address is None:
        local._address = self.address
    with self.mutex:
        self.id_to_obj[local._id] = self.id_to_obj[ident]
        self.id_to_refcount[local._id] = self.id_to_refcount.get(local._id, 0) + 1
    self.decref(c, ident)
    return local._id, exposed


@_patched(Server)
def incref(standard, self, c, ident):
    with self.mutex:
        if ident not in self.id_to_refcount and isinstance(self.id_to_obj[ident][0], _Local):
            self.id_to_refcount[ident] = 1
            return
    standard(self, c, ident)


@_patched(Server)
def fallback_getvalue(standard, self, conn, ident, obj):
    return obj._getvalue() if isinstance(obj, _Local) else standard(self, conn, ident, obj)


@_patched(Server)
def fallback_repr(standard, self, conn, ident, obj):
    return str(obj) if isinstance(obj, _Local) else standard(self, conn, ident, obj)


Server.fallback_mapping = dict(
    Server.fallback_mapping,
    **{"#GETVALUE": Server.fallback_getvalue, "__repr__": Server.fallback_repr},
)


def _is_of_family(conn):
    """Whether a client's process is known to be of the family."""
    try:
        with socket.fromfd(conn.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            if peer.family != socket.AF_UNIX:
                return False
            pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return _shoal.is_member(pid)
    except OSError:
        return False


# ---- the manager ----


def _maker(cls, ask):
    """A manager's method that makes an object of the family; a manager that was connected asks its server."""

    def make(self, /, *args, **kwds):
        if "_process" not in vars(self):
            return ask(self, *args, **kwds)
        assert self._state.value == State.STARTED, "server not yet started"
        made = cls(*args, **kwds)
        made._address = self._address
        return made

    make.__name__ = cls._kind
    return make


class SyncManager(SyncManager):
    """Gives the family objects of the kinds of threads', and lists, dicts, sets and namespaces."""

    __module__ = _standard_rebuild.__module__


for _kind, _cls in list(_kinds.items()):
    SyncManager.register(_kind, _cls, AutoProxy if issubclass(_cls, queues.JoinableQueue) else _cls._proxy)
    setattr(SyncManager, _kind, _maker(_cls, getattr(SyncManager, _kind)))
del _kind, _cls
