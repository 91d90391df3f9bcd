"""Pools: the standard library's behaviour, deaths of workers, and what its users complain of."""
import gc
import itertools
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import shoal
from shoal import TaskTimeout, WorkerDied
from shoal.pool import MaybeEncodingError, RemoteTraceback

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=METHODS)
def ctx(request):
    return shoal.get_context(request.param)


@pytest.fixture
def pool():
    with shoal.get_context("fork").Pool(2) as p:
        yield p
    p.join()


def square(x):
    return x * x


def add(x, y=0):
    return x + y


def pid(*_):
    return os.getpid()


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill(worker):
    """It may have ended by itself, and not be replaced yet."""
    try:
        os.kill(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def leave(code):
    os._exit(code)


def fail(x):
    raise ValueError("no %s" % x)  # a remark


def nap(seconds):
    time.sleep(seconds)
    return seconds


# ---- what the standard library's do ----


def test_apply(ctx):
    with ctx.Pool(2) as p:
        assert p.apply(add, (1,), {"y": 2}) == 3
        assert p.apply(add, [1, 5]) == 6
        assert p.apply_async(square, (7,)).get() == 49
        assert p.map(square, range(100)) == [x * x for x in range(100)]
        assert p.map(square, range(100), 1) == [x * x for x in range(100)]
        assert p.map(square, range(101), 7) == [x * x for x in range(101)]
        assert p.starmap(add, [(1, 2), [3, 4]]) == [3, 7]
        assert p.starmap(add, [(i, i) for i in range(50)], 1) == list(range(0, 100, 2))
        assert list(p.imap(square, range(50))) == [x * x for x in range(50)]
        assert list(p.imap(square, iter(range(50)), 7)) == [x * x for x in range(50)]
        assert sorted(p.imap_unordered(square, range(50), 3)) == [x * x for x in range(50)]
        assert sorted(p.imap_unordered(square, (x for x in range(50)))) == [x * x for x in range(50)]
    p.join()


def test_empty(pool):
    assert pool.map(square, []) == []
    assert pool.map_async(square, ()).get() == []
    assert list(pool.imap(square, [])) == []
    assert list(pool.imap_unordered(square, iter([]), 5)) == []


def test_exceptions_have_the_workers_traceback_as_their_cause(pool):
    with pytest.raises(ValueError, match="no 3") as e:
        pool.apply(fail, (3,))
    assert type(e.value.__cause__) is RemoteTraceback
    assert "# a remark" in str(e.value.__cause__)
    for call in (lambda: pool.map(fail, [3, 4]), lambda: pool.map(fail, [3], 1), lambda: list(pool.imap(fail, [3]))):
        with pytest.raises(ValueError, match="no 3"):
            call()


def test_a_map_raises_its_first_exception_when_all_is_done(pool):
    r = pool.map_async(fail, range(10), 1)
    with pytest.raises(ValueError, match="no 0"):
        r.get()
    assert not r.successful()


def test_results_that_are_not_ready(pool):
    r = pool.apply_async(nap, (0.3,))
    assert not r.ready()
    with pytest.raises(ValueError, match="not ready"):
        r.successful()
    with pytest.raises(shoal.TimeoutError):
        r.get(0.01)
    r.wait(0.01)
    assert r.get() == 0.3 and r.ready() and r.successful()
    it = pool.imap(nap, [0.3])
    with pytest.raises(shoal.TimeoutError):
        it.next(0.01)
    assert it.next() == 0.3
    with pytest.raises(StopIteration):
        it.next()


def test_callbacks_are_called_before_get_returns(pool):
    came = []
    assert pool.apply_async(square, (3,), callback=came.append).get() == 9
    assert came == [9]
    with pytest.raises(ValueError):
        pool.apply_async(fail, (3,), callback=came.append, error_callback=lambda e: came.append(type(e))).get()
    assert came == [9, ValueError]
    assert pool.map_async(square, range(3), callback=came.append).get() == [0, 1, 4]
    assert came[2] == [0, 1, 4]
    pool.map_async(fail, range(3), error_callback=lambda e: came.append(str(e))).wait()
    assert came[3] == "no 0"
    pool.apply_async(lambda: 0, error_callback=lambda e: came.append("unsent")).wait()
    assert came[4] == "unsent"


def test_join_waits_for_callbacks():
    came = []
    p = shoal.Pool(2)
    for i in range(200):
        p.apply_async(square, (i,), callback=came.append)
    p.map_async(square, range(5), callback=came.append)
    p.close()
    p.join()
    assert len(came) == 201 and [0, 1, 4, 9, 16] in came


def test_a_callback_may_give_tasks_and_terminate(pool):
    came = []

    def more(n):
        came.append(n)
        if n < 100:
            pool.apply_async(square, (n + 1,), callback=more)
        else:
            pool.terminate()

    pool.apply_async(square, (2,), callback=more)
    pool._staff.thread.join(60)
    assert came == [4, 25, 676]


def test_a_callback_that_raises_ends_nothing(pool, capfd):
    seen = []
    hook, sys.unraisablehook = sys.unraisablehook, seen.append
    try:
        assert pool.apply_async(square, (3,), callback=fail).get() == 9
    finally:
        sys.unraisablehook = hook
    assert seen[0].exc_type is ValueError
    assert pool.apply_async(square, (3,), callback=str).get() == 9


def test_closed_and_terminated():
    p = shoal.Pool(2)
    with pytest.raises(ValueError, match="still running"):
        p.join()
    p.close()
    for call in (p.apply, p.apply_async):
        with pytest.raises(ValueError, match="Pool not running"):
            call(square, (1,))
    for call in (p.map, p.imap, p.imap_unordered, p.map_async, p.starmap):
        with pytest.raises(ValueError, match="Pool not running"):
            call(square, [1])
    with pytest.raises(ValueError, match="Pool not running"):
        p.__enter__()
    p.join()
    p.terminate()
    p.join()


def test_arguments():
    for n in (0, -1):
        with pytest.raises(ValueError):
            shoal.Pool(n)
    for n in (0, -1, 0.5, "12"):
        with pytest.raises(ValueError):
            shoal.Pool(1, maxtasksperchild=n)
    with pytest.raises(TypeError):
        shoal.Pool(1, initializer=3)
    with shoal.Pool(1) as p:
        with pytest.raises(NotImplementedError):
            pickle.dumps(p)
        with pytest.raises(ValueError):
            p.imap(square, [1], 0)


def test_terminate_ends_what_runs():
    p = shoal.Pool(2)
    r = p.map_async(nap, [1000] * 10, 1)
    p.terminate()
    p.join()
    with pytest.raises(Exception, match="terminated"):
        r.get()


def test_a_pool_that_is_forgotten_ends():
    p = shoal.Pool(2)
    p.apply_async(square, (1,)).get()
    workers, ref = list(p._pool), weakref.ref(p)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del p
        gc.collect()
    assert ref() is None
    assert not any(w.is_alive() for w in workers)


def make_state(x):
    global state
    state = x


def tell_state(*_):
    return state


def test_initializer(ctx):
    with ctx.Pool(2, make_state, (42,)) as p:
        assert set(p.map(tell_state, range(20), 1)) == {42}


def test_maxtasksperchild(ctx):
    with ctx.Pool(1, maxtasksperchild=3) as p:
        pids = [p.apply(pid) for _ in range(9)]
        assert [len(list(g)) for _, g in itertools.groupby(pids)] == [3, 3, 3]
    with ctx.Pool(2, maxtasksperchild=1) as p:
        r = [p.apply_async(pid) for _ in range(10)]
        p.close()
        p.join()
        assert len({x.get() for x in r}) == 10


def throw(n, at):
    for i in range(n):
        if i == at:
            raise KeyError("the input")
        yield i


def test_inputs_that_raise(pool):
    for call in (pool.imap, pool.imap_unordered):
        it = call(square, throw(10, 3))
        assert sorted(itertools.islice(it, 3)) == [0, 1, 4]
        with pytest.raises(KeyError):
            next(it)
        with pytest.raises(StopIteration):
            next(it)
        it = call(square, throw(10, 3), 2)
        assert sorted(itertools.islice(it, 2)) == [0, 1]
        with pytest.raises(KeyError):
            next(it)
    with pytest.raises(KeyError):
        pool.map(square, throw(10, 3))
    with pytest.raises(TypeError):
        next(pool.imap(square, 3))


def test_inputs_that_cannot_be_pickled_are_raised_in_their_place(pool):
    it = pool.imap(square, [1, lambda: 0, 3])
    assert next(it) == 1
    with pytest.raises((pickle.PicklingError, AttributeError)):
        next(it)
    assert next(it) == 9
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pool.map(square, [1, lambda: 0, 3], 1)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pool.map(lambda x: x, [1, 2])
    with pytest.raises((pickle.PicklingError, AttributeError)):
        next(pool.imap(lambda x: x, [1, 2]))


def test_an_endless_input_makes_nobody_wait(pool):
    assert list(itertools.islice(pool.imap(square, itertools.count()), 5)) == [0, 1, 4, 9, 16]


def test_an_input_that_waits_for_results_gets_them(pool):
    got = threading.Semaphore(1)

    def inputs():
        for i in range(20):
            got.acquire()
            yield i

    n = 0
    for n, x in enumerate(pool.imap(square, inputs())):
        assert x == n * n
        got.release()
    assert n == 19


def test_inputs_are_all_given_though_nobody_asks(tmp_path):
    p = shoal.Pool(2)
    count = shoal.Semaphore(0)
    p2 = shoal.get_context("fork").Pool(2, make_state, (count,))
    p2.imap_unordered(release, range(20000))
    p2.imap(release, iter(range(100)))
    p2.close()
    p2.join()
    assert count.get_value() == 20100
    p.close()
    p.join()


def release(_):
    state.release()


class Callable:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def method(self, x):
        return x * self.n


def test_functions_of_all_kinds(pool):
    import functools

    for f in (Callable(3), functools.partial(add, 3)):
        assert pool.map(f, range(5)) == [3, 4, 5, 6, 7]
        assert pool.apply(f, (1,)) == 4
        assert list(pool.imap(f, range(5))) == [3, 4, 5, 6, 7]
    assert pool.map(Callable(3).method, range(5)) == [0, 3, 6, 9, 12]
    assert pool.map(len, ["a", "bc"]) == [1, 2]
    assert pool.map(int, ["1", "2"]) == [1, 2]
    c = Callable(1)
    assert pool.apply(c, (1,)) == 2
    c.n = 2
    assert pool.apply(c, (1,)) == 3
    assert pool.map_async(Callable(5), range(1000), 1).get() == list(range(5, 1005))


def echo(x):
    return x


@pytest.mark.parametrize("size", [0, 20, 31, 32, 33, 300, 5000, 1 << 20, 20 << 20])
def test_objects_of_all_sizes(pool, size):
    for x in (b"x" * size, "y" * size, bytearray(size)):
        assert pool.apply(echo, (x,)) == x
    assert pool.map(echo, [b"x" * size] * 5) == [b"x" * size] * 5


def test_arrays_go_beside_the_pickle(pool):
    numpy = pytest.importorskip("numpy")
    a = numpy.arange(1 << 18).reshape(512, 512)
    for x in (a, a[::2, ::3], numpy.asfortranarray(a), a[:0], a[1]):
        b = pool.apply(echo, (x,))
        assert (b == x).all() and b.shape == x.shape
        if b.size:
            b.flat[0] = 5  # it can be changed
    for b in pool.map(echo, [a, a]):
        assert (b == a).all()


def test_nothing_of_a_task_is_kept(pool):
    r = pool.apply_async(Callable(3), (4,))
    assert r.get() == 7
    objects = [Callable(i) for i in range(10)]
    refs = [weakref.ref(o) for o in objects]
    pool.map(echo, objects)
    del objects
    gc.collect()
    assert [r() for r in refs] == [None] * 10


def test_many_threads(pool):
    bad = []

    def run(k):
        for i in range(50):
            if pool.apply(add, (i, k)) != i + k or pool.map(square, range(20)) != [x * x for x in range(20)]:
                bad.append((i, k))
            if sum(pool.imap_unordered(square, range(20))) != sum(x * x for x in range(20)):
                bad.append((i, k))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not bad


def test_one_result_and_many_threads(pool):
    for _ in range(20):
        r, m, came = pool.apply_async(square, (3,)), pool.map_async(square, range(100), 1), []
        threads = [threading.Thread(target=lambda: came.append((r.get(), len(m.get())))) for k in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert came == [(9, 100)] * 5


# ---- deaths ----


def test_gh_66587_a_killed_worker_fails_its_task_and_nothing_else(ctx):
    with ctx.Pool(2) as p:
        r = [p.apply_async(square, (i,)) for i in range(10)]
        d = p.apply_async(die)
        r += [p.apply_async(square, (i,)) for i in range(10)]
        with pytest.raises(WorkerDied) as e:
            d.get()
        assert e.value.signal == signal.SIGKILL and e.value.exitcode == -9 and e.value.pid > 0
        assert [x.get() for x in r] == [i * i for i in range(10)] * 2
        assert p.map(square, range(10)) == [i * i for i in range(10)]


def test_gh_96062_a_worker_that_exits_fails_its_task(pool):
    for _ in range(3):
        with pytest.raises(WorkerDied, match="exit code 3") as e:
            pool.apply(leave, (3,))
        assert e.value.exitcode == 3 and e.value.signal is None
    assert pool.apply(square, (3,)) == 9
    assert pickle.loads(pickle.dumps(e.value)).exitcode == 3


def test_deaths_in_maps_and_rows(pool):
    with pytest.raises(WorkerDied):
        pool.map(die, range(5), 1)
    with pytest.raises(WorkerDied):
        pool.map(die, range(50))
    it, ends = pool.imap(die_at_3, range(6)), []
    for _ in range(6):
        try:
            ends.append(it.next())
        except WorkerDied:
            ends.append("died")
    assert ends == [0, 1, 2, "died", 4, 5]
    it, ends = pool.imap_unordered(die_at_3, range(6)), []
    for _ in range(6):
        try:
            ends.append(it.next())
        except WorkerDied:
            ends.append("died")
    assert sorted(map(str, ends)) == ["0", "1", "2", "4", "5", "died"]


def die_at_3(x):
    if x == 3:
        die()
    return x


def test_idle_workers_that_are_killed_are_replaced(pool):
    for _ in range(40):
        for w in list(pool._pool):
            kill(w)
        assert pool.map(square, range(10), 1) == [x * x for x in range(10)]


def once(path):
    """Dies the first time."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "done"
    die()


def test_retries(tmp_path):
    with shoal.get_context("fork").Pool(2, retries=1) as p:
        assert p.apply(once, (str(tmp_path / "a"),)) == "done"
        assert p.map(once, [str(tmp_path / "b"), str(tmp_path / "c")], 1) == ["done"] * 2
        with pytest.raises(WorkerDied):
            p.apply(die)
        with pytest.raises(ValueError):
            p.apply(fail, (1,))


def test_task_timeout():
    with shoal.get_context("fork").Pool(2, task_timeout=0.2) as p:
        with pytest.raises(TaskTimeout):
            p.apply(nap, (1000,))
        r = p.map_async(nap, [0, 1000, 0], 1)
        with pytest.raises(TaskTimeout):
            r.get()
        assert issubclass(TaskTimeout, shoal.TimeoutError)
        assert p.apply(square, (3,)) == 9


@pytest.mark.parametrize("chunksize", [1, 2])
def test_a_row_is_cancelled_while_its_input_is_waited_for(pool, chunksize):
    asked, go = threading.Event(), threading.Event()

    def inputs():
        yield 1
        asked.set()
        go.wait(60)
        yield 2
        raise ValueError

    it = pool.imap(square, inputs(), chunksize)
    assert asked.wait(60)
    it.cancel()  # which drops the generator that runs in another thread
    gc.collect()
    go.set()
    for thread in threading.enumerate():
        if thread.name == "shoal-imap":
            thread.join()
    assert pool.apply(square, (3,)) == 9


def test_cancel(pool):
    from concurrent.futures import CancelledError

    for r in (pool.apply_async(nap, (1000,)), pool.map_async(nap, [1000] * 10, 1)):
        r.wait(0.05)
        assert r.cancel()
        with pytest.raises(CancelledError):
            r.get()
        assert not r.cancel()
    it = pool.imap(nap, [1000] * 10)
    assert it.cancel()
    with pytest.raises(CancelledError):
        next(it)
    assert pool.apply(square, (3,)) == 9


def hoard(n):
    return len(bytearray(n))


def test_worker_memory_limit():
    with shoal.get_context("fork").Pool(1, worker_memory_limit=100 << 20) as p:
        assert p.apply(hoard, (1 << 20,)) == 1 << 20
        with pytest.raises(MemoryError):
            p.apply(hoard, (1 << 30,))


def test_an_initializer_that_fails_ends_the_pool_at_last(capfd):
    with shoal.get_context("fork").Pool(2, fail, (1,)) as p:
        with pytest.raises(WorkerDied, match="initializer"):
            p.map(square, range(10))
    p.join()


def test_worker_that_dies_in_its_initializer(capfd):
    with shoal.get_context("fork").Pool(2, die) as p:
        with pytest.raises(WorkerDied):
            p.apply(square, (1,))
    p.join()


# ---- what the standard library's users complain of ----


class NotMadeAgain(Exception):
    def __init__(self, a, b):
        super().__init__("%s and %s" % (a, b))


def raise_it():
    raise NotMadeAgain(1, 2)


class Broken:
    def __reduce__(self):
        return fail, ("unpickling",)


def return_broken():
    return Broken()


def return_unsent():
    return lambda: 0


def test_gh_79492_an_exception_that_cannot_be_unpickled(pool):
    with pytest.raises(MaybeEncodingError, match="1 and 2") as e:
        pool.apply_async(raise_it).get()
    assert "NotMadeAgain" in str(e.value.__cause__)
    assert pool.apply(square, (3,)) == 9


def test_gh_103061_a_result_that_cannot_be_unpickled(pool):
    r = pool.apply_async(return_broken)
    with pytest.raises(ValueError, match="no unpickling"):
        r.get()
    assert not r.successful()
    with pytest.raises(ValueError):
        pool.apply(return_broken)
    assert pool.apply(square, (3,)) == 9


def test_results_that_cannot_be_pickled(pool):
    for _ in range(20):
        with pytest.raises(MaybeEncodingError, match="Error sending result"):
            pool.apply(return_unsent)
    assert pool.apply(square, (3,)) == 9


def raise_this(e):
    raise e


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_pr_101081_base_exceptions_are_results(pool, kind):
    before = sorted(w.pid for w in pool._pool)
    with pytest.raises(kind):
        pool.apply_async(raise_this, (kind(3),)).get()
    assert sorted(w.pid for w in pool._pool) == before


def unpickle_badly():
    raise AttributeError("not here")


def test_a_task_that_the_worker_cannot_unpickle(pool):
    with pytest.raises(ValueError, match="no unpickling"):
        pool.apply(echo, (Broken(),))
    assert pool.apply(square, (3,)) == 9


def test_gh_80180_no_orphans():
    program = (
        "import shoal, time, os, sys\n"
        "p = shoal.Pool(3)\n"
        "p.map(abs, range(10))\n"
        "print(*[w.pid for w in p._pool], flush=True)\n"
        "p.map_async(time.sleep, [1000] * 10, 1)\n"
        "time.sleep(1000)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pids = [int(x) for x in child.stdout.readline().split()]
    assert len(pids) == 3
    child.kill()
    child.wait()
    child.stdout.close()
    for n in pids:  # the net of the test bounds it
        while os.path.exists("/proc/%d" % n) and is_running(n):
            time.sleep(0.001)


def is_running(n):
    try:
        with open("/proc/%d/stat" % n) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def start_one():
    p = shoal.get_context("fork").Process(target=square, args=(3,))
    p.start()
    p.join()
    return p.exitcode


def start_pool():
    with shoal.get_context("fork").Pool(2) as p:
        return p.map(square, range(5))


def test_daemons_may_have_children(pool):
    assert pool.apply(start_one) == 0
    assert pool.apply(start_pool) == [0, 1, 4, 9, 16]


def test_fork_in_a_threaded_process(capfd):
    """Threads that print, take locks and allocate while workers are forked from their process."""
    stop, lock = threading.Event(), threading.Lock()

    def busy():
        while not stop.is_set():
            with lock:
                print("x", end="")
                sys.stdout.flush()
            bytearray(100000)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        with shoal.get_context("fork").Pool(2, maxtasksperchild=1) as p:
            assert p.map(square, range(40), 1) == [x * x for x in range(40)]
            for _ in range(10):
                with pytest.raises(WorkerDied):
                    p.apply(die)
    finally:
        stop.set()
        for t in threads:
            t.join()


def test_ctrl_c_interrupts_waits():
    program = (
        "import shoal, time, os, signal, threading\n"
        "p = shoal.Pool(2)\n"
        "def ring():\n"
        "    time.sleep(0.2); os.kill(os.getpid(), signal.SIGINT)\n"
        "n = 0\n"
        "for call in (lambda: p.apply(time.sleep, (1000,)), lambda: p.map(time.sleep, [1000, 1000]),\n"
        "             lambda: next(p.imap(time.sleep, [1000])), lambda: p.apply_async(time.sleep, (1000,)).wait()):\n"
        "    threading.Thread(target=ring).start()\n"
        "    try: call()\n"
        "    except KeyboardInterrupt: n += 1\n"
        "print(n)\n"
        "p.terminate(); p.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout == "4\n" and done.returncode == 0


def test_ctrl_c_of_the_terminal_leaves_idle_workers_alone(pool):
    before = sorted(pool.map(pid, range(50), 1))
    for w in pool._pool:
        os.kill(w.pid, signal.SIGINT)
    time.sleep(0.3)  # they are told while they are idle, not in the midst of a task
    assert pool.map(square, range(10), 1) == [x * x for x in range(10)]
    assert set(pool.map(pid, range(50), 1)) <= set(before) | {w.pid for w in pool._pool}


def test_a_program_that_ends_without_closing_its_pool():
    program = (
        "import shoal\n"
        "class A:\n"
        "    def __init__(self): self.pool = shoal.Pool(2)\n"
        "a = A()\n"
        "a.pool.map(float, range(10))\n"
        "a.pool.apply_async(float, (1,))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


def test_another_process_may_not_use_it(pool):
    def child():
        try:
            pool.apply(square, (3,))
        except RuntimeError:
            os._exit(7)

    p = shoal.get_context("fork").Process(target=child)
    p.start()
    p.join()
    assert p.exitcode == 7
    assert pool.apply(square, (3,)) == 9


def test_progress():
    seen = []
    with shoal.get_context("fork").Pool(2, progress=lambda *a: seen.append(a)) as p:
        assert p.map(square, range(50), 1) == [x * x for x in range(50)]
        assert seen[-1][:2] == (50, 50)
        assert list(p.imap(square, range(30))) == [x * x for x in range(30)]
        assert seen[-1][:2] == (30, 30)


def test_random_kills():
    """Nobody hangs, what was completed is right, and only tasks whose worker died fail."""
    rng = random.Random(7)
    died = 0
    with shoal.get_context("fork").Pool(3) as p:
        for k in range(60):
            r = [p.apply_async(square, (i,)) for i in range(50)]
            m = p.map_async(square, range(200), 1 if k % 2 else None)
            kill(rng.choice(p._pool))
            for i, x in enumerate(r):
                try:
                    assert x.get() == i * i
                except WorkerDied:
                    died += 1
            try:
                assert m.get() == [x * x for x in range(200)]
            except WorkerDied:
                died += 1
        assert died <= 60
        assert p.map(square, range(10)) == [x * x for x in range(10)]
    p.join()


@pytest.mark.parametrize(
    "items",
    [
        list(range(-300, 300)),
        [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63), 0, 255, 256],
        [2**64] * 10,
        [0.0, -0.0, 1e300, float("inf")] * 3,
        [None, True, False, 1, 1.0, "", "text", b"", b"bytes", "x" * 10000] * 3,
        ["\u00e9"] * 10,
        [[1], [2]] * 10,
        [1, 2, 3, 4, [5]] * 2,
    ],
)
def test_chunks_of_scalars_are_what_they_were(pool, items):
    for chunksize in (1, 3, 5, None, 1000):
        result = pool.map(echo, items, chunksize)
        assert result == items
        assert list(map(type, result)) == list(map(type, items))
        assert list(map(repr, result)) == list(map(repr, items))


def test_identity_within_a_chunk(pool):
    shared = [1]
    a, b, *_ = pool.map(echo, [shared] * 8, 8)
    assert a is b
