"""Communicating sequential processes: the API of PyCSP (pycsp.parallel 0.9) on shoal's channels.

    @process                                    a thread          (@multiprocess: a process of its own)
    def counter(out):
        for i in range(3):
            out(i)
        retire(out)

    @multiprocess
    def printer(inp):
        while True:
            print(inp())

    c = Channel()
    Parallel(counter(-c), printer(+c))

There is no server, no open port and no thread but the processes' own. A process that dies counts as retired: the others end
cleanly, and Parallel warns who died of what. An end that is given to a @multiprocess moves there.

Different from PyCSP: what is written is always copied, also between threads (only what cannot be pickled is handed over as
it is between the threads of one process); a process retires its ends when it returns, unless somebody else has them too.
"""
import collections
import inspect
import itertools
import os
import pickle
import threading
import types
import warnings
import weakref

from . import _shoal, context, reduction

__all__ = """
    Skip SkipGuard Timeout TimeoutGuard InputGuard OutputGuard choice Alternation AltSelect PriSelect FairSelect Channel
    retire poison Process process MultiProcess multiprocess SSHProcess sshprocess ClusterProcess clusterprocess Sequence
    Parallel Spawn current_process_id shutdown ChannelRetireException ChannelPoisonException ChannelSocketException
    ChannelConnectException ChannelBindException ChannelLostException InfoException FatalException ProcessDiedWarning io Io
    Configuration SOCKETS_CONNECT_TIMEOUT SOCKETS_CONNECT_RETRY_DELAY SOCKETS_BIND_TIMEOUT SOCKETS_BIND_RETRY_DELAY PYCSP_PORT
    PYCSP_HOST SOCKETS_STRICT_MODE version
""".split()

version = (0, 9, 2, "shoal")


# ---- exceptions ----


class ChannelRetireException(Exception):
    """The channel is retired: one side has no ends any more. Not caught, it retires all ends of its process."""


class ChannelPoisonException(Exception):
    """The channel is poisoned. Not caught, it poisons all ends of its process."""


class ChannelSocketException(Exception):
    """Never raised here: there are no sockets."""

    def __init__(self, addr=None, msg=None):
        super().__init__(addr, msg)
        self.addr, self.msg = addr, msg


class ChannelConnectException(ChannelSocketException):
    """A channel was to be connected to another host, which is not possible here yet."""


class ChannelBindException(ChannelSocketException):
    """Never raised here: there are no sockets."""


class ChannelLostException(ChannelSocketException):
    """Never raised here: there are no sockets."""


class FatalException(Exception):
    """An end is used that was given to another process, or that this process never had."""


class InfoException(Exception):
    """Something was used that cannot be used so."""


class ProcessDiedWarning(RuntimeWarning):
    """A process of Parallel, Sequence or Spawn was killed, or ended with a status other than 0."""


# ---- messages ----


class _Handed:
    """What cannot be pickled, on its way between two threads of one process."""

    kept = {}
    numbers = itertools.count()

    def __init__(self, thing):
        self.key = os.getpid(), next(_Handed.numbers)
        _Handed.kept[self.key] = thing

    def __reduce__(self):
        return _taken, self.key


def _taken(*key):
    if key not in _Handed.kept:
        raise InfoException("what was written cannot be pickled, so only threads of the process that wrote it can read it")
    return _Handed.kept.pop(key)


def _dumps(thing):
    try:
        return pickle.dumps(thing, 4)
    except FatalException:
        raise
    except Exception as why:  # whatever a __reduce__ raises
        try:
            return bytes(reduction.ForkingPickler.dumps(thing))
        except Exception:
            return pickle.dumps(_Handed(thing), 4)


_shoal.set_csp(ChannelRetireException, ChannelPoisonException, _dumps, pickle.loads)


# ---- channels and their ends ----

_ends = weakref.WeakSet()  # of this process: a child by fork closes those that were not given to it


class ChannelEnd(_shoal.ChannelEnd):
    """One side of a channel, for one process."""

    def _begin(self, channel):
        self.channel = channel
        self.moved = False
        self.sent = False
        _ends.add(self)
        return self

    def __reduce__(self):
        if self.moved:
            raise FatalException("this end was given to another process")
        if _shoal.carry(self):
            self.sent = True  # in a message, which holds it
        return _open_end, (type(self), self._reference(), self.channel)

    def _check(self):
        if self.moved:
            raise FatalException("this end of %s was given to another process" % self.channel)

    def retire(self):
        """This end is used no more; the channel is retired when it was the last of its side."""
        self._check()
        self._retire()

    def poison(self):
        """Poisons the channel, at once and for all."""
        self._check()
        self._poison()

    def _move(self):
        if not self.moved:
            self.moved = True
            self._close()

    def disconnect(self):
        """Nothing to do here: there is no connection."""

    def __repr__(self):
        return "<%s on channel named %s>" % (type(self).__name__, self.channel.name)


