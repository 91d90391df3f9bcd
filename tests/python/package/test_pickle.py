"""Messages are the objects that pickle would have made of them: plain ones without calling it."""
import gc
import pickle
import random
import sys

import pytest

import shoal
from shoal import _shoal

EDGES = [
    None, True, False, 0, 1, -1, 255, 256, 65535, 65536, -128, -32769, 2**31 - 1, 2**31, -2**31, -2**31 - 1, 2**63 - 1,
    2**63, -2**63, -2**63 - 1, 2**64, -2**64, 2**200, -2**200, 256**255, -256**255, 10**4000, 0.0, -0.0, 1.5,
    float("inf"), float("-inf"), 5e-324, "", "a", "ä", "€", "\U0001f600", "\0", "\ud800", "x" * 255, "x" * 256,
    "x" * 4090, "x" * 5000, "ö" * 70000, b"", b"a", b"\0" * 255, b"b" * 256, b"b" * 4096, b"b" * 100000,
    bytearray(), bytearray(b"abc"), bytearray(b"c" * 9000), [], [1], [[]], [[[[]]]], (), (1,), (1, 2), (1, 2, 3),
    (1, 2, 3, 4), ((),), {}, {"a": 1}, {1: {2: {}}}, {(1, 2): [3]}, set(), {1}, {1, "a", (2, 3)}, frozenset(),
    frozenset([1, frozenset([2])]), [None] * 300, list(range(5000)), ["s" * 100] * 100, [b"l" * 5000, "m" * 6000],
]  # fmt: skip


