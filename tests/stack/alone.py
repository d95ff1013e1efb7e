"""Run a command in a network of its own, where only loopback answers, and tell what it tried to reach beyond.

    unshare --net python alone.py report.json command …

Everything else is routed to the loopback device, where a packet socket sees it and nobody answers. The report is a JSON list: for each
packet that was not for this machine, or was a question for a name server, its address, its port and the printable part of what it holds.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

# From linux/sockios.h, linux/if.h, linux/route.h, linux/if_packet.h and linux/if_ether.h.
SIOCSIFFLAGS, SIOCADDRT, IFF_UP, IFF_RUNNING, RTF_UP = 0x8914, 0x890B, 0x1, 0x40, 0x1
PACKET_OUTGOING, ETH_P_ALL = 4, 0x0003
DNS, TCP, UDP = 53, 6, 17


class _Address(ctypes.Structure):
    _fields_ = (("family", ctypes.c_ushort), ("data", ctypes.c_ubyte * 14))


class _Route(ctypes.Structure):
    """``struct rtentry``."""

    _fields_ = (
        ("pad1", ctypes.c_ulong),
        ("destination", _Address),
        ("gateway", _Address),
        ("mask", _Address),
        ("flags", ctypes.c_ushort),
        ("pad2", ctypes.c_short),
        ("pad3", ctypes.c_ulong),
        ("pad4", ctypes.c_void_p),
        ("metric", ctypes.c_short),
        ("device", ctypes.c_char_p),
        ("rest", ctypes.c_ulong * 3),
    )


def everything_goes_to_loopback() -> None:
    """Bring the loopback device up and make it the way to everywhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING))
        route = _Route(flags=RTF_UP, device=b"lo")
        for address in (route.destination, route.gateway, route.mask):
            address.family = socket.AF_INET
        fcntl.ioctl(control, SIOCADDRT, route)


def beyond(packet: bytes) -> dict[str, object] | None:
    """What a packet of IPv4 or IPv6 tells if it is not for this machine alone; None if it is."""
    if packet[0] >> 4 == 4:
        protocol, length, address = packet[9], (packet[0] & 15) * 4, socket.inet_ntop(socket.AF_INET, packet[16:20])
    else:
        protocol, length, address = packet[6], 40, socket.inet_ntop(socket.AF_INET6, packet[24:40])
    port = struct.unpack("!H", packet[length + 2 : length + 4])[0] if protocol in (TCP, UDP) else 0
    if (address.startswith("127.") or address == "::1") and port != DNS:
        return None
    text = re.sub(rb"[^\x21-\x7e]+", b".", packet[length:][8:200]).decode()
    return {"address": address, "port": port, "holds": text}


def main(report: Path, command: list[str]) -> int:
    """Exit status of the command."""
    everything_goes_to_loopback()
    seen: list[dict[str, object]] = []
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    packets.bind(("lo", 0))

    def watch() -> None:
        while True:
            packet, source = packets.recvfrom(65535)
            if source[2] == PACKET_OUTGOING and (found := beyond(packet)):
                seen.append(found)

    threading.Thread(target=watch, daemon=True).start()
    status = subprocess.run(command, check=False).returncode
    report.write_text(json.dumps(seen))
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
