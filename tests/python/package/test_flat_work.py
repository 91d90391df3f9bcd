"""Reference counts and memory stay flat over 10,000 rounds: processes, and what works for others (flat.py says what is looked at).

Pools, executors and managers are asked for their workers' figures, too.
"""
import faulthandler
import threading
import warnings
from concurrent import futures

import flat
import pytest
from conftest import SECONDS
from flat import raises, row

import shoal
from shoal import csp, managers

fork = shoal.get_context("fork")
PAYLOADS = [None, 7, 2**300, "text", b"b" * 20000, [1, {"a": (2, 3.5)}], list(range(1500)), ValueError("x"), {1, 2}]


def echo(x):
    return x


def ignore(*_, **__):
    pass


def fail(*_):
    raise ZeroDivisionError("failed")


class Unpicklable:
    def __reduce__(self):
        raise ZeroDivisionError("no pickle of this")


def unpicklable(_):
    return Unpicklable()


class Unloadable:
    def __reduce__(self):
        return fail, ()


def unloadable(_):
    return Unloadable()


# ---- pools ----


def on_pool(make, **options):
    """A row whose round is on a pool of one worker, whose figures count, too."""
    with fork.Pool(1, **options) as pool:
        round = make(pool)
        yield round, lambda: pool.apply(flat.own)
        pool.close()
        pool.join()


def apply(pool):
    def round():
        pool.apply(echo, (1,))
        pool.apply(ignore, (1,), {"a": 2})
        pool.apply(divmod, (7, 2))
        raises(ZeroDivisionError, pool.apply, fail, (1,))

    return round


def apply_everything(pool):
    def round():
        for x in PAYLOADS:
            pool.apply(echo, (x,))

    return round


def apply_wrongly(pool):
    def round():
        raises(Exception, pool.apply, lambda: 0)
        raises(ZeroDivisionError, pool.apply, echo, (Unpicklable(),))
        raises(shoal.pool.MaybeEncodingError, pool.apply, unpicklable, (1,))
        raises((shoal.pool.MaybeEncodingError, ZeroDivisionError), pool.apply, unloadable, (1,))
        raises(TypeError, pool.apply, ignore, 3)
        raises(TypeError, pool.apply)
        raises(TypeError, pool.apply, 3)
        raises(ValueError, pool.imap, echo, [1], 0)
        raises(ValueError, pool.map, echo, [1], -1)
        raises(TypeError, pool.map, echo, 3)
        raises(TypeError, pool.imap(echo, 3).next)

    return round


def apply_objects(pool):
    lock, queue, value = shoal.Lock(), shoal.Queue(), shoal.Value("i")

    def round():
        pool.apply(ignore, (lock, [queue], value))

    return round


def apply_async(pool):
    def round():
        results = [pool.apply_async(echo, (i,)) for i in range(3)]
        failed = pool.apply_async(fail, (1,))
        wrong = pool.apply_async(echo, (Unpicklable(),))
        for result in results:
            result.wait()
            result.get(), result.ready(), result.successful()
        raises(ZeroDivisionError, failed.get)
        raises(ZeroDivisionError, wrong.get, 5)
        raises(TypeError, failed.get, "soon")

    return round


def callbacks(pool):
    came, all_came = [], threading.Event()

    def note(x):
        came.append(x)
        if len(came) == 5:  # an empty map calls nobody
            all_came.set()

    def round():
        pool.apply_async(echo, (1,), callback=note)
        pool.apply_async(fail, (1,), error_callback=note)
        pool.apply_async(echo, (Unpicklable(),), callback=note, error_callback=note)
        pool.map_async(echo, [1, 2], callback=note)
        pool.map_async(fail, [1, 2], error_callback=note)
        pool.map_async(echo, [], 1, callback=note)
        assert all_came.wait(10), came
        all_came.clear()
        came.clear()

    return round


def map_(pool):
    items, mixed = list(range(40)), [1, "x", [2], None] * 5

    def round():
        pool.map(echo, items)
        pool.map(echo, mixed, 5)
        pool.map(echo, (1, 2, 3), 1)
        pool.map(echo, [])
        pool.starmap(divmod, [(7, 2), (9, 4)])
        raises(ZeroDivisionError, pool.map, fail, items, 7)
        raises(ZeroDivisionError, pool.map, echo, [1, Unpicklable(), 3], 1)
        pool.map_async(echo, items, 3).get()

    return round


