"""manager.py ADDRESS KEY [PREFIX] - a stock Python client of a manager. Each test_ function gets a connected SyncManager;
prints what failed, and `N passed, N failed`. Standard library only.

The manager may be Python's own (manager_server.py): so the tests themselves are tested. What is said of lists and dicts is
checked against a list and a dict of one's own, doing the same.
"""
import array
import multiprocessing
import multiprocessing.util
import os
import queue
import random
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from multiprocessing import connection, managers
from multiprocessing.connection import Client

NET = 60
NAMES = "get_jobs", "get_lock", "get_event", "get_counter", "Sum"


class Manager(managers.SyncManager):
    pass


for name in NAMES:
    Manager.register(name)


def parse(text):
    if text[0] == "@":
        return "\0" + text[1:]
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon and text[0] != "/" else text


ADDRESS, KEY = parse(sys.argv[1]), sys.argv[2].encode()
multiprocessing.current_process().authkey = KEY  # for proxies in messages


def connect():
    m = Manager(ADDRESS, KEY)
    m.connect()
    return m


def outcome(function, *args, **kwds):
    """What it returns, or the type of what it raises."""
    try:
        return "returned", function(*args, **kwds)
    except Exception as error:
        return "raised", type(error).__name__


def raises(kind, function, *args, **kwds):
    try:
        function(*args, **kwds)
    except kind as error:
        return error
    raise AssertionError("%s not raised" % kind.__name__)


def equal(a, b):
    assert a == b and type(a) is type(b), "%r is not %r" % (a, b)


