"""Pipe and Connection, Listener and Client, wait."""
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import shoal
from shoal import connection

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


def test_a_pipe_goes_both_ways_or_one():
    first, second = shoal.Pipe()
    first.send([1])
    second.send("two")
    assert second.recv() == [1] and first.recv() == "two"
    assert first.readable and first.writable and not first.closed
    reader, writer = shoal.Pipe(duplex=False)
    assert reader.readable and not reader.writable and writer.writable and not writer.readable
    writer.send(3)
    assert reader.recv() == 3
    with pytest.raises(OSError, match="read-only"):
        reader.send(1)
    for call in (writer.recv, writer.poll, writer.recv_bytes, lambda: writer.recv_bytes_into(bytearray(5))):
        with pytest.raises(OSError, match="write-only"):
            call()
    for end in (first, reader, writer):
        assert isinstance(end, connection.Connection) and type(end).__name__ == "Connection"
        assert type(end.fileno()) is int


def test_bytes_are_sent_in_part_or_whole():
    first, second = shoal.Pipe()
    data = bytes(range(100))
    for arguments, wanted in [((), data), ((10,), data[10:]), ((10, 5), data[10:15]), ((100,), b""), ((0, 0), b"")]:
        first.send_bytes(data, *arguments)
        assert second.recv_bytes() == wanted
    for offset, size, text in [(-1, None, "offset is negative"), (101, None, "buffer length < offset"),
                               (5, -1, "size is negative"), (5, 96, r"buffer length < offset \+ size")]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            first.send_bytes(data, offset, size)
    import array

    first.send_bytes(array.array("i", [1, 2]))
    assert second.recv_bytes() == array.array("i", [1, 2]).tobytes()
    first.send_bytes(memoryview(b"m" * 1000000))
    assert second.recv_bytes() == b"m" * 1000000
    for bad in ("text", None, 5):
        with pytest.raises(TypeError):
            first.send_bytes(bad)


def test_bytes_are_received_into_a_buffer():
    first, second = shoal.Pipe()
    buffer = bytearray(b"." * 10)
    first.send_bytes(b"abc")
    assert second.recv_bytes_into(buffer) == 3 and buffer == b"abc......."
    first.send_bytes(b"de")
    assert second.recv_bytes_into(buffer, 8) == 2 and buffer == b"abc.....de"
    first.send_bytes(b"x" * 11)
    with pytest.raises(shoal.BufferTooShort) as e:
        second.recv_bytes_into(buffer)
    assert e.value.args == (b"x" * 11,)
    for offset, text in [(-1, "negative offset"), (11, "offset too large")]:
        with pytest.raises(ValueError, match=text):
            second.recv_bytes_into(buffer, offset)
    with pytest.raises((TypeError, BufferError)):
        second.recv_bytes_into(b"read-only")
    import array

    numbers = array.array("i", [0, 0, 0])
    first.send_bytes(array.array("i", [7]))
    assert second.recv_bytes_into(numbers, numbers.itemsize) == numbers.itemsize and list(numbers) == [0, 7, 0]


def test_a_message_longer_than_allowed_ends_receiving():
    first, second = shoal.Pipe()
    first.send_bytes(b"12345")
    assert second.recv_bytes(5) == b"12345"
    with pytest.raises(ValueError, match="negative maxlength"):
        second.recv_bytes(-1)
    first.send_bytes(b"123456")
    with pytest.raises(OSError, match="bad message length"):
        second.recv_bytes(5)
    assert not second.readable and not second.closed
    reader, writer = shoal.Pipe(False)
    writer.send_bytes(b"123456")
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(5)
    assert reader.closed


def test_a_closed_end_refuses_and_its_peer_sees_the_end():
    first, second = shoal.Pipe()
    first.send(1)
    first.close()
    first.close()
    assert first.closed
    for call in (first.recv, first.poll, first.fileno, lambda: first.send(1), lambda: first.send_bytes(b"")):
        with pytest.raises(OSError, match="handle is closed"):
            call()
    assert second.recv() == 1
    assert second.poll()
    with pytest.raises(EOFError):
        second.recv()
    with pytest.raises(EOFError):
        second.recv_bytes()
    with pytest.raises(BrokenPipeError):
        second.send(1)
    with shoal.Pipe()[0] as end:
        pass
    assert end.closed


