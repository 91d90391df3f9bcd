"""Values and arrays of ctypes, the heap, named shared memory."""
import ctypes
import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

import shoal
from shoal import _shoal, heap, shared_memory, sharedctypes, synchronize

METHODS = ["fork", "spawn"]
NUMBERS = "bBhHiIlLqQfd"


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


def run(method, target, *args):
    process = shoal.get_context(method).Process(target=target, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0


# ---- values ----


def test_a_wrapper_without_its_beginning_says_so():
    array = _shoal.SynchronizedArray.__new__(_shoal.SynchronizedArray)
    value = _shoal.Synchronized.__new__(_shoal.Synchronized)
    for call in (lambda: len(array), lambda: array[0], value.get_obj, value.__enter__, lambda: value.value):
        with pytest.raises(RuntimeError):
            call()


@pytest.mark.parametrize("code", NUMBERS)
def test_a_value_is_what_was_set_and_begins_with_zero(code):
    value = shoal.Value(code)
    assert value.value == 0
    value.value = 5
    assert value.value == 5 and value.get_obj().value == 5
    assert type(value.value) is (float if code in "fd" else int)


@pytest.mark.parametrize("code", NUMBERS.rstrip("fd"))
@pytest.mark.parametrize("n", [-1, 2**64 + 3, -(2**70), 200, 40000, True])
def test_ints_are_cut_as_ctypes_cuts_them(code, n):
    value = shoal.Value(code)
    plain = sharedctypes.typecode_to_type[code]()
    value.value = plain.value = n
    assert value.value == plain.value
    array = shoal.Array(code, 3)
    array[1] = n
    assert array[:] == [0, plain.value, 0]


@pytest.mark.parametrize("code", NUMBERS + "cu")
@pytest.mark.parametrize("bad", ["text", None, [], 1.5, b"ab", object()])
def test_what_ctypes_refuses_is_refused_in_its_words(code, bad):
    value, plain = shoal.Value(code), sharedctypes.typecode_to_type[code]()
    try:
        plain.value = bad
    except Exception as error:
        with pytest.raises(type(error)) as found:
            value.value = bad
        assert str(found.value) == str(error)
        assert value.value == plain.value
    else:
        value.value = bad
        assert value.value == plain.value
    assert value.get_lock()._holder() is None


def test_characters_bools_and_texts():
    letter = shoal.Value("c", b"x")
    letter.value = b"y"
    assert letter.value == b"y"
    wide = shoal.Value("u", "ä")
    assert wide.value == "ä"
    flag = shoal.Value(ctypes.c_bool, True)
    flag.value = []
    assert flag.value is False
    flag.value = 7
    assert flag.value is True


def test_the_other_byte_order_is_ctypes_own():
    value = shoal.Value(ctypes.c_int.__ctype_be__, 1)
    assert value.value == 1 and bytes(value.get_obj()) == b"\0\0\0\1"
    array = shoal.Array(ctypes.c_int.__ctype_be__, [1, 2])
    assert array[1] == 2 and array[:] == [1, 2]


def test_a_structure_has_properties():
    point = shoal.Value(Point, 3, 1.5)
    point.x += 1
    with point:
        point.y *= 2
    assert (point.x, point.y) == (4, 3.0)
    assert type(point).__name__ == "SynchronizedPoint"


def test_without_a_lock_it_is_ctypes_object():
    assert type(shoal.Value("i", 5, lock=False)) is ctypes.c_int
    assert type(shoal.RawArray("i", 3)) is ctypes.c_int * 3
    with pytest.raises(AttributeError):
        shoal.Value("i", 5, lock="nothing of the kind")


@pytest.mark.parametrize("make", [shoal.Lock, shoal.RLock, threading.RLock, lambda: Counting()])
def test_any_lock_will_do(make):
    lock = make()
    value = shoal.Value("i", 5, lock=lock)
    assert value.get_lock() is lock
    value.value += 1
    assert value.value == 6
    if lock.__class__.__name__ == "Counting":
        assert lock.taken == lock.given == 3


class Counting(synchronize.RLock):
    taken = given = 0

    def acquire(self, *args):
        self.taken += 1
        return super().acquire(*args)

    def release(self):
        self.given += 1
        return super().release()


def add(value, array, n):
    for i in range(n):
        with value:
            value.value += 1
        with array.get_lock():
            array[i % 4] += 2


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost_between_processes(method):
    context = shoal.get_context(method)
    value, array = context.Value("i"), context.Array("q", 4)
    workers = [context.Process(target=add, args=(value, array, 2000)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert value.value == 6000 and sum(array) == 12000


def change_all(number, point, text, raw, copy):
    assert number.value == 7 and point.x == 1 and text.value == b"abc" and raw[:] == [1.0, 2.0]
    number.value, point.x, text.value, raw[1], copy.x = 8, 2, b"de", 3.5, 9


@pytest.mark.parametrize("method", METHODS)
def test_children_have_them(method):
    context = shoal.get_context(method)
    number, point = context.Value("h", 7), context.Value(Point, 1, 2.0)
    text, raw = context.Array("c", 10), context.RawArray("d", [1, 2])
    text.value = b"abc"
    copy = sharedctypes.copy(Point(5, 6.0))
    run(method, change_all, number, point, text, raw, copy)
    assert (number.value, point.x, text.value, raw[:], copy.x) == (8, 2, b"de", [1.0, 3.5], 9)


def test_they_are_pickled_for_children_only():
    for thing in (shoal.Value("i"), shoal.RawValue("i"), shoal.Array("i", 2)):
        with pytest.raises((RuntimeError, ValueError)):
            pickle.dumps(thing)


# ---- arrays ----


def test_items_slices_and_bounds_are_a_lists():
    array, like = shoal.Array("i", range(10)), list(range(10))
    for i in range(-10, 10):
        assert array[i] == like[i]
    for slice_ in (slice(2, 7), slice(None, None, -1), slice(8, 1, -3), slice(5, 5), slice(-3, None), slice(0, 99, 4)):
        assert array[slice_] == like[slice_]
    for i in (10, -11, 2**70, -(2**70)):
        with pytest.raises(IndexError):
            array[i]
        with pytest.raises(IndexError):
            array[i] = 1
    for key in ("a", 1.0, None):
        with pytest.raises(TypeError):
            array[key]
    array[2:5] = [20, 30, 40]
    array[0] = -1
    assert array[:] == [-1, 1, 20, 30, 40, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError):
        array[0:3] = [1]
    with pytest.raises(TypeError):
        del array[0]
    assert list(array) == array[:] and 20 in array and len(array) == 10


def test_an_empty_array():
    array = shoal.Array("i", 0)
    assert len(array) == 0 and array[:] == [] and list(array) == []
    with pytest.raises(IndexError):
        array[0]


def test_texts():
    text = shoal.Array("c", b"hello")
    assert text[1] == b"e" and text[1:3] == b"el" and text.raw == b"hello"
    text.value = b"hi"
    assert text.value == b"hi" and text.raw == b"hi\0lo"
    wide = shoal.Array("u", "grün")
    assert wide[:] == "grün" and wide[2] == "ü"


def test_numpy_sees_the_memory():
    numpy = pytest.importorskip("numpy")
    array = shoal.Array("d", 4)
    view = numpy.frombuffer(array.get_obj())
    view[2] = 2.5
    assert array[:] == [0.0, 0.0, 2.5, 0.0]


# ---- deaths, waits, memory ----


def die_holding(value):
    value.get_lock().acquire()
    value.value = 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_gh_88304_the_next_one_has_the_lock_of_a_dead_process():
    value = shoal.Value("i", 0)
    process = shoal.Process(target=die_holding, args=(value,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.warns(shoal.OwnerDiedWarning):
        assert value.value == 1
    value.value += 1
    assert value.value == 2


def test_where_warnings_are_errors_the_lock_is_given_back():
    array = shoal.Array("i", 2)
    process = shoal.Process(target=hold_and_die, args=(array,))
    process.start()
    process.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(shoal.OwnerDiedWarning):
            array[0]
    assert array.get_lock()._holder() is None and array[0] == 0


def hold_and_die(array):
    array.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def hold_until(value, event):
    with value:
        event.set()
        time.sleep(600)


class Signalled(Exception):
    pass


def test_a_signal_interrupts_who_waits_for_the_lock():
    value, event = shoal.Value("i"), shoal.Event()
    process = shoal.Process(target=hold_until, args=(value, event))
    process.start()
    event.wait()

    def raise_it(*unused):
        raise Signalled

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Signalled):
            value.value
    finally:
        signal.signal(signal.SIGALRM, before)
        process.kill()
        process.join()


def test_other_threads_run_while_one_waits_for_the_lock():
    value, event = shoal.Value("i"), shoal.Event()
    process = shoal.Process(target=hold_until, args=(value, event))
    process.start()
    event.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waiter = threading.Thread(target=lambda: value.value)
        waiter.start()
        process.kill()
        process.join()
        waiter.join()
    assert not waiter.is_alive()


def test_memory_that_there_is_not_is_an_error():
    with pytest.raises(MemoryError):
        shoal.RawArray("c", 2**45)
    with pytest.raises(MemoryError):
        heap.BufferWrapper(2**45)


def test_what_is_dropped_is_given_back():
    def use(times):
        for _ in range(times):
            array = shoal.Array("d", 1000)
            array[5] = 1.0
            shoal.Value("i", 3).value += 1
            shoal.Value(Point).x = 1
        gc.collect()
        return _shoal.statistics()["objects"]

    assert use(10) == use(1000)


# ---- the heap ----


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_the_heap_travel(method):
    block = heap.BufferWrapper(100)
    view = block.create_memoryview()
    view[:5] = b"hello"
    run(method, look_at_block, block)
    assert bytes(view[:5]) == b"there"


def look_at_block(block):
    view = block.create_memoryview()
    assert bytes(view[:5]) == b"hello"
    view[:5] = b"there"


# ---- named shared memory ----


def test_blocks_have_names_and_are_found_by_them():
    with_name = shared_memory.SharedMemory(create=True, size=100)
    try:
        with_name.buf[:3] = b"abc"
        run("spawn", look_at_named, with_name.name)
        assert bytes(with_name.buf[:5]) == b"abcde"
        other = pickle.loads(pickle.dumps(with_name))
        assert bytes(other.buf[:5]) == b"abcde"
        other.close()
    finally:
        with_name.close()
        with_name.unlink()
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(with_name.name)


def look_at_named(name):
    block = shared_memory.SharedMemory(name)
    assert bytes(block.buf[:3]) == b"abc"
    block.buf[3:5] = b"de"
    block.close()


def test_one_that_is_not_tracked_outlives_its_program():
    program = (
        "from shoal.shared_memory import SharedMemory\n"
        "block = SharedMemory(create=True, size=10, track=False); block.buf[0] = 7; block.close(); print(block.name)"
    )
    name = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not name.stderr
    block = shared_memory.SharedMemory(name.stdout.strip(), track=False)
    assert block.buf[0] == 7
    block.close()
    block.unlink()
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(name.stdout.strip())


def test_shareable_lists():
    values = shared_memory.ShareableList([1, 2.5, "text", b"bytes", None, True])
    try:
        run("fork", change_shareable, values)
        assert list(values) == [2, 2.5, "text", b"bytes", None, True] and values.index(None) == 4
    finally:
        values.shm.close()
        values.shm.unlink()


def change_shareable(values):
    values[0] += 1
    values.shm.close()


WITHOUT_SHM = """
import os, sys
import shoal
from shoal import shared_memory
try:
    shared_memory.SharedMemory(create=True, size=16 << 20)
except (MemoryError, OSError) as error:
    print(type(error).__name__)
array = shoal.Array("B", 4 << 20)
lock = shoal.Lock()
def child():
    with lock:
        array[4000000] = 7
process = shoal.get_context("fork").Process(target=child)
process.start(); process.join()
print(array[4000000], os.listdir("/dev/shm"))
"""


def in_a_mount_namespace(mount):
    """What WITHOUT_SHM prints, with /dev/shm mounted so."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    able = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True)
    if able.returncode:
        pytest.skip("no mount namespaces here")
    command = ["unshare", "-m", "sh", "-c", mount + ' && exec "$0" -c "$1"', sys.executable, WITHOUT_SHM]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_gh_114390_a_full_dev_shm_is_a_memory_error_and_needed_for_names_only():
    assert in_a_mount_namespace("mount -t tmpfs -o size=1m tmpfs /dev/shm") == ["MemoryError", "7 []"]


def test_no_dev_shm_is_needed_for_what_has_no_name():
    assert in_a_mount_namespace("mount -t tmpfs -o ro tmpfs /dev/shm") == ["OSError", "7 []"]