class ChannelEndRead(ChannelEnd):
    """The reading side: end() waits for a message and returns it."""

    def __call__(self):
        if self.moved:
            self._check()
        return self._read()

    def isReader(self):
        return True

    def isWriter(self):
        return False


class ChannelEndWrite(ChannelEnd):
    """The writing side: end(message) returns when it was read, or is in the channel's buffer."""

    def __call__(self, msg):
        if self.moved:
            self._check()
        self._write(msg)

    def isReader(self):
        return False

    def isWriter(self):
        return True


def _open_end(kind, reference, channel):
    return kind._open(reference)._begin(channel)


class Channel(_shoal.Channel):
    """A channel from any number of writers to any number of readers; `buffer` messages fit into it."""

    _numbers = itertools.count(1)

    def __init__(self, name=None, buffer=0, connect=None):
        if connect is not None:
            raise ChannelConnectException(connect, "channels of other hosts cannot be reached yet")
        if name is not None and len(name) > 32:
            raise InfoException("the name of a channel has at most 32 characters, not %d" % len(name))
        if name is None:
            name = "channel-%d-%d" % (os.getpid(), next(Channel._numbers))
        _shoal.Channel.__init__(self, buffer, name)
        self.name = name
        self.address = None
        # Ends that were never given to a process live as long as the channel.
        self._kept = set()

    def __reduce__(self):
        _shoal.carry(self)
        return _open_channel, (self._reference(), self.name)

    def _end(self, make, kind):
        end = make(kind)._begin(self)
        self._kept.add(end)
        return end

    def reader(self):
        """A further reading end."""
        return self._end(self._reader, ChannelEndRead)

    def writer(self):
        """A further writing end."""
        return self._end(self._writer, ChannelEndWrite)

    __pos__ = reader
    __neg__ = writer

    def __mul__(self, multiplier):
        return [self] + [Channel() for _ in range(int(multiplier) - 1)]

    __rmul__ = __mul__

    def disconnect(self):
        """Nothing to do here: there is no connection."""

    def __repr__(self):
        return "<Channel %s>" % self.name


def _open_channel(reference, name):
    channel = Channel._open(reference)
    channel.name, channel.address, channel._kept = name, None, set()
    return channel


def _each(things):
    for thing in things:
        if isinstance(thing, (list, tuple)):
            yield from _each(thing)
        else:
            yield thing


def retire(*ends):
    """Retires ends, lists of ends too."""
    for end in _each(ends):
        if not isinstance(end, ChannelEnd):
            raise InfoException("only ends of channels can be retired, not %r" % (end,))
        end.retire()


def poison(*ends):
    """Poisons the channels of ends, lists of ends too."""
    for end in _each(ends):
        if not isinstance(end, ChannelEnd):
            raise InfoException("only ends of channels can poison them, not %r" % (end,))
        end.poison()


def _ends_in(things):
    """The ends in arguments, in lists, tuples and dicts too."""
    for thing in things:
        if isinstance(thing, ChannelEnd):
            yield thing
        elif isinstance(thing, (list, tuple, set)):
            yield from _ends_in(thing)
        elif isinstance(thing, dict):
            yield from _ends_in(thing.keys())
            yield from _ends_in(thing.values())


def _fresh(thing):
    """A copy of an argument with further ends of the same channels."""
    if isinstance(thing, ChannelEndRead):
        return thing.channel.reader()
    if isinstance(thing, ChannelEndWrite):
        return thing.channel.writer()
    if type(thing) in (list, tuple, set):
        return type(thing)(_fresh(item) for item in thing)
    if type(thing) is dict:
        return {_fresh(key): _fresh(value) for key, value in thing.items()}
    return thing


# ---- processes ----

_current = threading.local()
_main_spawned = []


def _spawned():
    return getattr(_current, "spawned", _main_spawned)


