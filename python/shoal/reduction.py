"""The standard library's module, with one set of reducers for both packages; descriptors travel through shoal's pipes too."""
from . import _shoal, _standard

_module = _standard.module("reduction")
__all__ = _module.__all__
globals().update((name, value) for name, value in vars(_module).items() if not name.startswith("__"))


def send_handle(conn, handle, destination_pid):
    """Sends a descriptor: of the end of a pipe, by a message that tells where it is to be had."""
    if not isinstance(conn, _shoal.Connection):
        return _module.send_handle(conn, handle, destination_pid)
    conn.send(_standard.module("resource_sharer").DupFd(handle))


def recv_handle(conn):
    """Receives a descriptor. RuntimeError: what was sent is none."""
    if not isinstance(conn, _shoal.Connection):
        return _module.recv_handle(conn)
    handle = conn.recv()
    if not isinstance(handle, _standard.module("resource_sharer").DupFd):
        raise RuntimeError("Invalid data received")
    return handle.detach()
