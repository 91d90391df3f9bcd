"""The fork server: a process without threads that has imported what was asked for, and forks children in others' names.

It is a member of the family, started by the first process that needs it. Requests come to it as packets over a socket pair,
whose other end is shared by that process, its forks, and the server's own children; it ends when nobody has that end any
more. What a child is to do lies in a file in memory that comes with the request, so that the server never waits for
anybody. _shoal's forkserver.c says how the child becomes the child of who asked.
"""
import errno
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading

from . import _shoal, popen_fork, process, resource_tracker, spawn, util

__all__ = ["ensure_running", "get_inherited_fds", "connect_to_new_process", "set_forkserver_preload"]

#: How many descriptors one packet takes (the kernel's SCM_MAX_FD), and how many of them are the server's own.
MOST_FDS = 253
OWN_FDS = 4

#: A request: how long the head of its file is. What the child says of its birth: pid, slot, generation.
_request = struct.Struct("=Q")
_birth = struct.Struct("=qII")


class ForkServer:
    """The server as its clients see it."""

    def __init__(self):
        self._socket = None  # to the server
        self._forkserver_pid = None  # None: there is none, or another process started it
        self._inherited_fds = None
        self._preload_modules = ["__main__"]
        self._lock = threading.Lock()

    @property
    def _forkserver_alive_fd(self):
        return None if self._socket is None else self._socket.fileno()

    def _stop(self):
        with self._lock:
            self._forget(wait=True)

    def _forget(self, wait):
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        pid, self._forkserver_pid = self._forkserver_pid, None
        if pid is not None:
            try:
                os.waitpid(pid, 0 if wait else os.WNOHANG)
            except ChildProcessError:
                pass

    def _join(self, fd):
        """In a child of the server, whose end of the socket pair this is."""
        self._lock = threading.Lock()
        self._forkserver_pid = None
        self._socket = _socket(fd)

    def set_forkserver_preload(self, modules_names):
        """Sets the names of modules that a server to be started tries to import."""
        if not all(type(name) is str for name in modules_names):
            raise TypeError("module_names must be a list of strings")
        self._preload_modules = modules_names

    def get_inherited_fds(self):
        """The descriptors that came with this process; None if no fork server started it."""
        return self._inherited_fds

    def ensure_running(self):
        """Sees to it that there is a server: starts one if there is none, or if it has ended."""
        with self._lock:
            resource_tracker.ensure_running()
            if self._socket is not None:
                poll = select.poll()
                poll.register(self._socket, 0)
                if not poll.poll(0):
                    return
                self._forget(wait=False)
            self._start()

    def _start(self):
        here, there = _socket_pair()
        with there:
            try:
                call = "main(%d, %r, %r)" % (there.fileno(), list(self._preload_modules), self._preparation())
                line = [spawn.get_executable(), *util._args_from_interpreter_flags()]
                line += ["-c", spawn.program("forkserver", call)]
                child = _shoal.execute(
                    os.fsencode(line[0]),
                    tuple(os.fsencode(word) for word in line),
                    (there.fileno(), resource_tracker.getfd()),
                    "ForkServer",
                    False,
                )
            except BaseException:
                here.close()
                raise
        self._socket = here
        self._forkserver_pid = child.pid

    def _preparation(self):
        """What the server has to know of this process to import its main module, as its children would."""
        if "__main__" not in self._preload_modules:
            return {}
        data = spawn.get_preparation_data("ignore")
        wanted = "sys_path sys_argv orig_dir dir init_main_from_name init_main_from_path".split()
        return {name: data[name] for name in wanted if name in data}

    def connect_to_new_process(self, fds, head, body):
        """Has the server fork a child. Returns (pid, slot, generation), and a descriptor that tells its end.

        head: bytes, for the server; body: what the child reads. Raises ValueError for too many fds, OSError where no
        child can be had.
        """
        if len(fds) + OWN_FDS > MOST_FDS:
            raise ValueError("too many fds")
        for attempt in range(3):
            self.ensure_running()
            birth, status = self._ask(fds, head, body)
            if birth:
                return birth, status
        raise OSError("the fork server, or each child that it forked, ended at once")

    def _ask(self, fds, head, body):
        """One try. None and None: there is no child, or it was killed before it began."""
        mine, childs = _socket_pair()
        try:
            with childs, _memory_file(head, body) as file:
                sent = [file.fileno(), childs.fileno(), self._socket.fileno(), resource_tracker.getfd(), *fds]
                try:
                    socket.send_fds(self._socket, [_request.pack(len(head))], sent)
                except (BrokenPipeError, ConnectionError):
                    mine.close()
                    return None, None
            try:
                answer = mine.recv(_birth.size)
            except ConnectionResetError:
                answer = b""
            if len(answer) == _birth.size:
                birth = _birth.unpack(answer)
                if birth[0] < 0:
                    raise OSError(-birth[0], os.strerror(-birth[0]) + ", says the fork server")
                return birth, mine.detach()
        except BaseException:
            mine.close()
            raise
        mine.close()
        return None, None


