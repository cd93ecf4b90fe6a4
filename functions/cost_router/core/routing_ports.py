"""What the rules of routing need of the outside world, beside `core/ports.py`."""

from typing import Protocol

from cost_router.core.arms import Plan


class Plans(Protocol):
    """How requests are to be decided."""

    async def current(self) -> Plan:
        """The plan in force. It never fails: what cannot be read anew stays as it was."""
