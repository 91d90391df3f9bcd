"""Locks, semaphores, conditions, events and barriers: their API, signals during each wait, and who dies with them."""
import gc
import os
import signal
import sys
import threading
import time
import warnings

import pytest

import shoal

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=METHODS)
def ctx(request):
    return shoal.get_context(request.param)


def until(true, what="it"):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "%s did not come" % what
        time.sleep(0.005)


def started(ctx, target, *args):
    child = ctx.Process(target=target, args=args)
    child.start()
    return child


def ended(child):
    child.join()
    return child.exitcode


# ---- whose they are ----


def everything(context):
    return [context.Lock(), context.RLock(), context.Semaphore(2), context.BoundedSemaphore(2), context.Condition(),
            context.Event(), context.Barrier(2), context.Queue(), context.JoinableQueue(), context.SimpleQueue(),
            context.Value("i"), context.Array("i", 2)]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_a_fork_context_made_is_for_children_by_fork(method):
    other = shoal.get_context(method)
    for thing in everything(shoal.get_context("fork")):
        with pytest.raises(RuntimeError, match="A SemLock created in a fork context"):
            started(other, id, thing)
    assert not shoal.active_children()
    for thing in (*shoal.get_context("fork").Pipe(), shoal.get_context("fork").RawValue("i")):
        assert ended(started(other, id, thing)) == 0


def hand_on(methods, things):
    if methods:
        sys.exit(ended(started(shoal.get_context(methods[0]), hand_on, methods[1:], things)))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_another_context_made_goes_to_all_children_and_theirs(method):
    things = everything(shoal.get_context(method))
    assert ended(started(shoal.get_context("fork"), hand_on, ("spawn", "forkserver"), things)) == 0
    assert ended(started(shoal.get_context("forkserver"), hand_on, ("forkserver", "fork"), things)) == 0


# ---- the API ----


@pytest.mark.parametrize("make", [shoal.Lock, shoal.RLock, shoal.Semaphore, shoal.BoundedSemaphore, shoal.Condition])
def test_acquire_and_release_in_all_their_forms(make):
    lock = make()
    assert lock.acquire() is True
    lock.release()
    assert lock.acquire(True) and lock.release() is None
    assert lock.acquire(block=False) and lock.release() is None
    assert lock.acquire(True, 0.01) and lock.release() is None
    assert lock.acquire(timeout=-1) and lock.release() is None
    with lock as got:
        assert got is True
        assert lock.locked()
    assert not lock.locked()
    with pytest.raises(TypeError):
        lock.acquire(nonsense=1)
    with pytest.raises(TypeError):
        lock.acquire(timeout="soon")
    with pytest.raises(ValueError):
        lock.acquire(timeout=float("nan"))


def test_a_lock_is_held_by_one():
    lock = shoal.Lock()
    assert "None" in repr(lock) and lock.holder() is None
    lock.acquire()
    assert lock.holder().pid == os.getpid() and "MainProcess" in repr(lock)
    assert lock.acquire(False) is False and lock.acquire(timeout=0.01) is False and lock.acquire(True, -1) is False
    thread = threading.Thread(target=lock.release)  # anybody may
    thread.start()
    thread.join()
    assert not lock.locked()
    with pytest.raises(ValueError):
        lock.release()


def test_an_rlock_counts_and_is_its_owners():
    lock = shoal.RLock()
    with lock, lock:
        assert "2" in repr(lock)
        wrong = []

        def release():
            try:
                lock.release()
            except AssertionError:
                wrong.append(1)
            assert not lock.acquire(False)

        thread = threading.Thread(target=release)
        thread.start()
        thread.join()
        assert wrong
    with pytest.raises(AssertionError):
        lock.release()


def test_semaphores_count():
    semaphore = shoal.Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire() and not semaphore.acquire(False)
    assert semaphore.get_value() == 0 and semaphore.locked()
    for _ in range(3):
        semaphore.release()
    assert semaphore.get_value() == 3 and "3" in repr(semaphore)
    bounded = shoal.BoundedSemaphore(2)
    with pytest.raises(ValueError):
        bounded.release()
    assert "maxvalue=2" in repr(bounded)
    with pytest.raises(ValueError):
        shoal.Semaphore(-1)


def test_conditions_want_their_lock():
    condition = shoal.Condition()
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises((AssertionError, RuntimeError)):
            call()
    with condition:
        assert condition.wait(0.01) is False
        assert condition.wait_for(lambda: False, 0.01) is False
        assert condition.wait_for(lambda: 42) == 42