class _Body:
    """What threads and processes of a network have in common."""

    def _prepare(self, fn, args, kwargs):
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self.id = "%d.%d.%s" % (os.getpid(), next(_Body.numbers), getattr(fn, "__name__", "process")[:31])
        for end in self._own_ends():
            end.channel._kept.discard(end)

    numbers = itertools.count(1)

    def _own_ends(self):
        return list(_ends_in(self.args)) + list(_ends_in(self.kwargs.values()))

    def _perform(self):
        """Calls the function: what it returns, or None if it ended by retirement or poison, which goes on to all its ends."""
        _current.id, _current.spawned = self.id, []
        value = None
        try:
            value = self.fn(*self.args, **self.kwargs)
        except ChannelPoisonException:
            for end in self._own_ends():
                end.poison()
        except ChannelRetireException:
            for end in self._own_ends():
                end.retire()
        for child in _current.spawned:
            child.join_report()
        return value

    def _drop(self):
        """What was given to it is nobody's any more, unless somebody else has it."""
        self.args, self.kwargs = (), {}

    def update(self, **kwargs):
        """Parameters of other kinds of processes, which this one does not take."""
        return self

    def __mul__(self, multiplier):
        kind = type(self)
        return [self] + [
            kind(self.fn, *_fresh(self.args), **_fresh(self.kwargs)) for _ in range(int(multiplier) - 1)
        ]

    __rmul__ = __mul__


class Process(_Body, threading.Thread):
    """A process of a network that is a thread of this program."""

    def __init__(self, fn, *args, **kwargs):
        threading.Thread.__init__(self)
        self.return_value = None
        self._prepare(fn, args, kwargs)

    def run(self):
        try:
            self.return_value = self._perform()
        finally:
            self._drop()

    def join_report(self):
        """Waits for its end: what its function returned."""
        self.join()
        return self.return_value


class _Function:
    """A decorated function by its name: where the name stands now, there is what the decorator made of it."""

    def __init__(self, fn):
        self.fn = fn
        self.__name__ = getattr(fn, "__name__", "process")

    def __call__(self, *args, **kwargs):
        return self.fn(*args, **kwargs)

    def __reduce__(self):
        return _function, (self.fn.__module__, self.fn.__qualname__)


def _function(module, name):
    import importlib

    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    return _Function(getattr(thing, "fn", thing))


class MultiProcess(_Body, context.Process):
    """A process of a network that is a process of its own. The ends among its arguments move to it."""

    def __init__(self, fn, *args, **kwargs):
        self._fn = fn
        for name in ("pycsp_host", "pycsp_port"):
            kwargs.pop(name, None)
        context.Process.__init__(self, name=getattr(fn, "__name__", None))
        self._prepare(fn if isinstance(fn, _Function) else _Function(fn), args, kwargs)
        outcome = Channel(buffer=1)
        self._outcome = outcome.reader()
        self._told = outcome.writer()
        outcome._kept.clear()
        self._result = None

    def start(self):
        context.Process.start(self)
        for end in self._own_ends() + [self._told]:
            end._move()
        self._drop()

    def __getstate__(self):
        state = self.__dict__.copy()
        state["_outcome"] = None
        return state

    def run(self):
        mine = set(map(id, self._own_ends() + [self._told]))
        self._outcome = None
        for end in list(_ends):
            if id(end) not in mine:
                end._move()
        value = self._perform()
        for end in self._own_ends():
            if end.sent:  # somebody else has it, perhaps
                end._move()
            elif not end.moved:
                end._retire()
        try:
            self._told._write((value,))
        except ChannelRetireException:
            pass  # nobody waits for it any more

    def join_report(self):
        """Waits for its end: what its function returned; None if it died, with a warning that says of what."""
        if self._outcome is not None:
            try:
                (self._result,) = self._outcome()
            except ChannelRetireException:
                pass
            self._outcome = None
        self.join()
        if self.exitcode:
            how = "was killed by signal %d" % -self.exitcode if self.exitcode < 0 else "ended with %d" % self.exitcode
            warnings.warn("process %s (pid %s) %s" % (self.name, self.pid, how), ProcessDiedWarning, stacklevel=3)
        return self._result


def _factory(kind, func, wrap):
    def make(*args, **kwargs):
        return kind(wrap(func), *args, **kwargs)

    make.fn = func
    make.__name__ = getattr(func, "__name__", "process")
    make.__qualname__ = getattr(func, "__qualname__", make.__name__)
    make.__module__ = getattr(func, "__module__", None)
    make.__doc__ = func.__doc__
    return make


def process(func):
    """Makes of a function what makes processes: threads of this program."""
    return _factory(Process, func, lambda fn: fn)


