"""manager_server.py ADDRESS KEY - Python's own manager, for manager.py to be tested with. As shoal-manager: prints
`at ADDRESS`, and ends when standard input does. Standard library only.
"""
import multiprocessing
import os
import queue
import sys
import threading
import time
from multiprocessing import managers


class Sum:
    def __init__(self, start=0):
        self.sum = start + 0

    def add(self, n):
        self.sum += n

    def total(self):
        return self.sum

    def slow(self, seconds):
        time.sleep(seconds)
        return self.sum

    def fail(self):
        raise ValueError("on purpose")


class Manager(managers.SyncManager):
    pass


def main():
    for name, thing in (("get_jobs", queue.Queue()), ("get_lock", threading.Lock()), ("get_event", threading.Event()),
                        ("get_counter", managers.Value("i", 0))):
        Manager.register(name, lambda thing=thing: thing)
    Manager.register("Sum", Sum)
    multiprocessing.current_process().authkey = sys.argv[2].encode()  # a lock in a condition is a proxy there
    server = Manager(sys.argv[1], sys.argv[2].encode()).get_server()
    print("at", server.address, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os.unlink(sys.argv[1]), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