def within(seconds, condition):
    """A net: waits until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within %d s" % seconds
        time.sleep(0.01)


def child(function, *args):
    """In a process of its own; its status must be 0."""
    pid = os.fork()
    if not pid:
        status = 1
        multiprocessing.util._run_after_forkers()  # connections are not the child's
        try:
            function(*args)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def reap(pid, status=0):
    equal(os.waitpid(pid, 0)[1], int(status))


# ---- lists and dicts: against ones of one's own ----

def value(r, depth=2):
    kind = r.randrange(9 if depth else 6)
    if kind == 0:
        return r.randrange(-5, 6)
    if kind == 1:
        return r.choice([None, True, False, 10 ** 30, 1.5, -0.0])
    if kind == 2:
        return r.choice(["", "a", "bc", "\u00e9", "x" * 300])
    if kind == 3:
        return bytes(r.randrange(4))
    if kind < 6:
        return r.randrange(4)
    if kind == 6:
        return [value(r, depth - 1) for _ in range(r.randrange(4))]
    if kind == 7:
        return tuple(value(r, depth - 1) for _ in range(r.randrange(4)))
    return {r.choice("abc"): value(r, depth - 1) for _ in range(r.randrange(3))}


def some_slice(r):
    return slice(*(r.choice([None, None, r.randrange(-8, 9)]) for _ in range(2)), r.choice([None, 1, 1, 2, -1, -2, 3, 0, 10 ** 30]))


def same(name, one, other, *args, **kwds):
    a, b = (outcome(lambda: getattr(x, name)(*args, **kwds)) for x in (one, other))
    if a[0] == "returned" and name in ("keys", "values", "items"):
        b = b[0], list(b[1])
    if a[0] == "returned" and name == "__reversed__":
        a, b = list(a[1]), list(b[1])
    assert a == b, "%s%r %r: %r, should be %r" % (name, args, kwds, a, b)


def test_a_list_does_what_a_list_does(m):
    r = random.Random(1)
    for _ in range(30):
        first = [value(r) for _ in range(r.randrange(10))]
        one, other = m.list(first), list(first)
        for _ in range(40):
            i, v = r.randrange(-12, 12), value(r)
            many = r.choice([list, tuple])(value(r) for _ in range(r.randrange(5)))
            what, args = r.choice([
                ("append", (v,)), ("extend", (many,)), ("insert", (i, v)), ("pop", ()), ("pop", (i,)), ("remove", (v,)),
                ("reverse", ()), ("count", (v,)), ("index", (v,)), ("index", (v, i)), ("__getitem__", (i,)),
                ("__getitem__", (some_slice(r),)), ("__setitem__", (i, v)), ("__setitem__", (some_slice(r), many)),
                ("__delitem__", (i,)), ("__delitem__", (some_slice(r),)), ("__len__", ()), ("__contains__", (v,)),
                ("__add__", (list(many),)), ("__mul__", (r.randrange(-1, 3),)), ("__rmul__", (2,)), ("__reversed__", ()),
                ("sort", ()), ("__getitem__", ("x",)), ("pop", ("x",))])
            if what == "sort":
                before = list(other)
                a = outcome(one.sort, reverse=True)
                b = outcome(other.sort, reverse=True)
                equal(a, b)
                if a[0] == "raised":  # half sorted: whatever stands where
                    one[:], other[:] = before, before
            else:
                same(what, one, other, *args)
            assert repr(one[:]) == repr(other), (what, args, one[:], other)
        one *= 2
        other *= 2
        one += [1]
        other += [1]
        equal(str(one), str(other))
        equal(list(one), other)
        equal(len(one), len(other))


def test_a_list_sorts_numbers_and_texts(m):
    for items in [[3, 1.5, True, 10 ** 20, -7], ["b", "a", "\u00e9", ""], [(1, "b"), (1, "a")], []]:
        one = m.list(items)
        one.sort()
        equal(one[:], sorted(items))
        one.sort(reverse=True)
        equal(one[:], sorted(items, reverse=True))
    raises(TypeError, m.list([1, "a"]).sort)


def test_a_list_is_made_of_what_can_be_iterated_over(m):
    for many in range(5), range(10, 0, -3), range(0), "a\u00e9\U0001f600z", "", b"ab", (1, 2), {7}, {"k": 1}:
        equal(m.list(many)[:], list(many))
        l = m.list([1, 2])
        l.extend(many)
        l[1:2] = many
        equal(l[:], [1] + list(many) * 2)
    equal(m.Array("i", range(5))[:], array.array("i", range(5)))
    equal(m.Array("B", b"ab")[:], array.array("B", b"ab"))
    raises(managers.RemoteError, m.list, 5)
    raises(TypeError, m.list().extend, 5)


def test_a_dict_does_what_a_dict_does(m):
    r = random.Random(2)
    keys = [1, 1.0, True, 0, "a", "b", b"a", None, (1, "a"), (1.0, "a"), 10 ** 30, frozenset([1]), -1, ""]
    for _ in range(30):
        first = {r.choice(keys): value(r) for _ in range(r.randrange(10))}
        one, other = m.dict(first), dict(first)
        for _ in range(40):
            k, v = r.choice(keys), value(r)
            some = {r.choice(keys): value(r) for _ in range(r.randrange(4))}
            what, args = r.choice([
                ("__setitem__", (k, v)), ("__getitem__", (k,)), ("__delitem__", (k,)), ("get", (k,)), ("get", (k, v)),
                ("pop", (k,)), ("pop", (k, v)), ("popitem", ()), ("setdefault", (k,)), ("setdefault", (k, v)),
                ("update", (some,)), ("update", (list(some.items()),)), ("keys", ()), ("values", ()), ("items", ()), ("copy", ()),
                ("__len__", ()), ("__contains__", (k,)), ("clear", ()), ("__getitem__", ([],)), ("__setitem__", ({}, 1))])
            if what != "clear" or r.random() < 0.2:
                same(what, one, other, *args)
            assert repr(one.copy()) == repr(other), (what, args, one.copy(), other)
        equal(list(one), list(other))
        equal(str(one), str(other))
        one.update(x=1)
        equal(one["x"], 1)


def test_a_dict_of_thousands(m):
    d = m.dict()
    d.update({"key %d" % i: i for i in range(20000)})
    for i in range(0, 20000, 1000):
        del d["key %d" % i]
    for i in range(19999, 17000, -1):
        if i % 1000:
            equal(d.popitem(), ("key %d" % i, i))
    equal("key 0" in d, False)
    equal(d["key 1"], 1)


def test_a_namespace(m):
    n = m.Namespace(x=1, y="two")
    n.z = [3]
    equal((n.x, n.y, n.z), (1, "two", [3]))
    n.x += 5
    equal(n.x, 6)
    equal(str(n), "Namespace(x=6, y='two', z=[3])")
    del n.y
    raises(AttributeError, lambda: n.y)
    raises(AttributeError, n.__delattr__, "y")


def test_values(m):
    v = m.Value("i", 5)
    v.value += 1
    equal(v.get(), 6)
    v.set(-3)
    equal(v.value, -3)
    equal(str(v), "Value('i', -3)")
    d = m.Value("d", 1)
    d.value = 2.5
    equal(d.value, 2.5)
    anything = m.Value("anything", [1])
    anything.value = {"x": 1}
    equal(anything.value, {"x": 1})


def test_arrays(m):
    for code, items in ("i", [1, -2, 3, 4, 5]), ("d", [0.5, 1.0]), ("B", [0, 255]), ("q", [-2 ** 63, 2 ** 63 - 1]), ("Q", [2 ** 64 - 1]):
        one, other = m.Array(code, items), array.array(code, items)
        equal(len(one), len(other))
        equal(list(one), list(other))
        equal(one[-1], other[-1])
        equal(one[1:4], other[1:4])
        equal(one[::-1], other[::-1])
        one[0] = other[0] = 7
        equal(list(one), list(other))
        equal(str(one), str(other))
        raises(IndexError, one.__getitem__, 99)
        raises(IndexError, one.__setitem__, 99, 1)
    a = m.Array("b", [1, 2, 3])
    raises(OverflowError, a.__setitem__, 0, 200)
    raises(TypeError, a.__setitem__, 0, "x")
    a[0:2] = array.array("b", [8, 9])
    equal(list(a), [8, 9, 3])


# ---- queues and what synchronises ----

def test_a_queue(m):
    q = m.Queue(2)
    equal((q.empty(), q.full(), q.qsize()), (True, False, 0))
    q.put({"a": [1, (2, None)]})
    q.put("second")
    equal((q.empty(), q.full(), q.qsize()), (False, True, 2))
    raises(queue.Full, q.put_nowait, 3)
    raises(queue.Full, q.put, 3, timeout=0.05)
    raises(queue.Full, q.put, 3, False)
    equal(q.get(), {"a": [1, (2, None)]})
    equal(q.get(timeout=5), "second")
    raises(queue.Empty, q.get_nowait)
    raises(queue.Empty, q.get, timeout=0.05)
    raises(queue.Empty, q.get, block=False)
    raises(ValueError, q.get, timeout=-1)


def test_a_get_waits_for_a_put_of_another_thread(m):
    q, got = m.Queue(), []
    threads = [threading.Thread(target=lambda: got.append(q.get())) for _ in range(5)]
    for t in threads:
        t.start()
    time.sleep(0.1)
    equal(got, [])
    for i in range(5):
        q.put(i)
    for t in threads:
        t.join(NET)
    equal(sorted(got), list(range(5)))


def test_a_joinable_queue(m):
    q = m.JoinableQueue()
    for i in range(3):
        q.put(i)
    done = []
    waiter = threading.Thread(target=lambda: (q.join(), done.append(1)))
    waiter.start()
    for i in range(3):
        equal(done, [])
        equal(q.get(), i)
        q.task_done()
    waiter.join(NET)
    equal(done, [1])
    raises(ValueError, q.task_done)


def test_an_event(m):
    e = m.Event()
    equal(e.is_set(), False)
    equal(e.wait(0.05), False)
    t = threading.Timer(0.1, e.set)
    t.start()
    equal(e.wait(), True)
    equal(e.is_set(), True)
    equal(e.wait(5), True)
    e.clear()
    equal(e.is_set(), False)
    t.join()


def in_thread(function, *args):
    """Its outcome, in another thread: another connection."""
    ret = []
    t = threading.Thread(target=lambda: ret.append(outcome(function, *args)))
    t.start()
    t.join(NET)
    return ret[0]


def test_a_lock(m):
    lock = m.Lock()
    equal(lock.acquire(), True)
    equal(lock.acquire(False), False)
    equal(lock.acquire(True, 0.05), False)
    equal(in_thread(lock.acquire, False), ("returned", False))
    equal(in_thread(lock.release), ("returned", None))
    raises(RuntimeError, lock.release)
    with lock:
        equal(in_thread(lock.acquire, False), ("returned", False))
    with lock:
        pass


def test_an_rlock_is_its_threads(m):
    lock = m.RLock()
    equal(lock.acquire(), True)
    with lock:
        equal(in_thread(lock.acquire, False), ("returned", False))
        equal(in_thread(lock.release), ("raised", "RuntimeError"))
    lock.release()
    equal(in_thread(lambda: (lock.acquire(False), lock.release())), ("returned", (True, None)))
    raises(RuntimeError, lock.release)


def test_semaphores(m):
    s = m.Semaphore(2)
    equal(s.acquire(), True)
    with s:
        equal(s.acquire(False), False)
        equal(s.acquire(True, 0.05), False)
    s.release()
    s.release()
    for _ in range(3):
        equal(s.acquire(False), True)
    b = m.BoundedSemaphore(1)
    with b:
        equal(in_thread(b.acquire, False), ("returned", False))
    raises(ValueError, b.release)
    raises(ValueError, b.release)


def test_a_condition(m):
    c, n = m.Condition(), m.list()
    raises(RuntimeError, c.wait)
    raises(RuntimeError, c.notify)

    def wait():
        with c:
            n.append("waits")
            assert c.wait(NET)
            n.append("woken")
    threads = [threading.Thread(target=wait) for _ in range(3)]
    for t in threads:
        t.start()
    within(NET, lambda: len(n) == 3)
    with c:
        c.notify()
    within(NET, lambda: n.count("woken") == 1)
    with c:
        equal(c.wait(0.05), False)
        c.notify_all()
    for t in threads:
        t.join(NET)
    equal(n.count("woken"), 3)
    with c:
        equal(c.wait_for(lambda: True), True)


def test_a_condition_of_a_lock(m):
    lock = m.Lock()
    c = m.Condition(lock)
    with c:
        equal(lock.acquire(False), False)
    equal(lock.acquire(False), True)


def test_a_barrier(m):
    b = m.Barrier(3)
    equal((b.parties, b.n_waiting, b.broken), (3, 0, False))
    got = []
    threads = [threading.Thread(target=lambda: got.append(b.wait())) for _ in range(2)]
    for t in threads:
        t.start()
    within(NET, lambda: b.n_waiting == 2)
    got.append(b.wait(NET))
    for t in threads:
        t.join(NET)
    equal(sorted(got), [0, 1, 2])
    raises(threading.BrokenBarrierError, b.wait, 0.05)
    equal(b.broken, True)
    raises(threading.BrokenBarrierError, b.wait)
    b.reset()
    equal(b.broken, False)
    b.abort()
    raises(threading.BrokenBarrierError, b.wait)


# ---- names, types of the server's own, proxies in objects ----

def test_exported_objects(m):
    other = connect()
    keep = m.list()  # without any proxy at hand a process closes its connection, and by TCP loses its lock
    jobs = m.get_jobs()
    jobs.put("a job")
    equal(other.get_jobs().get(), "a job")
    lock = m.get_lock()
    equal(lock.acquire(), True)
    equal(in_thread(other.get_lock().acquire, False), ("returned", False))
    lock.release()
    m.get_event().set()
    equal(other.get_event().is_set(), True)
    counter = m.get_counter()
    counter.set(7)
    equal(other.get_counter().get(), 7)
    equal(len(keep), 0)
    assert jobs._id == other.get_jobs()._id


def test_a_type_of_the_servers_own(m):
    s = m.Sum(5)
    s.add(3)
    s.add(n=2)
    equal(s.total(), 10)
    raises(TypeError, s.add, "x")
    raises(ValueError, s.fail)
    begin = time.monotonic()
    equal(in_thread(s.slow, 0.2), ("returned", 10))
    raises(managers.RemoteError, m.Sum, "x")
    slow = threading.Thread(target=s.slow, args=(3,))
    slow.start()
    time.sleep(0.05)
    s.add(1)
    equal(s.total(), 11)
    assert slow.is_alive()
    slow.join()


def test_proxies_in_objects(m):
    outer, inner = m.list(), m.dict()
    inner["x"] = 1
    outer.append(inner)
    again = outer[0]
    equal(type(again).__name__, "DictProxy")
    again["y"] = 2
    equal(inner.copy(), {"x": 1, "y": 2})
    q = m.Queue()
    q.put(outer)
    q.get().append("by a queue")
    equal(outer[1], "by a queue")
    jobs = m.list([m.get_jobs()])
    jobs[0].put("through a list")
    equal(m.get_jobs().get(), "through a list")


def test_what_the_server_tells(m):
    before = m._number_of_objects()
    l = m.list([1])
    equal(m._number_of_objects(), before + 1)
    assert l._id in m._debug_info()
    del l
    within(NET, lambda: m._number_of_objects() == before)


def test_what_is_not_there(m):
    l = m.list()
    raises(managers.RemoteError, l._callmethod, "no_such_method")
    raises(managers.RemoteError, m._create, "no_such_type")
    l._callmethod("append", (1,))
    l._id = l._token.id = "ffffff"
    raises(managers.RemoteError, l._callmethod, "append", (1,))


def test_big_values(m):
    big = os.urandom(5 << 20)
    l = m.list([big])
    equal(l[0], big)
    q = m.Queue()
    q.put(big)
    equal(q.get(), big)
    n = list(range(300000))
    l = m.list(n)
    equal(l[:], n)


# ---- what belongs to shoal's servers only: names begin with test_shoal_ ----

def holds(acquire, ready):
    c = connect()
    acquire(c)
    ready.send(1)
    time.sleep(1000)


def killed_with(acquire):
    """A client that was killed when it had what it acquired."""
    here, there = multiprocessing.Pipe()
    pid = child(holds, acquire, there)
    here.recv()
    os.kill(pid, signal.SIGKILL)
    reap(pid, signal.SIGKILL)


def proxy_again(proxy, c):
    return type(proxy)(proxy._token, "pickle", manager=c, authkey=KEY)


KEEP = []


def acquires(proxy, *args):
    def acquire(c):
        mine = proxy_again(proxy, c)
        KEEP.append(mine)
        if args == ("with",):
            mine.__enter__()
        else:
            assert mine.acquire(*args)
    return acquire


def test_shoal_a_killed_client_gives_back_its_locks(m):
    for proxy in m.Lock(), m.RLock(), m.Condition():
        killed_with(acquires(proxy))
        equal(proxy.acquire(True, NET), True)
        proxy.release()


def test_shoal_who_waits_for_a_killed_clients_lock_gets_it(m):
    lock = m.Lock()
    here, there = multiprocessing.Pipe()
    pid = child(holds, acquires(lock), there)
    here.recv()
    got = []
    t = threading.Thread(target=lambda: got.append(lock.acquire()))
    t.start()
    time.sleep(0.1)
    equal(got, [])
    os.kill(pid, signal.SIGKILL)
    reap(pid, signal.SIGKILL)
    t.join(NET)
    equal(got, [True])


def test_shoal_permits_of_with_come_back_and_others_do_not(m):
    s = m.Semaphore(2)
    killed_with(acquires(s, "with"))
    equal(s.acquire(True, NET), True)
    equal(s.acquire(True, NET), True)
    s.release()
    killed_with(acquires(s, True))
    equal(s.acquire(True, 0.2), False)


def waits(call, proxy, ready):
    mine = proxy_again(proxy, connect())
    if hasattr(mine, "acquire"):
        mine.acquire()
    ready.send(1)
    getattr(mine, call)()


def test_shoal_a_client_killed_while_it_waits_is_forgotten(m):
    here, there = multiprocessing.Pipe()
    b = m.Barrier(2)
    pid = child(waits, "wait", b, there)
    within(NET, lambda: b.n_waiting == 1)
    os.kill(pid, signal.SIGKILL)
    reap(pid, signal.SIGKILL)
    within(NET, lambda: b.broken)
    q = m.Queue()
    here.recv()
    pid = child(waits, "get", q, there)
    here.recv()
    time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    reap(pid, signal.SIGKILL)
    time.sleep(0.3)
    q.put("for who is there")
    equal(q.get(timeout=NET), "for who is there")
    c = m.Condition()
    pid = child(waits, "wait", c, there)
    here.recv()
    within(NET, lambda: c.acquire(False) and (c.release() or True))
    os.kill(pid, signal.SIGKILL)
    reap(pid, signal.SIGKILL)
    with c:
        c.notify()


def test_shoal_a_lock_stays_where_python_changes_its_connection(m):
    if not isinstance(ADDRESS, str):
        return  # by TCP nobody can tell that from the client's end
    m.get_lock().acquire()  # has no proxy any more
    equal(in_thread(lambda: m.get_lock().acquire(False)), ("returned", False))
    time.sleep(0.2)
    equal(m.get_lock().acquire(False), False)
    m.get_lock().release()
    r = m.RLock()
    again = proxy_again(r, m)
    r.acquire()
    del again
    r.acquire()
    r.release()
    r.release()
    raises(RuntimeError, r.release)
    s = m.BoundedSemaphore(1)
    again = proxy_again(s, m)
    s.__enter__()
    del again
    equal(s.acquire(False), False)
    s.release()
    equal(s.acquire(False), True)
    raises(ValueError, lambda: (s.release(), s.release()))


def test_shoal_references_end_with_their_process(m):
    if not isinstance(ADDRESS, str):
        return  # of a client that called by TCP nobody knows when it ends
    before = m._number_of_objects()
    killed_with(lambda c: KEEP.append(c.list([1])))
    within(NET, lambda: m._number_of_objects() == before)


def test_shoal_references_of_who_has_ended_before_it_was_heard_end_with_its_connection(m):
    if not isinstance(ADDRESS, str):
        return
    before = m._number_of_objects()

    def go_on(c, parent):  # of who has called; who called, as the kernel says, is gone
        within(NET, lambda: os.getppid() != parent)
        connection.answer_challenge(c, KEY)
        connection.deliver_challenge(c, KEY)
        managers.dispatch(c, None, "create", ("list",))
        os.write(ours, b"made")

    def call_and_end():
        child(go_on, connection.SocketClient(ADDRESS), os.getpid())

    theirs, ours = os.pipe()
    reap(child(call_and_end))
    os.close(ours)
    equal(os.read(theirs, 100), b"made")
    equal(os.read(theirs, 1), b"")  # that has ended, too
    os.close(theirs)
    within(NET, lambda: m._number_of_objects() == before)


def test_shoal_a_client_with_another_key_is_refused(m):
    raises(multiprocessing.AuthenticationError, Client, ADDRESS, authkey=b"another")
    equal(m.list([1])[0], 1)


def bare():
    """A connection without anything said."""
    s = socket.socket(socket.AF_UNIX if isinstance(ADDRESS, str) else socket.AF_INET)
    s.settimeout(NET)
    s.connect(ADDRESS)
    return s


def test_shoal_garbage_before_authentication_ends_that_connection(m):
    for garbage in b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100, struct.pack("!i", 5) + b"hello", struct.pack("!i", 10 ** 9):
        s = bare()
        s.sendall(garbage)
        try:
            while s.recv(1000):
                pass
        except ConnectionResetError:
            pass
        s.close()
    equal(m.list([1])[0], 1)


def test_shoal_who_does_not_authenticate_himself_is_dropped_in_time(m):
    s = bare()
    while s.recv(1000):
        pass
    s.close()


def test_shoal_garbage_after_authentication_is_answered(m):
    for request in b"garbage", b"\x80\x04N.", b"", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.":
        c = Client(ADDRESS, authkey=KEY)
        c.send_bytes(request)
        equal(c.recv()[0], "#TRACEBACK")
        raises(EOFError, c.recv)
        c.close()
    l = m.list([1])
    conn = Client(ADDRESS, authkey=KEY)
    managers.dispatch(conn, None, "accept_connection", ("name",))
    for request in b"garbage", b"\x80\x04N.":
        conn.send_bytes(request)
        equal(conn.recv()[0], "#TRACEBACK")
    for request in (1, 2), (1, 2, 3, 4), (l._id, "append", 5, {}), (l._id, "append", (), {}), (None, None, None, None), (l._id, [], (), {}):
        conn.send(request)
        assert conn.recv()[0] in ("#TRACEBACK", "#ERROR"), request
    conn.send((l._id, "append", (2,), {}))
    equal(conn.recv(), ("#RETURN", None))
    conn.close()
    equal(l[:], [1, 2])


def test_shoal_one_that_asks_and_never_reads_stops_nobody(m):
    l = m.list([bytes(1 << 20)])
    conn = Client(ADDRESS, authkey=KEY)
    managers.dispatch(conn, None, "accept_connection", ("flood",))
    message = bytes(multiprocessing.reduction.ForkingPickler.dumps((l._id, "__getitem__", (0,), {})))
    sock = socket.socket(fileno=os.dup(conn.fileno()))
    sock.setblocking(False)
    sent = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            sent += sock.send((struct.pack("!i", len(message)) + message) * 100)
        except BlockingIOError:
            time.sleep(0.01)
    other = m.list([1])
    for _ in range(100):
        equal(other[0], 1)
    sock.close()
    conn.close()


def test_shoal_one_that_sends_half_a_request_stops_nobody(m):
    conn = Client(ADDRESS, authkey=KEY)
    os.write(conn.fileno(), struct.pack("!i", 1000) + b"half")
    equal(m.list([1])[0], 1)
    conn.close()


def test_shoal_a_decref_too_many_harms_nobody(m):
    l = m.list([1])
    for _ in range(3):
        conn = Client(ADDRESS, authkey=KEY)
        outcome(managers.dispatch, conn, None, "decref", (m.get_jobs()._id,))
        conn.close()
    m.get_jobs().put(1)
    equal(m.get_jobs().get(), 1)
    equal(l[0], 1)


def test_shoal_a_pool_runs_the_servers_functions(m):
    p = m.Pool(2)
    equal(p.apply("total", (1, 2, 3)), 6)
    equal(p.apply("pause"), None)
    equal(p.map("total", range(-3, 10, 4)), [-3, 1, 5, 9])
    equal(p.map("total", [1, 2, 3], chunksize=2), [1, 2, 3])
    equal(p.map("total", []), [])
    equal(p.starmap("total", [(1, 2), [3, 4]]), [3, 7])
    result = p.apply_async("total", (20, 22))
    equal(result.get(), 42)
    equal(result.get(timeout=NET), 42)
    equal((result.ready(), result.successful()), (True, True))
    equal(p.map_async("total", (5, 6)).get(), [5, 6])
    equal(p.starmap_async("total", [(5, 6)]).get(), [11])
    equal(list(p.imap("total", range(20))), list(range(20)))
    equal(sorted(p.imap_unordered("total", range(20))), list(range(20)))
    slow = p.apply_async("pause", (1000,))
    equal(slow.ready(), False)
    raises(ValueError, slow.successful)
    raises(multiprocessing.TimeoutError, slow.get, 0.02)
    equal(slow.wait(0.02), None)
    raises(ValueError, p.join)
    p.terminate()
    raises(RuntimeError, slow.get)
    raises(ValueError, p.apply, "total")
    p.join()
    with m.Pool(processes=1, maxtasksperchild=1) as p:
        equal(p.map("total", (1, 2)), [1, 2])
        p.close()
        p.join()


def test_shoal_a_pool_says_what_cannot_be_done(m):
    p = m.Pool(1)
    raises(KeyError, p.apply, "refuse")
    raises(ValueError, p.apply, "total", ("x",))
    raises(ValueError, p.apply, "no such function")
    raises(TypeError, p.apply, 5)
    raises(TypeError, p.map, "total", 5)
    raises(TypeError, p.apply, "total", (), {"x": 1})
    raises(RuntimeError, p.map, "die", [1])
    equal(p.apply("total", (7,)), 7)  # by another worker
    try:
        p.apply(os.getcwd)
    except managers.RemoteError as error:
        assert "getcwd" in str(error), error
    else:
        raise AssertionError("a function was sent")
    raises(managers.RemoteError, m.Pool, -1)
    raises(managers.RemoteError, m.Pool, 1, os.getcwd)
    raises(managers.RemoteError, m._create, "AsyncResult")


def wait_for_a_task(ready):
    p = connect().Pool(1)
    ready.send(p._id)
    p.apply("pause", (1000,))


def test_shoal_a_pool_ends_with_its_client(m):
    if not isinstance(ADDRESS, str):
        return  # by TCP the server cannot know whose its references are
    here, there = multiprocessing.Pipe()
    pid = child(wait_for_a_task, there)
    ident = here.recv()
    assert ident in m._debug_info(), ident
    time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    reap(pid, signal.SIGKILL)
    within(NET, lambda: ident not in m._debug_info())


def main():
    passed = failed = 0
    m = connect()
    prefix = sys.argv[3] if len(sys.argv) > 3 else "test_"
    for name, function in sorted(globals().items()):
        if not name.startswith(prefix) or not callable(function):
            continue
        if "--stock" in sys.argv and name.startswith("test_shoal_"):
            continue
        try:
            function(m)
            passed += 1
        except BaseException as error:
            failed += 1
            print("FAILED %s: %s: %s" % (name, type(error).__name__, error))
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    print("%d passed, %d failed" % (passed, failed))
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
