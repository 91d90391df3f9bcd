"""campaign_pool.py [KILLS [SEED]]: pools and executors under load while their workers are killed at random moments.

Nobody may hang, what comes must be right, and there may be no more failures than kills. Prints what it did.
"""
import faulthandler
import os
import random
import signal
import sys
import threading
import time
from concurrent import futures

import shoal
from shoal import PoolBroken, WorkerDied

NET = 60  # seconds without an end of a round, a net against hanging


def square(x):
    return x * x


def burn(x):
    end = time.perf_counter() + 1e-5 * (x % 50)
    while time.perf_counter() < end:
        pass
    return x * x


#: Seconds between kills, at most: a worker should be of use now and then.
PACE = {"fork": 0.008, "forkserver": 0.04, "spawn": 0.4}


def echo(x):
    return x


class Killer:
    """A thread that kills workers of `processes()`."""

    def __init__(self, rng, pace, processes):
        self._pace = pace
        self.kills = 0
        self._rng = rng
        self._processes = processes
        self._stop = False
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop:
            time.sleep(self._rng.random() * self._pace)
            workers = list(self._processes())
            if not workers:
                continue
            pid = self._rng.choice(workers).pid
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
            except ProcessLookupError:
                pass

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop = True
        self._thread.join()


class Tally:
    def __init__(self):
        self.good = self.died = 0

    def take(self, call, right):
        try:
            value = call()
        except PoolBroken:
            raise
        except WorkerDied:
            self.died += 1
            return
        if value != right:
            raise AssertionError("%r is not %r" % (value, right))
        self.good += 1


def row(tally, it, n, right):
    came = []
    for _ in range(n):
        try:
            came.append(next(it))
        except PoolBroken:
            raise
        except WorkerDied:
            tally.died += 1
    if not set(came) <= set(right) or len(set(came)) != len(came):
        raise AssertionError("a row brought %r" % came)
    tally.good += len(came)


def use_pool(p, rng, tally, f):
    n = rng.randrange(1, 60)
    kind = rng.randrange(6)
    if kind == 0:
        results = [p.apply_async(f, (i,), callback=lambda v: None) for i in range(n)]
        for i, r in enumerate(results):
            tally.take(r.get, i * i)
    elif kind == 1:
        size = rng.choice([None, 1, 3])
        tally.take(lambda: p.map(f, range(n), size), [i * i for i in range(n)])
    elif kind == 2:
        row(tally, p.imap(f, range(n)), n, [i * i for i in range(n)])
    elif kind == 3:
        row(tally, p.imap_unordered(f, iter(range(n))), n, [i * i for i in range(n)])
    elif kind == 4:
        for i in range(n):
            tally.take(lambda: p.apply(f, (i,)), i * i)
    else:
        long = [bytes([i]) * rng.choice([10, 100, 5000, 200000]) for i in range(n)]
        for r, x in [(p.apply_async(echo, (x,)), x) for x in long]:
            tally.take(r.get, x)


def use_executor(e, rng, tally, f):
    n = rng.randrange(1, 60)
    fs = {e.submit(f, i): i for i in range(n)}
    for future in futures.as_completed(fs):
        tally.take(future.result, fs[future] ** 2)


def round_of(rng, method, kind):
    tally, ctx = Tally(), shoal.get_context(method)
    f = rng.choice([square, burn])
    workers = rng.randrange(1, 4)
    retries = rng.choice([0, 0, 1 << 31])
    if (kind or rng.choice(["pool", "executor"])) == "pool":
        with ctx.Pool(workers, maxtasksperchild=rng.choice([None, None, 5]), retries=retries) as p:
            p.apply(square, (1,))
            with Killer(rng, PACE[method], lambda: p._pool) as killer:
                for _ in range(rng.randrange(1, 30)):
                    use_pool(p, rng, tally, f)
            p.close()
            p.join()
    else:
        with shoal.ProcessPoolExecutor(workers, ctx, retries=retries) as e:
            e.submit(square, 1).result()
            with Killer(rng, PACE[method], lambda: e._pool._pool) as killer:
                for _ in range(rng.randrange(1, 20)):
                    use_executor(e, rng, tally, f)
    if tally.died > killer.kills or (retries and tally.died):
        raise AssertionError("%d kills, %d deaths told, %d retries" % (killer.kills, tally.died, retries))
    return killer.kills, tally


def campaign(kills, seed, methods=("fork", "fork", "fork", "spawn", "forkserver"), kind=None):
    rng = random.Random(seed)
    killed = good = died = rounds = 0
    while killed < kills:
        faulthandler.dump_traceback_later(NET, exit=True)
        n, tally = round_of(rng, rng.choice(methods), kind)
        killed, good, died, rounds = killed + n, good + tally.good, died + tally.died, rounds + 1
    faulthandler.cancel_dump_traceback_later()
    return "%d kills in %d rounds: %d results, %d deaths told" % (killed, rounds, good, died)


if __name__ == "__main__":
    words = sys.argv[1:]
    print(campaign(int(words[0]) if words else 1000, int(words[1]) if len(words) > 1 else 1))
