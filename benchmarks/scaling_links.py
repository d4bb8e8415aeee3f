"""Networks with a latency on one machine: a namespace for each rank, and a thread that carries the packets and holds each for a time.

It needs root and the command `ip` of iproute2. The thread stands for `tc netem`, which many kernels do not have. A small message and
its answer take 0.23 ms through a latency of 0.1 ms in each direction, and 2.2 ms through 1 ms. The thread takes a part of the machine's
cores, so large messages are slower than on the loopback device.
"""

import contextlib
import fcntl
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
OVERSLEEP = 0.2e-3  # seconds by which a timer may wake this process late; it polls in the last of them
MTU = 65_535  # the largest packet; smaller ones would take more calls


class Link(NamedTuple):
    """Where a rank runs: the beginning of its command, its device, its address, and rank 0's port."""

    command: list[str]
    device: str
    address: str
    port: int


@contextlib.contextmanager
def links(ranks: int, delay: float) -> Iterator[list[Link]]:
    """Make a place for each rank, and remove them at the end.

    Args:
        ranks: their number.
        delay: latency in one direction, ms; 0: the loopback device.

    Raises:
        OSError: the networks cannot be made here; the message says what is missing.
    """
    if delay == 0:
        yield [Link([], "lo", "127.0.0.1", free_port())] * ranks
        return
    check()
    names = [f"ppo{os.getpid()}n{n}"[-15:] for n in range(ranks)]  # of namespaces and devices, at most 15 characters
    places = [Link(["ip", "netns", "exec", name], name, f"10.77.0.{n + 1}", 29500) for n, name in enumerate(names)]
    with contextlib.ExitStack() as stack:
        for place in places:
            run("ip", "netns", "add", place.device)
            stack.callback(run, "ip", "netns", "del", place.device)
            run(*place.command, "ip", "link", "set", "lo", "up")
        stack.enter_context(_relay(places, delay))
        yield places


def check() -> None:
    """Raise OSError, with a sentence, if this machine cannot make the networks."""
    if shutil.which("ip") is None:
        raise OSError("the command ip is missing; install iproute2")
    if os.geteuid():
        raise OSError("only root can make network namespaces; run the benchmark as root")
    if not os.path.exists("/dev/net/tun"):
        raise OSError("/dev/net/tun is missing; use a kernel with tun devices")


def run(*command: str) -> None:
    """Run a command; its error becomes an OSError."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def free_port() -> int:
    """Return a port of this machine that is not in use."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])


@contextlib.contextmanager
def _relay(places: list[Link], delay: float) -> Iterator[None]:
    """Give each namespace a device, and carry packets between them."""
    files: dict[bytes, int] = {}  # by address
    with contextlib.ExitStack() as stack:
        for place in places:
            file = os.open("/dev/net/tun", os.O_RDWR)
            stack.callback(os.close, file)
            fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", place.device.encode(), IFF_TUN | IFF_NO_PI))
            files[socket.inet_aton(place.address)] = file
            run("ip", "link", "set", place.device, "mtu", str(MTU), "netns", place.device)
            run(*place.command, "ip", "address", "add", f"{place.address}/24", "dev", place.device)
            run(*place.command, "ip", "link", "set", place.device, "up")
        ended, end = os.pipe()
        thread = threading.Thread(target=_carry, args=(files, delay / 1000, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(end)
            thread.join()
            os.close(ended)


def _carry(files: dict[bytes, int], delay: float, ended: int) -> None:
    """Deliver each packet some seconds after it was sent, until the pipe `ended` is closed."""
    late: deque[tuple[float, bytes]] = deque()
    while True:
        wait = max(0.0, late[0][0] - time.perf_counter() - OVERSLEEP) if late else None
        ready, _, _ = select.select([ended, *files.values()], [], [], wait)
        if ended in ready:
            return
        now = time.perf_counter()
        late.extend((now + delay, os.read(file, MTU + 1)) for file in ready)
        while late and late[0][0] <= time.perf_counter():
            packet = late.popleft()[1]
            to = files.get(packet[16:20])  # the destination in IPv4; packets of IPv6 have no use here
            if to is not None and packet[0] >> 4 == 4:
                os.write(to, packet)
