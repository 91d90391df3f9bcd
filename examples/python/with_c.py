#!/usr/bin/env python3
"""Python and C in one family: a C program takes lists of numbers from a Python queue, and puts their sums into another.

usage: with_c.py PROGRAM      build/examples/python_worker, which is examples/c/python_worker.c
"""
import sys

import shoal
from shoal.program import Program


def main(path):
    tasks, answers = shoal.Queue(), shoal.Queue()
    workers = [Program([path, tasks, answers]) for _ in range(2)]
    for n in range(1, 6):
        tasks.put(list(range(n + 1)))
    for _ in workers:
        tasks.put(None)
    for numbers, total in sorted(answers.get() for _ in range(5)):
        print("%s = %g" % (" + ".join(map(str, numbers)), total))
    for worker in workers:
        assert worker.wait() == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
