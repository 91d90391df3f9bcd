"""shoal.csp: networks of threads and processes, alternation, ends that move, deaths."""
import gc
import os
import signal
import threading
import warnings

import pytest

from shoal import csp
from shoal.csp import (
    AltSelect,
    Alternation,
    Channel,
    ChannelPoisonException,
    ChannelRetireException,
    FairSelect,
    FatalException,
    InfoException,
    InputGuard,
    OutputGuard,
    Parallel,
    PriSelect,
    Sequence,
    SkipGuard,
    Spawn,
    TimeoutGuard,
    choice,
    multiprocess,
    poison,
    process,
    retire,
)


def count(out, n):
    for i in range(n):
        out(i)
    retire(out)
    return n


def collect(inp):
    got = []
    try:
        while True:
            got.append(inp())
    except ChannelRetireException:
        return got


def double(inp, out):
    while True:
        out(inp() * 2)


def die(inp, out):
    inp()
    os.kill(os.getpid(), signal.SIGKILL)


def answer(inp):
    reply = inp()
    reply(os.getpid())
    retire(reply)


def return_without_retiring(out):
    out(1)


def repr_short(value):
    return repr(value)[:12]


kinds = pytest.mark.parametrize("kind", [process, multiprocess], ids=["threads", "processes"])
buffers = pytest.mark.parametrize("buffer", [0, 2])


@kinds
@buffers
def test_a_pipeline_ends_when_its_source_retires(kind, buffer):
    a, b = Channel(buffer=buffer), Channel(buffer=buffer)
    values = Parallel(kind(count)(-a, 20), kind(double)(+a, -b), process(collect)(+b))
    assert values == [20, None, [2 * i for i in range(20)]]


@kinds
def test_replicas_get_ends_of_their_own(kind):
    a, b = Channel(), Channel()
    values = Parallel(kind(count)(-a, 20), kind(double)(+a, -b) * 3, kind(collect)(+b))
    assert sorted(values[-1]) == [2 * i for i in range(20)]


@kinds
def test_poison_spreads(kind):
    a, b = Channel(), Channel()
    out, inp = -a, +b
    Spawn(kind(double)(+a, -b))
    out(4)
    assert inp() == 8
    poison(out)
    with pytest.raises(ChannelPoisonException):
        inp()
    csp.shutdown()


@kinds
def test_a_process_that_returns_retires_its_ends(kind):
    a = Channel()
    assert Parallel(kind(return_without_retiring)(-a), process(collect)(+a))[1] == [1]


def test_a_process_that_is_killed_counts_as_retired():
    a, b = Channel(), Channel()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        values = Parallel(process(count)(-a, 1), multiprocess(die)(+a, -b), process(collect)(+b))
    assert values[1:] == [None, []]
    told = [str(w.message) for w in caught if issubclass(w.category, csp.ProcessDiedWarning)]
    assert len(told) == 1 and "killed by signal 9" in told[0]


def test_an_end_travels_through_a_channel():
    a, back = Channel(), Channel()
    inp, out = +back, -a
    Spawn(multiprocess(answer)(+a))
    out(-back)
    assert inp() != os.getpid()
    csp.shutdown()


def send_on(out, end):
    out(end)  # and ends


def send_own_and_die(out):
    inner = Channel(buffer=1)
    inp, to = +inner, -inner
    to("inside")
    out(inp)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("select", [False, True], ids=["written", "chosen"])
def test_an_end_on_its_way_is_held_by_the_message(select):
    mail, inner = Channel(buffer=1), Channel()
    out, inp, reader, writer = -mail, +mail, +inner, -inner
    if select:
        assert AltSelect(OutputGuard(out, {"end": writer}))[0] is out
    else:
        out({"end": writer})
    inner._kept.clear()
    del writer
    gc.collect()
    got = inp()["end"]
    other = threading.Thread(target=got, args=(7,))
    other.start()
    assert reader() == 7
    other.join()
    got.channel._kept.clear()
    del got, other
    gc.collect()
    with pytest.raises(ChannelRetireException):  # nobody has it any more
        reader()


def test_an_end_in_a_message_that_nobody_reads_is_retired_with_it():
    mail, inner = Channel(buffer=1), Channel()
    (-mail)(-inner)
    mail._kept.clear()
    reader = +inner
    inner._kept = {reader}
    del mail
    gc.collect()
    with pytest.raises(ChannelRetireException):
        reader()


@buffers
def test_an_end_outlives_the_process_that_has_sent_it_on(buffer):
    mail, inner = Channel(buffer=buffer), Channel()
    inp, reader = +mail, +inner
    Spawn(multiprocess(send_on)(-mail, -inner))
    got = inp()
    csp.shutdown()
    other = threading.Thread(target=got, args=("there",))
    other.start()
    assert reader() == "there"
    other.join()


@pytest.mark.filterwarnings("ignore::shoal.csp.ProcessDiedWarning")
@buffers
def test_an_end_outlives_the_process_that_is_killed_after_it_has_sent_it(buffer):
    mail = Channel(buffer=buffer)
    inp = +mail
    Spawn(multiprocess(send_own_and_die)(-mail))
    got = inp()
    csp.shutdown()
    assert got() == "inside"


