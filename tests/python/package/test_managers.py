"""Managers: what is in the family's memory, what is in a server, and stock clients."""
import array
import collections
import datetime
import decimal
import enum
import gc
import itertools
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

import shoal
from shoal import _shoal, managers

METHODS = ["fork", "spawn"]


@pytest.fixture(scope="module")
def manager():
    with shoal.Manager() as made:
        yield made


@pytest.fixture(autouse=True)
def net():
    """As that of conftest.py, but that a manager's process stays."""
    import faulthandler

    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def run(method, target, *args):
    process = shoal.get_context(method).Process(target=target, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0


class Colour(enum.Enum):
    RED = 1


class Thing:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Thing) and other.x == self.x

    def __hash__(self):
        return hash(self.x)


VALUES = [
    None, True, False, 0, -1, 2**59, 2**60, -(2**63), 2**200, 1.5, float("inf"), -0.0, "", "short", "x" * 50,
    "ä" * 3000,
    "\ud800", b"", b"bytes", b"b" * 5000, [], [1, [2, "x"]], (1, 2), {"a": {"b": 1}}, {1, 2}, frozenset("ab"), 3 + 4j,
    range(3),
    bytearray(b"xy"), datetime.date(2020, 1, 2), decimal.Decimal("1.5"), Colour.RED, Thing(3), ValueError("no"),
    array.array("i", [1, 2]), collections.OrderedDict(a=1),
]


def same(a, b):
    return (type(a), a) == (type(b), b) or repr(a) == repr(b) and type(a) is type(b)


# ---- lists ----


def test_values_of_any_kind_come_back_as_they_were(manager):
    shared = manager.list(VALUES)
    assert all(same(a, b) for a, b in zip(shared, VALUES)) and len(shared) == len(VALUES)
    assert all(same(a, b) for a, b in zip(shared[:], VALUES))
    one = manager.list([0])
    for value in VALUES:
        one[0] = value
        assert same(one[0], value) and same(one.pop(), value)
        one.append(value)


def test_a_value_keeps_who_refers_to_whom_inside(manager):
    inner = []
    shared = manager.list([[inner, inner]])
    got = shared[0]
    assert got[0] is got[1]
    inner.append(1)
    assert shared[0] == [[], []]
    loop = []
    loop.append(loop)
    shared[0] = loop
    got = shared[0]
    assert got[0] is got


OPERATIONS = [
    lambda a, r: a.append(r.randrange(100)),
    lambda a, r: a.extend([r.random() for _ in range(r.randrange(4))]),
    lambda a, r: a.extend(str(r.randrange(10**9)) for _ in range(r.randrange(3))),
    lambda a, r: a.insert(r.randrange(-30, 30), r.choice(["text", "long " * 10, None])),
    lambda a, r: a.pop(),
    lambda a, r: a.pop(r.randrange(-20, 20)),
    lambda a, r: a[r.randrange(-20, 20)],
    lambda a, r: a.__setitem__(r.randrange(-20, 20), r.choice([1, 1.5, "s" * 20])),
    lambda a, r: a.__delitem__(r.randrange(-20, 20)),
    lambda a, r: a[r.choice([None, -5, 0, 3, 99]) : r.choice([None, -3, 0, 7, 99]) : r.choice([None, 1, 2, -1, -3])],
    lambda a, r: a.__setitem__(slice(r.randrange(-9, 9), r.randrange(-9, 9)), [7] * r.randrange(4)),
    lambda a, r: a.__setitem__(slice(None, None, r.choice([2, -2])), [7] * r.randrange(9)),
    lambda a, r: a.__delitem__(slice(r.randrange(-9, 9), r.randrange(-9, 9), r.choice([1, 2, -1]))),
    lambda a, r: a.index(7),
    lambda a, r: a.count(7),
    lambda a, r: a.remove(7),
    lambda a, r: a.reverse(),
    lambda a, r: a.sort(key=str, reverse=r.random() < 0.5),
    lambda a, r: 7 in a,
    lambda a, r: len(a),
    lambda a, r: a + [1],
    lambda a, r: a * 2,
    lambda a, r: list(reversed(a)),
    lambda a, r: list(iter(a)),
    lambda a, r: a.__imul__(r.choice([0, 1, 2]))[:] if len(a) < 20 else None,
    lambda a, r: a[0:0:0],
]