def test_events_are_set_or_not():
    event = shoal.Event()
    assert not event.is_set() and event.wait(0.01) is False and "unset" in repr(event)
    event.set()
    assert event.is_set() and event.wait() is True and " set" in repr(event)
    event.clear()
    assert not event.is_set()


def test_a_barrier_calls_its_action_and_breaks():
    called = []
    barrier = shoal.Barrier(1, lambda: called.append(1))
    assert barrier.wait() == 0 and called == [1] and barrier.parties == 1 and barrier.n_waiting == 0
    barrier.abort()
    assert barrier.broken and "broken" in repr(barrier)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert barrier.wait() == 0
    late = shoal.Barrier(2, timeout=0.01)
    with pytest.raises(threading.BrokenBarrierError):
        late.wait()


def fail():
    raise ZeroDivisionError


def test_an_action_that_fails_breaks_the_barrier_and_is_raised():
    barrier = shoal.Barrier(1, fail)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken


# ---- between processes ----


def add(lock, barrier, path, n):
    barrier.wait()
    for _ in range(n):
        with lock:
            with open(path, "r+") as file:
                value = int(file.read())
                file.seek(0)
                file.write(str(value + 1))


@pytest.mark.parametrize("make", ["Lock", "RLock", "Semaphore", "Condition"])
def test_who_holds_it_is_alone(ctx, make, tmp_path):
    path, n = tmp_path / "count", 50
    path.write_text("0")
    lock, barrier = getattr(ctx, make)(), ctx.Barrier(2)
    children = [started(ctx, add, lock, barrier, str(path), n) for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    assert path.read_text() == str(2 * n)


def ping(condition, turn, n):
    for _ in range(n):
        with condition:
            condition.wait_for(turn.is_set)
            turn.clear()
            condition.notify()


def test_conditions_wake_across_processes(ctx):
    condition, turn, n = ctx.Condition(), ctx.Event(), 50
    child = started(ctx, ping, condition, turn, n)
    for _ in range(n):
        with condition:
            condition.wait_for(lambda: not turn.is_set())
            turn.set()
            condition.notify()
    assert ended(child) == 0 and not turn.is_set()


def test_a_name_that_is_too_long_is_told_even_where_it_is_cut_within_a_character():
    for n in range(4):
        with pytest.raises(ValueError, match="longer"):
            shoal.Lock(name="a" * n + "\u20ac" * 100)


# ---- signals ----


class Interrupted(Exception):
    pass


def interrupt(number, frame):
    raise Interrupted


@pytest.mark.parametrize("what", "lock rlock semaphore with_lock condition event barrier join".split())
def test_a_signal_handler_that_raises_ends_each_wait(what):
    lock, rlock, semaphore, condition = shoal.Lock(), shoal.RLock(), shoal.Semaphore(0), shoal.Condition()
    event, barrier = shoal.Event(), shoal.Barrier(2)
    child = started(shoal.get_context("fork"), event.wait)
    holder = threading.Thread(target=lambda: (lock.acquire(), rlock.acquire()))
    holder.start()
    holder.join()

    def with_lock():
        with lock:
            pass

    calls = {"lock": lock.acquire, "rlock": lambda: rlock.acquire(timeout=100), "semaphore": semaphore.acquire,
             "with_lock": with_lock, "condition": condition.wait, "event": event.wait, "barrier": barrier.wait,
             "join": child.join}
    old = signal.signal(signal.SIGALRM, interrupt)
    condition.acquire()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with pytest.raises(Interrupted):
            calls[what]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        child.kill()
        child.join()
    condition.release()  # it holds its lock again
    assert barrier.broken == (what == "barrier")


def test_a_signal_handler_that_returns_does_not_end_a_wait():
    event, ran = shoal.Event(), []
    old = signal.signal(signal.SIGALRM, lambda *_: (ran.append(1), len(ran) > 2 and event.set()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        assert event.wait(60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(ran) > 2


def test_a_signal_handler_that_returns_does_not_break_a_barrier():
    barrier, go, ran = shoal.Barrier(2), shoal.Event(), []
    child = started(shoal.get_context("fork"), wait_when_told, go, barrier)
    old = signal.signal(signal.SIGALRM, lambda *_: (ran.append(1), len(ran) > 2 and go.set()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        barrier.wait(60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(ran) > 2 and not barrier.broken and ended(child) == 0


def wait_when_told(go, barrier):
    go.wait()
    barrier.wait(60)


def test_gh_126434_an_event_is_set_in_a_signal_handler():
    """While the very thread waits for it, sets it, or clears it."""
    event = shoal.Event()
    old = signal.signal(signal.SIGALRM, lambda *_: event.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            event.clear()
            assert event.wait(60)
            event.set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# ---- who dies ----


def hold_and_tell(lock, told):
    lock.acquire()
    told.set()
    time.sleep(1000)


def killed_holder(ctx, lock):
    told = ctx.Event()
    child = started(ctx, hold_and_tell, lock, told)
    assert told.wait(60)
    child.kill()
    child.join()
    return child


@pytest.mark.parametrize("make", ["Lock", "RLock"])
def test_gh_88304_a_lock_whose_holder_was_killed_is_acquired_with_a_warning(ctx, make):
    lock = getattr(ctx, make)()
    child = killed_holder(ctx, lock)
    with pytest.warns(shoal.OwnerDiedWarning, match="%s.*%d" % (child.name, child.pid)):
        assert lock.acquire(timeout=60)
    lock.release()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lock:
            pass


def test_gh_88304_where_warnings_are_errors_the_lock_is_free_again():
    ctx = shoal.get_context("fork")
    for make in (ctx.Lock, ctx.RLock):
        lock = make()
        killed_holder(ctx, lock)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(shoal.OwnerDiedWarning):
                lock.acquire()
            assert not lock.locked()
            with lock:
                pass


def test_gh_88304_who_waits_for_it_gets_it(ctx):
    lock, told = ctx.Lock(), ctx.Event()
    child = started(ctx, hold_and_tell, lock, told)
    assert told.wait(60)
    threading.Timer(0.1, child.kill).start()
    with pytest.warns(shoal.OwnerDiedWarning):
        assert lock.acquire()
    lock.release()
    child.join()


def wait_in(condition, told):
    with condition:
        told.release()
        condition.wait()


def test_gh_75158_a_dead_waiter_takes_no_notification(ctx):
    condition, told = ctx.Condition(), ctx.Semaphore(0)
    dead, living = started(ctx, wait_in, condition, told), None
    assert told.acquire(timeout=60)
    with condition:
        living = ctx.Process(target=wait_in, args=(condition, told))
    living.start()
    assert told.acquire(timeout=60)
    with condition:
        pass  # both are asleep
    dead.kill()
    dead.join()
    with condition:
        condition.notify()
    assert ended(living) == 0


def wait_at(barrier):
    barrier.wait()


def test_gh_123899_the_death_of_a_party_breaks_the_barrier(ctx):
    barrier = ctx.Barrier(3)
    dead = started(ctx, wait_at, barrier)
    until(lambda: barrier.n_waiting == 1)
    threading.Timer(0.1, dead.kill).start()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    dead.join()


def hold_permit(semaphore, told):
    with semaphore:
        told.set()
        time.sleep(1000)


def test_a_permit_taken_by_with_comes_back_when_its_owner_dies(ctx):
    semaphore, told = ctx.Semaphore(1), ctx.Event()
    child = started(ctx, hold_permit, semaphore, told)
    assert told.wait(60)
    assert [holder.pid for holder in semaphore.holders()] == [child.pid]
    child.kill()
    child.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert semaphore.acquire(timeout=60)


def work(locks, condition, barrier, event):
    while True:
        for lock in locks:
            with lock:
                pass
        with condition:
            condition.notify_all()
            condition.wait(0.001)
        event.set()
        event.clear()


def test_random_deaths_hang_nobody():
    ctx = shoal.get_context("fork")
    objects = [ctx.Lock(), ctx.RLock(), ctx.Semaphore(1)], ctx.Condition(), ctx.Barrier(2), ctx.Event()
    warnings.simplefilter("ignore", shoal.OwnerDiedWarning)
    try:
        for i in range(30):
            children = [started(ctx, work, *objects) for _ in range(2)]
            time.sleep(0.002 * (i % 7))
            for child in children:
                child.kill()
                child.join()
            for lock in objects[0]:
                assert lock.acquire(timeout=60)
                lock.release()
            with objects[1]:
                objects[1].notify_all()
    finally:
        warnings.resetwarnings()


# ---- memory ----


@pytest.mark.parametrize("make", [shoal.Lock, shoal.RLock, lambda: shoal.Semaphore(2), shoal.Condition, shoal.Event,
                                  lambda: shoal.Barrier(2)])
def test_what_is_dropped_is_given_back(make):
    gc.collect()  # what other tests have dropped
    before = shoal.inspect()["memory"]["objects"]
    for _ in range(10000):
        make()
    gc.collect()
    assert shoal.inspect()["memory"]["objects"] == before


def test_a_subclass_has_attributes_and_a_lock_a_name():
    class Named(shoal.synchronize.Lock):
        pass

    lock = Named(name="the till")
    lock.owner = "me"
    assert any(entry["name"] == "the till" for entry in shoal.inspect()["objects"])
