"""A small TCP balancer, as a Service of Kubernetes is one: new connections go to backends that are ready, in turn."""

import itertools
import socket
import threading
import time
from urllib.request import urlopen


class Balancer:
    """Listens on a port of its own. `backends` may be changed at any time; whether they are ready is asked every 100 ms."""

    def __init__(self):
        self.backends, self.ready = {}, []
        self._turn = itertools.count()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        for work in (self._watch, self._accept):
            threading.Thread(target=work, daemon=True).start()

    def put(self, name, gateway):
        """Adds a backend, or replaces the one of the same name."""
        self.backends[name] = gateway

    def close(self):
        self._closing.set()
        self._listener.close()

    def _watch(self):
        while not self._closing.is_set():
            self.ready = [gateway for gateway in list(self.backends.values()) if is_ready(gateway)]
            time.sleep(0.1)

    def _accept(self):
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        # A backend that has just gone is passed over, as long as another is there.
        for _ in range(20):
            ready = self.ready
            if ready:
                gateway = ready[next(self._turn) % len(ready)]
                host, port = gateway.s3.removeprefix("http://").split(":")
                try:
                    backend = socket.create_connection((host, int(port)), timeout=5)
                    break
                except OSError:
                    pass
            time.sleep(0.05)
        else:
            client.close()
            return
        backend.settimeout(None)
        threading.Thread(target=pipe, args=(client, backend), daemon=True).start()
        pipe(backend, client)


def is_ready(gateway):
    try:
        with urlopen(f"{gateway.admin}/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def pipe(source, sink):
    """Passes bytes on until one side closes, and passes the end on too."""
    try:
        while data := source.recv(64 << 10):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