def outcome(operation, container, seed):
    try:
        return operation(container, random.Random(seed))
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("seed", range(20))
def test_a_list_does_what_a_list_does(manager, seed):
    shared, like = manager.list(), []
    chosen = random.Random(seed)
    for step in range(300):
        operation = chosen.choice(OPERATIONS)
        number = chosen.random()
        assert outcome(operation, shared, number) == outcome(operation, like, number), (seed, step)
        assert shared[:] == like, (seed, step)


def test_what_is_no_index_is_refused(manager):
    shared = manager.list([1, 2])
    for key in ("a", None, 1.0):
        with pytest.raises(TypeError):
            shared[key]
        with pytest.raises(TypeError):
            shared[key] = 1
    for call in (lambda: shared[2], lambda: shared[-3], lambda: shared[2**70], lambda: shared.pop(5)):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(TypeError):
        shared.extend(5)
    with pytest.raises(TypeError):
        hash(shared[:])
    with pytest.raises(ValueError, match="x not in list"):
        shared.remove(9)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        shared.append(lambda: 1)
    assert shared[:] == [1, 2]


def test_comparisons_are_python_s_own(manager):
    shared = manager.list([Thing(1), Thing(2), decimal.Decimal(5)])
    assert Thing(2) in shared and shared.index(Thing(2)) == 1 and shared.count(5) == 1
    shared.remove(Thing(1))
    assert shared[0].x == 2


def test_a_list_is_iterated_as_it_is_and_not_as_it_was(manager):
    shared = manager.list(range(3))
    iterator = iter(shared)
    shared[0] = 100
    assert next(iterator) == 100
    shared.append(7)
    assert list(iterator) == [1, 2, 7] and list(iterator) == []


# ---- dicts ----

KEYS = [
    None, True, 0, -5, 2**60, 2**100, 1.5, float("inf"), "", "text", "k" * 300, "ä", "\udc80", b"", b"text",
    (), (1, "a", (2.5,)),
    frozenset([1, 2]), Colour.RED, datetime.date(2020, 1, 2), decimal.Decimal("2.5"), Thing(4), int, 3 + 4j, range(2),
]


def test_keys_of_any_kind_are_found_again(manager):
    shared = manager.dict({key: i for i, key in enumerate(KEYS)})
    assert len(shared) == len(KEYS)
    for i, key in enumerate(KEYS):
        assert key in shared and shared[key] == i and shared.get(key) == i
    assert all(same(a, b) for a, b in zip(shared.keys(), KEYS))
    assert shared.values() == list(range(len(KEYS)))
    for key in KEYS:
        del shared[key]
        assert key not in shared
    assert len(shared) == 0


def test_keys_are_equal_as_python_s(manager):
    shared = manager.dict({1: "a"})
    shared[1.0] = "b"
    shared[True] = "c"
    assert shared.items() == [(1, "c")]
    text = "".join(["point", "ed"])
    shared = manager.dict({Thing((text, text)): 1})
    assert shared[Thing(("pointed", "".join(["poin", "ted"])))] == 1  # whoever refers to what
    for bad in ([], {}, set(), ([],)):
        with pytest.raises(TypeError):
            shared[bad] = 1
        with pytest.raises(TypeError):
            bad in shared


DICT_OPERATIONS = [
    lambda a, r: a.__setitem__(r.randrange(20), r.choice([1, "text " * 5, None])),
    lambda a, r: a.__setitem__(str(r.randrange(20)), [r.randrange(5)]),
    lambda a, r: a[r.randrange(20)],
    lambda a, r: a.get(str(r.randrange(20)), 5),
    lambda a, r: a.__delitem__(r.randrange(20)),
    lambda a, r: a.pop(r.randrange(20)),
    lambda a, r: a.pop(r.randrange(20), "default"),
    lambda a, r: a.popitem(),
    lambda a, r: a.setdefault(r.randrange(20), []),
    lambda a, r: a.update({i: i for i in range(r.randrange(25))}),
    lambda a, r: a.update([("x", 1), ("y", 2)], z=3),
    lambda a, r: a.update(5),
    lambda a, r: r.random() < 0.05 and a.clear(),
    lambda a, r: list(a),
    lambda a, r: list(a.items()),
    lambda a, r: a.copy(),
    lambda a, r: len(a),
    lambda a, r: 3 in a,
    lambda a, r: a | {"q": 1},
    lambda a, r: {"q": 1} | a,
    lambda a, r: a.__ior__({"p": r.random()}).copy(),
]