def imap(pool):
    def wrong():
        yield 1
        raise ZeroDivisionError

    def round():
        list(pool.imap(echo, range(20)))
        list(pool.imap(echo, [1, [2], 3], 2))
        list(pool.imap_unordered(echo, range(20), 3))
        raises(ZeroDivisionError, list, pool.imap(fail, [1, 2]))
        raises(ZeroDivisionError, list, pool.imap_unordered(fail, [1, 2]))
        raises(ZeroDivisionError, list, pool.imap(echo, [1, Unpicklable(), 2]))
        next(pool.imap(echo, [1, 2, 3]))

    def with_threads():
        round()
        list(pool.imap(echo, iter(range(5))))
        list(pool.imap_unordered(echo, (x for x in range(5)), 2))
        raises(ZeroDivisionError, list, pool.imap(echo, wrong()))

    round.with_threads = with_threads
    return round


def imap_with_threads(pool):
    call = imap(pool).with_threads
    return lambda: call()


def imap_cancelled(pool):
    def round():
        row = pool.imap(echo, range(9))
        row.next(5)
        row.cancel()

    return round


POOLS = {
    "apply": (apply, 1), "everything": (apply_everything, 4), "wrongly": (apply_wrongly, 4), "objects": (apply_objects, 4),
    "apply_async": (apply_async, 4), "callbacks": (callbacks, 8), "map": (map_, 8), "imap": (imap, 8),
    "imap with threads": (imap_with_threads, 20),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_leaves_nothing_behind(name):
    make, few = POOLS[name]
    flat.check(lambda: on_pool(make), few)


def test_what_is_cancelled_leaves_nothing_behind():
    # A worker that is at it is replaced, so its figures mean nothing.
    flat.check(lambda: (row if callable(row) else row[0] for row in on_pool(imap_cancelled)), 20)


def test_a_pool_with_options_leaves_nothing_behind():
    flat.check(lambda: on_pool(apply_async, task_timeout=100, retries=2, progress=ignore, name="flat"), 10)


@row(few=200)
def pools_that_end():
    def round():
        with fork.Pool(2, maxtasksperchild=2) as pool:
            pool.map(echo, range(9), 1)
            pool.apply_async(echo, (1,), callback=ignore)
        with fork.Pool(1, initializer=ignore, initargs=(1,)) as pool:
            pool.apply(echo, (1,))
            pool.close()
            pool.join()
            raises(ValueError, pool.apply, echo)
        raises(ValueError, fork.Pool, 0)
        raises(TypeError, fork.Pool, 1, 3)

    yield round


def leave():
    import os

    os._exit(3)


@row(few=200)
def workers_that_die():
    with fork.Pool(1) as pool:

        def round():
            raises(shoal.WorkerDied, pool.apply, leave)
            pool.apply(echo, (1,))

        yield round


# ---- executors ----


@row(few=4)
def executor():
    with shoal.ProcessPoolExecutor(1, fork) as made:

        def round():
            made.submit(echo, 1).result()
            made.submit(ignore, 1, a=[2]).result()
            raises(ZeroDivisionError, made.submit(fail).result)
            raises(ZeroDivisionError, made.submit(echo, Unpicklable()).result)
            futures.wait([made.submit(echo, i) for i in range(3)])
            list(made.map(echo, [1, 2, 3]))
            raises(ZeroDivisionError, list, made.map(fail, [1], chunksize=2))
            made.submit(echo, 2).cancel()
            raises(ValueError, made.map, echo, [1], chunksize=0)

        yield round, lambda: made.submit(flat.own).result()


@row(few=200)
def executors_that_end():
    def round():
        with shoal.ProcessPoolExecutor(2, fork, max_tasks_per_child=2) as made:
            assert list(made.map(echo, range(5))) == list(range(5))
        raises(RuntimeError, made.submit, echo, 1)

    yield round


# ---- managers ----


class Counter:
    def __init__(self):
        self.n = 0

    def add(self, x):
        self.n += x
        return self.n

    def fail(self):
        raise ZeroDivisionError

    def figures(self):
        return flat.own()


class Manager(managers.SyncManager):
    pass


Manager.register("Counter", Counter)


@pytest.fixture(scope="module")
def manager():
    made = Manager(ctx=fork)
    with made:
        yield made


@pytest.fixture(autouse=True)
def net():
    """As that of conftest.py, but that a manager's process stays."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def shared_list(manager):
    made = manager.list([3, 1, 2])

    def round():
        made.append(5)
        made.sort(), made.reverse(), made.count(1), made.index(2), len(made), made[1:3], 5 in made, list(made)
        made.remove(5)
        made.add(0, 1), made.compare_and_set(0, made[0], 3)
        made.extend([1])
        made.pop(), made.copy(), str(made), repr(made), made == [1], made._callmethod("__len__")
        with made.lock:
            made[0] = 3
        raises(IndexError, made.__getitem__, 99)
        raises(IndexError, made.__setitem__, 99, 1)
        raises(IndexError, made.pop, 99)
        raises(TypeError, made.__getitem__, "x")
        raises(ValueError, made.remove, 99)
        raises(TypeError, made.extend, 3)
        raises(TypeError, made.add, 0, "x")
        raises(OverflowError, made.add, 0, 1 << 70)
        raises(managers.RemoteError, made._callmethod, "nonsense")
        raises(ZeroDivisionError, made.append, Unpicklable())
        raises(ZeroDivisionError, made.extend, [1, Unpicklable()])

    return round


def shared_dict(manager):
    made, space, members = manager.dict(a=1), manager.Namespace(x=1), manager.set({1, 2})

    def round():
        made["b"] = 2
        made.add("n", 1), made.compare_and_set("b", 2, 3), made.get("none"), list(made), made.keys(), made.values(), len(made)
        made.popitem(), made.update(b=1), made | {"c": 1}, "a" in made, made == {}, str(made)
        made.append("list", 1)
        made.pop("list")
        raises(KeyError, made.__getitem__, "none")
        raises(KeyError, made.pop, "none")
        raises(KeyError, made.__delitem__, "none")
        raises(TypeError, made.__setitem__, {}, 1)
        raises(TypeError, made.add, "a", "x")
        raises(ZeroDivisionError, made.__setitem__, "a", Unpicklable())
        raises(ZeroDivisionError, made.update, {"a": 1, "b": Unpicklable()})
        space.y = [1]
        space.y, str(space)
        del space.y
        raises(AttributeError, getattr, space, "none")
        raises(AttributeError, delattr, space, "none")
        members.add(3)
        members.remove(3)
        members.discard(4)
        members | {5}, members & {1}, members - {1}, 1 in members, len(members), list(members), members.union([3])
        raises(KeyError, members.remove, 99)

    return round


def made_by_manager(manager):
    def round():
        manager.list([[1], manager.list()]), manager.dict(a=manager.Lock()), manager.Namespace(), manager.set([1])
        manager.Value("i", 3).value, manager.Array("i", [1])[0], manager.Event().set(), manager.Queue(1).put(1)
        with manager.Lock(), manager.RLock(), manager.Semaphore(1), manager.Condition():
            pass
        raises(TypeError, manager.list, 3)

    return round


def in_server(manager):
    counter = manager.Counter()

    def round():
        counter.add(1)
        raises(ZeroDivisionError, counter.fail)
        raises(TypeError, counter.add)
        str(counter)

    return round, counter.figures


def made_in_server(manager):
    counter = manager.Counter()

    def round():
        manager.Counter().add(1)
        raises(managers.RemoteError, manager.Counter, 1)

    return round, counter.figures


MANAGED = {"list": (shared_list, 4), "dict": (shared_dict, 4), "made": (made_by_manager, 10), "in a server": (in_server, 4),
           "made in a server": (made_in_server, 50)}


@pytest.mark.parametrize("name", MANAGED)
def test_a_manager_leaves_nothing_behind(name, manager):
    make, few = MANAGED[name]

    def rows():
        made = make(manager)
        yield made

    flat.check(rows, few)


@row(few=500)
def managers_that_end():
    def round():
        with Manager(ctx=fork) as made:
            made.list([1]), made.Counter().add(1)

    yield round


# ---- CSP ----


@row()
def channels_between_threads():
    there, back = csp.Channel(), csp.Channel()
    read, write, answer, come = there.reader(), there.writer(), back.writer(), back.reader()

    def other():
        try:
            while True:
                answer(read())
        except csp.ChannelRetireException:
            pass

    thread = threading.Thread(target=other)
    thread.start()

    def round():
        write([1, "x"])
        come()

    yield round
    csp.retire(write)
    thread.join()


@row(few=2)
def alternation():
    a, b = csp.Channel(buffer=1), csp.Channel(buffer=1)
    read, write, other, into = a.reader(), a.writer(), b.reader(), b.writer()

    def round():
        write([1])
        csp.AltSelect(csp.InputGuard(read), csp.InputGuard(other))
        csp.PriSelect(csp.OutputGuard(into, msg={"a": 1}), csp.InputGuard(read))
        csp.FairSelect(csp.InputGuard(other, action=csp.choice(ignore)()), csp.SkipGuard())
        csp.PriSelect(csp.InputGuard(other), csp.TimeoutGuard(seconds=0))
        csp.PriSelect(csp.InputGuard(other), csp.SkipGuard())
        csp.PriSelect(csp.OutputGuard(into, msg=1), csp.SkipGuard())
        csp.PriSelect(csp.InputGuard(other), csp.OutputGuard(into, msg=lambda: 0))
        write(lambda: 0)
        read()
        write(b"l" * 50000)
        read()

    yield round


@row(few=4)
def channels_that_end():
    def round():
        channel = csp.Channel()
        read, write = channel.reader(), channel.writer()
        csp.retire(read)
        raises(csp.ChannelRetireException, write, 1)
        raises(csp.ChannelRetireException, write, lambda: 0)  # which would be handed over
        channel = csp.Channel(buffer=1)
        read, write = channel.reader(), channel.writer()
        csp.poison(write)
        raises(csp.ChannelPoisonException, read)
        raises(csp.InfoException, csp.retire, 3)
        raises(ValueError, csp.Channel, buffer=-1)
        raises(TypeError, csp.Channel, buffer="x")

    yield round


@csp.process
def count(out):
    for i in range(3):
        out(i)
    csp.retire(out)


@csp.process
def drain(inp):
    while True:
        inp()


@csp.multiprocess
def drain_there(inp):
    while True:
        inp()


@row(few=100)
def networks():
    def round():
        channel = csp.Channel()
        csp.Parallel(count(-channel), drain(+channel))

    yield round


@row(few=200)
def networks_of_processes():
    def round():
        channel = csp.Channel()
        csp.Parallel(count(-channel), drain_there(+channel))

    yield round


# ---- processes ----


def start_and_join(method):
    context = shoal.get_context(method)
    queue, lock = context.Queue(), context.Lock()

    def round():
        process = context.Process(target=put, args=(queue, lock, [1]), name="flat")
        process.start()
        queue.get(timeout=60)
        process.join()
        process.exitcode, process.is_alive(), process.sentinel, process.pid, repr(process)
        raises(AssertionError, process.start)
        process.close()
        raises(ValueError, process.join)

    yield round


def put(queue, lock, x):
    with lock:
        queue.put(x)


@pytest.mark.parametrize("method, few", [("fork", 100), ("forkserver", 400), ("spawn", 1000)])
def test_processes_leave_nothing_behind(method, few):
    flat.check(lambda: start_and_join(method), few)


@row(few=200)
def processes_that_are_killed():
    lock, event = fork.Lock(), fork.Event()

    def round():
        process = fork.Process(target=hold, args=(lock, event), daemon=True)
        process.start()
        event.wait()
        process.terminate()
        process.kill()
        process.join()
        event.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with lock:
                pass

    yield round


def hold(lock, event):
    lock.acquire()
    event.set()
    threading.Event().wait()


@row(few=100)
def what_cannot_be_started():
    spawn = shoal.get_context("spawn")

    def round():
        raises(ZeroDivisionError, spawn.Process(target=ignore, args=(Unpicklable(),)).start)

    yield round


@pytest.mark.parametrize("name", [name for name, (make, _) in flat.ROWS.items() if make.__module__ == __name__])
def test_an_operation_leaves_nothing_behind(name):
    flat.check(*flat.ROWS[name])
