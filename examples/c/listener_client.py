"""listener_client.py ADDRESS - has listener.c count words. Standard library only, any Python since 3.8."""
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

try:
    Client(sys.argv[1], authkey=b"a guess")
except (AuthenticationError, EOFError):
    print("a guess will not do")

with Client(sys.argv[1], authkey=b"secret password") as listener:
    for text in "to be or not to be", "", "that is the question":
        listener.send_bytes(text.encode())
        print(listener.recv_bytes().decode())
