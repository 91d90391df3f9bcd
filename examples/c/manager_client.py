"""manager_client.py ADDRESS - uses what manager.c exports. Standard library only, any Python since 3.9."""
import sys
from multiprocessing.managers import SyncManager


class Manager(SyncManager):
    pass


for name in "get_jobs", "get_results", "Mean":
    Manager.register(name)

manager = Manager(sys.argv[1], b"secret password")
manager.connect()

jobs, results = manager.get_jobs(), manager.get_results()
for n in 2, 3, "four":
    jobs.put(n)
print("squares:", [results.get() for _ in range(3)])

mean = manager.Mean()
try:
    mean.get()
except ZeroDivisionError as error:
    print("ZeroDivisionError:", error)
for n in 1, 2, 6:
    mean.add(n)
print("mean:", mean.get())

words = manager.dict()
with manager.Lock():
    for word in "to be or not to be".split():
        words[word] = words.get(word, 0) + 1
print("words:", words)

# Who has connected to a manager, and not started it, has no shutdown() of his own.
from multiprocessing.connection import Client
from multiprocessing.managers import dispatch
with Client(sys.argv[1], authkey=b"secret password") as connection:
    dispatch(connection, None, "shutdown")
