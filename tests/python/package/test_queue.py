"""Queue, JoinableQueue and SimpleQueue."""
import gc
import itertools
import os
import queue as standard_queue
import random
import select
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import shoal
from shoal import queues

METHODS = ["fork", "spawn"]


@pytest.fixture(params=METHODS)
def context(request):
    return shoal.get_context(request.param)


def run(context, target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    return process


def alone(program):
    """Runs it in a family of its own, where no birth or death of another process rings for nothing."""
    folder = os.path.dirname(os.path.dirname(shoal.__file__))
    done = subprocess.run([sys.executable, "-c", "import select, shoal\n" + program], capture_output=True, text=True,
                          timeout=100, env=dict(os.environ, PYTHONPATH=folder))  # fmt: skip
    assert done.returncode == 0, done.stderr


# ---- one process ----


def test_arguments_and_exceptions_are_the_standard_ones():
    queue = shoal.Queue(2)
    queue.put(1)
    queue.put(obj=2, block=True, timeout=None)
    assert queue.full() and queue.qsize() == 2 and not queue.empty()
    for call in (lambda: queue.put(3, False), lambda: queue.put(3, True, 0.01), lambda: queue.put_nowait(3),
                 lambda: queue.put(3, timeout=-1)):  # fmt: skip
        with pytest.raises(standard_queue.Full):
            call()
    assert queue.get() == 1 and queue.get(block=True, timeout=1) == 2
    assert queue.empty() and not queue.full()
    for call in (lambda: queue.get(False), lambda: queue.get(True, 0.01), queue.get_nowait, lambda: queue.get(timeout=-1)):
        with pytest.raises(standard_queue.Empty):
            call()
    for call in (lambda: queue.put(), lambda: queue.put(1, True, None, 4), lambda: queue.put(1, wait=2),
                 lambda: queue.get(1, 2, 3), lambda: queue.put(1, obj=2), lambda: queue.put(1, timeout="x")):  # fmt: skip
        with pytest.raises(TypeError):
            call()
    assert shoal.Queue(0).full() is False and shoal.Queue(-1).full() is False
    assert queues.Empty is standard_queue.Empty and queues.Full is standard_queue.Full
    assert queues.Queue[int]


def test_a_closed_queue_refuses():
    for queue in (shoal.Queue(), shoal.JoinableQueue()):
        with pytest.raises(AssertionError):
            queue.join_thread()
        queue.put(1)
        queue.close()
        queue.close()
        queue.join_thread()
        queue.cancel_join_thread()
        with pytest.raises(ValueError, match="is closed"):
            queue.put(1)
        with pytest.raises(ValueError, match="is closed"):
            queue.get()
        with pytest.raises(OSError, match="is closed"):
            queue.empty()
    unused = shoal.Queue()
    unused.close()
    assert unused.empty()
    simple = shoal.SimpleQueue()
    simple.close()
    simple.close()
    assert simple._reader.closed and simple._writer.closed
    for call in (simple.get, lambda: simple.put(1), simple._reader.fileno):
        with pytest.raises(OSError):
            call()


def test_many_at_once():
    queue = shoal.Queue()
    assert queue.put_many(range(1000)) == 1000
    assert queue.get_many(10) == list(range(10))
    got = []
    while len(got) < 990:
        got += queue.get_many()
    assert got == list(range(10, 1000))
    with pytest.raises(standard_queue.Empty):
        queue.get_many(5, False)
    with pytest.raises(ValueError):
        queue.get_many(0)
    bounded = shoal.Queue(3)
    assert bounded.put_many("abcde", False) == 3
    with pytest.raises(standard_queue.Full):
        bounded.put_many("x", timeout=0.01)
    with pytest.raises(TypeError):
        bounded.put_many(5)
    assert bounded.get_many(9, timeout=1) == ["a", "b", "c"]


MIXED = [1, "two", bytes(3), bytes(100_000), [4, None], complex(5, 5), "x" * 4000, {6: bytearray(7)}, (8,), bytes(2_000_000), -9] * 30


@pytest.mark.parametrize("given", [MIXED, tuple(MIXED), iter(MIXED)], ids=["list", "tuple", "iterator"])
def test_many_of_all_sizes_and_kinds_come_as_they_were_put(given):
    queue = shoal.Queue()
    assert queue.put_many(given) == len(MIXED)
    got = []
    while len(got) < len(MIXED):
        got += queue.get_many(100, timeout=10)
    assert got == MIXED and queue.empty()


def test_many_into_a_bounded_queue_wait_for_room():
    queue = shoal.Queue(10)
    thread = threading.Thread(target=queue.put_many, args=(list(range(1000)),), daemon=True)
    thread.start()
    got = []
    while len(got) < 1000:
        more = queue.get_many(64)
        assert 1 <= len(more) <= 64  # more than 10 where it was filled again meanwhile
        got += more
    thread.join()
    assert got == list(range(1000))
    assert queue.put_many(list(range(30)), False) == 10
    assert queue.put_many([1], False) if queue.get() else queue.put_many([10], False) == 1
    with pytest.raises(standard_queue.Full):
        queue.put_many([1, 2], False)
    queue.shutdown()
    with pytest.raises(shoal.ShutDown):
        queue.put_many([1, 2])
    assert queue.get_many(30) == list(range(1, 11))
    with pytest.raises(shoal.ShutDown):
        queue.get_many(30)


def test_one_of_many_that_cannot_be_pickled_is_told_and_those_before_it_are_there():
    queue = shoal.Queue()
    with pytest.raises(Exception, match="pickle"):
        queue.put_many([1, 2, lambda: 0, 3])
    assert queue.get_many() == [1, 2]
    queue.close()
    with pytest.raises(ValueError):
        queue.put_many([1])
    with pytest.raises(ValueError):
        queue.get_many()


class Unreadable:
    def __reduce__(self):
        return int, ("no number",)


def get_for(queue, back):
    back.put((queue.qsize(), queue.get(), queue.empty()))


def test_one_of_many_that_cannot_be_read_takes_no_other_with_it():
    queue, back = shoal.Queue(), shoal.Queue()
    queue.put_many([1, 2, Unreadable(), 3, "x" * 300])
    with pytest.raises(ValueError, match="no number"):
        queue.get_many()
    assert queue.qsize() == 4 and not queue.empty() and queue._poll(0)
    # what this process has taken is not its children's
    queue.put("the child's")
    child = run(shoal.get_context("fork"), get_for, queue, back)
    assert back.get() == (1, "the child's", True)
    child.join()
    assert queue.get() == 1 and queue.get_many(2) == [2, 3] and queue.get_many() == ["x" * 300]
    assert queue.empty() and queue.qsize() == 0


def test_several_of_many_that_cannot_be_read_are_told_one_by_one():
    queue = shoal.Queue()
    queue.put_many([Unreadable(), 1, bytes(100_000), Unreadable(), Unreadable(), 2])
    got, failures = [], 0
    while len(got) < 3 or failures < 3:
        try:
            got += queue.get_many(timeout=10)
        except ValueError:
            failures += 1
    assert got == [1, bytes(100_000), 2] and failures == 3 and queue.empty()


def gh_96471_getter(queue, ready):
    ready.release()
    try:
        queue.get()
    except shoal.ShutDown:
        return
    os._exit(3)


def test_gh_96471_queue_shutdown(context):
    queue = context.Queue()
    ready = context.Semaphore(0)
    process = run(context, gh_96471_getter, queue, ready)
    ready.acquire()
    queue.shutdown()
    process.join()
    assert process.exitcode == 0
    for call in (lambda: queue.put(1), queue.get):
        with pytest.raises(shoal.ShutDown):
            call()
    queue = context.Queue()
    queue.put(1)
    queue.put(2)
    queue.shutdown()
    with pytest.raises(shoal.ShutDown):
        queue.put(3)
    assert queue.get() == 1
    queue.shutdown(immediate=True)
    with pytest.raises(shoal.ShutDown):
        queue.get()


class Unpicklable:
    def __reduce__(self):
        raise ZeroDivisionError("no")


def test_gh_84376_gh_79423_put_raises_what_pickling_raises():
    for queue in (shoal.Queue(1), shoal.SimpleQueue()):
        with pytest.raises(ZeroDivisionError):
            queue.put(Unpicklable())
        with pytest.raises(Exception, match="lambda"):
            queue.put(lambda: 0)
        queue.put(1)
        assert queue.get() == 1


def test_what_put_raises_is_gone_when_it_was_caught():
    class Thing:
        pass

    thing = Thing()
    kept = weakref.ref(thing)
    gc.disable()
    try:
        with pytest.raises(AttributeError) as error:
            queues.Queue().put([thing])
        del thing, error
        assert kept() is None, "in a cycle of the exception and its traceback"
    finally:
        gc.enable()


def test_a_class_may_be_told_of_what_pickling_raises():
    told = []

    class Safe(queues.Queue):
        def _on_queue_feeder_error(self, e, obj):
            told.append((e, obj))

    queue = Safe(ctx=shoal.get_context())
    bad = Unpicklable()
    assert queue.put(bad) is None
    assert isinstance(told[0][0], ZeroDivisionError) and told[0][1] is bad and told[0][0].__traceback__
    queue.put(1)
    assert queue.get() == 1

    class Interrupted:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.put(Interrupted())
    assert len(told) == 1


class Unloadable:
    def __reduce__(self):
        return int, ("no number",)


def test_an_object_that_cannot_be_unpickled_is_gone_and_the_next_one_comes():
    queue = shoal.Queue()
    queue.put(Unloadable())
    queue.put(2)
    with pytest.raises(ValueError):
        queue.get()
    assert queue.get() == 2


def test_tasks_are_counted():
    queue = shoal.JoinableQueue()
    queue.join()
    queue.put(1)
    assert queue.join(0.01) is False
    threading.Timer(0.05, lambda: (queue.get(), queue.task_done())).start()
    queue.join()
    assert queue.join(1) is True
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()
    assert not hasattr(shoal.Queue(), "task_done")


def test_threads_of_one_process_put_and_get():
    queue, got = shoal.Queue(5), []

    def take():
        for obj in iter(queue.get, None):
            got.append(obj)

    takers = [threading.Thread(target=take) for _ in range(3)]
    putters = [threading.Thread(target=queue.put_many, args=(range(i, i + 200),)) for i in (0, 200, 400)]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join()
    queue.put_many([None] * 3)
    for thread in takers:
        thread.join()
    assert sorted(got) == list(range(600))


# ---- the ends ----


def test_reader_and_writer_are_real():
    for queue in (shoal.Queue(), shoal.SimpleQueue()):
        reader, writer = queue._reader, queue._writer
        assert queue._reader is reader and reader.readable and not reader.writable
        assert not reader.poll() and not reader.poll(0.01)
        writer.send([1])
        assert reader.poll() and reader.recv() == [1]
        writer.send_bytes(b"\x80\x04K\x05.")
        assert queue.get() == 5
        assert isinstance(reader.fileno(), int)
        reader.close()
        with pytest.raises(OSError):
            reader.recv()


def readable(*files, timeout=0.0):
    return select.select(files, [], [], timeout)[0]


def test_descriptor_is_readable_exactly_while_get_would_not_block():
    alone("""
queue = shoal.Queue()
reader = queue._reader
def readable():
    return bool(select.select([reader], [], [], 0)[0])
queue.put(1)
assert readable()
queue.put(2)
queue.get()
assert readable()
queue.get()
assert not readable()
for i in range(100):
    queue.put(i)
    assert readable()
    assert queue.get_nowait() == i
    assert not readable()
""")


def late_putter(queue):
    time.sleep(0.1)
    queue.put("late")


def test_descriptor_tells_of_another_processs_put(context):
    queue = context.SimpleQueue()
    reader = queue._reader
    process = run(context, late_putter, queue)
    while queue.empty():
        assert readable(reader, timeout=60)
        # A birth or a death in the family may ring for nothing.
        reader.poll()
    assert queue.get() == "late"
    process.join()


def nothing():
    pass


def put_and_die(queue, counts, i):
    for n in itertools.count():
        queue.put(n)
        counts[i] = n + 1
        if n > 20 and random.random() < 0.02:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_select_loop_gets_all_that_killed_processes_have_put(context):
    queue, counts = context.Queue(), context.RawArray("i", 4)
    reader = queue._reader
    assert not readable(reader)
    processes = [run(context, put_and_die, queue, counts, i) for i in range(4)]
    got = 0
    while True:
        over = not any(process.is_alive() for process in processes)
        if readable(reader, timeout=0 if over else 60):
            try:
                queue.get_nowait()
                got += 1
            except standard_queue.Empty:
                pass  # a birth or a death; this look has settled it
        elif over:
            break
        else:
            pytest.fail("all that was put was taken, and somebody lives who puts; or a put has rung nobody")
    assert queue.empty()
    assert sum(counts) <= got <= sum(counts) + 4
    for process in processes:
        process.join()


OWN = """
import select, sys, time
import shoal

def nothing():
    pass

def tell_and_wait(queue, end, go):
    go.wait()
    queue.put(1)
    end.send(2)
    go.clear()
    go.wait()

def main(method):
    ctx = shoal.get_context(method)
    first = ctx.Process(target=nothing)  # and with it what a method needs
    first.start()
    first.join()
    queue, simple, (inp, out), go = ctx.Queue(), ctx.SimpleQueue(), ctx.Pipe(False), ctx.Event()
    readers = [queue._reader, simple._reader, inp]

    def readable(timeout=0):
        return select.select(readers, [], [], timeout)[0]

    while readable():
        assert not any(reader.poll() for reader in readers)
    for _ in range(5):
        process = ctx.Process(target=tell_and_wait, args=(simple, out, go))
        process.start()
        assert not readable(), "after the start"
        assert not readable(0.05), "a little later"
        go.set()
        while len(readable(60)) < 2:
            pass
        while go.is_set():
            time.sleep(0.001)
        assert inp.recv() == 2 and simple.get() == 1
        assert not readable(0.05), "after what it had put was taken"
        go.set()
        process.join()
        assert not readable(0.05), "after the join"
        go.clear()
    queue.put(3)
    assert readable() == [queue._reader]

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_starts_and_joins_of_ones_own_make_no_descriptor_readable(method, tmp_path):
    script = tmp_path / "own.py"
    script.write_text(OWN)
    done = subprocess.run([sys.executable, str(script), method], capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(shoal.__file__))))  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_look_settles_a_descriptor_that_births_and_deaths_made_readable(context):
    both = [context.Queue(), context.SimpleQueue()]
    inp, out = context.Pipe(False)
    readers = [queue._reader for queue in both] + [inp]
    assert not readable(*readers)
    for _ in range(3):
        process = run(context, nothing)
        process.join()
        end = time.monotonic() + 60
        while readable(*readers):
            assert time.monotonic() < end
            assert not any(reader.poll() for reader in readable(*readers))
    both[1].put(1)
    out.send(2)
    assert readable(*readers) == readers[1:]
    assert both[1].get() == 1 and inp.recv() == 2
    assert not readable(*readers)


# ---- several processes ----


def echo(inward, outward):
    for obj in iter(inward.get, None):
        outward.put(obj)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_objects_travel_between_processes(context, kind):
    inward, outward = getattr(context, kind)(), getattr(context, kind)()
    process = run(context, echo, inward, outward)
    objects = [1, "two", [3.0, None], {"four": b"4"}, b"5" * 100000, Unloadable]
    for obj in objects:
        inward.put(obj)
    assert [outward.get() for _ in objects] == objects
    inward.put(None)
    process.join()
    assert process.exitcode == 0


def put_and_exit(queue, n):
    queue.put_many(range(n))


def test_gh_73983_join_before_drain(context):
    queue = context.Queue()
    process = run(context, put_and_exit, queue, 200000)
    process.join()
    assert process.exitcode == 0
    assert [queue.get() for _ in range(200000)] == list(range(200000))


def test_what_was_put_before_comes_before(context):
    queue = context.Queue()
    processes = [run(context, put_and_exit, queue, 100) for _ in range(3)]
    for process in processes:
        process.join()
    queue.put("last")
    assert [queue.get() for _ in range(301)][-1] == "last"


class Mine(queues.Queue):
    """As recipes on the net have it: a subclass with a state of its own."""

    def __init__(self, extra, ctx):
        super().__init__(ctx=ctx)
        self.extra = extra

    def __getstate__(self):
        return {"parent": super().__getstate__(), "extra": self.extra}

    def __setstate__(self, state):
        super().__setstate__(state["parent"])
        self.extra = state["extra"]


def take_extra(queue):
    queue.put(queue.extra)


def test_subclasses_travel_with_their_state(context):
    queue = Mine([5], context)
    process = run(context, take_extra, queue)
    assert queue.get() == [5]
    process.join()


# ---- signals and deaths ----


@pytest.mark.parametrize("call", ["get", "put", "join", "poll"])
def test_signals_interrupt_every_wait(call):
    queue = shoal.JoinableQueue(1)
    if call in ("put", "join"):
        queue.put(1)

    class Rung(Exception):
        pass

    def ring(number, frame):
        raise Rung

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Rung):
            {"get": queue.get, "put": lambda: queue.put(2), "join": queue.join, "poll": lambda: queue._poll(None)}[call]()
        signal.signal(signal.SIGALRM, lambda number, frame: None)  # it goes on
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert queue._poll(0.2) == (call in ("put", "join"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def put_for_ever(queue, long):
    i = 0
    while True:
        queue.put((i, b"x" * 10000 if long else "x"))
        i += 1


@pytest.mark.parametrize("long", [False, True])
def test_a_killed_producer_leaves_whole_messages(context, long):
    queue = context.Queue()
    for round in range(10):
        process = run(context, put_for_ever, queue, long)
        for i in range(50):
            assert queue.get()[0] == i
        process.kill()
        process.join()
        expected = 50
        while not queue.empty():
            got = queue.get()
            assert got == (expected, b"x" * 10000 if long else "x")
            expected += 1


def get_for_ever(queue, ready):
    ready.release()
    while True:
        queue.get()


def test_a_killed_consumer_keeps_nobody_from_getting(context):
    queue, ready = context.Queue(), context.Semaphore(0)
    for _ in range(10):
        process = run(context, get_for_ever, queue, ready)
        ready.acquire()
        queue.put_many(range(500))
        process.kill()
        process.join()
        queue.put("after")
        while queue.get() != "after":
            pass


def put_one_too_many(queue, ready):
    ready.release()
    queue.put(2)


def test_a_producer_killed_while_it_waits_for_room_puts_nothing(context):
    queue, ready = context.Queue(1), context.Semaphore(0)
    queue.put(1)
    process = run(context, put_one_too_many, queue, ready)
    ready.acquire()
    time.sleep(0.05)
    process.kill()
    process.join()
    assert queue.get() == 1
    queue.put(3)
    assert queue.get() == 3


# ---- with others ----


def test_a_c_program_of_the_family_takes_from_a_python_queue():
    from shoal.program import Program

    worker = os.path.join(os.path.dirname(__file__), *[".."] * 3, "build", "examples", "python_worker")
    if not os.path.exists(worker):
        pytest.skip("there is no " + worker)
    tasks, answers = shoal.Queue(), shoal.SimpleQueue()
    program = Program([worker, tasks, answers])
    long = [0.5] * 5000
    for task in ([1, 2.5, True], long, (2**40, -1), []):
        tasks.put(task)
        assert answers.get() == (task, sum(task))
    lock = shoal.Lock()
    tasks.put((lock, 1))
    (got, one), total = answers.get()
    assert got.acquire() and lock.locked() and one == total == 1
    tasks.put(None)
    assert program.wait() == 0 and program.returncode == 0
    program.close()
    killed = Program([worker, tasks, answers])
    tasks.put([1])
    assert answers.get() == ([1], 1.0)
    killed.kill()
    assert killed.wait() == -9
    tasks.put([2])
    assert tasks.get() == [2]
    with pytest.raises(FileNotFoundError):
        Program(["/no/such/program"])


def test_concurrent_futures_works_with_shoals_context():
    program = """
import concurrent.futures, multiprocessing, os
def double(x): return 2 * x
def bad(x): return lambda: x
if __name__ == "__main__":
    assert multiprocessing.__name__ == "shoal"
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        assert list(pool.map(double, range(100))) == list(range(0, 200, 2))
        future = pool.submit(double, lambda: 0)
        try:
            future.result(30)
        except Exception as e:
            assert "lambda" in str(e), e
        else:
            raise SystemExit("it was pickled")
        assert pool.submit(double, 4).result(30) == 8
    pool = concurrent.futures.ProcessPoolExecutor(1)
    try:
        pool.submit(os._exit, 3).result(30)
    except concurrent.futures.process.BrokenProcessPool:
        pass
    pool.shutdown()
    print("well")
"""
    folder = os.path.dirname(os.path.dirname(shoal.__file__))
    done = subprocess.run([sys.executable, "-m", "shoal", "-c", program], capture_output=True, text=True, timeout=100,
                          env=dict(os.environ, PYTHONPATH=folder))  # fmt: skip
    assert done.returncode == 0 and done.stdout == "well\n", done.stderr
