"""The limits of TCP connections that ranks have."""

import errno
import os
import socket

import pytest

from ovocr.trainer.ranks.retransmission import _TCP_RTO_MAX_MS, limit_retransmission_pauses


def test_connections_get_both_limits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            try:
                client.getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
                pytest.skip("this kernel has no limit of TCP's pauses (Linux 6.15)")
            limit_retransmission_pauses(give_up_s=40)
            for connection in (client, accepted):
                assert connection.getsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS) == 1000
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000


def test_other_files_are_left_alone() -> None:
    reader, writer = os.pipe()
    pair = socket.socketpair()
    limit_retransmission_pauses(give_up_s=40)
    os.write(writer, b"pipe")
    assert os.read(reader, 9) == b"pipe"
    pair[0].send(b"pair")
    assert pair[1].recv(9) == b"pair"
    for each in pair:
        each.close()
    os.close(reader)
    os.close(writer)
