"""ProcessPoolExecutor: concurrent.futures' behaviour, and deaths of workers."""
import os
import random
import signal
import subprocess
import sys
import time
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

import pytest

import shoal
from shoal import ProcessPoolExecutor, WorkerDied


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def ctx(request):
    return shoal.get_context(request.param)


@pytest.fixture
def executor():
    with ProcessPoolExecutor(2, shoal.get_context("fork")) as e:
        yield e


def square(x):
    return x * x


def add(x, y=0):
    return x + y


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill(worker):
    """It may have ended by itself, and not be replaced yet."""
    try:
        os.kill(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def fail(x):
    raise ValueError("no %s" % x)


def nap(seconds):
    time.sleep(seconds)
    return seconds


def pid(*_):
    return os.getpid()


def test_submit_and_map(ctx):
    with ProcessPoolExecutor(2, ctx) as e:
        f = e.submit(add, 1, y=2)
        assert f.result() == 3 and f.done() and not f.running() and f.exception() is None
        with pytest.raises(ValueError, match="no 5"):
            e.submit(fail, 5).result()
        assert list(e.map(add, range(50), range(50))) == list(range(0, 100, 2))
        assert list(e.map(add, range(50), range(50), chunksize=7)) == list(range(0, 100, 2))
        assert [f.result() for f in futures.as_completed([e.submit(square, 3) for _ in range(10)])] == [9] * 10


def test_only_the_future_whose_worker_died_fails(ctx):
    with ProcessPoolExecutor(2, ctx) as e:
        before, dead = [e.submit(square, i) for i in range(20)], e.submit(die)
        after = [e.submit(square, i) for i in range(20)]
        with pytest.raises(WorkerDied) as died:
            dead.result()
        assert died.value.signal == signal.SIGKILL
        assert [f.result() for f in before + after] == [i * i for i in range(20)] * 2


def test_map_timeout_and_errors(executor):
    with pytest.raises(futures.TimeoutError):
        list(executor.map(nap, [0, 0, 30], timeout=0.2))
    for w in executor._pool._pool:
        kill(w)
    with pytest.raises(ValueError, match="no 1"):
        list(executor.map(fail, [1, 2]))
    with pytest.raises(ValueError):
        executor.map(square, [1], chunksize=0)


def test_cancel(executor):
    running = [executor.submit(nap, 0.3) for _ in range(2)]
    while not all(f.running() for f in running):
        time.sleep(0.001)
    waiting = executor.submit(square, 3)
    called = []
    waiting.add_done_callback(called.append)
    assert not running[0].cancel()
    assert waiting.cancel() and waiting.cancelled() and waiting.cancel()
    with pytest.raises(futures.CancelledError):
        waiting.result()
    assert called == [waiting]
    assert [f.result() for f in running] == [0.3] * 2
    assert not running[0].cancel()


def test_shutdown_that_cancels():
    e = ProcessPoolExecutor(1, shoal.get_context("fork"))
    fs = [e.submit(nap, 0.05) for _ in range(50)]
    e.shutdown(cancel_futures=True)
    assert all(f.done() for f in fs)
    assert any(f.cancelled() for f in fs)
    with pytest.raises(RuntimeError, match="after shutdown"):
        e.submit(square, 3)
    with pytest.raises(RuntimeError, match="after shutdown"):
        e.map(square, [3])


def test_shutdown_without_waiting_does_what_was_submitted():
    e = ProcessPoolExecutor(2, shoal.get_context("fork"))
    fs = [e.submit(nap, 0.01) for _ in range(20)]
    e.shutdown(wait=False)
    assert [f.result() for f in fs] == [0.01] * 20
    e.shutdown()


def test_an_executor_that_is_forgotten_does_what_was_submitted():
    e = ProcessPoolExecutor(2, shoal.get_context("fork"))
    fs = [e.submit(nap, 0.01) for _ in range(20)]
    del e
    assert [f.result() for f in fs] == [0.01] * 20


def test_what_was_submitted_is_done_before_the_interpreter_ends():
    program = (
        "import shoal, time\n"
        "e = shoal.ProcessPoolExecutor(2)\n"
        "e.submit(time.sleep, 0.3)\n"
        "e.submit(print, 'done', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "done\n"


def test_an_initializer_that_fails_breaks_it(capfd):
    with ProcessPoolExecutor(2, shoal.get_context("fork"), initializer=fail, initargs=(1,)) as e:
        with pytest.raises(BrokenProcessPool):
            e.submit(square, 3).result()


def test_arguments():
    for n in (0, -1):
        with pytest.raises(ValueError):
            ProcessPoolExecutor(n)
    with pytest.raises(TypeError):
        ProcessPoolExecutor(1, initializer=3)
    with pytest.raises(ValueError):
        ProcessPoolExecutor(1, max_tasks_per_child=0)
    with pytest.raises(TypeError):
        ProcessPoolExecutor(1, max_tasks_per_child="1")


def test_max_tasks_per_child(ctx):
    with ProcessPoolExecutor(1, ctx, max_tasks_per_child=2) as e:
        assert len({f.result() for f in [e.submit(pid) for _ in range(6)]}) == 3


def test_random_kills():
    rng, died, n = random.Random(3), 0, 0
    with ProcessPoolExecutor(3, shoal.get_context("fork")) as e:
        for k in range(40):
            fs = [e.submit(square, i) for i in range(40)]
            kill(rng.choice(e._pool._pool))
            n += 1
            for i, f in enumerate(fs):
                try:
                    assert f.result() == i * i
                except WorkerDied:
                    died += 1
        assert died <= n


def test_ends_whose_workers_are_replaced_as_it_ends():
    """A worker that is forked while another thread is at the pool leaves its parent's executors alone."""
    for _ in range(60):
        with ProcessPoolExecutor(2, shoal.get_context("fork"), max_tasks_per_child=2) as e:
            assert list(e.map(square, range(5))) == [0, 1, 4, 9, 16]


def inherited_is_refused(executor, queue):
    try:
        executor.submit(square, 2)
    except (ValueError, RuntimeError) as e:
        queue.put(str(e))
    executor.shutdown()


def test_a_child_may_not_use_its_parents(executor):
    queue = shoal.get_context("fork").SimpleQueue()
    assert executor.submit(square, 3).result() == 9
    with executor._lock:  # as another thread might have it at the fork
        process = shoal.get_context("fork").Process(target=inherited_is_refused, args=(executor, queue))
        process.start()
    process.join(20)
    assert process.exitcode == 0
    assert "another process made it" in queue.get()
    assert executor.submit(square, 4).result() == 16
