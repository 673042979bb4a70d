"""What one call in a child process may use: see `litemill.process.contained`."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one call may use.

    Attributes:
        cpu_seconds: Processor time. It hardly depends on how busy the machine is.
        seconds: Time by the clock, for what waits without computing.
        memory: Bytes beyond what the child has in use already.
    """

    cpu_seconds: float = 8.0
    seconds: float = 120.0
    memory: int = 1024 * MIB

    @classmethod
    def for_size(cls, size: int) -> Limits:
        """Limits that grow with what there is to read: a healthy file takes a tenth of them on a slow machine.

        Args:
            size: Bytes of the file, or of what it unpacks to.
        """
        mib = size / MIB
        return cls(cpu_seconds=8.0 + 5.0 * mib, seconds=120.0 + 10.0 * mib, memory=1024 * MIB + 10 * size)
