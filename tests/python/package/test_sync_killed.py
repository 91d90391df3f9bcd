"""Random SIGKILLs over locks, semaphores, conditions, events, barriers and values: nobody hangs, and what they say stays true.

KILLS=1000 in the environment makes it a campaign.
"""
import threading
import time

import pytest
from killing import KILLS, Crew, context, holder_died, tell, until

import shoal


def count_inside(place, done, lock, inside, count, wrong):
    while True:
        with lock:
            if inside.value and not holder_died:
                wrong.value += 1  # somebody else is in there, or it was not told who died in there
            del holder_died[:]
            inside.value = 1 + place
            count.value += 1
            inside.value = 0
        done[place] += 1


@pytest.mark.parametrize("make", ["Lock", "RLock"])
def test_killed_holders_of_a_lock_keep_nobody_out_and_let_nobody_in(make):
    lock = getattr(context, make)()
    inside, count, wrong = (shoal.RawValue("q") for _ in range(3))
    crew = Crew(3, count_inside, lock, inside, count, wrong)
    crew.campaign()
    crew.end()
    done = sum(crew.done)
    assert wrong.value == 0
    assert done <= count.value <= done + sum(crew.killed)
    tell("%s: %d kills, held %d times", make, sum(crew.killed), count.value)


def count_under(place, done, value, array):
    while True:
        with value.get_lock():
            value.value += 1
        array[place] += 1
        with array.get_lock():
            array[3] += 1
        done[place] += 1


def test_killed_writers_of_values_lose_nothing():
    value, array = context.Value("q"), context.Array("q", 4)
    crew = Crew(3, count_under, value, array, seed=2)
    crew.campaign()
    crew.end()
    done = list(crew.done)
    value, array = value.get_obj(), array.get_obj()
    for total in (value.value, array[3]):
        assert sum(done) <= total <= sum(done) + sum(crew.killed)
    assert all(n <= array[i] <= n + crew.killed[i] for i, n in enumerate(done))
    tell("Value and Array: %d kills, written %d times", sum(crew.killed), value.value)


def pass_through(place, done, *semaphores):
    while True:
        for semaphore in semaphores:
            with semaphore:
                pass
        done[place] += 1


def test_permits_of_killed_holders_come_back():
    semaphore, bounded = context.Semaphore(2), context.BoundedSemaphore(1)
    crew = Crew(4, pass_through, semaphore, bounded, seed=3)
    crew.campaign()
    crew.end()
    until(lambda: semaphore.get_value() == 2 and bounded.get_value() == 1, lambda: "%r, %r" % (semaphore, bounded))
    for _ in range(2):
        assert semaphore.acquire(timeout=60)
    assert not semaphore.acquire(False)
    tell("Semaphore: %d kills, taken %d times", sum(crew.killed), sum(crew.done))


def look_after(condition):
    """Held. Who died while he held it may have left a token of which nobody is told."""
    if holder_died:
        del holder_died[:]
        condition.notify_all()


def take_tokens(place, done, condition, token, taken):
    while True:
        with condition:
            look_after(condition)
            while not token.value:
                condition.wait()
                look_after(condition)
            token.value = 0
            taken.value += 1
        done[place] += 1


def give_tokens(place, done, condition, token, given):
    while True:
        with condition:
            look_after(condition)
            if not token.value:
                condition.notify()  # of all waiters one: if that were lost nobody would take it
                given.value += 1
                token.value = 1
        done[place] += 1


def test_no_notification_is_lost_with_killed_waiters():
    condition = context.Condition(context.Lock())
    token, given, taken = (shoal.RawValue("q") for _ in range(3))

    def work(place, done):
        if place < 3:
            take_tokens(place, done, condition, token, taken)
        give_tokens(place, done, condition, token, given)

    crew = Crew(5, work, seed=4)
    crew.campaign()
    crew.end()
    assert abs(given.value - taken.value) <= sum(crew.killed) + 1
    assert sum(crew.done[:3]) <= taken.value <= sum(crew.done[:3]) + sum(crew.killed)
    tell("Condition: %d kills, %d tokens", sum(crew.killed), taken.value)


def see_events(place, done, events):
    while True:
        events[done[place] % 2].wait()
        done[place] += 1


def test_all_that_live_see_an_event():
    events = context.Event(), context.Event()
    crew = Crew(3, see_events, events, seed=5)
    for i in range(KILLS):
        crew.pause(0.002)
        if i % 2:
            crew.kill_one()
        events[i % 2].set()
        if not i % 2:
            crew.kill_one()
        until(lambda: list(crew.done) == [i + 1] * 3, lambda: "event %d was seen by %r" % (i, list(crew.done)))
        events[i % 2].clear()
    crew.end()
    tell("Event: %d kills, %d times set", sum(crew.killed), KILLS)


def meet(place, done, barrier):
    while True:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            while barrier.broken:
                time.sleep(0.0002)
            continue
        done[place] += 1


def test_killed_parties_break_a_barrier_and_keep_nobody_there():
    barrier, resets = context.Barrier(3), []

    def mend():
        if barrier.broken:
            resets.append(1)
            barrier.reset()

    crew = Crew(3, meet, barrier, seed=6)
    crew.campaign(mend)
    crew.end()
    assert len(resets) <= sum(crew.killed)
    tell("Barrier: %d kills, broken %d times, met %d times", sum(crew.killed), len(resets), max(crew.done))