def test_a_lock_travels_through_a_channel():
    import shoal

    mail = Channel(buffer=1)
    (-mail)([shoal.Lock(), 1])
    lock, one = (+mail)()
    assert lock.acquire(False) and not lock.acquire(False) and one == 1


def test_an_end_that_was_given_to_a_process_cannot_be_used():
    a = Channel()
    out, inp = -a, +a
    Spawn(multiprocess(count)(out, 1))
    with pytest.raises(FatalException):
        out(1)
    assert inp() == 0
    csp.shutdown()


def test_what_cannot_be_pickled_goes_between_threads():
    a = Channel(buffer=1)
    lock = threading.Lock()
    out, inp = -a, +a
    out(lock)
    assert inp() is lock


@pytest.mark.parametrize("message", [None, 0, b"x" * 100_000, "ä" * 5000, {"a": [1, (2,)]}, ValueError("no")], ids=repr_short)
def test_messages_of_any_kind_and_size(message):
    a = Channel(buffer=1)
    out, inp = -a, +a
    out(message)
    got = inp()
    assert type(got) is type(message) and (got == message or got.args == message.args)


def test_alternation_carries_out_one_guard():
    a, b = Channel(buffer=1), Channel(buffer=1)
    inp, out = +a, -b
    (-a)(5)
    got = [AltSelect(InputGuard(inp)), AltSelect(OutputGuard(out, 7))]
    assert got == [(inp, 5), (out, None)]
    assert (+b)() == 7
    guard, message = PriSelect(InputGuard(inp), SkipGuard())
    assert isinstance(guard, SkipGuard) and message is None
    guard, message = AltSelect(InputGuard(inp), TimeoutGuard(seconds=0.01))
    assert isinstance(guard, TimeoutGuard) and message is None


def test_a_long_message_comes_through_an_alternation():
    a = Channel(buffer=1)
    inp = +a
    (-a)("y" * 1_000_000)
    assert AltSelect(InputGuard(inp)) == (inp, "y" * 1_000_000)


def test_actions():
    a = Channel(buffer=3)
    out, inp, seen = -a, +a, []

    @choice
    def note(where, channel_input=None):
        where.append(channel_input)

    for i in range(3):
        out(i)
    AltSelect(InputGuard(inp, action=note(seen)))
    AltSelect(InputGuard(inp, action="seen.append(channel_input * 10)"))
    AltSelect(InputGuard(inp, action=lambda channel_input: seen.append(-channel_input)))
    AltSelect(SkipGuard(action="seen.append('skipped')"))
    assert seen == [0, 10, -2, "skipped"]
    with pytest.raises(InfoException):
        AltSelect(SkipGuard(action=note))


def test_the_older_form_of_alternation():
    a, b = Channel(buffer=1), Channel(buffer=1)
    inp, out, seen = +a, -b, []
    (-a)(1)
    alternation = Alternation([{inp: "seen.append(channel_input)"}], ensurePriority=True)
    assert alternation.execute() == (inp, 1) and seen == [1]
    assert Alternation([{(out, 3): None}]).select() == (out, None)
    guard, message = Alternation([(inp, None), (SkipGuard(), None)], ensurePriority=True).select()
    assert isinstance(guard, SkipGuard) and message is None


def test_fair_selection_takes_turns():
    a, b = Channel(buffer=50), Channel(buffer=50)
    first, second = -a, -b
    for i in range(50):
        first("a")
        second("b")
    inputs = +a, +b
    got = [FairSelect(*map(InputGuard, inputs))[1] for _ in range(100)]
    assert all(abs(got[:n].count("a") - got[:n].count("b")) <= 1 for n in range(101))


def test_sequence_and_the_names_of_processes():
    def name():
        return csp.current_process_id()

    first, second = Sequence(process(name)(), process(name)())
    assert first != second and csp.current_process_id() == "__main__"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: retire(Channel()),
        lambda: poison(3),
        lambda: AltSelect(),
        lambda: AltSelect(Channel().reader()),
        lambda: InputGuard(Channel().writer()),
        lambda: OutputGuard(Channel().reader(), 1),
        lambda: Parallel(len),
        lambda: Channel(name="x" * 33),
    ],
)
def test_what_is_used_wrongly_is_told(wrong):
    with pytest.raises(InfoException):
        wrong()


def test_other_machines_are_refused():
    for refused in (csp.sshprocess, csp.clusterprocess):
        with pytest.raises(NotImplementedError):
            refused(len)
    with pytest.raises(csp.ChannelConnectException):
        Channel("x", connect=("localhost", 1))


def test_a_signal_handler_that_raises_ends_a_read():
    class Alarm(Exception):
        pass

    def handler(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        a = Channel()
        out, inp = -a, +a
        with pytest.raises(Alarm):
            inp()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert out.isWriter() and inp.isReader()
