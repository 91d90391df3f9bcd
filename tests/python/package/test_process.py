"""Processes by each start method: what they are, how they end, what they inherit, and what becomes of them when others die."""
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

import shoal
from shoal import _shoal
from shoal.connection import wait

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=METHODS)
def ctx(request):
    return shoal.get_context(request.param)


def until(true, what="it"):
    """Waits until true() is; a net, not a measure."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "%s did not come" % what
        time.sleep(0.005)


def alive(pid):
    """Whether there is such a process, other than as a zombie."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def nothing():
    pass


def sleep_for_ever():
    while True:
        time.sleep(1000)


# ---- what a child is ----


def tell(path, lock):
    process, parent = shoal.current_process(), shoal.parent_process()
    with open(path, "wb") as file:
        pickle.dump((process.name, process.pid, process.daemon, parent.name, parent.pid, parent.is_alive(), os.getpid(),
                     shoal.get_start_method(), [child.name for child in shoal.active_children()]), file)
    with lock:
        pass


@pytest.mark.parametrize("daemon", [False, True])
def test_a_child_knows_itself_and_its_parent(ctx, tmp_path, daemon):
    child = ctx.Process(target=tell, args=(str(tmp_path / "told"), ctx.Lock()), name="Ännchen", daemon=daemon)
    child.start()
    child.join()
    assert child.exitcode == 0
    name, pid, is_daemon, parent, parent_pid, parent_lives, real, method, children = pickle.loads(
        (tmp_path / "told").read_bytes())
    assert (name, pid, is_daemon) == ("Ännchen", child.pid, daemon)
    assert (parent, parent_pid, parent_lives) == (shoal.current_process().name, os.getpid(), True)
    assert real == child.pid and children == []
    assert method == ctx.get_start_method()


@pytest.mark.parametrize("name", ["x" * 100, "é" * 47, "a\0b", "\udcff", "", "a:b c"])
def test_any_name_will_do(ctx, name):
    child = ctx.Process(target=nothing, name=name)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert child.name == (name or "%s-%s" % (type(child).__name__, child._identity[0]))


def leave(how):
    if how == "return":
        return
    if how == "raise":
        raise ValueError("on purpose")
    if how == "exit 3":
        sys.exit(3)
    if how == "exit None":
        sys.exit()
    if how == "exit text":
        sys.exit("on purpose")
    if how == "_exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "base":
        raise GeneratorExit


@pytest.mark.parametrize("how, code", [("return", 0), ("raise", 1), ("exit 3", 3), ("exit None", 0), ("exit text", 1),
                                       ("_exit", 7), ("kill", -9), ("base", 1)])
def test_the_exit_code_says_how_it_ended(ctx, how, code, capfd):
    from shoal.forkserver import _forkserver

    _forkserver._stop()  # so that its children print where this test looks
    child = ctx.Process(target=leave, args=(how,))
    assert child.exitcode is None
    child.start()
    child.join()
    assert child.exitcode == code
    said = capfd.readouterr().err
    if how in ("raise", "base"):
        assert "Traceback" in said and "Process %s:" % child.name in said
    if how == "exit text":
        assert "on purpose" in said


def test_its_sentinel_is_readable_at_its_end_and_not_before(ctx):
    child = ctx.Process(target=sleep_for_ever)
    child.start()
    assert not select.select([child.sentinel], [], [], 0.05)[0]
    assert child.is_alive() and child.exitcode is None
    child.kill()
    assert select.select([child.sentinel], [], [], 60)[0]
    child.join()
    assert child.exitcode == -signal.SIGKILL and not child.is_alive()


def test_join_with_a_timeout_comes_back(ctx):
    child = ctx.Process(target=sleep_for_ever)
    child.start()
    child.join(0.01)
    assert child.exitcode is None
    child.terminate()
    child.join()
    assert child.exitcode == -signal.SIGTERM


def await_interrupt(event):
    try:
        event.set()
        sleep_for_ever()
    except KeyboardInterrupt:
        sys.exit(42)


def test_interrupt_raises_KeyboardInterrupt_in_it(ctx):
    event = ctx.Event()
    child = ctx.Process(target=await_interrupt, args=(event,))
    child.start()
    assert event.wait(60)
    child.interrupt()
    child.join()
    assert child.exitcode == 42