@pytest.mark.parametrize("seed", range(20))
def test_a_dict_does_what_a_dict_does(manager, seed):
    shared, like = manager.dict(), {}
    chosen = random.Random(seed)
    for step in range(300):
        operation = chosen.choice(DICT_OPERATIONS)
        number = chosen.random()
        assert outcome(operation, shared, number) == outcome(operation, like, number), (seed, step)
        assert list(shared.items()) == list(like.items()), (seed, step)


def test_a_dict_that_changes_under_an_iterator(manager):
    shared = manager.dict(a=1, b=2)
    iterator = iter(shared)
    shared.clear()
    with pytest.raises(RuntimeError, match="changed size"):
        next(iterator)
    assert [*reversed(manager.dict(a=1, b=2))] == ["b", "a"]
    with pytest.raises(KeyError) as error:
        shared[(1, 2)]
    assert error.value.args == ((1, 2),)


# ---- sets, namespaces, values, arrays ----


def test_sets(manager):
    shared, like = manager.set("hello"), set("hello")
    assert set(shared) == like and len(shared) == 4 and "h" in shared
    for name in ("__and__", "__or__", "__sub__", "__xor__", "__le__", "__lt__", "__ge__", "__gt__"):
        for other in ({"h", "x"}, set("hello"), set()):
            assert getattr(shared, name)(other) == getattr(like, name)(other)
    assert {"x", "h"} - shared == {"x"} and {"x"} | shared == like | {"x"}
    shared |= {"x", "y"}
    shared &= {"x", "y", "h"}
    shared -= {"y"}
    shared ^= {"x", "z"}
    assert shared.copy() == {"h", "z"} and isinstance(shared, managers.SetProxy)
    shared.add("q")
    shared.discard("no")
    shared.remove("q")
    with pytest.raises(KeyError):
        shared.remove("q")
    assert {shared.pop(), shared.pop()} == {"h", "z"}
    with pytest.raises(KeyError):
        shared.pop()
    shared.update([1, 2], (3,))
    assert shared.union([4]) == {1, 2, 3, 4} and shared.isdisjoint([9]) and shared.issuperset([1])
    assert str(shared) == "{1, 2, 3}"


def test_namespaces(manager):
    space = manager.Namespace(x=1)
    space.name, space._hidden = "Bob", 5
    assert (space.x, space.name, space._hidden) == (1, "Bob", 5)
    assert str(space) == "Namespace(name='Bob', x=1)"
    del space.x
    assert not hasattr(space, "x") and hasattr(space, "name")
    with pytest.raises(AttributeError):
        del space.x
    assert isinstance(space, managers.NamespaceProxy) and isinstance(space, managers.BaseProxy)
    assert not isinstance(manager.dict(), managers.NamespaceProxy)
    assert space._getvalue().name == "Bob"
    assert space._add("n", 4) == 4 and space._add("n", 1) == 5
    assert space._compare_and_set("n", 5, "done") and space.n == "done"


def test_values_and_arrays(manager):
    value = manager.Value("i", 5)
    value.value += 1
    assert value.get() == 6 and str(value) == "Value('i', 6)"
    items = manager.Array("h", [1, 2, 3])
    items[1] = 7
    assert items[1:] == array.array("h", [7, 3]) and list(items) == [1, 7, 3] and len(items) == 3
    items[0:2] = array.array("h", [5, 6])
    assert str(items) == "array('h', [5, 6, 3])"
    for bad in (2**20, "x", 1.5):
        with pytest.raises((OverflowError, TypeError)):
            items[0] = bad


# ---- nesting, travelling, lifetime ----


def test_what_is_shared_stays_shared_inside_and_what_is_plain_is_a_copy(manager):
    inner, outer = manager.list([1]), manager.dict()
    outer["shared"], outer["plain"], outer["deep"] = inner, [1], {"x": [inner]}
    inner.append(2)
    outer["shared"].append(3)
    outer["deep"]["x"][0].append(4)
    outer["plain"].append(2)
    assert inner[:] == [1, 2, 3, 4] and outer["plain"] == [1]
    assert isinstance(outer["shared"], managers.ListProxy) and type(outer["plain"]) is list
    del inner
    gc.collect()
    assert outer["shared"][:] == [1, 2, 3, 4]


