"""killing.py: children that are killed at random moments and replaced, for the tests called test_*_killed.

KILLS in the environment makes them campaigns.
"""
import os
import random
import time
import warnings

import shoal

#: How many processes each test kills.
KILLS = int(os.environ.get("KILLS") or 50)
NET = 60  # seconds without progress, a net against hanging

context = shoal.get_context("fork")
#: What the tests have counted, for the end of the run (conftest.py).
figures = []


def tell(text, *args):
    figures.append(text % args)


def until(true, what):
    end = time.monotonic() + NET
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.0003)


class Crew:
    """Children that run target(place, done, *args) for ever, each at a place of its own, where it counts what it has done."""

    def __init__(self, n, target, *args, seed=1):
        self.done = shoal.RawArray("q", n)
        self.killed = [0] * n
        self.source = random.Random(seed)
        self._target, self._args = target, args
        self.children = [None] * n
        for place in range(n):
            self._start(place)

    def _start(self, place):
        child = context.Process(target=_run, args=(self._target, place, self.done) + self._args, daemon=True)
        child.start()
        self.children[place] = child

    def pause(self, most=0.003):
        time.sleep(self.source.random() * most)

    def kill(self, place):
        self.children[place].kill()
        self.children[place].join()
        assert self.children[place].exitcode == -9, "a child ended by itself"
        self.killed[place] += 1

    def kill_one(self):
        """Kills one, and starts another in its place."""
        place = self.source.randrange(len(self.children))
        self.kill(place)
        self._start(place)

    def goes_on(self, meanwhile=lambda: None):
        """All of them, those that were there and the new one, get something done."""
        before = list(self.done)

        def went_on():
            meanwhile()
            return all(now > then for now, then in zip(self.done, before))

        until(went_on, lambda: "stuck: %r, then %r" % (before, list(self.done)))

    def campaign(self, meanwhile=lambda: None):
        for _ in range(KILLS):
            self.pause()
            self.kill_one()
            self.goes_on(meanwhile)

    def end(self):
        for place, child in enumerate(self.children):
            self.kill(place)
            child.close()


#: That a lock's holder had died; the process that finds out clears it when it has looked after what it protects.
holder_died = []


def _run(target, place, done, *args):
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_: holder_died.append(str(message))
    target(place, done, *args)
