"""Reference counts and memory stay flat over 10,000 rounds: what synchronises, and what travels (flat.py says what is looked at).

ROUNDS in the environment sets another number.
"""
import array
import ctypes
import threading

import flat
import pytest
from flat import raises, row

import shoal
from shoal import _shoal, connection, csp, managers, shared_memory

try:
    import numpy
except ImportError:
    numpy = None

fork = shoal.get_context("fork")


class Thing:
    """What goes through pickle."""

    def __init__(self, x):
        self.x = x


class Unpicklable:
    def __reduce__(self):
        raise ZeroDivisionError("no pickle of this")


def fail(*_):
    raise ZeroDivisionError("failed")


class Unloadable:
    def __reduce__(self):
        return fail, ()


# ---- what synchronises ----


def wrong_waits(call):
    raises(TypeError, call, timeout="soon")
    raises(ValueError, call, timeout=float("nan"))
    raises(TypeError, call, nonsense=1)


def lock_round(lock, error):
    lock.acquire()
    lock.acquire(block=False) and lock.release()
    lock.locked()
    lock.holder()
    repr(lock)
    lock.release()
    with lock:
        lock.acquire(True, 0) and lock.release()
    raises(error, lock.release)
    raises(TypeError, lock.acquire, 1, 2, 3)
    raises(TypeError, lock.acquire, True, block=True)
    raises(RuntimeError, lock.__init__)
    wrong_waits(lock.acquire)


@row()
def lock():
    lock = shoal.Lock(name="flat")
    yield lambda: lock_round(lock, ValueError)


@row()
def rlock():
    lock = shoal.RLock()
    yield lambda: lock_round(lock, AssertionError)


@row()
def semaphore():
    semaphore, bounded = shoal.Semaphore(1), shoal.BoundedSemaphore(2)

    def round():
        semaphore.acquire()
        semaphore.acquire(False)
        semaphore.acquire(timeout=0)
        semaphore.release()
        with semaphore, bounded, bounded:
            bounded.holders()
            bounded.acquire(False)
        semaphore.get_value(), semaphore.locked(), repr(semaphore), repr(bounded)
        raises(ValueError, bounded.release)
        wrong_waits(semaphore.acquire)

    yield round


@row()
def condition():
    made = [shoal.Condition(), shoal.Condition(shoal.Lock(), name="flat")]

    def round():
        for condition in made:
            with condition:
                condition.wait(0)
                condition.wait_for(bool, 0)
                condition.wait_for(object)
                condition.notify()
                condition.notify(3)
                condition.notify_all()
                repr(condition)
                wrong_waits(condition.wait)
                raises(TypeError, condition.notify, "all")
            raises(AssertionError, condition.wait, 0)
            raises(AssertionError, condition.notify)
            raises(TypeError, shoal.Condition, 3)

    yield round


@row(few=2)
def condition_between_threads():
    condition, turn = shoal.Condition(), [0]

    def other():
        with condition:
            while turn[0] >= 0:
                condition.wait_for(lambda: turn[0])
                turn[0] = min(turn[0], 0)
                condition.notify()

    thread = threading.Thread(target=other)
    thread.start()

    def round():
        with condition:
            turn[0] = 1
            condition.notify()
            condition.wait_for(lambda: not turn[0])

    yield round
    with condition:
        turn[0] = -1
        condition.notify()
    thread.join()


@row()
def event():
    event = shoal.Event()

    def round():
        event.wait(0), event.is_set()
        event.set()
        event.wait(), event.is_set(), repr(event)
        event.clear()
        wrong_waits(event.wait)

    yield round


@row()
def barrier():
    barrier, failing = shoal.Barrier(1, object), shoal.Barrier(1, fail)
    two = shoal.Barrier(2, timeout=0)

    def round():
        barrier.wait(), barrier.parties, barrier.n_waiting, barrier.broken, repr(barrier)
        raises(ZeroDivisionError, failing.wait)
        raises(threading.BrokenBarrierError, failing.wait)
        failing.reset()
        raises(threading.BrokenBarrierError, two.wait)
        two.reset()
        two.abort()
        raises(threading.BrokenBarrierError, two.wait)
        two.reset()
        raises(TypeError, barrier.wait, "soon")

    yield round


