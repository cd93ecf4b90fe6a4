"""Replays and training reports at the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cost_router.core.words import Label
from infra.quality.curves import QUALITY
from infra.quality.policies import PRECLASSIFIER, RUBRIC
from infra.quality.replay import Replay


def print_replay(console: Console, made: Replay) -> None:
    """The table of policies, and what it says."""
    told = made.json()
    weak, strong = told["weak"], told["strong"]
    console.print(
        f"{len(made.rows):,} prompts; {weak['model']} is right on {weak['quality']:.1%}, {strong['model']} on "
        f"{strong['quality']:.1%}",
        markup=False,
    )
    table = Table()
    for name in ("policy", "APGR", "over length", f"dear calls for {QUALITY:.0%} quality", "$ per 1,000 prompts"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for name, found in made.policies.items():
        if found is None:
            table.add_row(name, "not available", "-", "-", "-")
            continue
        usd = (made.usd_per_thousand or {}).get(name)
        share = found.share
        shares = f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"
        table.add_row(name, str(found.apgr), str(found.over_length), shares, "-" if usd is None else f"${usd}")
    console.print(table)
    if made.usd_per_thousand:
        all_weak, all_strong = made.usd_per_thousand["all weak"], made.usd_per_thousand["all strong"]
        console.print(
            f"$ at the dear calls that {QUALITY:.0%} quality takes; all weak ${all_weak}, all strong ${all_strong}"
        )
    console.print(
        "Intervals are 95 %, by bootstrap over prompts. APGR: 0.5 is chance; docs/routing-quality.md says more."
    )
    if made.policies.get(RUBRIC, True) is None:
        console.print(
            f"{RUBRIC}: no labels for all prompts; give them with --labels (`cost-router evaluate --out FILE`)."
        )
    console.print(
        f"{told['held_out_rows']:,} of the prompts are in the part that `train` holds out: on the others a "
        f"{PRECLASSIFIER} that was trained on this file has seen the outcomes. --held-out replays that part only."
    )


def print_training(console: Console, data: Mapping[str, Any], facts: Mapping[str, Any], out: Path) -> None:
    """What the model is worth on held-out data, and what to do next."""
    found = data["held_out"]
    console.print(f"held out: {found['rows']:,} prompts that nothing was fitted or chosen on")
    console.print(f"coverage: it labels {found['coverage']:.1%} of them by itself", markup=False)
    agreement = found["agreement"]
    if agreement:
        low, high = agreement["interval"]
        value, count = agreement["value"], agreement["n"]
        console.print(f"agreement: {value:.1%} of {count:,}, 95 % interval {low:.1%} to {high:.1%}", markup=False)
    table = Table()
    for name in ("label given", "from chance", "right", "wrong", "not told"):
        table.add_column(name, justify="left" if name == "label given" else "right")
    for label in Label:
        threshold, given = data["thresholds"][label], found["given"][label]
        from_chance = "never given" if threshold is None else f"{threshold:.4f}"
        table.add_row(label, from_chance, *(str(given[name]) for name in ("right", "wrong", "untold")))
    console.print(table)
    size, microseconds = facts["bytes"] / 1_000, facts["microseconds"]
    console.print(f"size: {size:.0f} kB of JSON; {microseconds:.0f} microseconds a prompt on this machine")
    console.print(str(facts["verdict"]), markup=False, soft_wrap=True)
    console.print(f"written: {out}", markup=False, soft_wrap=True)
    console.print(f"next: cost-router evaluate LABELS.jsonl --preclassifier {out}", markup=False, soft_wrap=True)
    console.print(f"then: cost-router routing set --preclassifier {out}", markup=False, soft_wrap=True)
