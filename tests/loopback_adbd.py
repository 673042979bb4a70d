"""The device side of the adb protocol on loopback TCP: the real client takes it for a device.

By default it asks for no key. Services are `shell,v2`, `shell`, `exec` and `sync` version 1; paths below `/data` are
kept in a folder.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

VERSION, MOST = 0x01000000, 256 * 1024
CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
TOKEN, SIGNATURE = 1, 2
STDIN, STDOUT, STDERR, EXIT = range(4)


class LoopbackAdbd:
    """A device at `serial`, started on construction.

    Args:
        root: Folder that stands for the device's `/data`.
        shell_v2: Whether it passes exit codes on (an old device does not).
        greets: Whether it answers a host (`mute` never does), or asks for a key that its user never accepts.
    """

    def __init__(
        self, root: Path, *, shell_v2: bool = True, greets: Literal["gladly", "mute", "unauthorised"] = "gladly"
    ) -> None:
        self.root, self.full, self.greets = root, False, greets
        features = "shell_v2,cmd" if shell_v2 else "cmd"
        self.banner = (
            f"device::ro.product.name=loopback;ro.product.model=Loopback;ro.product.device=lo;features={features}"
        )
        self._server = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._connections: list[Connection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def path(self, on_device: str) -> Path:
        """Where a path of the device is kept."""
        return self.root / on_device.lstrip("/")

    def mapped(self, command: str) -> str:
        """A command whose `/data` is the folder."""
        return command.replace("/data/", f"{self.root}/data/")

    def drop(self) -> None:
        """Break every connection, as a reboot does."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
            connection.socket.close()
        self._connections.clear()

    def stop(self) -> None:
        """Go away for good."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client, self)
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()


@dataclass
class Stream:
    """One service in a connection."""

    connection: Connection
    own: int
    theirs: int
    received: queue.Queue[bytes | None] = field(default_factory=queue.Queue)
    acknowledged: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    closed: bool = False
    buffer: bytes = b""

    def write(self, data: bytes) -> None:
        """Send and wait until the host has taken it."""
        for start in range(0, len(data), self.connection.most):
            if self.closed:
                raise EOFError
            self.connection.send(WRTE, self.own, self.theirs, data[start : start + self.connection.most])
            self.acknowledged.acquire()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self.buffer) < size:
            data = self.received.get()
            if data is None:
                raise EOFError
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def close(self, *, tell: bool = True) -> None:
        """End it, and everybody who waits for it."""
        if self.closed:
            return
        self.closed = True
        self.received.put(None)
        self.acknowledged.release()
        if tell:
            self.connection.send(CLSE, self.own, self.theirs)


class Connection:
    """One host's connection: messages in, streams out."""

    def __init__(self, client: socket.socket, device: LoopbackAdbd) -> None:
        self.socket, self.device, self.most = client, device, MOST
        self.streams: dict[int, Stream] = {}
        self._sending = threading.Lock()
        self._checksums = False

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        """Send one message; a host that is gone is no error."""
        checksum = sum(data) & 0xFFFFFFFF if self._checksums else 0
        head = struct.pack("<6I", command, first, second, len(data), checksum, command ^ 0xFFFFFFFF)
        with self._sending, contextlib.suppress(OSError):
            self.socket.sendall(head + data)

    def serve(self) -> None:
        """Until the host goes."""
        try:
            while True:
                command, first, second, size, _, _ = struct.unpack("<6I", self._receive(24))
                self._message(command, first, second, self._receive(size))
        except (EOFError, OSError):
            for stream in list(self.streams.values()):
                stream.close(tell=False)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _message(self, command: int, first: int, second: int, data: bytes) -> None:
        stream = self.streams.get(second)
        if self.device.greets == "mute":
            return
        if self.device.greets == "unauthorised":
            if command == CNXN or (command == AUTH and first == SIGNATURE):
                self._checksums = True
                self.send(AUTH, TOKEN, 0, bytes(range(20)))
        elif command == CNXN:
            self.most, self._checksums = min(second, MOST), first <= VERSION
            self.send(CNXN, min(first, VERSION), MOST, self.device.banner.encode())
        elif command == OPEN:
            stream = Stream(self, len(self.streams) + 1, first)
            self.streams[stream.own] = stream
            self.send(OKAY, stream.own, first)
            service = data.rstrip(b"\0").decode()
            threading.Thread(target=serve, args=(stream, self.device, service), daemon=True).start()
        elif stream is not None and command == WRTE:
            stream.received.put(data)
            self.send(OKAY, second, first)
        elif stream is not None and command == OKAY:
            stream.acknowledged.release()
        elif stream is not None and command == CLSE:
            stream.close()


def serve(stream: Stream, device: LoopbackAdbd, service: str) -> None:
    """Serve one stream until it ends."""
    name, _, argument = service.partition(":")
    try:
        if name == "sync":
            synchronise(stream, device)
        elif name.startswith("shell,v2"):
            run(stream, device.mapped(argument), framed=True)
        elif name in ("shell", "exec") or name.startswith("shell,"):
            run(stream, device.mapped(argument), framed=False)
    except EOFError:
        pass
    finally:
        stream.close()


def run(stream: Stream, command: str, *, framed: bool) -> None:
    """A shell command: with shell_v2 in frames that end with the exit code, else its bare output."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.stdout
    while output is not None and (data := output.read(32768)):
        stream.write(struct.pack("<BI", STDOUT, len(data)) + data if framed else data)
    code = process.wait()
    if framed:
        stream.write(struct.pack("<BIB", EXIT, 1, code & 255))


def synchronise(stream: Stream, device: LoopbackAdbd) -> None:
    """File transfer, version 1 of the protocol."""
    while True:
        request, size = stream.read(4), struct.unpack("<I", stream.read(4))[0]
        if request == b"QUIT":
            return
        name = stream.read(size).decode()
        if request == b"STAT":
            stat(stream, device.path(name))
        elif request == b"SEND":
            receive(stream, device, name)
        elif request == b"RECV":
            send(stream, device.path(name))
        else:
            fail(stream, f"unknown request {request!r}")
            return


def stat(stream: Stream, path: Path) -> None:
    try:
        found = path.lstat()
        stream.write(b"STAT" + struct.pack("<3I", found.st_mode, found.st_size, int(found.st_mtime)))
    except OSError:
        stream.write(b"STAT" + bytes(12))


def receive(stream: Stream, device: LoopbackAdbd, request: str) -> None:
    name, mode = request.rsplit(",", 1)
    content = b""
    while True:
        kind, size = stream.read(4), struct.unpack("<I", stream.read(4))[0]
        if kind == b"DONE":
            break
        content += stream.read(size)
    if device.full:
        fail(stream, "No space left on device")
        return
    path = device.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(int(mode) & 0o777)
    stream.write(b"OKAY" + bytes(4))


def send(stream: Stream, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        fail(stream, str(error))
        return
    for start in range(0, len(content), 65536):
        part = content[start : start + 65536]
        stream.write(b"DATA" + struct.pack("<I", len(part)) + part)
    stream.write(b"DONE" + bytes(4))


def fail(stream: Stream, reason: str) -> None:
    stream.write(b"FAIL" + struct.pack("<I", len(reason)) + reason.encode())
