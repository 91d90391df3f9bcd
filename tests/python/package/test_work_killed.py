"""Random SIGKILLs over managers, pools and executors: nobody hangs, and nothing that was completed is lost.

KILLS=1000 in the environment makes it a campaign.
"""
import campaign_pool
import pytest
from killing import KILLS, Crew, context, tell, until

import shoal
from shoal import managers


class Counter:
    def __init__(self):
        self.counts = [0] * 3

    def add(self, place):
        self.counts[place] += 1

    def get(self):
        return self.counts


class Manager(managers.SyncManager):
    pass


Manager.register("Counter", Counter)


def change_everything(place, done, items, entries, space, queue, counter):
    while True:
        n = done[place] + 1
        items.append((place, n))
        entries.add(place, 1)
        entries.update({("a", place): n, ("b", place): n})
        setattr(space, "x%d" % place, n)
        queue.put((place, n))
        counter.add(place)
        done[place] = n


@pytest.fixture
def manager():
    with Manager(ctx=context) as made:
        yield made


def test_killed_clients_of_a_manager_lose_nothing(manager):
    items, entries, space, queue = manager.list(), manager.dict(), manager.Namespace(), manager.Queue()
    counter = manager.Counter()
    crew = Crew(3, change_everything, items, entries, space, queue, counter, seed=7)
    got = []

    def look():
        while not queue.empty():
            got.append(queue.get())
        now = entries.copy()
        for place in range(3):
            assert now.get(("a", place)) == now.get(("b", place)), "half of an update"

    crew.campaign(look)
    crew.end()
    look()
    done, killed = list(crew.done), crew.killed
    here = items.copy()
    for place in range(3):
        for all_of in (here, got):
            numbers = [n for p, n in all_of if p == place]
            assert numbers == sorted(numbers) and set(range(1, done[place] + 1)) <= set(numbers)
            assert len(numbers) <= done[place] + killed[place] and numbers[-1] <= done[place] + 1
        assert done[place] <= entries[place] <= done[place] + killed[place]
        assert done[place] <= getattr(space, "x%d" % place) <= done[place] + 1
        # the server may yet be at the call of a client that is dead
        until(lambda: done[place] <= counter.get()[place] <= done[place] + killed[place], lambda: repr(counter.get()))
    tell("clients of a manager: %d kills, %d rounds of changes", sum(killed), sum(done))


def use_until_it_is_gone(place, done, items, entries, counter, gone):
    while True:
        items.append((place, done[place]))
        entries.add(place, 1)
        done[place] += 1
        if not gone[place]:
            try:
                counter.add(place)
            except (OSError, EOFError):
                gone[place] = 1


def test_what_a_killed_server_had_for_the_family_lives_on():
    rounds = 0
    for kill in range(KILLS):
        manager = Manager(ctx=context)
        manager.start()
        items, entries, counter = manager.list(), manager.dict(), manager.Counter()
        gone = shoal.RawArray("b", 2)
        crew = Crew(2, use_until_it_is_gone, items, entries, counter, gone, seed=8 + kill)
        crew.goes_on()
        crew.pause()
        manager._process.kill()
        until(lambda: list(gone) == [1, 1], lambda: "who is told that the server is gone: %r" % list(gone))
        crew.goes_on()
        crew.end()
        with pytest.raises((OSError, EOFError)):
            counter.get()
        here = items.copy()
        for place in range(2):
            numbers, n = [n for p, n in here if p == place], crew.done[place]
            assert numbers == list(range(len(numbers))) and n <= len(numbers) <= n + 1 and n <= entries[place] <= n + 1
        rounds += sum(crew.done)
        manager.shutdown()
    tell("servers of managers: %d kills, %d rounds of changes", KILLS, rounds)


METHODS = ("fork", "fork", "fork", "fork", "fork", "spawn", "forkserver") if KILLS > 200 else ("fork",)


@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_each_task_of_killed_workers_comes_to_something(kind):
    tell("%s: %s", kind, campaign_pool.campaign(KILLS, 5, METHODS, kind))