class _Socket(socket.socket):
    """Packets travel through it, whatever the program's default timeout for sockets is. Closed when it is dropped, which at
    the interpreter's end is nothing to warn of."""

    __slots__ = ()

    def __del__(self):
        self.close()


def _socket(fd):
    end = _Socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)
    end.setblocking(True)
    return end


def _socket_pair():
    return [_socket(end.detach()) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]


def _memory_file(head, body):
    if hasattr(os, "memfd_create"):
        file = open(os.memfd_create("shoal-start", os.MFD_CLOEXEC), "r+b", buffering=0)
    else:
        import tempfile

        file = tempfile.TemporaryFile(buffering=0)
    for part in (head, body):
        rest = memoryview(part)
        while rest:
            rest = rest[file.write(rest):]
    return file


# ---- the server ----


def main(fd, preload, preparation):
    """What the server does, until nobody is left who could ask for something."""
    _shoal.release_unopened()
    _import(preload, preparation)
    util._close_stdin()
    with _socket(fd) as requests:
        _serve(requests)


def _import(preload, preparation):
    if preparation:
        process.current_process()._inheriting = True
        try:
            spawn.prepare(preparation)
        except Exception:
            pass  # a child that needs it says what is wrong with it
        finally:
            del process.current_process()._inheriting
    for name in preload:
        try:
            __import__(name)
        except ImportError:
            pass


def _serve(requests):
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    # A terminal sends SIGINT to all of its processes; the children decide for themselves.
    handlers = {signal.SIGCHLD: lambda *_: None, signal.SIGINT: signal.SIG_IGN}
    handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    signal.set_wakeup_fd(wake_write)
    children = {}  # pid: the socket where its end is told
    told = {}  # that socket's descriptor: pid and socket of one that has ended, and was told so
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        ready = [number for number, _ in poll.poll()]
        if wake_read in ready:
            os.read(wake_read, 65536)
            _tell_ends(children, told, poll)
        for number in told.keys() & ready:
            poll.unregister(number)
            _reap(*told.pop(number))
        if requests.fileno() not in ready:
            continue
        packet, fds, flags, _ = socket.recv_fds(requests, _request.size, MOST_FDS, socket.MSG_CMSG_CLOEXEC)
        if not packet and not fds:
            break
        if len(packet) != _request.size or len(fds) < OWN_FDS or flags & socket.MSG_CTRUNC:
            # There was no room for the descriptors. Who asked sees that its socket has no other end.
            for number in fds:
                os.close(number)
            continue
        file, status = fds[0], _socket(fds[1])
        size, = _request.unpack(packet)
        parent, name, daemon, references = pickle.loads(os.pread(file, size, 0))
        held = _shoal.hold(references)
        try:
            child = _shoal.serve_fork()
        except (OSError, MemoryError) as error:
            _send(status, _birth.pack(-(getattr(error, "errno", None) or errno.ENOMEM), 0, 0))
            status.close()
        else:
            if child is None:
                signal.set_wakeup_fd(-1)
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                for other in (requests, *children.values(), *(status for _, status in told.values())):
                    other.close()
                os.close(wake_read)
                os.close(wake_write)
                os.lseek(file, size, os.SEEK_SET)
                _run_child(fds, status, held, parent, name, daemon)
            children[child[0]] = status
        _shoal.unhold(held)
        for number in fds[:1] + fds[2:]:
            os.close(number)
    _tell_ends(children, told, poll)


def _send(status, message):
    """Whether there is still somebody who asked."""
    try:
        status.send(message)
    except OSError:
        return False
    return True


def _tell_ends(children, told, poll):
    """Tells of the children that have ended.

    None is reaped before who asked for it knows: its number stays its own until then, as if that were its parent.
    """
    for pid in list(children):
        try:
            end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # reaped by a module that was preloaded: nobody has its status
            children.pop(pid).close()
            continue
        if end is None:
            continue
        status = children.pop(pid)
        code = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
        if _send(status, _shoal.ending(code)):
            told[status.fileno()] = pid, status
            poll.register(status, select.POLLIN)  # shut down where it was read (src/process/join.c), or closed
        else:
            _reap(pid, status)


def _reap(pid, status):
    status.close()
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


# ---- its children ----


#: In a child: its end of the socket that tells its end. It stays open as long as the process is there.
_status = None


def _run_child(fds, status, held, parent, name, daemon):
    """The life of a child. Does not return."""
    global _status
    code = 1
    try:
        _shoal.follow(parent, name, daemon)
        _status = status
        _send(status, _birth.pack(os.getpid(), *_shoal.identity()))
        _forkserver._join(fds[2])
        resource_tracker._resource_tracker._fd = fds[3]
        _forkserver._inherited_fds = fds[OWN_FDS:]
        code = popen_fork.run_child(lambda: spawn._main(fds[0], held=held))
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        _shoal.exit(code)


def _forget_status():
    # A fork of a child: its being there is not the child's.
    global _status
    if _status is not None:
        _status.close()
        _status = None


os.register_at_fork(after_in_child=_forget_status)

_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
get_inherited_fds = _forkserver.get_inherited_fds
connect_to_new_process = _forkserver.connect_to_new_process
set_forkserver_preload = _forkserver.set_forkserver_preload
