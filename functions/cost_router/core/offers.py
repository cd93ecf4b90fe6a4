"""What a caller may name as `model`: `auto`, the tiers of the lineup, and every model of the catalogue."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cost_router.core.catalogue import Catalogue, Lineup, Model
from cost_router.core.words import AUTO, Tier

ACTIVE: Final = "active"
DEPRECATED: Final = "deprecated"
RETIRED: Final = "retired"
LIFECYCLES: Final = (ACTIVE, DEPRECATED, RETIRED)


@dataclass(frozen=True, slots=True)
class Offer:
    """One name and what it stands for."""

    id: str
    display_name: str
    released: dt.date | None  # None for `auto`, which is no model
    tier: Tier | None  # the same
    context_window: int  # tokens
    max_output_tokens: int
    retires_on: dt.date | None = None

    def lifecycle(self, today: dt.date) -> str:
        """Its stage on a UTC day: from the day of its retirement on, Claude refuses a model."""
        if self.retires_on is None:
            return ACTIVE
        return RETIRED if today >= self.retires_on else DEPRECATED


@dataclass(frozen=True, slots=True)
class Offers:
    """Everything that is accepted as `model`, in the order of the API: what the router adds, then the newest first."""

    catalogue: Catalogue
    lineup: Lineup

    def all(self) -> tuple[Offer, ...]:
        """Every name but the dated aliases."""
        models = [self.catalogue.model(id_) for id_ in self.catalogue.ids]
        newest_first = sorted(models, key=lambda model: model.released, reverse=True)
        return (self._auto(), *(self._tier(tier) for tier in Tier), *(_of_model(model) for model in newest_first))

    def find(self, name: str) -> Offer:
        """What a name stands for, dated aliases among them; raises `UnknownModel` with what is accepted."""
        found = next((offer for offer in self.all() if offer.id == name), None)
        return found or _of_model(self.catalogue.model(name))

    def _auto(self) -> Offer:
        """A request goes to a model that can take it, so that it may be as large as the largest takes."""
        models = self.lineup.models.values()
        return Offer(
            id=AUTO,
            display_name=f"Auto ({_either(model.display_name for model in models)})",
            released=None,
            tier=None,
            context_window=max(model.context_window for model in models),
            max_output_tokens=max(model.max_output_tokens for model in models),
        )

    def _tier(self, tier: Tier) -> Offer:
        """A tier is not retired with the model that serves it today."""
        model = self.lineup.models[tier]
        return Offer(
            id=tier.word,
            display_name=f"{tier.word.capitalize()} tier ({model.display_name})",
            released=model.released,
            tier=tier,
            context_window=model.context_window,
            max_output_tokens=model.max_output_tokens,
        )


def _of_model(model: Model) -> Offer:
    return Offer(
        id=model.id,
        display_name=model.display_name,
        released=model.released,
        tier=model.tier,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        retires_on=model.retires_on,
    )


def _either(names: Iterable[str]) -> str:
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} or {last}" if others else last
