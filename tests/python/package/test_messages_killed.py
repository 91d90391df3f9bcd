"""Random SIGKILLs over queues and pipes: nobody hangs, and nothing that was completed is lost.

KILLS=1000 in the environment makes it a campaign.
"""
import random
import time

import pytest
from killing import KILLS, context, tell

import shoal

PAYLOADS = [None, "short", [1.5, {"a": b"b"}], b"l" * 5000, ["m" * 3000, bytearray(b"n" * 30000)], 2**200]


def put_for_ever(put, done):
    i = 0
    while True:
        put((i, PAYLOADS[i % len(PAYLOADS)]))
        i += 1
        done[0] = i


def start(target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    return process


def check(got, done):
    """What was received of a dead producer: all that it had put, and perhaps the one that it was about to report."""
    assert [i for i, _ in got] == list(range(len(got)))
    assert all(payload == PAYLOADS[i % len(PAYLOADS)] for i, payload in got)
    assert done[0] <= len(got) <= done[0] + 1


@pytest.mark.parametrize("maxsize", [0, 3])
def test_killed_producers_lose_nothing_that_they_had_put(maxsize):
    source, total = random.Random(1), 0
    queue = context.Queue(maxsize)
    for _ in range(KILLS):
        done = shoal.RawArray("q", 1)
        process = start(put_for_ever, queue.put, done)
        got = [queue.get(timeout=60) for _ in range(source.randrange(60))]
        time.sleep(source.random() * 0.003)
        process.kill()
        process.join()
        while not queue.empty():
            got.append(queue.get())
        check(got, done)
        total += len(got)
    tell("Queue(%d): %d producers killed, %d messages", maxsize, KILLS, total)


def test_killed_senders_lose_nothing_that_they_had_sent():
    source, total = random.Random(2), 0
    for _ in range(KILLS):
        done = shoal.RawArray("q", 1)
        reader, writer = context.Pipe(False)
        process = start(put_for_ever, writer.send, done)
        writer.close()
        got = [reader.recv() for _ in range(source.randrange(60))]
        time.sleep(source.random() * 0.003)
        process.kill()
        try:
            while True:
                got.append(reader.recv())
        except EOFError:
            pass
        process.join()
        check(got, done)
        total += len(got)
    tell("Pipe: %d senders killed, %d messages", KILLS, total)


def get_for_ever(queue, got):
    while True:
        i, payload = queue.get()
        assert payload == PAYLOADS[i % len(PAYLOADS)]
        got[i] = 1


def test_killed_consumers_lose_no_more_than_what_each_had_in_hand():
    source = random.Random(3)
    queue, number = context.Queue(), 0
    got = shoal.RawArray("b", KILLS * 400)
    consumers = [start(get_for_ever, queue, got) for _ in range(2)]
    for kill in range(KILLS):
        for _ in range(source.randrange(200)):
            queue.put((number, PAYLOADS[number % len(PAYLOADS)]))
            number += 1
        time.sleep(source.random() * 0.003)
        at = source.randrange(2)
        consumers[at].kill()
        consumers[at].join()
        consumers[at] = start(get_for_ever, queue, got)
    while not queue.empty():
        time.sleep(0.001)
    for consumer in consumers:
        consumer.kill()
        consumer.join()
    assert number - sum(got) <= KILLS + 2
    tell("Queue: %d consumers killed, %d messages, %d of them with their consumers", KILLS, number, number - sum(got))