def multiprocess(func=None, pycsp_host="", pycsp_port=None):
    """Makes of a function what makes processes of their own. Host and port are accepted, and mean nothing here."""
    if func is None:
        return multiprocess
    return _factory(MultiProcess, func, _Function)


def _elsewhere(name):
    def refuse(*args, **kwargs):
        raise NotImplementedError("%s: processes on other machines are not there yet; use @multiprocess" % name)

    refuse.__name__ = name
    return refuse


sshprocess = _elsewhere("sshprocess")
SSHProcess = _elsewhere("SSHProcess")
clusterprocess = _elsewhere("clusterprocess")
ClusterProcess = _elsewhere("ClusterProcess")


def _list_of(processes, kwargs):
    processes = list(_each(processes))
    for each in processes:
        if not isinstance(each, _Body):
            raise InfoException("a process is what a decorated function returns, not %r" % (each,))
        each.update(**kwargs)
    return processes


def _start(processes):
    # Processes before threads: a fork beside threads is one to be avoided.
    for each in sorted(processes, key=lambda each: isinstance(each, Process)):
        each.start()


def Parallel(*plist, **kwargs):
    """Starts all and waits until all have ended: a list of what their functions returned."""
    processes = _list_of(plist, kwargs)
    _start(processes)
    return [each.join_report() for each in processes]


def Sequence(*plist, **kwargs):
    """Runs one after the other: a list of what their functions returned."""
    values = []
    for each in _list_of(plist, kwargs):
        each.start()
        values.append(each.join_report())
    return values


def Spawn(*plist, **kwargs):
    """Starts all and returns; who called it waits for them before it ends (the main program: in shutdown)."""
    processes = _list_of(plist, kwargs)
    _start(processes)
    _spawned().extend(processes)


def current_process_id():
    """A name of the process of the network that calls."""
    return getattr(_current, "id", "__main__")


def shutdown():
    """Waits for what was spawned. There is nothing else to shut down here."""
    if hasattr(_current, "id"):
        raise InfoException("shutdown is for the main program; the processes of a network end by themselves")
    while _main_spawned:
        _main_spawned.pop().join_report()


# ---- alternation ----

_INPUT, _OUTPUT, _TIMEOUT, _SKIP = range(4)
_ALT, _PRI, _FAIR = range(3)


class Guard:
    """What a guard has: `_kind`, and what to do when it is chosen."""

    _kind = None
    end = None
    msg = None

    def __init__(self, action=None):
        self.action = action

    def _entry(self, chosen):
        return (self._kind, self.end, self.msg, chosen)

    def _name(self):
        return self.end.channel.name if self.end is not None else None


class InputGuard(Guard):
    """Reads from an end."""

    _kind = _INPUT

    def __init__(self, ch_end_read, action=None):
        if not isinstance(ch_end_read, ChannelEndRead):
            raise InfoException("an InputGuard reads from a reading end, not %r" % (ch_end_read,))
        super().__init__(action)
        self.end = ch_end_read


class OutputGuard(Guard):
    """Writes a message to an end."""

    _kind = _OUTPUT

    def __init__(self, ch_end_write, msg, action=None):
        if not isinstance(ch_end_write, ChannelEndWrite):
            raise InfoException("an OutputGuard writes to a writing end, not %r" % (ch_end_write,))
        super().__init__(action)
        self.end, self.msg = ch_end_write, msg


class SkipGuard(Guard):
    """Is always ready."""

    _kind = _SKIP


class TimeoutGuard(Guard):
    """Is ready when `seconds` have passed since the selection began."""

    _kind = _TIMEOUT

    def __init__(self, seconds, action=None):
        super().__init__(action)
        self.seconds = self.msg = seconds


Skip, Timeout = SkipGuard, TimeoutGuard


class Choice:
    """An action with its arguments."""

    def __init__(self, fn, *args, **kwargs):
        self.fn, self.args, self.kwargs = fn, args, kwargs

    def invoke_on_input(self, channel_input):
        self.fn(*self.args, **dict(self.kwargs, channel_input=channel_input))

    def invoke_on_output(self):
        self.fn(*self.args, **self.kwargs)


def choice(func):
    """Makes of a function what makes actions; what was read comes as the keyword channel_input."""

    def make(*args, **kwargs):
        return Choice(func, *args, **kwargs)

    make._makes_choices = True
    return make