def test_close_gives_it_up(ctx):
    child = ctx.Process(target=sleep_for_ever)
    child.start()
    with pytest.raises(ValueError):
        child.close()
    child.kill()
    child.join()
    child.close()
    with pytest.raises(ValueError):
        child.is_alive()
    child.close()


def test_only_the_parent_joins_and_starts(ctx):
    child = ctx.Process(target=nothing)
    with pytest.raises(AssertionError):
        child.join()
    child.start()
    with pytest.raises(AssertionError):
        child.start()
    child.join()


def start_another(ctx_name, path):
    inner = shoal.get_context(ctx_name).Process(target=tell, args=(path, shoal.get_context(ctx_name).Lock()))
    inner.start()
    inner.join()
    sys.exit(inner.exitcode)


@pytest.mark.parametrize("inner", METHODS)
def test_a_child_has_children(ctx, inner, tmp_path):
    child = ctx.Process(target=start_another, args=(inner, str(tmp_path / "told")))
    child.start()
    child.join()
    assert child.exitcode == 0
    told = pickle.loads((tmp_path / "told").read_bytes())
    assert told[3:5] == (child.name, child.pid)


def tell_of_another(event, path):
    child = shoal.Process(target=sleep_for_ever)
    child.start()
    with open(path, "w") as file:
        file.write("%d %s" % (child.pid, child.daemon))
    event.set()
    sleep_for_ever()


def test_a_daemon_has_children_that_end_with_it(ctx, tmp_path):
    event, path = ctx.Event(), str(tmp_path / "told")
    child = ctx.Process(target=tell_of_another, args=(event, path), daemon=True)
    child.start()
    assert event.wait(60)
    pid, daemon = open(path).read().split()
    assert daemon == "True" and alive(int(pid))
    child.kill()
    child.join()
    until(lambda: not alive(int(pid)))


