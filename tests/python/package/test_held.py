"""What travels is held on its way: a message, a value in a container or a pool's result may be all that holds an object."""
import gc
import pickle

import pytest

import shoal
from shoal import csp

FORK = shoal.get_context("fork")


def queue_with_one():
    queue = shoal.Queue()
    queue.put("inside")
    return queue


def joinable_with_one():
    queue = shoal.JoinableQueue()
    queue.put("inside")
    return queue


def simple_with_one():
    queue = shoal.SimpleQueue()
    queue.put("inside")
    return queue


def connection_with_one():
    inp, out = shoal.Pipe(False)
    out.send("inside")
    return inp


def event_that_is_set():
    event = shoal.Event()
    event.set()
    return event


def end_with_one():
    channel = csp.Channel(buffer=1)
    out, inp = -channel, +channel
    out("inside")
    channel._kept.clear()
    return inp


def got_inside(queue):
    return queue.get() == "inside"


def takes(lock):
    if not lock.acquire(True, 60):
        return False
    lock.release()
    return True


def wakes_nobody(condition):
    with condition:
        condition.notify_all()
    return True


# How each kind is made, and whether what came is it.
KINDS = {
    "Lock": (shoal.Lock, takes),
    "RLock": (shoal.RLock, takes),
    "Semaphore": (lambda: shoal.Semaphore(1), takes),
    "BoundedSemaphore": (lambda: shoal.BoundedSemaphore(1), takes),
    "Condition": (shoal.Condition, wakes_nobody),
    "Event": (event_that_is_set, lambda event: event.is_set()),
    "Barrier": (lambda: shoal.Barrier(1), lambda barrier: barrier.wait(60) == 0),
    "Queue": (queue_with_one, got_inside),
    "JoinableQueue": (joinable_with_one, got_inside),
    "SimpleQueue": (simple_with_one, got_inside),
    "Connection": (connection_with_one, lambda end: end.recv() == "inside"),
    "RawValue": (lambda: shoal.RawValue("i", 42), lambda value: value.value == 42),
    "Value": (lambda: shoal.Value("i", 42), lambda value: value.value == 42),
    "Array": (lambda: shoal.Array("i", [1, 2]), lambda array: array[:] == [1, 2]),
    "csp": (end_with_one, lambda end: end() == "inside"),
}

kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind):
    return KINDS[kind][0]()


def make_nested(kind):
    return {"one": [make(kind)]}


def is_good(thing, kind):
    return KINDS[kind][1](thing)


@kinds
def test_in_a_queue(kind):
    queue = shoal.Queue()
    queue.put(make(kind))
    queue.put({"one": [make(kind)]})
    gc.collect()
    assert is_good(queue.get(), kind)
    assert is_good(queue.get()["one"][0], kind)


@kinds
def test_in_a_pipe(kind):
    inp, out = shoal.Pipe()
    out.send(make(kind))
    gc.collect()
    assert is_good(inp.recv(), kind)


@pytest.fixture
def manager():
    with FORK.Manager() as m:
        yield m


@kinds
def test_in_a_managers_containers(kind, manager):
    array, table, space, value = manager.list(), manager.dict(), manager.Namespace(), manager.Value("O", None)
    array.append(make(kind))
    table["x"] = {"one": [make(kind)]}
    space.x = make(kind)
    value.value = make(kind)
    queue = manager.Queue()
    queue.put(make(kind))
    gc.collect()
    assert is_good(array[0], kind)
    assert is_good(table["x"]["one"][0], kind)
    assert is_good(space.x, kind)
    assert is_good(value.value, kind)
    assert is_good(queue.get(), kind)


@pytest.fixture
def pool():
    with FORK.Pool(2) as p:
        yield p
    p.join()


@kinds
def test_in_a_pools_result(kind, pool):
    assert is_good(pool.apply(make, (kind,)), kind)
    assert is_good(pool.apply(make_nested, (kind,))["one"][0], kind)
    for thing in pool.map(make, [kind] * 5, chunksize=2):
        assert is_good(thing, kind)
    for thing in pool.imap_unordered(make, [kind] * 3):
        assert is_good(thing, kind)


class Carrier(Exception):
    pass


def raise_one(kind):
    raise Carrier(make(kind))


@kinds
def test_in_what_a_task_raises(kind, pool):
    with pytest.raises(Carrier) as raised:
        pool.apply(raise_one, (kind,))
    assert is_good(raised.value.args[0], kind)


@kinds
def test_in_a_pools_arguments(kind, pool):
    assert pool.apply_async(is_good, (make(kind), kind)).get(60)
    assert pool.starmap(is_good, [(make(kind), kind) for _ in range(4)], chunksize=2) == [True] * 4
    assert pool.apply_async(is_good, kwds={"thing": make(kind), "kind": kind}).get(60)


def test_in_a_result_after_its_worker_has_ended():
    pool = FORK.Pool(1)
    results = [pool.apply_async(make, (kind,)) for kind in KINDS]
    for result in results:
        result.wait(60)
    pool.terminate()
    pool.join()
    for result, kind in zip(results, KINDS):
        assert is_good(result.get(), kind)


def test_in_an_executors_future():
    with shoal.ProcessPoolExecutor(1, FORK) as executor:
        future = executor.submit(make, "Queue")
        assert is_good(future.result(60), "Queue")


def is_there(reference):
    from shoal.synchronize import Lock

    try:
        Lock._open(reference)
    except OSError:
        return False
    return True


def make_lock():
    return shoal.Lock()


def reference_of(lock):
    return lock._reference()


def test_what_was_received_and_dropped_is_held_by_nobody(pool):
    result = pool.apply_async(make_lock)
    lock = result.get(60)
    reference = lock._reference()
    assert is_there(reference)
    del lock, result
    gc.collect()
    assert not is_there(reference)


def test_arguments_are_held_no_longer_than_their_task(pool):
    # while others are under way all the time
    event = shoal.Event()
    other = pool.apply_async(event.wait, (60,))
    reference = pool.apply(reference_of, (shoal.Lock(),))
    gc.collect()
    assert not is_there(reference)
    event.set()
    assert other.get(60)


def test_pickle_alone_refuses_as_ever():
    with pytest.raises(RuntimeError):
        pickle.dumps(shoal.Lock())
