"""The composition root of the HTTPS entrance: the endpoints and what each of them reaches."""

from collections.abc import Mapping

from starlette.applications import Starlette

from cost_router.adapters.aws import Aws
from cost_router.handlers import wiring
from cost_router.handlers.app import Parts, make_app
from cost_router.handlers.front import Front
from cost_router.handlers.outside import Outside
from cost_router.handlers.settings import RouterSettings, Settings


def app(env: Mapping[str, str], aws: Aws) -> Starlette:
    """The app over the real outside; raises `BadSetting` for an environment that will not do."""
    settings, https = Settings.read(env), RouterSettings.read(env)
    out = wiring.outside(settings, aws)
    return make_app(front(settings, https, out), parts(settings, aws))


def front(settings: Settings, https: RouterSettings, out: Outside) -> Front:
    """What all endpoints share, over an outside, real or not."""
    return Front(wiring.router(settings, out), out, https)


def parts(settings: Settings, aws: Aws) -> Parts:
    """What single endpoints need, over AWS."""
    return Parts(reader=wiring.ledger(settings, aws))