# ---- making ----

MAKERS = {
    "Lock": lambda: shoal.Lock(name="flat"),
    "RLock": shoal.RLock,
    "Semaphore": lambda: shoal.Semaphore(3),
    "BoundedSemaphore": lambda: shoal.BoundedSemaphore(3),
    "Condition": shoal.Condition,
    "Event": shoal.Event,
    "Barrier": lambda: shoal.Barrier(2, fail),
    "Queue": lambda: shoal.Queue(3).put(b"q" * 9000),
    "JoinableQueue": lambda: shoal.JoinableQueue().put(Thing(1)),
    "SimpleQueue": lambda: shoal.SimpleQueue().close(),
    "Pipe": lambda: [end.send([1]) for end in shoal.Pipe()],
    "Value": lambda: shoal.Value("i", 3).value,
    "Array": lambda: shoal.Array("d", 30)[:],
    "RawValue": lambda: shoal.RawValue(ctypes.c_double, 2.5).value,
    "RawArray": lambda: shoal.RawArray("b", range(5))[:],
    "Arena": lambda: __import__("shoal.heap").heap.Arena(5000),
    "list": lambda: managers._LocalList([1, "x", [2]]),
    "dict": lambda: managers._LocalDict({"a": 1, (1, 2): Thing(3)}),
    "set": lambda: managers._LocalSet({1, "b"}),
    "Namespace": lambda: managers._LocalNamespace(a=1, b=[2]),
    "manager Value": lambda: managers._LocalValue("i", 3).value,
    "manager Array": lambda: managers._LocalArray("i", [3, 4])[0],
    "manager Queue": lambda: managers._LocalQueue(3).put(1),
    "Channel": lambda: csp.Channel(buffer=2).writer()([1]),
    "Thread in a context": lambda: shoal.get_context("spawn").Event().set(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_made_and_dropped_is_gone(name):
    def rows():
        make = MAKERS[name]
        yield lambda: make()

    flat.check(rows)


@row()
def what_cannot_be_made():
    long = "a" + "ä" * 500

    def round():
        raises(ValueError, shoal.Lock, name=long)
        raises(ValueError, shoal.Queue, name=long)
        raises(ValueError, connection.Pipe, name=long)
        raises(ValueError, shoal.Semaphore, -1)
        raises(TypeError, shoal.Semaphore, "1")
        raises(ValueError, shoal.Barrier, 0)
        raises(TypeError, shoal.Barrier, None)
        raises(TypeError, shoal.Queue, "3")
        raises(TypeError, shoal.Value, "nonsense")
        raises((ValueError, TypeError), shoal.Array, "i", -1)
        raises(MemoryError, _shoal.Memory, 1 << 60)
        for kind in (_shoal.Lock, _shoal.Event, _shoal.Barrier, _shoal.List, _shoal.Channel, _shoal.Connection):
            raises(ValueError, kind._open, b"short")
            raises(TypeError, kind._open, "text")
            raises(FileNotFoundError, kind._open, b"x" * 16)
        for kind in (shoal.Lock, shoal.Queue, shoal.Value):
            raises(RuntimeError, shoal.reduction.ForkingPickler.dumps, kind("i") if kind is shoal.Value else kind())

    yield round


# ---- what travels ----

shared = [1, 2]
recursive = [3]
recursive.append(recursive)
PAYLOADS = {
    "none": None,
    "int": 7,
    "int of 300 bits": 2**300,
    "float": 1.5,
    "text": "hello",
    "text of two bytes": "ä" * 30,
    "long text": "ä" * 9000,
    "surrogate": "\ud800",
    "bytes": b"bytes",
    "long bytes": b"l" * 20000,
    "bytearray": bytearray(b"xy"),
    "long bytearray": bytearray(20000),
    "list": [42, None, "hello"],
    "nested": {"a": [1, (2, 3.5)], 2: {"c": {4, 5}, "d": frozenset("ef")}},
    "shared": (shared, shared),
    "recursive": recursive,
    "many": list(range(1500)),
    "instance": Thing([1, "x"]),
    "exception": ValueError("no", 3),
    "array": array.array("i", range(2000)),
}
if numpy is not None:
    PAYLOADS["small numpy"] = numpy.arange(4)
    PAYLOADS["numpy"] = numpy.arange(3000.0)
CARRIED = {
    "lock": shoal.Lock(),
    "condition": shoal.Condition(),
    "semaphore": shoal.Semaphore(2),
    "queue": shoal.Queue(),
    "pipe": shoal.Pipe()[0],
    "value": shoal.Value("i", 3),
    "raw array": shoal.RawArray("i", 4),
    "shared list": managers._LocalList([1]),
    "locks in a list": [shoal.Lock(), {"e": shoal.Event()}],
}


def by_queue(x):
    queue = shoal.Queue(3)

    def round():
        queue.put(x)
        queue.get()

    yield round


def by_view(x):
    queue = shoal.JoinableQueue()

    def round():
        queue.put(x, True, 5)
        queue.get(view=True)
        queue.task_done()
        queue.join()

    yield round


def by_many(x):
    queue = shoal.Queue()

    def round():
        queue.put_many((x, x))
        queue.get_many()

    yield round


def by_simple_queue(x):
    queue = shoal.SimpleQueue()

    def round():
        queue.put(x)
        queue.get()

    yield round


def by_pipe(x):
    a, b = shoal.Pipe()

    def round():
        a.send(x)
        b.recv()

    yield round


def by_list(x):
    shared = managers._LocalList()

    def round():
        shared.append(x)
        shared[0]
        shared[-1] = x
        shared[:]
        shared.extend([x, x])
        shared.insert(1, x)
        shared.pop()
        del shared[:]

    yield round


def by_dict(x):
    shared, space = managers._LocalDict(), managers._LocalNamespace()

    def round():
        shared["k"] = x
        shared["k"]
        shared.setdefault("k", x)
        shared.setdefault("other", x)
        shared.update(a=x)
        shared.copy()
        shared.items()
        shared.pop("k")
        shared.clear()
        space.x = x
        space.x
        del space.x

    yield round


def by_channel(x):
    channel = csp.Channel(buffer=2)
    write, read = channel.writer(), channel.reader()

    def round():
        write(x)
        read()

    yield round


WAYS = (by_queue, by_view, by_many, by_simple_queue, by_pipe, by_list, by_dict, by_channel)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_travels_leaves_nothing_behind(way, payload):
    flat.check(lambda: way(PAYLOADS[payload]), 2 if way in (by_list, by_dict) else 1)


@pytest.mark.parametrize("way", (by_queue, by_view, by_pipe, by_list, by_dict), ids=lambda way: way.__name__)
@pytest.mark.parametrize("payload", CARRIED)
def test_an_object_that_travels_leaves_nothing_behind(way, payload):
    flat.check(lambda: way(CARRIED[payload]), 2 if way in (by_list, by_dict) else 1)


def test_a_key_leaves_nothing_behind():
    keys = ["k", "ä" * 300, b"k" * 500, 3, 2**200, 1.5, None, True, (1, ("a", 2)), frozenset("ab"), range(3), "\ud800"]

    def rows():
        shared = managers._LocalDict()

        def round():
            for key in keys:
                shared[key] = 1
                key in shared
                shared.get(key)
            shared.keys()
            for key in keys:
                del shared[key]
                raises(KeyError, shared.__getitem__, key)
            raises(TypeError, shared.__setitem__, [], 1)
            raises(ZeroDivisionError, shared.__setitem__, Unpicklable(), 1)

        yield round

    flat.check(rows, 4)


# ---- queues and pipes that refuse ----


class Feeding(type(shoal.Queue())):
    """As concurrent.futures has one."""

    def _on_queue_feeder_error(self, e, obj):
        pass


def failing():
    yield 1
    raise ZeroDivisionError


@row(few=2)
def queue_errors():
    queue, closed, shut, feeding = shoal.Queue(1), shoal.Queue(), shoal.Queue(), Feeding(ctx=fork)
    unbounded = shoal.JoinableQueue()
    closed.close()
    shut.shutdown()

    def round():
        raises(shoal.queues.Empty, queue.get, False)
        raises(shoal.queues.Empty, queue.get, timeout=0)
        raises(shoal.queues.Empty, queue.get_nowait)
        raises(shoal.queues.Empty, queue.get_many, 2, False)
        queue.put(1)
        raises(shoal.queues.Full, queue.put, [1, b"x" * 9000], False)
        raises(shoal.queues.Full, queue.put, Thing(1), True, 0)
        raises(shoal.queues.Full, queue.put_many, [1, 2], False)
        queue.full(), queue.empty(), queue.qsize(), queue._reader.poll(), queue._bound()
        queue.get()
        for x in (Unpicklable(), [1, Unpicklable()], lambda: 0, threading.Lock()):
            raises((ZeroDivisionError, TypeError, AttributeError, shoal.pool.pickle.PicklingError), queue.put, x)
            feeding.put(x)
        queue.put(Unloadable())
        raises(ZeroDivisionError, queue.get)
        queue.put([1, Unloadable(), b"x" * 9000])
        raises(ZeroDivisionError, queue.get, view=True)
        raises(ValueError, closed.put, 1)
        raises(ValueError, closed.get)
        raises(shoal.ShutDown, shut.put, 1)
        raises(shoal.ShutDown, shut.get)
        raises(ZeroDivisionError, unbounded.put_many, failing())
        unbounded.get_many(5)
        unbounded.task_done()
        raises(ValueError, unbounded.task_done)
        raises(TypeError, queue.put)
        raises(TypeError, queue.put, 1, 2, 3, 4)
        raises(TypeError, queue.put, 1, True, "soon")
        raises(TypeError, queue.get, 1, 2, 3)
        raises(TypeError, queue.get_many, "x")
        raises(ValueError, queue.get_many, 0)
        raises(TypeError, queue.put_many, 3)
        raises(RuntimeError, queue.__init__, ctx=fork)

    yield round


@row(few=2)
def pipe_errors():
    a, b = shoal.Pipe()
    reader, writer = shoal.Pipe(False)
    into = bytearray(10)

    def round():
        raises(OSError, reader.send, 1)
        raises(OSError, writer.recv)
        raises(ZeroDivisionError, a.send, Unpicklable())
        a.send(Unloadable())
        raises(ZeroDivisionError, b.recv)
        a.poll(), b.poll(0)
        raises(TypeError, a.poll, "soon")
        a.send_bytes(b"bytes")
        b.recv_bytes()
        a.send_bytes(bytearray(9000), 5)
        b.recv_bytes()
        a.send_bytes(b"12345678901")
        raises(shoal.BufferTooShort, b.recv_bytes_into, into)
        a.send_bytes(b"123", 1, 1)
        b.recv_bytes_into(into, 3)
        raises(ValueError, a.send_bytes, b"123", 5)
        raises(ValueError, a.send_bytes, b"123", -1)
        raises(TypeError, a.send_bytes, "text")
        raises(TypeError, a.send_bytes)
        raises(OverflowError, a.send_bytes, b"1", 1 << 70)
        a.send_bytes(b"1")
        raises(ValueError, b.recv_bytes_into, into, 20)
        b.recv_bytes()

    yield round


@row(few=4)
def pipe_ends():
    def round():
        a, b = shoal.Pipe()
        a.send_bytes(b"12345")
        raises(OSError, b.recv_bytes, 2)
        b.close()
        raises(BrokenPipeError, a.send, [1])
        raises(EOFError, a.recv)
        a.close()
        raises(OSError, a.recv)
        raises(OSError, a.fileno)
        with shoal.Pipe(False)[0] as c:
            raises(EOFError, c.recv)

    yield round


@row(few=4)
def doorbells():
    def round():
        a, b = shoal.Pipe(False)
        queue, simple = shoal.Queue(), shoal.SimpleQueue()
        a.fileno(), b.fileno(), queue._reader.fileno(), simple._reader.fileno()
        b.send(1)
        queue.put(2)
        connection.wait([a, queue._reader, simple._reader], 0)
        connection.wait([simple._reader, a.fileno()], 0)
        a.recv()
        queue.get()
        connection.wait([a, queue._reader], 0)
        raises(OSError, connection.wait, [b])
        simple.close()
        raises(OSError, simple._reader.fileno)

    yield round


@row(few=50)
def sockets():
    def round():
        with connection.Listener(authkey=b"key") as listener:
            taken = []
            thread = threading.Thread(target=lambda: taken.append(listener.accept()))
            thread.start()
            with connection.Client(listener.address, authkey=b"key") as client:
                client.send([1])
                thread.join()
                with taken[0] as server:
                    server.recv()

    yield round


# ---- values ----


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


@row(few=2)
def values():
    value, real, plain = shoal.Value("i", 3), shoal.Value("d", 1.5, lock=shoal.Lock()), shoal.Value("i", lock=False)
    other, point = shoal.Value("q", lock=threading.RLock()), shoal.Value(Point, 1, 2.0)

    def round():
        real.value = real.value + 1  # whose lock is not recursive
        for v in (value, other):
            with v.get_lock():
                v.value += 1
            with v:
                v.value = 1000
            v.value, v.get_obj(), repr(v)
        plain.value += 1
        point.x += 1
        point.y
        point.get_obj()
        raises(TypeError, setattr, value, "value", "x")
        raises(TypeError, setattr, real, "value", [])
        raises(AttributeError, delattr, value, "value")

    yield round


@row(few=4)
def arrays():
    ints, text, reals = shoal.Array("i", 10), shoal.Array("c", b"hello"), shoal.Array("d", [1.5, 2.5], lock=False)

    def round():
        ints[3] = 2000
        ints[3], ints[-1], len(ints), list(ints), ints[2:5], ints[::-2]
        ints[2:4] = [1, 2]
        text.value, text.raw, text[0], text[1:3]
        text.value = b"other"
        reals[0] += 1
        with ints:
            ints[0] += 1
        raises(IndexError, ints.__getitem__, 10)
        raises(IndexError, ints.__setitem__, 1 << 80, 1)
        raises(TypeError, ints.__setitem__, 0, "x")
        raises(TypeError, ints.__getitem__, "x")
        raises(ValueError, ints.__setitem__, slice(0, 2), [1])
        raises(TypeError, ints.__delitem__, 0)

    yield round


@row(few=50)
def named_shared_memory():
    def round():
        block = shared_memory.SharedMemory(create=True, size=5000)
        other = shared_memory.SharedMemory(block.name)
        block.buf[0] = other.buf[1]
        other.close()
        block.close()
        block.unlink()
        raises(FileNotFoundError, shared_memory.SharedMemory, block.name)

    yield round


# ---- looking ----


@row(few=20)
def looking():
    kept = shoal.Lock(name="seen"), shoal.Queue(), managers._LocalDict(a=1)

    def round():
        with kept[0]:
            shoal.inspect()
        _shoal.inspect_text(0)
        _shoal.statistics(), _shoal.family(), _shoal.is_member(1), _shoal.cpu_count(), _shoal.identity()
        raises((OSError, ValueError), shoal.inspect, 1)
        raises(ValueError, shoal.inspect, -5)
        raises(TypeError, shoal.inspect, "x")

    yield round


@pytest.mark.parametrize("name", [name for name, (make, _) in flat.ROWS.items() if make.__module__ == __name__])
def test_an_operation_leaves_nothing_behind(name):
    flat.check(*flat.ROWS[name])
