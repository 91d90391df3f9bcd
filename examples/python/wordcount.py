#!/usr/bin/env python3
"""Counts the words of all text files below some folders with a pool: the standard library's, then shoal's, with the same code.

usage: wordcount.py [DIR …]      without one: Python's own sources
"""
import collections
import multiprocessing
import os
import re
import sys
import sysconfig
import time

import shoal

WORD = re.compile(rb"[a-z\x80-\xff]+")


def count_words(paths):
    """The words of these files, in small letters, with their numbers."""
    words = collections.Counter()
    for path in paths:
        with open(path, "rb") as file:
            words.update(WORD.findall(file.read().lower()))
    return words


def text_files(folders, most=256 << 10):
    """Lists of files below the folders, some hundred KiB of text each."""
    batch, size = [], 0
    for folder in folders:
        for where, below, names in os.walk(folder):
            below.sort()
            for name in sorted(names):
                path = os.path.join(where, name)
                if name.endswith((".py", ".h", ".c", ".txt", ".md", ".rst")) and os.path.isfile(path):
                    batch.append(path)
                    size += os.path.getsize(path)
                    if size >= most:
                        yield batch
                        batch, size = [], 0
    if batch:
        yield batch


def count_all(package, batches):
    """With a pool of the package that is given: the words, and how long it took in seconds."""
    begun = time.perf_counter()
    words = collections.Counter()
    with package.Pool() as pool:
        for part in pool.imap_unordered(count_words, batches):
            words.update(part)
    return words, time.perf_counter() - begun


def main():
    batches = list(text_files(sys.argv[1:] or [sysconfig.get_path("stdlib")]))
    if not batches:
        sys.exit("there are no text files below %s" % " ".join(sys.argv[1:]))
    count_all(shoal, batches)  # the files come from memory for both
    by_standard, standard = count_all(multiprocessing, batches)
    by_shoal, engine = count_all(shoal, batches)
    for word, n in by_shoal.most_common(5):
        print("%10d  %s" % (n, word.decode(errors="replace")))
    print("%d words: multiprocessing %.2f s, shoal %.2f s" % (sum(by_shoal.values()), standard, engine))
    if by_standard != by_shoal:
        sys.exit("the two have not counted the same")
    print("both have counted the same")


if __name__ == "__main__":
    main()