def test_a_dropped_end_is_a_closed_one():
    first, second = shoal.Pipe()
    del first
    with pytest.raises(EOFError):
        second.recv()


def test_close_waits_for_a_call_of_another_thread():
    first, second = shoal.Pipe()
    got = []
    thread = threading.Thread(target=lambda: got.append(first.recv()))
    thread.start()
    while not first._calls:
        time.sleep(0.001)
    first.close()
    second.send("still")
    thread.join()
    assert got == ["still"] and first.closed
    with pytest.raises(BrokenPipeError):
        for _ in range(100):
            second.send(1)


def test_what_cannot_be_pickled_is_not_sent():
    first, second = shoal.Pipe()
    with pytest.raises(Exception, match="lambda"):
        first.send(lambda: 0)
    first.send(2)
    assert second.recv() == 2
    with pytest.raises(RuntimeError):
        pickle.dumps(first)


def test_poll_waits():
    first, second = shoal.Pipe()
    assert second.poll() is False and second.poll(0.01) is False and second.poll(timeout=-1) is False
    threading.Timer(0.05, first.send, (1,)).start()
    assert second.poll(None) is True and second.poll(60) is True
    assert second.recv() == 1


def test_descriptor_is_readable_exactly_while_recv_would_not_block():
    alone("""
first, second = shoal.Pipe()
first.send(1)
assert select.select([second], [], [], 0)[0]
assert second.recv() == 1
for i in range(100):
    assert not select.select([second], [], [], 0)[0]
    first.send(i)
    assert select.select([second], [], [], 0)[0]
    assert second.recv_bytes()
first.close()
assert select.select([second], [], [], 60)[0]
reader, writer = shoal.Pipe(False)
assert select.select([], [writer], [], 0)[1]
""")


# ---- several processes ----


def answer(end, peer):
    peer.close()  # or a forked child never sees the end
    try:
        while True:
            end.send(end.recv())
    except EOFError:
        end.close()


def test_objects_travel_between_processes(context):
    here, there = context.Pipe()
    process = run(context, answer, there, here)
    there.close()
    for obj in [1, "two", b"3" * 1000000, [4.0, {"five": None}], answer]:
        here.send(obj)
        assert here.recv() == obj
    here.close()
    process.join()
    assert process.exitcode == 0


def send_end(end):
    reader, writer = shoal.Pipe(False)
    end.send(writer)
    writer.close()
    end.send(reader.recv() + 1)


def test_ends_travel_in_messages(context):
    here, there = context.Pipe()
    process = run(context, send_end, there)
    there.close()
    writer = here.recv()
    writer.send(41)
    assert here.recv() == 42
    process.join()
    with pytest.raises(BrokenPipeError):
        for _ in range(100):
            writer.send(1)


def write_to_handle(end):
    from multiprocessing import reduction  # the standard one's reducers are the same

    assert shoal.reduction.ForkingPickler is reduction.ForkingPickler
    fd = shoal.reduction.recv_handle(end)
    os.write(fd, b"through a descriptor")
    os.close(fd)
    try:
        shoal.reduction.recv_handle(end)
    except RuntimeError:
        end.send("no descriptor")


def test_descriptors_travel_through_pipes(context):
    here, there = context.Pipe()
    process = run(context, write_to_handle, there)
    reader, writer = os.pipe()
    shoal.reduction.send_handle(here, writer, process.pid)
    os.close(writer)
    assert os.read(reader, 100) == b"through a descriptor"
    os.close(reader)
    here.send("no descriptor")
    assert here.recv() == "no descriptor"
    process.join()


def hold(end, ready):
    ready.release()
    time.sleep(1000)


def test_a_killed_peer_is_an_end(context):
    here, there = context.Pipe()
    ready = context.Semaphore(0)
    process = run(context, hold, there, ready)
    there.close()
    ready.acquire()
    threading.Timer(0.1, process.kill).start()
    with pytest.raises(EOFError):
        here.recv()
    with pytest.raises(BrokenPipeError):
        here.send(1)
    process.join()


