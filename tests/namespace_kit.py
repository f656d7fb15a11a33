"""Programs in a network namespace of their own: with routes that lead nowhere, and with few ports.

Knows `unshare` and `ip`, and that it takes the right to make a namespace (root); where that is not given, `possible` is False.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from programs import ROOT

FEW_PORTS = "echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range"


def _is_possible() -> bool:
    try:
        return subprocess.run(["unshare", "-n", "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_namespace = pytest.mark.skipif(not _is_possible(), reason="no right, or no tools, to make a network namespace")


def in_namespace(setup: str, program: str) -> tuple[list[str], str]:
    """The lines that `program` prints after the shell command `setup`, and what it says on stderr."""
    command = f"ip link set lo up && {setup} && exec {sys.executable} -X dev -W error -c '{program}'"
    done = subprocess.run(["unshare", "-n", "sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.splitlines(), done.stderr