def same(a, b):
    """Equal, of the same types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(a[x], b[y]) for x, y in zip(a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return a == b


@pytest.fixture
def queue():
    return shoal.Queue()


@pytest.fixture
def pipe():
    return shoal.Pipe()


def through(queue, obj):
    queue.put(obj)
    return queue.get()


@pytest.mark.parametrize("i", range(len(EDGES)))
def test_what_is_got_is_what_was_put(queue, i):
    assert same(through(queue, EDGES[i]), EDGES[i])


@pytest.mark.parametrize("i", range(len(EDGES)))
def test_what_is_sent_is_a_pickle_that_pickle_reads(pipe, i):
    pipe[0].send(EDGES[i])
    assert same(pickle.loads(pipe[1].recv_bytes()), EDGES[i])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_pickle_writes_is_received(pipe, protocol):
    for obj in EDGES:
        pipe[0].send_bytes(pickle.dumps(obj, protocol))
        assert same(pipe[1].recv(), obj)


def test_containers_that_occur_twice_stay_one(queue):
    one, key = [1], ("a", "b")
    for obj in ([one, one], (one, one), {"a": one, "b": one}, [(one, 2), (one, 3)], [[one], [one]]):
        assert same(through(queue, obj), obj)
    got = through(queue, [one, one])
    assert got[0] is got[1]
    got = through(queue, {"a": one, "b": [one]})
    assert got["a"] is got["b"][0]
    inner = (one,)
    got = through(queue, [inner, inner])
    assert got[0] is got[1]
    assert same(through(queue, [key] * 3), [key] * 3)


def test_what_refers_to_itself_comes_so(queue):
    one = []
    one.append(one)
    got = through(queue, one)
    assert got[0] is got
    table = {}
    table["self"] = [table]
    got = through(queue, table)
    assert got["self"][0] is got
    pair = ([],)
    pair[0].append(pair)
    got = through(queue, pair)
    assert got[0][0] is got


def test_deep_nesting_comes_back(queue):
    for depth in (10, 39, 40, 41, 45, 200):
        obj = []
        for _ in range(depth):
            obj = [obj]
        assert same(through(queue, obj), obj)
        obj = ()
        for _ in range(depth):
            obj = (obj,)
        assert same(through(queue, obj), obj)


class Text(str):
    pass


class Number(int):
    pass


class Thing:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return 1


@pytest.mark.parametrize(
    "obj", [Text("a"), Number(5), Thing(3), [Thing([1])], {Thing(1): Thing(2)}, {Thing(1)}, range(3), 1j, Thing, slice(1)]
)
def test_other_types_come_as_pickle_makes_them(queue, obj):
    if isinstance(obj, slice) and sys.version_info < (3, 8):
        pytest.skip("slices cannot be pickled")
    got = through(queue, obj)
    assert got == obj and type(got) is type(obj)


def test_malformed_bytes_raise_what_pickle_raises_or_are_what_it_reads(pipe):
    source = random.Random(5)
    seeds = [pickle.dumps(obj, protocol) for obj in EDGES if len(repr(obj)) < 2000 for protocol in (2, 4, 5)]
    for _ in range(4000):
        data = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, 4)):
            what = source.randrange(3)
            at = source.randrange(len(data)) if data else 0
            if what == 0 and data:
                data[at] = source.choice(b"()]}.NKMJC\x8c\x85\x86\x87t\x8feua\x94h\x90\x91\x8a\x88Q") if source.random() < 0.7 else source.randrange(256)
            elif what == 1:
                del data[at:]
            else:
                data[at:at] = source.choice([b")", b"(", b"K\1", b"\x94", b"h\0", b"]", b"t", b"e", b"\x8f", b"N", b"}"])
        if b"c" in data or b"i" in data or b"\x93" in data:
            continue  # names that could be looked up
        try:
            wanted = pickle.loads(data)
        except Exception as e:
            wanted = e
        pipe[0].send_bytes(data)
        if isinstance(wanted, Exception):
            with pytest.raises(Exception):
                pipe[1].recv()
        else:
            got = pipe[1].recv()
            assert repr(got) == repr(wanted)


def test_references_stay_flat(queue, pipe):
    def rounds(n):
        for _ in range(n):
            for obj in ([1, "a", {"k": (1.5, None)}], b"x" * 9000, bytearray(b"y" * 9000), {1, 2}, Thing([1]), 2**100):
                through(queue, obj)
            pipe[0].send_bytes(b"\x80\x04]\x94(K\1h\0e.")
            pipe[1].recv()
            pipe[0].send_bytes(b"\x80\x04](K\1(.")
            try:
                pipe[1].recv()
            except Exception:
                pass
        gc.collect()

    rounds(10)
    before = sys.getallocatedblocks()
    rounds(300)
    assert sys.getallocatedblocks() - before < 200


def test_a_bytearray_is_free_again_after_it_was_put(queue):
    data = bytearray(b"z" * 10000)
    queue.put(data)
    data.extend(b"more")
    assert queue.get() == b"z" * 10000


# ---- buffers ----


def test_arrays_come_with_one_copy_or_as_views(queue):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(300000, dtype="f8").reshape(300, 1000)
    for obj in (array, array.T, array[::2, ::3], array[:0], numpy.asfortranarray(array)):
        for view in (False, True):
            queue.put(obj)
            got = queue.get(view=view)
            assert (got == obj).all() and got.dtype == obj.dtype and got.shape == obj.shape
            assert got.flags.writeable
            got[...] = 0
    queue.put({"a": array, "b": [array[0], 7]})
    got = queue.get(view=True)
    del queue
    assert (got["a"] == array).all() and (got["b"][0] == array[0]).all() and got["b"][1] == 7
    assert array[1, 1] == 1001


def test_a_read_only_array_stays_so(queue):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(10000)
    array.flags.writeable = False
    for view in (False, True):
        queue.put(array)
        assert not queue.get(view=view).flags.writeable


def test_buffers_out_of_band_come_as_they_were(queue):
    for data in (b"r" * 5000, bytearray(b"w" * 5000)):
        got = through(queue, [pickle.PickleBuffer(data), 1])
        assert bytes(got[0]) == data


def test_view_of_bytes_lies_in_shared_memory(queue):
    for data in (b"v" * 10000, bytearray(b"v" * 10000)):
        queue.put(data)
        got = queue.get(view=True)
        assert isinstance(got, memoryview) and got == data
        assert got.readonly == isinstance(data, bytes)
    queue.put([b"v" * 10000])
    assert queue.get(view=True) == [b"v" * 10000]


def test_a_broken_envelope_is_an_error(pipe):
    numpy = pytest.importorskip("numpy")
    pipe[0].send(numpy.arange(2000))
    whole = pipe[1].recv_bytes()
    assert whole[:8] == b"\0shoal\1\0"
    source = random.Random(3)
    for _ in range(300):
        data = bytearray(whole)
        data[8 + source.randrange(24)] = source.randrange(256)
        pipe[0].send_bytes(data if source.random() < 0.5 else data[: source.randrange(4200, len(data))])
        try:
            pipe[1].recv()
        except Exception:
            pass


# ---- objects of the family ----


def test_a_connection_travels_and_its_message_holds_it(queue):
    first, second = shoal.Pipe()
    queue.put(["here", first])
    first.close()
    assert not second.poll(0.01)
    got = queue.get()
    got[1].send("hello")
    assert second.recv() == "hello"
    del got
    with pytest.raises(EOFError):
        second.recv()


def test_a_message_that_nobody_got_gives_its_objects_back():
    first, second = shoal.Pipe()
    queue = shoal.Queue()
    queue.put(first)
    first.close()
    assert not second.poll()
    del queue
    with pytest.raises(EOFError):
        second.recv()


def test_locks_and_queues_travel_in_messages_only(queue, pipe):
    lock = shoal.Lock()
    pipe[0].send({"lock": lock, "queue": queue, "condition": shoal.Condition(lock)})
    got = pipe[1].recv()
    with got["lock"]:
        assert lock.locked()
        got["queue"].put(1)
    assert queue.get() == 1
    with got["condition"]:
        assert lock.locked()
    for obj in (lock, queue, shoal.SimpleQueue(), pipe[0]):
        with pytest.raises(RuntimeError):
            pickle.dumps(obj)


def test_plain_messages_name_objects_by_numbers_which_c_programs_read(pipe):
    lock, bounded = shoal.Lock(), shoal.Queue(3)
    for obj in (lock, shoal.RLock(), shoal.Event(), bounded, pipe[0], shoal.Pipe(False)[0], shoal.Pipe(False)[1]):
        pipe[0].send(["x", obj, 5])
        assert pipe[1].recv_bytes() == b"\x80\x04](\x8c\x01xJ\0\0\0\0QK\x05e."
        pipe[0].send({obj: (obj,)} if obj is lock else (1, obj))
        if obj is lock:  # it occurs twice
            assert pipe[1].recv_bytes()[:2] == b"\x80\x05"
        else:
            got = pipe[1].recv()[1]
            assert type(got) is type(obj)
    pipe[0].send(bounded)
    got = pipe[1].recv()
    assert got._maxsize == 3 and got is not bounded
    bounded.put("same")
    assert got.get() == "same"
    reader, writer = shoal.Pipe(False)
    pipe[0].send([reader, writer])
    got = pipe[1].recv()
    assert [(end.readable, end.writable) for end in got] == [(True, False), (False, True)]
    got[1].send(1)
    assert reader.recv() == 1


def test_an_object_that_occurs_twice_comes_as_one(pipe):
    lock = shoal.Lock()
    pipe[0].send([lock, lock])
    got = pipe[1].recv()
    assert got[0] is got[1]


def test_carry_knows_whether_a_message_is_being_made():
    assert _shoal.carry(shoal.Lock()) is False


# ---- whatever hypothesis thinks of ----

try:
    import hypothesis
    from hypothesis import strategies
except ImportError:
    hypothesis = None

if hypothesis:
    keys = strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats(allow_nan=False)
        | strategies.text() | strategies.binary(),
        lambda inner: strategies.tuples(inner, inner) | strategies.frozensets(inner, max_size=3), max_leaves=4,
    )  # fmt: skip
    objects = strategies.recursive(
        keys | strategies.binary().map(bytearray) | strategies.integers(-2**80, 2**80),
        lambda inner: strategies.lists(inner) | strategies.lists(inner).map(tuple) | strategies.dictionaries(keys, inner)
        | strategies.sets(keys), max_leaves=25,
    )  # fmt: skip
    shared_queue, shared_pipe = shoal.Queue(), shoal.Pipe()

    @hypothesis.settings(deadline=None, max_examples=60)
    @hypothesis.given(objects)
    def test_any_plain_object_comes_back(obj):
        assert same(through(shared_queue, obj), obj)
        shared_pipe[0].send(obj)
        data = shared_pipe[1].recv_bytes()
        assert same(pickle.loads(data), obj)
        for protocol in (2, 4, 5):
            shared_pipe[0].send_bytes(pickle.dumps(obj, protocol))
            assert same(shared_pipe[1].recv(), obj)
