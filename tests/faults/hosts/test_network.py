"""The hosts of these tests: names, latency, loss, a cut that heals, and a reboot."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.hosts.network import Host, Network, network

PORT = 5000
SERVER = f"""
import socket, sys
server = socket.create_server((sys.argv[1], {PORT}))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    with connection:
        while received := connection.recv(1 << 16):
            connection.sendall(received)
"""
# Sends bytes to a host and prints the seconds until they have come back.
CLIENT = f"""
import socket, sys, time
start = time.monotonic()
with socket.create_connection((sys.argv[1], {PORT})) as connection:
    sent = bytes(int(sys.argv[2]))
    connection.sendall(sent)
    received = 0
    while received < len(sent):
        received += len(connection.recv(1 << 16))
print(time.monotonic() - start)
"""


def echo_seconds(client: Host, server: Host, count: int = 1) -> float:
    return float(client.run(["python3", "-c", CLIENT, server.name, str(count)]))


def serve(host: Host) -> None:
    process = host.popen(["python3", "-c", SERVER, host.address])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(2, tmp_path) as net:
        yield net


def test_hosts_have_names_and_reach_each_other(net: Network) -> None:
    first, second = net.hosts
    assert first.run(["hostname"]) == "host1\n"
    assert first.run(["hostname"]) != socket.gethostname()
    serve(second)
    echo_seconds(first, second)


def test_latency_and_loss(net: Network) -> None:
    first, second = net.hosts
    serve(second)
    net.latency(0.1)
    assert echo_seconds(first, second) >= 0.4  # two round trips
    net.latency(0.0)
    net.loss(0.2)
    _, lost_before = net.frames()
    echo_seconds(first, second, 200_000)
    assert net.frames()[1] > lost_before


def test_a_cut_blocks_until_it_heals(net: Network) -> None:
    first, second = net.hosts
    serve(second)
    net.cut(second)
    process = first.popen(["python3", "-c", CLIENT, second.name, "1"])
    deadline = time.monotonic() + 10
    while net.frames()[1] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.poll() is None
    net.heal(second)
    output, errors = process.communicate(timeout=60)
    assert float(output) > 0, errors


def test_a_reboot_ends_all_programs_of_a_host(net: Network) -> None:
    first, second = net.hosts
    serve(second)
    second.reboot()
    process = first.popen(["python3", "-c", CLIENT, second.name, "1"])
    assert "ConnectionRefusedError" in process.communicate(timeout=60)[1]
    serve(second)
    echo_seconds(first, second)