def test_what_nobody_refers_to_is_freed_rings_too(manager):
    def use(times):
        for _ in range(times):
            ring = manager.list()
            ring.append(manager.dict(ring=ring, lock=manager.Lock(), text="x" * 5000))
            ring[0]["again"] = ring[0]
            ring.pop(0)["ring"] = None
            manager.Queue().put(ring)
        del ring
        gc.collect()
        return _shoal.statistics()["objects"]

    assert use(3) == use(200)


@pytest.mark.parametrize("method", METHODS)
def test_children_work_on_them_directly(manager, method):
    shared = {
        "list": manager.list([1]), "dict": manager.dict(a=1), "space": manager.Namespace(x=1), "set": manager.set(),
        "lock": manager.Lock(), "rlock": manager.RLock(), "event": manager.Event(), "condition": manager.Condition(),
        "semaphore": manager.Semaphore(2), "bounded": manager.BoundedSemaphore(1), "barrier": manager.Barrier(1),
        "value": manager.Value("i", 1), "array": manager.Array("i", [1, 2]), "queue": manager.Queue(2),
    }
    run(method, change_all, shared, manager._process.pid)
    assert shared["list"][:] == [1, 2] and shared["dict"].copy() == {"a": 1, "b": 2} and shared["space"].x == 2
    assert shared["set"].copy() == {5} and shared["event"].is_set() and shared["value"].value == 2
    assert list(shared["array"]) == [3, 2] and shared["queue"].get() == "hello" and shared["queue"].empty()


def change_all(shared, server):
    os.kill(server, signal.SIGSTOP)  # nobody needs it
    try:
        shared["list"].append(2)
        shared["dict"]["b"] = 2
        shared["space"].x += 1
        shared["set"].add(5)
        shared["event"].set()
        shared["value"].value += 1
        shared["array"][0] = 3
        shared["queue"].put("hello")
        for name in ("lock", "rlock", "condition", "semaphore", "bounded"):
            with shared[name]:
                pass
            assert shared[name].acquire(True, 1)
            shared[name].release()
        with shared["condition"]:
            shared["condition"].notify_all()
        assert shared["barrier"].wait() == 0 and shared["barrier"].parties == 1
    finally:
        os.kill(server, signal.SIGCONT)


def test_gh_75275_what_only_a_message_refers_to_is_there_when_it_arrives(manager):
    ways = shoal.Queue(), manager.Queue(), manager.list()
    ways[0].put(manager.list(["queue"]))
    ways[1].put({"deep": manager.list(["manager's queue"])})
    ways[2].append([manager.list(["list"]), manager.Lock()])
    receiver, sender = shoal.Pipe()
    sender.send(manager.list(["pipe"]))
    gc.collect()
    assert ways[0].get()[:] == ["queue"] and ways[1].get()["deep"][:] == ["manager's queue"]
    assert ways[2].pop()[0][:] == ["list"] and receiver.recv()[:] == ["pipe"]
    with shoal.Pool(1) as pool:
        results = [pool.apply_async(first_of, (manager.list([i]),)) for i in range(50)]
        assert [result.get() for result in results] == list(range(50))
        assert pool.map(first_of, [manager.list([i]) for i in range(50)]) == list(range(50))
        assert list(pool.imap(first_of, (manager.list([i]) for i in range(50)))) == list(range(50))


def first_of(shared):
    return shared[0]


def test_gh_101320_proxies_work_in_any_child(manager):
    shared = manager.dict(a=1, b=2)
    with Counters() as counters:
        counter = counters.Counter()
        counter.add(1)
        children = []
        for i in range(4):
            pid = os.fork()  # the child has its parent's connection, and must not use it
            if not pid:
                try:
                    for _ in range(50):
                        counter.add(1)
                    assert list(shared) == ["a", "b"] and counter.again().total() >= 51
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(pid)
        for _ in range(50):
            counter.add(1)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
        assert counter.total() == 251


class Counter:
    n = 0

    def add(self, k):
        self.n += k

    def total(self):
        return self.n

    def again(self):
        return self


class Counters(managers.BaseManager):
    pass


EXPOSED = {"exposed": ("add", "total", "again"), "method_to_typeid": {"again": "Again"}}
Counters.register("Counter", Counter, **EXPOSED)
Counters.register("Again", create_method=False, **EXPOSED)