def test_many_children_at_once(ctx):
    children = [ctx.Process(target=nothing) for _ in range(4 if ctx.get_start_method() == "spawn" else 20)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * len(children)


# ---- what it inherits ----


def use(lock, event, condition, semaphore, rlock, barrier):
    with lock, rlock, condition, semaphore:
        event.set()
    barrier.abort()


def make_all(ctx):
    return [ctx.Lock(), ctx.Event(), ctx.Condition(), ctx.BoundedSemaphore(3), ctx.RLock(), ctx.Barrier(2)]


def test_it_gets_each_kind_of_object(ctx):
    objects = make_all(ctx)
    child = ctx.Process(target=use, args=objects)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert objects[1].is_set() and objects[5].broken


def test_what_its_parent_drops_right_after_start_is_there_for_it(ctx):
    child = ctx.Process(target=use, args=make_all(ctx))
    child.start()
    child._args = child._target = None
    child.join()
    assert child.exitcode == 0


class Slow:
    """Takes its time to be unpickled."""

    def __init__(self, path, *what):
        self.path, self.what = path, what

    def __reduce__(self):
        return _slowly, (self.path, *self.what)


def _slowly(path, *what):
    until(lambda: os.path.exists(path))
    return Slow(path, *what)


def use_slow(slow, event):
    event.set()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_its_parent_drops_is_held_until_it_has_opened_it(method, tmp_path):
    ctx = shoal.get_context(method)
    seen, dropped = ctx.Event(), ctx.Event()
    child = ctx.Process(target=_use_dropped, args=(Slow(str(tmp_path / "go")), dropped, seen))
    child.start()
    child._args = ()
    del dropped
    (tmp_path / "go").touch()
    child.join()
    assert child.exitcode == 0 and seen.is_set()


def _use_dropped(slow, dropped, seen):
    dropped.set()
    assert dropped.is_set()
    seen.set()


def used_objects():
    return shoal.inspect()["memory"]["objects"]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_a_child_is_left_behind(method):
    ctx = shoal.get_context(method)

    def once():
        child = ctx.Process(target=use, args=make_all(ctx))
        child.start()
        child.join()
        child.close()

    once()
    before, fds = used_objects(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        once()
    assert used_objects() == before
    assert len(os.listdir("/proc/self/fd")) == fds


def read_fd(fd, event):
    with os.fdopen(fd.detach(), "rb") as file:
        assert file.read(5) == b"hello"
    event.set()


def test_descriptors_travel(ctx):
    from shoal.reduction import DupFd

    reader, writer = os.pipe()
    event = ctx.Event()
    child = ctx.Process(target=read_fd, args=(_Fd(reader), event))
    child.start()
    os.close(reader)
    os.write(writer, b"hello")
    os.close(writer)
    child.join()
    assert child.exitcode == 0 and event.is_set()
    assert DupFd


class _Fd:
    """A descriptor that is duplicated for the child while it is pickled."""

    def __init__(self, fd):
        self.fd = fd

    def detach(self):
        return self.fd

    def __reduce__(self):
        from shoal.reduction import DupFd

        return _open_fd, (DupFd(self.fd),)


def _open_fd(wrapped):
    return _Fd(wrapped.detach())


# ---- the server ----


@pytest.fixture
def server():
    from shoal.forkserver import _forkserver

    _forkserver._stop()
    yield _forkserver
    for child in shoal.active_children():  # the server would wait for them
        child.kill()
    _forkserver._stop()


def test_the_server_ends_when_nobody_is_left_to_ask(server):
    server.ensure_running()
    pid = server._forkserver_pid
    assert alive(pid)
    server._stop()
    assert not alive(pid)


def test_a_child_is_told_apart_from_its_server(server):
    ctx = shoal.get_context("forkserver")
    child = ctx.Process(target=sleep_for_ever)
    child.start()
    entry = next(p for p in shoal.inspect()["processes"] if p["pid"] == child.pid)
    assert entry["name"] == child.name and entry["parent"] == os.getpid()
    child.kill()
    child.join()


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_number_of_a_child_is_its_own_until_its_end_is_known(server, forgotten):
    ctx = shoal.get_context("forkserver")
    child = ctx.Process(target=nothing)
    child.start()
    pid = child.pid
    shoal.process._children.discard(child)  # or the next start would ask for its end
    until(lambda: not alive(pid))
    for _ in range(3):  # the server has been busy with others that ended later
        other = ctx.Process(target=nothing)
        other.start()
        other.join()
        until(lambda: not os.path.exists("/proc/%d" % other.pid))
    os.kill(pid, 0)
    if forgotten:
        os.close(child.sentinel)
    else:
        assert wait([child.sentinel], 60) and child.exitcode == 0
        assert wait([child.sentinel], 0)
    until(lambda: not os.path.exists("/proc/%d" % pid))
    child.join()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_died_is_replaced_and_its_children_live_on(server, number):
    ctx = shoal.get_context("forkserver")
    event = ctx.Event()
    first = ctx.Process(target=await_interrupt, args=(event,))
    second = ctx.Process(target=sleep_for_ever)
    first.start()
    second.start()
    assert event.wait(60)
    pid = server._forkserver_pid
    os.kill(pid, number)
    until(lambda: not alive(pid))
    assert first.is_alive() and first.exitcode is None
    assert not select.select([first.sentinel], [], [], 0.05)[0]
    third = ctx.Process(target=leave, args=("exit 3",))
    third.start()
    third.join()
    assert third.exitcode == 3 and server._forkserver_pid != pid
    first.interrupt()
    first.join()
    second.kill()
    second.join()
    # Who was killed when nobody was there to take its status has none.
    assert (first.exitcode, second.exitcode) == (42, 255)


def test_preloaded_modules_are_there_in_its_children(server, tmp_path, monkeypatch):
    (tmp_path / "shoal_test_preloaded.py").write_text("import os\npid = os.getpid()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    shoal.set_forkserver_preload(["__main__", "shoal_test_preloaded", "no_such_module_at_all"])
    try:
        ctx = shoal.get_context("forkserver")
        event = ctx.Event()
        child = ctx.Process(target=see_preloaded, args=(event,))
        child.start()
        child.join()
        assert child.exitcode == 0
    finally:
        shoal.set_forkserver_preload(["__main__"])
    with pytest.raises(TypeError):
        shoal.set_forkserver_preload([1, 2])


def see_preloaded(event):
    module = sys.modules["shoal_test_preloaded"]
    assert module.pid != os.getpid()


def test_too_many_descriptors_are_an_error(server):
    with pytest.raises(ValueError):
        server.connect_to_new_process(list(range(300)), b"", b"")


# ---- who dies ----

ORPHANS = """
import os, sys, time
import shoal
def sleep_for_ever():
    while True:
        time.sleep(1000)
def compute():
    while True:
        pass
def parent(ctx, targets):
    for target in targets:
        child = ctx.Process(target=target, daemon=True)
        child.start()
        print(child.pid, flush=True)
    print("done", flush=True)
    sleep_for_ever()
if __name__ == "__main__":
    parent(shoal.get_context(sys.argv[1]), [sleep_for_ever, compute])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_gh_80180_daemons_end_with_their_parent_however_it_ends(ctx, how, tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, str(script), ctx.get_start_method()], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    pids = [int(line) for line in iter(parent.stdout.readline, "done\n")]
    assert len(pids) == 2 and all(map(alive, pids))
    parent.send_signal(how)
    parent.wait()
    until(lambda: not any(map(alive, pids)), "their end")
    parent.stdout.close()


def wait_for_parent(path):
    parent = shoal.parent_process()
    parent.join()
    assert not parent.is_alive()
    with open(path, "w") as file:
        file.write(str(os.getpid()))


def start_and_die(ctx_name, path, event):
    child = shoal.get_context(ctx_name).Process(target=wait_for_parent, args=(path,))
    child.start()
    event.set()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("inner", METHODS)
def test_a_child_sees_the_end_of_its_parent(inner, tmp_path):
    path, event = str(tmp_path / "seen"), shoal.Event()
    child = shoal.get_context("fork").Process(target=start_and_die, args=(inner, path, event))
    child.start()
    child.join()
    assert child.exitcode == -9 and event.is_set()
    until(lambda: os.path.exists(path) and os.path.getsize(path))
    pid = int(open(path).read())
    until(lambda: not alive(pid))


def test_a_child_killed_anywhere_in_its_birth_hangs_nobody(ctx):
    """Killed while it starts: at once, or a little later, each time."""
    for i in range(3 if ctx.get_start_method() == "spawn" else 15):
        child = ctx.Process(target=use, args=make_all(ctx))
        child.start()
        time.sleep(i * 0.001)
        child.kill()
        child.join()
        assert child.exitcode in (-9, 0)


# ---- the rest ----


def test_both_packages_agree_on_who_is_who():
    import multiprocessing

    assert multiprocessing.current_process() is shoal.current_process()
    assert multiprocessing.ProcessError is shoal.ProcessError
    assert shoal.Process is not multiprocessing.Process


def test_the_default_start_method_is_the_interpreters():
    import multiprocessing

    assert shoal.get_start_method() == multiprocessing.get_start_method()
    assert shoal.get_all_start_methods() == multiprocessing.get_all_start_methods()
    with pytest.raises(ValueError):
        shoal.get_context("no such method")


class Subclass(shoal.Process):
    def run(self):
        sys.exit(9)


def test_a_subclass_runs_its_run():
    child = Subclass()
    child.start()
    child.join()
    assert child.exitcode == 9


def test_cpu_count_is_what_may_be_used():
    assert 1 <= shoal.cpu_count()
    assert _shoal.cpu_count() <= os.cpu_count()


def test_an_object_cannot_be_pickled_but_for_a_child():
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(shoal.Lock())


def test_unpicklable_targets_leave_nothing_behind():
    for method in ("spawn", "forkserver"):
        child = shoal.get_context(method).Process(target=lambda: None)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            child.start()
        assert not shoal.active_children()


# ---- a fork beside threads ----

WARNED = """
import os, threading, warnings
import MODULE as m

def start():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for method in ("fork", "spawn", "forkserver"):
            p = m.get_context(method).Process(target=print, args=("child",))
            p.start()
            p.join()
            assert p.exitcode == 0
    print([(w.category.__name__, str(w.message).replace(str(os.getpid()), "PID"), os.path.basename(w.filename)) for w in caught],
          flush=True)

if __name__ == "__main__":
    start()
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    start()
    event.set()
    thread.join()
"""


def test_a_fork_beside_threads_warns_as_the_standard_librarys(tmp_path):
    said = []
    for module in ("multiprocessing", "shoal"):
        script = tmp_path / (module + "_program.py")
        script.write_text(WARNED.replace("MODULE", module))
        done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
        assert done.returncode == 0, done
        said.append([line for line in done.stdout.splitlines() if line != "child"])
    assert said[0] == said[1]
    assert said[1][0] == "[]"
    assert ("DeprecationWarning" in said[1][1]) == (sys.version_info >= (3, 12))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this version does not warn")
def test_where_warnings_are_errors_a_fork_beside_threads_starts_nobody():
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(DeprecationWarning):
                shoal.get_context("fork").Process(target=nothing).start()
        assert shoal.active_children() == []
    finally:
        event.set()
        thread.join()
