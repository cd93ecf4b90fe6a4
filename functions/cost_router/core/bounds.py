"""The floors and ceilings that come with a request: its caller's and its tenant's."""

from collections.abc import Iterable

from cost_router.core.policy import Bound
from cost_router.core.request import Request


def floors(request: Request) -> Iterable[Bound]:
    """The lowest tiers that somebody asks for."""
    if request.hints.floor:
        yield Bound(request.hints.floor, "floor")
    if request.tenant.floor:
        yield Bound(request.tenant.floor, "tenant-floor")


def ceilings(request: Request) -> Iterable[Bound]:
    """The highest tiers that somebody allows."""
    if request.hints.ceiling:
        yield Bound(request.hints.ceiling, "ceiling")
    if request.tenant.ceiling:
        yield Bound(request.tenant.ceiling, "tenant-ceiling")