def _act(guard, message, frame):
    action = guard.action
    if action is None:
        return
    reads = guard._kind == _INPUT
    if isinstance(action, Choice):
        if reads:
            action.invoke_on_input(message)
        else:
            action.invoke_on_output()
    elif getattr(action, "_makes_choices", False):
        raise InfoException("a function with @choice is to be called: action=f(), not action=f")
    elif callable(action):
        if reads:
            action(channel_input=message)
        else:
            action()
    elif isinstance(action, str):
        code = compile(action.strip(), "%s line %d in string" % (frame.f_code.co_filename, frame.f_lineno), "exec")
        variables = dict(frame.f_locals)
        if reads:
            variables["channel_input"] = message
        exec(code, frame.f_globals, variables)
    else:
        raise InfoException("an action is a string, a function or made by @choice, not %r" % (action,))


def _choose(guards, how, counts=None):
    """Carries out one of the guards: (guard, message)."""
    if not guards:
        raise InfoException("there are no guards to choose from")
    entries = [guard._entry(counts[guard._name()] if counts else 0) for guard in guards]
    for guard in guards:
        if guard.end is not None:
            guard.end._check()
    index, message = _shoal.alternate(entries, how)
    guard = guards[index]
    if counts is not None and guard.end is not None:
        counts[guard._name()] += 1
    return guard, message


def _guards(items, name):
    guards = list(_each(items))
    for guard in guards:
        if not isinstance(guard, Guard):
            raise InfoException("%s chooses between guards (InputGuard …), not %r" % (name, guard))
    return guards


def _select(guards, how, frame, counts=None):
    guard, message = _choose(guards, how, counts)
    _act(guard, message, frame)
    return (guard if guard.end is None else guard.end), message


def AltSelect(*guards):
    """Carries out one that is ready, any: (its end or the guard itself, the message that was read or None)."""
    return _select(_guards(guards, "AltSelect"), _ALT, inspect.currentframe().f_back)


def PriSelect(*guards):
    """As AltSelect: of those that are ready the first."""
    return _select(_guards(guards, "PriSelect"), _PRI, inspect.currentframe().f_back)


_histories = {}


def FairSelect(*guards):
    """As AltSelect: of those that are ready the one that was chosen least often at this place of the program, by this process."""
    frame = inspect.currentframe().f_back
    key = current_process_id(), os.getpid(), frame.f_code, frame.f_lineno
    counts = _histories.setdefault(key, collections.Counter())
    return _select(_guards(guards, "FairSelect"), _FAIR, frame, counts)


class Alternation:
    """The older form: a list of {end: action} and {(end, message): action}, of guards as keys, or of tuples."""

    def __init__(self, guards, ensurePriority=False):
        self._how = _PRI if ensurePriority else _ALT
        self._guards = []
        for item in guards:
            if isinstance(item, dict):
                for key, action in item.items():
                    self._add(key if isinstance(key, tuple) else (key,), action)
            elif isinstance(item, tuple):
                self._add(item[:-1], item[-1])
            else:
                raise InfoException("guards are dicts or tuples, not %r" % (item,))
        self._frames = 1

    def _add(self, what, action):
        first = what[0]
        if len(what) == 2:
            guard = OutputGuard(first, what[1], action)
        elif isinstance(first, Guard):
            guard = first
            guard.action = action
        else:
            guard = InputGuard(first, action)
        self._guards.append(guard)

    def _set_execute_frame(self, steps):
        self._frames = abs(steps)

    set_execute_frame = _set_execute_frame

    def execute(self):
        """Carries one out, and its action: (its end or the guard itself, the message that was read or None)."""
        frame = inspect.currentframe()
        for _ in range(self._frames):
            frame = frame.f_back
        return _select(self._guards, self._how, frame)

    def select(self):
        """The same without the action."""
        guard, message = _choose(self._guards, self._how)
        return (guard if guard.end is None else guard.end), message


# ---- what is there for programs that mention it ----


def io(func):
    """For PyCSP's variant of greenlets: the function as it is."""
    return func


Io = io

(
    SOCKETS_CONNECT_TIMEOUT,
    SOCKETS_CONNECT_RETRY_DELAY,
    SOCKETS_BIND_TIMEOUT,
    SOCKETS_BIND_RETRY_DELAY,
    PYCSP_PORT,
    PYCSP_HOST,
    SOCKETS_STRICT_MODE,
) = range(7)


class Configuration:
    """PyCSP's settings of sockets: kept and returned, and of no effect."""

    _values = {}

    def get(self, setting):
        return self._values.get(setting)

    def set(self, setting, value):
        self._values[setting] = value
