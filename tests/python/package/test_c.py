"""C programs of the family and Python look at the same containers."""
import errno
import os

import pytest

import shoal
from shoal.program import Program

BUILD = os.environ.get("BUILD") or os.path.join(os.path.dirname(__file__), *[".."] * 3, "build")
PROGRAM = os.path.join(BUILD, "tests", "shoal-python-containers")

#: What both can say; the C program's list of values must come out as this, too.
VALUES = [None, True, -7, 2**63 - 1, 2**70, 0.5, 1e300, "", "short", "x" * 4999, b"\0\xff", b"x" * 4999 + b"\0", (-1, "\xe9"), [1, []],
          {"k": {1, 2}}, frozenset({"f"}), 1 + 2j]
KEYS = {1: "int", 0.5: "float", None: "None", b"b": "bytes", (1, "a"): "tuple", frozenset({1}): "frozenset"}


class Opaque:
    """What only Python can make."""


@pytest.fixture
def manager():
    with shoal.get_context("fork").Manager() as m:
        yield m


def test_a_c_program_reads_and_fills_containers(manager):
    if not os.path.exists(PROGRAM):
        pytest.skip("there is no " + PROGRAM)
    filled = [41, "yes"] + VALUES
    entries = dict(KEYS, count=1, state="yes", nested={"a": [1, {2}]}, long="y" * 5000)
    attributes = dict(count=1, state="yes", text="z" * 3000, some=[1, 2.5, None])
    array, table, space = manager.list(filled), manager.dict(entries), manager.Namespace(**attributes)
    table["opaque"] = Opaque()
    program = Program([PROGRAM, array, table, space])
    assert program.wait(60) == 0
    program.close()
    # what it read
    assert table["list"] == repr(filled)
    assert table["dict"] == repr(entries)
    assert table["namespace"] == repr(attributes)
    assert table["refused"] == -errno.EBADMSG
    # what it changed
    assert array[0] == 42 and array[1] == "no"
    assert table["count"] == 6 and table["state"] == "no"
    assert space.count == 8 and space.state == "no"
    # what it filled
    assert array[len(filled):] == VALUES and list(map(type, array[len(filled):])) == list(map(type, VALUES))
    for own in (table["values"], space.values):
        assert isinstance(own, type(array)) and own[:] == VALUES
    table["values"].append("both")
    assert space.values[-1] == "both"
    assert {key: table[key] for key in KEYS} == KEYS
    lock = table["lock"]
    assert lock.acquire(False) and table["lock"].locked()


def test_a_container_that_a_c_program_filled_is_held_by_what_holds_it(manager):
    if not os.path.exists(PROGRAM):
        pytest.skip("there is no " + PROGRAM)
    table = manager.dict(state="yes", count=0, opaque=None)
    space = manager.Namespace(state="yes", count=0)
    program = Program([PROGRAM, manager.list([0, "yes"]), table, space])
    assert program.wait(60) == 0
    program.close()
    del table["values"]
    assert space.values[:] == VALUES
    assert table["refused"] == 0