@pytest.mark.parametrize("method", METHODS)
def test_gh_99595_a_proxy_that_was_passed_gives_proxies(method):
    with Counters(ctx=shoal.get_context(method)) as counters:
        counter = counters.Counter()
        run(method, use_counter, counter)
        assert counter.total() == 2


def use_counter(counter):
    counter.again().again().add(2)


def test_proxies_of_servers_stay_good_in_a_container(manager):
    with Counters() as counters:
        shared = manager.list([counters.Counter()])
        gc.collect()
        shared[0].add(3)
        assert shared[0].total() == 3


def test_they_outlive_their_manager():
    with shoal.Manager() as short:
        shared = short.list([1])
    shared.append(2)
    assert shared[:] == [1, 2]
    with pytest.raises(AssertionError):
        short.list()


# ---- in one step ----


def test_add_and_compare_and_set(manager):
    shared, named = manager.list([1, "x"]), manager.dict()
    assert shared.add(0, 4) == 5 and shared.add(-2, 0.5) == 5.5
    assert named.add("n", 1) == 1 and named.add("n", 2) == 3
    for call in (lambda: shared.add(1, 1), lambda: shared.add(0, "1"), lambda: named.add("n", None)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(IndexError):
        shared.add(7, 1)
    named["big"] = 2**63 - 1
    with pytest.raises(OverflowError):
        named.add("big", 1)
    assert shared.compare_and_set(1, "x", [1]) and not shared.compare_and_set(1, "x", 2)
    assert shared.compare_and_set(1, [1], Thing(1)) and shared.compare_and_set(1, Thing(1), 0)
    with pytest.raises(IndexError):
        shared.compare_and_set(2, 0, 0)
    missing = managers.MISSING
    assert named.compare_and_set("k", missing, 1) and not named.compare_and_set("k", missing, 2)
    assert named.compare_and_set("k", 1, missing) and "k" not in named
    assert named.compare_and_set("k", missing, missing) and not named.compare_and_set("k", 1, 2)
    named.append("items", 1)
    named.append("items", 2)
    assert named["items"][:] == [1, 2]


def count_up(shared, named, space, n):
    for _ in range(n):
        shared.add(0, 1)
        named.add("n", 1)
        space._add("n", 1)
        while not named.compare_and_set("other", (old := named["other"]), old + 1):
            pass
        with shared.lock:
            shared[1] += 1
        shared.append(0)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost_between_processes(manager, method):
    shared, named, space = manager.list([0, 0]), manager.dict(n=0, other=0), manager.Namespace(n=0)
    context = shoal.get_context(method)
    workers = [context.Process(target=count_up, args=(shared, named, space, 500)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert shared[:2] == [1500, 1500] and named.copy() == {"n": 1500, "other": 1500} and space.n == 1500
    assert len(shared) == 1502


def test_the_lock_of_a_container_keeps_others_from_changing_it(manager):
    shared, waits = manager.dict(a=1), threading.Event()
    done = []

    def change():
        waits.set()
        shared["a"] = 2
        done.append(shared["a"])

    with shared.lock:
        changer = threading.Thread(target=change)
        changer.start()
        waits.wait()
        time.sleep(0.05)
        assert shared["a"] == 1 and not done  # this thread runs while that one waits
        shared["a"] = 1.5
        with pytest.raises(RuntimeError):
            shared.lock.acquire()
    changer.join()
    assert done == [2]
    with pytest.raises(RuntimeError):
        shared.lock.release()
    assert shared.lock.acquire(timeout=1) is True
    shared.lock.release()


class Signalled(Exception):
    pass


def test_a_signal_interrupts_who_waits_to_change_one(manager):
    shared, event = manager.list([1]), manager.Event()
    process = shoal.Process(target=hold_for_ever, args=(shared, event))
    process.start()
    event.wait()

    def raise_it(*unused):
        raise Signalled

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        for change in (lambda: shared.append(2), lambda: shared.sort(), shared.clear, lambda: shared.add(0, 1)):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Signalled):
                change()
        assert shared[:] == [1] and len(shared) == 1
    finally:
        signal.signal(signal.SIGALRM, before)
        process.kill()
        process.join()
    shared.append(2)
    with pytest.warns(shoal.OwnerDiedWarning):
        shared.lock.acquire()
    shared.lock.release()
    assert shared[:] == [1, 2]


def hold_for_ever(shared, event):
    shared.lock.acquire()
    event.set()
    time.sleep(600)


def change_for_ever(shared, named, event):
    event.set()
    for i in itertools.count():
        shared.append([i, "text" * 30])
        named[i % 50] = {"i": i, "again": "x" * (i % 3000)}
        named.update({"a": i, "b": i})
        if len(shared) > 300:
            del shared[:200]


def test_who_is_killed_in_the_middle_leaves_them_whole(manager):
    shared, named = manager.list(), manager.dict(a=0, b=0)
    chosen = random.Random(1)
    for _ in range(40):
        event = manager.Event()
        process = shoal.get_context("fork").Process(target=change_for_ever, args=(shared, named, event))
        process.start()
        event.wait()
        time.sleep(chosen.random() * 0.02)
        process.kill()
        process.join()
        assert all(item[1] == "text" * 30 for item in shared[:])
        entries = named.copy()
        assert entries["a"] == entries["b"] and all(v["i"] % 50 == k for k, v in entries.items() if k not in ("a", "b"))
        shared.append([0, "text" * 30])


# ---- locks, semaphores … ----


def test_they_behave_as_those_of_threads(manager):
    lock, rlock = manager.Lock(), manager.RLock()
    for one in (lock, rlock):
        with pytest.raises(RuntimeError):
            one.release()
        assert one.acquire() and isinstance(one, managers.AcquirerProxy)
        one.release()
    assert lock.acquire(blocking=False) and not lock.acquire(False) and not lock.acquire(True, 0.01)
    lock.release()
    bounded = manager.BoundedSemaphore(2)
    with pytest.raises(ValueError):
        bounded.release()
    condition = manager.Condition(lock)
    with pytest.raises(RuntimeError):
        condition.notify()
    with pytest.raises(RuntimeError):
        condition.wait()
    with condition:
        assert not lock.acquire(False) and condition.wait(0.01) is False
        assert condition.wait_for(lambda: True)
    barrier = manager.Barrier(2, print, 0.01)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    assert barrier.broken
    event = manager.Event()
    assert not event.wait(0.01)
    full = manager.Queue(1)
    full.put(1)
    with pytest.raises(queue.Full):
        full.put(2, False)
    assert full.full() and full.get_nowait() == 1
    full.task_done()
    full.join()
    with pytest.raises(queue.Empty):
        full.get(timeout=0.01)


def take_and_end(lock):
    lock.acquire()


def test_a_lock_whose_process_has_ended_may_be_released_by_anybody(manager):
    lock = manager.Lock()
    run("fork", take_and_end, lock)
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lock.acquire(False)


def test_what_proxies_have_they_have(manager):
    shared = manager.list([1, 2])
    assert shared._callmethod("index", (2,)) == 1 and shared._callmethod("#GETVALUE") == [1, 2]
    assert repr(shared).startswith("<ListProxy object, typeid 'list' at 0x") and str(shared) == "[1, 2]"
    with pytest.raises(managers.RemoteError):
        shared._callmethod("__class__")
    assert shared._token.typeid == "list" and shared._token.address == manager.address
    again = pickle.loads(pickle.dumps(shared))
    again.append(3)
    assert shared[:] == [1, 2, 3] and shared._id == again._id
    import copy

    assert copy.deepcopy(shared) == [1, 2, 3]


# ---- servers and clients ----


def ask_stock(manager, program):
    """What a program prints that has nothing but the standard library, with `m` connected to the manager."""
    head = """
        import multiprocessing, sys
        from multiprocessing.managers import SyncManager
        multiprocessing.current_process().authkey = %r
        m = SyncManager(%r, %r)
        m.register("get_shared")
        m.connect()
    """ % (bytes(manager._authkey), manager.address, bytes(manager._authkey))
    text = textwrap.dedent(head) + textwrap.dedent(program) + "\nassert 'shoal' not in sys.modules\n"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


SHARED = []


class Exporter(managers.SyncManager):
    pass


Exporter.register("get_shared", lambda: SHARED[0], managers.DictProxy)


@pytest.mark.parametrize("address", [None, ("127.0.0.1", 0)])
def test_stock_clients_are_served(address):
    with managers.SyncManager(address) as server:
        assert ask_stock(
            server,
            """
            d = m.dict(a=1); d["x"] = [1, 2]; print(d, d["x"], list(d), len(d))
            l = m.list([1, 2, 3]); l.append(d); print(l[1:3], l[3]["a"], type(l[3]).__name__)
            n = m.Namespace(q=1); n.r = 2; print(n, n.q)
            q = m.Queue(); q.put(4); print(q.get(), q.empty())
            lock = m.Lock(); print(lock.acquire(), lock.acquire(False)); lock.release()
            try: d["none"]
            except KeyError as error: print(error)
            a = m.Array("i", [1, 2]); a[0] = 5; print(a)
            """,
        ) == [
            "{'a': 1, 'x': [1, 2]} [1, 2] ['a', 'x'] 2", "[2, 3] 1 DictProxy", "Namespace(q=1, r=2) 1", "4 True",
            "True False", "'none'", "array('i', [5, 2])",
        ]


def test_stock_clients_and_the_family_meet_in_one_object():
    with shoal.Manager() as made:
        shared = made.dict(a=1, inner=made.list([1]), lock=made.Lock())
        SHARED[:] = [shared]
        with Exporter(ctx=shoal.get_context("fork")) as server:
            assert ask_stock(
                server,
                """
                d = m.get_shared(); d["b"] = 2; print(sorted(d.keys()))
                d["inner"].append(2); print(d["inner"], type(d["inner"]).__name__)
                with d["lock"]: print("held")
                """,
            ) == ["['a', 'b', 'inner', 'lock']", "[1, 2] ListProxy", "held"]
            assert shared["b"] == 2 and shared["inner"][:] == [1, 2]
            # A process of the family gets the very object, and not by the server.
            mine = server.get_shared()
            mine["c"] = 3
            assert shared["c"] == 3
    SHARED.clear()


def test_a_connected_manager_makes_its_objects_in_the_server(manager):
    other = managers.SyncManager(manager.address, manager._authkey)
    other.connect()
    shared = other.list([1])
    shared.append(2)
    assert shared[:] == [1, 2] and str(shared) == "[1, 2]" and other._number_of_objects() == 1
    del shared
    gc.collect()
    assert other._number_of_objects() == 0


# ---- nothing leaks ----


def every_operation(manager, shared, named, space, members):
    shared[:] = [1, "text" * 9, Colour.RED, b"x" * 3000, [1, {"a": (2,)}]]
    for value in VALUES:
        shared.append(value)
        shared[0] = shared.pop()
        named[Thing(3)] = value
    for call in (
        lambda: shared[99], lambda: named["none"], lambda: shared.add(1, 1), lambda: space.none, lambda: named[[]],
        lambda: shared.remove("no"), lambda: shared.append(lambda: 1), lambda: named.add("x", "y"),
    ):
        try:
            call()
        except Exception:
            pass
    named.update({"a": 1, (1, 2): [shared]})
    named.setdefault("b", "x" * 50), named.get("b"), named.pop("b"), named.add("n", 1), named.popitem()
    named.compare_and_set("n", managers.MISSING, 1), named.compare_and_set("n", 1, managers.MISSING)
    shared.extend(["a", 1]), shared.insert(1, None), shared.pop(0), shared.index("a")
    shared.reverse(), shared.sort(key=repr)
    shared[1:3], shared.copy(), list(shared), named.copy(), named.items(), list(named), str(named), len(shared)
    shared.compare_and_set(0, shared[0], 5), shared.add(0, 1), shared.__imul__(1)
    space.x = [1]
    space.x, space._copy(), space._add("n", 1)
    del space.x
    members.update("abc"), members.pop(), members | {1}
    with shared.lock, named.lock:
        shared.append(1)
    pickle.loads(pickle.dumps(shared)).clear(), named.clear()
    manager.Value("i", 1).value, manager.Queue(1).put(shared), manager.Lock().acquire()
    manager.Condition(), manager.Barrier(1)
    value, items = shoal.Value("i"), shoal.Array("d", 3)
    value.value += 1
    items[0], items[1:] = 2.5, [1, 2]
    with value:
        items[:]


def test_memory_stays_flat():
    with shoal.Manager() as made:
        things = made, made.list(), made.dict(), made.Namespace(), made.set()

        def measure(rounds):
            for _ in range(rounds):
                every_operation(*things)
            gc.collect()
            return sys.getallocatedblocks(), _shoal.statistics()["objects"]

        measure(400)  # what caches there are, are full
        before, after = measure(400), measure(1000)
        assert after[0] - before[0] < 500 and after[1] == before[1]  # less than a block a round
