"""Connecting to a Ray cluster: one that is there, or one of this machine alone."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from typing import Any

from adapter_stilts.errors import FailureError, UserError
from adapter_stilts.study.engines.engine import (
    Device,
    available_cpus,
    missing_library,
    visible_gpus,
)

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 40.0
OBJECTS = 100_000_000
"""Bytes for Ray's object store: runs hand nothing over, as their state is in files."""
FORMS = "auto, HOST:PORT or ray://HOST:PORT"

_TRY = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
ray.shutdown()
"""


def connect(address: str | None, device: Device) -> Any:
    """The module `ray`, connected.

    Args:
        address: of a cluster; None starts one on this machine, which ends with this process.
        device: "cpu" offers no GPU of this machine.

    Raises:
        UserError: ray is not installed, or the address is none.
        FailureError: nothing answers there, or not in a way that Ray understands.
    """
    # Nothing is reported to anybody, and nothing of Ray's is printed among our lines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise missing_library("ray", "ray") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",
            "num_cpus": available_cpus(),
            "num_gpus": 0 if device == "cpu" else len(visible_gpus()),
            "object_store_memory": OBJECTS,
            "include_dashboard": False,
        }
    else:
        _check_answers(address)
        options["address"] = address
    try:
        ray.init(**options)
    except Exception as error:  # of any kind, such as a bare one where a machine is overloaded
        raise _no_answer(address or "local", " ".join(str(error).split())) from error
    return ray


def _check_answers(address: str) -> None:
    """Tries the address in a process of its own: Ray itself would try for minutes, and say so."""
    if address != "auto":
        host, port = _split(address)
        try:
            socket.create_connection((host, port), ANSWER_SECONDS).close()
        except OSError as error:
            raise _no_answer(address, str(error)) from error
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-c", _TRY, address],
            capture_output=True,
            text=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"no Ray cluster answers within {CONNECT_SECONDS:.0f} seconds"
        raise _no_answer(address, why) from error
    if asked.returncode:
        lines = [line for line in asked.stderr.splitlines() if line.strip()] or ["it ended"]
        raise _no_answer(address, lines[-1])


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16 or "/" in host:
        raise UserError(f"--address {address}: it is none of {FORMS}")
    return host.strip("[]"), int(port)


def _no_answer(address: str, why: str) -> FailureError:
    return FailureError(
        f"Ray at address {address} cannot be used ({why[:300]}): is it running (`ray status`)?"
    )
