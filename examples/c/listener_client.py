"""listener_client.py ADDRESS - has listener.c add numbers up. Standard library only, any Python since 3.8."""
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

try:
    Client(sys.argv[1], authkey=b"a guess")
except (AuthenticationError, EOFError):
    print("a guess will not do")

with Client(sys.argv[1], authkey=b"secret password") as listener:
    for numbers in [1, 2.5, 10 ** 6], [], ["one", "two"]:
        listener.send(numbers)
        answer = listener.recv()
        print("%s: %s" % (type(answer).__name__, answer))