def send_for_ever(end):
    i = 0
    while True:
        end.send([i, b"x" * 6000])
        i += 1


def test_a_killed_sender_leaves_whole_messages(context):
    for _ in range(10):
        reader, writer = context.Pipe(False)
        process = run(context, send_for_ever, writer)
        writer.close()
        for i in range(30):
            assert reader.recv()[0] == i
        process.kill()
        try:
            i = 30
            while True:
                assert reader.recv() == [i, b"x" * 6000]
                i += 1
        except EOFError:
            pass
        process.join()


@pytest.mark.parametrize("call", ["recv", "recv_bytes", "poll", "send", "wait"])
def test_signals_interrupt_every_wait(call):
    first, second = shoal.Pipe()

    class Rung(Exception):
        pass

    def ring(number, frame):
        raise Rung

    def send():
        while True:
            first.send_bytes(b"x" * 100000)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Rung):
            {"send": send, "wait": lambda: connection.wait([second]), "poll": lambda: second.poll(None)}.get(
                call, getattr(second, call, None)
            )()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- wait ----


def end_soon():
    time.sleep(0.1)


def test_wait_tells_what_is_ready(context):
    queue, simple = context.Queue(), context.SimpleQueue()
    first, second = context.Pipe()
    left, right = socket.socketpair()
    process = run(context, end_soon)
    everything = [queue._reader, simple._reader, second, left, left.fileno()]
    assert connection.wait(everything, 0) == [] and connection.wait(everything, 0.01) == []
    assert connection.wait(everything + [process.sentinel]) == [process.sentinel]
    process.join()
    queue.put(1)
    assert connection.wait(everything) == [queue._reader]
    simple.put(1)
    first.send(1)
    assert connection.wait(everything, 5) == everything[:3]
    right.send(b"x")
    assert connection.wait(iter(everything), timeout=5) == everything
    queue.get(), simple.get(), second.recv(), left.recv(1)
    assert connection.wait(everything, 0) == []
    threading.Timer(0.1, first.close).start()
    assert connection.wait(everything) == [second]
    assert connection.wait([], 0) == [] and connection.wait([], 0.01) == []
    with pytest.raises(OSError):
        connection.wait([first], 0)
    left.close(), right.close()


# ---- sockets ----


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
@pytest.mark.parametrize("authkey", [None, b"key"])
def test_listener_and_client(family, authkey):
    address = ("127.0.0.1", 0) if family == "AF_INET" else None  # a bare system may know no localhost
    with connection.Listener(address, family, authkey=authkey) as listener:
        def call():
            with connection.Client(listener.address, authkey=authkey) as client:
                client.send(client.recv() + 1)

        thread = threading.Thread(target=call)
        thread.start()
        with listener.accept() as accepted:
            accepted.send(41)
            assert accepted.recv() == 42
        thread.join()
    assert connection.address_type(("", 0)) == "AF_INET"


def test_a_wrong_key_is_refused():
    with connection.Listener(authkey=b"right") as listener:
        def call():
            with pytest.raises(shoal.AuthenticationError):
                connection.Client(listener.address, authkey=b"wrong")

        thread = threading.Thread(target=call)
        thread.start()
        with pytest.raises(shoal.AuthenticationError):
            listener.accept()
        thread.join()


def test_challenges_work_over_a_pipe():
    first, second = shoal.Pipe()
    thread = threading.Thread(target=connection.answer_challenge, args=(second, b"key"))
    thread.start()
    connection.deliver_challenge(first, b"key")
    thread.join()


def use_socket(end):
    with end.recv() as conn:
        conn.send(os.getpid())


def test_connections_of_sockets_travel_through_pipes(context):
    here, there = context.Pipe()
    process = run(context, use_socket, there)
    with connection.Listener() as listener:
        client = connection.Client(listener.address)
        accepted = listener.accept()
        here.send(client)
        assert accepted.recv() == process.pid
        client.close()
        accepted.close()
    process.join()
