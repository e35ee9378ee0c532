"""What the operating system tells: free ports, memory of processes, sizes of folders, the machine.

Linux only where it reads ``/proc``.
"""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

CORES = 2


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pin_to_cores(count: int = CORES) -> list[int]:
    """Keep this process and its children on the first cores; return those that are used."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return cores


def family(pid: int) -> list[int]:
    """Return a process and everything it has started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def _from_status(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process and its children, shared pages divided among the sharers."""
    total = 0
    for member in family(pid):
        try:
            total += _from_status(Path(f"/proc/{member}/smaps_rollup"), "Pss:")
        except OSError:
            continue
    return total


def resident_bytes(pid: int) -> int:
    """Return the resident memory of one process."""
    return _from_status(Path(f"/proc/{pid}/status"), "VmRSS:")


def processor_s(pid: int) -> float:
    """Return the processor seconds that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """Return how many files and sockets one process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def folder_bytes(folder: Path) -> int:
    """Return the bytes that the files below a folder occupy."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total


def description() -> dict[str, str]:
    """Return what a reader of the results should know about the machine."""
    model = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
        memory = _from_status(Path("/proc/meminfo"), "MemTotal:") / 2**30
    except OSError:
        memory = 0.0
    return {
        "processor": model,
        "cores used": str(len(os.sched_getaffinity(0))),
        "cores there": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
