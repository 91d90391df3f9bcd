"""The side of tests/python/run that is Python's, run by the interpreter under test with nothing but its standard library:

    wire.py client ADDRESS KEY              talks to an echoing listener as a stock client does
    wire.py objects ADDRESS KEY             sends objects, that must come back
    wire.py refused ADDRESS KEY             the listener must not take the key
    wire.py answer ADDRESS KEY DIGEST       answers the listener's challenge with that digest, `old` being the form before 3.12
    wire.py listener ADDRESS KEY            prints `at ADDRESS`, echoes for one client
    wire.py refusing ADDRESS KEY            the client must not be taken
    wire.py deliver ADDRESS KEY DIGEST      challenges the client with that digest

A failed assertion or exception ends it with status 1. ADDRESS as for shoal-peer.
"""
import hmac
import os
import sys
from multiprocessing import AuthenticationError, BufferTooShort, connection

SIZES = [0, 1, 5, 16384, 16385, 100000, 5000001]


def parse(text):
    if text[0] in "/@":
        return text.replace("@", "\0")
    host, _, port = text.rpartition(":")
    return host, int(port)


def show(address):
    if isinstance(address, bytes):
        address = address.decode()
    return address.replace("\0", "@") if isinstance(address, str) else "%s:%d" % address[:2]


def talk(c):
    for i, size in enumerate(SIZES):
        message = bytes((k * 3 + i) & 255 for k in range(256)) * (size // 256 + 1)
        c.send_bytes(message[:size])
        assert c.recv_bytes() == message[:size]
    c.send_bytes(b"0123456789")
    assert c.poll(60)
    try:
        c.recv_bytes_into(bytearray(4))
    except BufferTooShort as error:
        assert error.args[0] == b"0123456789"
    else:
        raise AssertionError("it does not fit")
    # What the other side echoes is any bytes, these too.
    value = [42, None, "hello", {"a": (1.5, b"x")}]
    c.send(value)
    assert c.recv() == value


def client(address, key):
    with connection.Client(parse(address), authkey=key) as c:
        talk(c)


class Unknown:
    pass


def objects(address, key):
    values = [None, True, -1, 2 ** 100, 1.5, "h\u00e4llo\U0001f41f", b"bytes", [1, [2]], (1, ()), {"k": {1: 2}}, {1, "2"},
              frozenset([3]), bytearray(b"x"), 1j, ["x" * 100000] * 3]
    with connection.Client(parse(address), authkey=key) as c:
        for value in values:
            c.send(value)
            back = c.recv()
            assert back == value and type(back) is type(value), (value, back)
        c.send(Unknown())
        assert c.recv() == "not an any"
        c.send("goes on")
        assert c.recv() == "goes on"


def refused(address, key):
    try:
        connection.Client(parse(address), authkey=key)
    except (AuthenticationError, EOFError, OSError):
        return
    raise AssertionError("the listener took the key")


def answer(address, key, digest):
    with connection.Client(parse(address)) as c:
        challenge = c.recv_bytes(256)
        assert challenge.startswith(b"#CHALLENGE#{sha256}"), challenge
        message = challenge[len(b"#CHALLENGE#"):]
        assert len(message) == 48
        if digest == "old":
            c.send_bytes(hmac.new(key, message, "md5").digest())
        else:
            c.send_bytes(b"{%s}" % digest.encode() + hmac.new(key, message, digest).digest())
        assert c.recv_bytes(256) == b"#WELCOME#"
        connection.deliver_challenge(c, key)
        talk(c)


def listen(address, key):
    listener = connection.Listener(parse(address), family="AF_INET6" if address.startswith("::") else None, authkey=key)
    print("at", show(listener.address), flush=True)
    return listener


# An IPv6 listener is not something that multiprocessing offers by itself, but its class can be told.
def echo(c):
    while True:
        try:
            c.send_bytes(c.recv_bytes())
        except EOFError:
            return


def listener(address, key):
    with listen(address, key) as waiting:
        with waiting.accept() as c:
            echo(c)


def refusing(address, key):
    with listen(address, key) as waiting:
        try:
            waiting.accept()
        except (AuthenticationError, EOFError, OSError):
            return
    raise AssertionError("the client was taken")


def deliver(address, key, digest):
    with listen(address, None) as waiting:
        with waiting.accept() as c:
            if digest == "old":
                message = os.urandom(20)
                c.send_bytes(b"#CHALLENGE#" + message)
                assert c.recv_bytes(256) == hmac.new(key, message, "md5").digest()
            else:
                message = b"{%s}" % digest.encode() + os.urandom(40)
                c.send_bytes(b"#CHALLENGE#" + message)
                assert c.recv_bytes(256) == b"{%s}" % digest.encode() + hmac.new(key, message, digest).digest()
            c.send_bytes(b"#WELCOME#")
            connection.answer_challenge(c, key)
            echo(c)


name, address, key, *more = sys.argv[1:]
globals()[name](address, key.encode() if key != "-" else None, *more)
