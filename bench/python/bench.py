#!/usr/bin/env python3
"""bench/python/bench.py [--rounds N] [--json FILE] [ROW…] - the Python package beside the standard library, in one run.

Each row does the same with both, alternating, ROUNDS times; the medians stand side by side, with their ratio and what it is to
be at least. A row's figure is operations per second (or GB/s). Rows are chosen by parts of their names.
Needs shoal on PYTHONPATH (make python).
"""
import argparse
import ctypes
import json
import multiprocessing
import statistics
import sys
import time

import shoal

ROWS = []  # (name, target, function(package) -> figure)


def row(name, target):
    def add(function):
        ROWS.append((name, target, function))
        return function

    return add


def rate(n, function):
    """Calls function once, which does something n times: times per second."""
    begun = time.perf_counter()
    function()
    return n / (time.perf_counter() - begun)


def child(package, target, *arguments, method="fork"):
    process = package.get_context(method).Process(target=target, args=arguments)
    process.start()
    return process


# ---- queues ----


def put_all(queue, thing, n, ready):
    ready.wait()
    for _ in range(n):
        queue.put(thing)


def stream(package, thing, n, producers=1):
    queue, ready = package.Queue(), package.Event()
    processes = [child(package, put_all, queue, thing, n // producers, ready) for _ in range(producers)]
    get = queue.get

    def take():
        ready.set()
        for _ in range(n // producers * producers):
            get()

    figure = rate(n, take)
    for process in processes:
        process.join()
    return figure


def few(package, standard, engine):
    """How often: the standard library is given less to do, since it takes longer for each."""
    return standard if package is multiprocessing else engine


@row("queue, ints", 40)
def _(package):
    return stream(package, 42, few(package, 60_000, 600_000))


@row("queue, [42, None, 'hello']", 15)
def _(package):
    return stream(package, [42, None, "hello"], few(package, 60_000, 600_000))


@row("queue, four producers", 12)
def _(package):
    return stream(package, 42, few(package, 60_000, 600_000), 4)


@row("queue, 1 MiB bytes (GB/s)", 8)
def _(package):
    n = few(package, 300, 1000)
    return stream(package, bytes(1 << 20), n) * (1 << 20) / 1e9


def echo_queue(there, back):
    for thing in iter(there.get, None):
        back.put(thing)


@row("queue round trip", 60)
def _(package):
    there, back = package.Queue(), package.Queue()
    process = child(package, echo_queue, there, back)
    n = few(package, 3000, 100_000)

    def talk():
        for _ in range(n):
            there.put(1)
            back.get()

    figure = rate(n, talk)
    there.put(None)
    process.join()
    return figure


# ---- pipes ----


def echo_pipe(end):
    for thing in iter(end.recv, None):
        end.send(thing)


@row("pipe round trip", 20)
def _(package):
    mine, its = package.Pipe()
    process = child(package, echo_pipe, its)
    n = few(package, 10_000, 100_000)

    def talk():
        for _ in range(n):
            mine.send(1)
            mine.recv()

    figure = rate(n, talk)
    mine.send(None)
    process.join()
    return figure


def send_all(end, n):
    for _ in range(n):
        end.send(42)


@row("pipe stream", 15)
def _(package):
    reader, writer = package.Pipe(False)
    n = few(package, 60_000, 600_000)

    def take():
        process = child(package, send_all, writer, n)
        for _ in range(n):
            reader.recv()
        process.join()

    return rate(n, take)


# ---- synchronisation ----


@row("lock: acquire, release", 1.5)
def _(package):
    lock, n = package.Lock(), 1_000_000
    acquire, release = lock.acquire, lock.release

    def loop():
        for _ in range(n):
            acquire()
            release()

    return rate(n, loop)


def with_lock(lock, n):
    def loop():
        for _ in range(n):
            with lock:
                pass

    return rate(n, loop)


@row("with Lock", 2)
def _(package):
    return with_lock(package.Lock(), 500_000)


@row("with RLock", 2)
def _(package):
    return with_lock(package.RLock(), 500_000)


def contend(lock, n, barrier):
    barrier.wait()
    acquire, release = lock.acquire, lock.release
    for _ in range(n):
        acquire()
        release()


@row("lock, two processes", 1.5)
def _(package):
    lock, barrier, n = package.Lock(), package.Barrier(3), 300_000
    processes = [child(package, contend, lock, n, barrier) for _ in range(2)]
    barrier.wait()
    return rate(2 * n, lambda: [process.join() for process in processes])


def take_turns(condition, turn, mine, n):
    with condition:
        for _ in range(n):
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()


@row("condition ping-pong", 5)
def _(package):
    condition, turn = package.Condition(), package.RawValue("i", 0)
    n = few(package, 5000, 50_000)
    process = child(package, take_turns, condition, turn, 1, n)
    figure = rate(2 * n, lambda: take_turns(condition, turn, 0, n))
    process.join()
    return figure


@row("event: set, is_set, clear", 15)
def _(package):
    event, n = package.Event(), few(package, 50_000, 500_000)

    def loop():
        for _ in range(n):
            event.set()
            event.is_set()
            event.clear()

    return rate(3 * n, loop)


# ---- shared values ----


@row("value += 1 under its lock", 3)
def _(package):
    value, n = package.Value("i", 0), 200_000

    def loop():
        for _ in range(n):
            with value.get_lock():
                value.value += 1

    return rate(n, loop)


@row("array element: get, set", 10)
def _(package):
    array, n = package.Array(ctypes.c_int, 100), few(package, 200_000, 1_000_000)

    def loop():
        for _ in range(n):
            array[7] = array[7]

    return rate(n, loop)


# ---- pools ----


def small(x):
    return x + 1


def with_pool(package, function):
    with package.get_context("fork").Pool(2) as pool:
        pool.map(small, range(100))
        return function(pool)


@row("pool.map, 200,000 small", 1.5)
def _(package):
    return with_pool(package, lambda pool: rate(200_000, lambda: pool.map(small, range(200_000))))


@row("pool.map, chunksize=1", 15)
def _(package):
    n = few(package, 20_000, 200_000)
    return with_pool(package, lambda pool: rate(n, lambda: pool.map(small, range(n), chunksize=1)))


@row("pool.apply", 40)
def _(package):
    n = few(package, 2000, 50_000)
    return with_pool(package, lambda pool: rate(n, lambda: [pool.apply(small, (i,)) for i in range(n)]))


@row("pool.apply_async", 12)
def _(package):
    n = few(package, 20_000, 100_000)

    def run(pool):
        return rate(n, lambda: [r.get() for r in [pool.apply_async(small, (i,)) for i in range(n)]])

    return with_pool(package, run)


@row("pool.imap_unordered", 12)
def _(package):
    n = few(package, 20_000, 200_000)
    return with_pool(package, lambda pool: rate(n, lambda: sum(1 for _ in pool.imap_unordered(small, range(n)))))


@row("pool: start, stop", 1.3)
def _(package):
    def loop():
        for _ in range(20):
            pool = package.get_context("fork").Pool(2)
            pool.close()
            pool.join()

    return rate(20, loop)


# ---- managers ----


def managed(package, make, n, function):
    with package.Manager() as manager:
        thing = make(manager)
        return rate(n, lambda: function(thing, n))


@row("manager's list", 40)
def _(package):
    def loop(shared, n):
        for i in range(n // 2):
            shared.append(i)
            shared[i]

    return managed(package, lambda manager: manager.list(), few(package, 10_000, 400_000), loop)


@row("manager's dict", 40)
def _(package):
    def loop(shared, n):
        for i in range(n // 2):
            shared[i & 1023] = i
            shared[i & 1023]

    return managed(package, lambda manager: manager.dict(), few(package, 10_000, 400_000), loop)


@row("manager's Namespace", 40)
def _(package):
    def loop(shared, n):
        shared.x = 0
        for i in range(n // 2):
            shared.x = shared.x + 1

    return managed(package, lambda manager: manager.Namespace(), few(package, 10_000, 400_000), loop)


# ---- processes ----


def nothing():
    pass


def start_and_join(package, method, n):
    def loop():
        for _ in range(n):
            child(package, nothing, method=method).join()

    loop()
    return rate(n, loop)


@row("start, join: fork", 1.1)
def _(package):
    return start_and_join(package, "fork", 200)


@row("start, join: forkserver", 1.3)
def _(package):
    return start_and_join(package, "forkserver", 30)


@row("start, join: spawn", 0.95)
def _(package):
    return start_and_join(package, "spawn", 10)


def human(figure):
    return "%.2f" % figure if figure < 1000 else "{:,.0f}".format(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    chosen = [r for r in ROWS if not options.rows or any(part in r[0] for part in options.rows)]
    if not chosen:
        sys.exit("no row has a name with %s in it" % " or ".join(map(repr, options.rows)))
    print("%-30s %15s %15s %9s %9s" % ("", "multiprocessing", "shoal", "ratio", "to reach"))
    measured = {}
    for name, target, function in chosen:
        figures = {multiprocessing: [], shoal: []}
        for _ in range(options.rounds):
            for package in figures:
                figures[package].append(function(package))
        standard, engine = (statistics.median(each) for each in figures.values())
        measured[name] = {"standard": standard, "shoal": engine, "ratio": engine / standard, "target": target}
        print("%-30s %15s %15s %8.2fx %8sx" % (name, human(standard), human(engine), engine / standard, target), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(measured, file, indent=1)
    short = sum(1 for each in measured.values() if each["ratio"] < each["target"])
    print("%d of %d rows reach what they are to reach" % (len(measured) - short, len(measured)))


if __name__ == "__main__":
    main()
