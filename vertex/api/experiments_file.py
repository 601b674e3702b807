"""Reads the file of experiments, and checks it at start: every problem at once, each with file,
line, field, value and expectation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from pipeline.core.events import MAX_ID_LENGTH
from pipeline.core.experiments import (
    HOLDOUT,
    SLOTS,
    UNITS,
    Assigned,
    Experiment,
    Experiments,
    Unit,
    Units,
    Variant,
)
from pipeline.core.expressions.compiler import Expression, compile_expression
from pipeline.core.expressions.errors import InvalidExpression
from pipeline.core.expressions.fields import FieldTypes, Scalar
from pipeline.core.expressions.scalars import SCALAR_KINDS
from pipeline.core.item_columns import ItemColumns
from pipeline.runtime.environ import InvalidConfig
from pipeline.runtime.yaml_reader import InvalidFile, Node, compose, content_of
from vertex.api.config import Config
from vertex.api.placements import Placement, Placements
from vertex.api.placements_file import MAX_EXPRESSION_LENGTH, PlacementReader

VARIABLE = "FRESHET_EXPERIMENTS"
MAX_SALT_LENGTH = 64
POPULAR = ("popular",)

Changed = Mapping[tuple[str, str, str], Placement]
"""The placement that a variant changes, by experiment, variant and the placement's name."""

# Of visitor and context alone: who takes part does not depend on an item.
_FIELDS = FieldTypes({}, SCALAR_KINDS)
_NO_ITEMS = ItemColumns()
_ONE_ROW = np.zeros(1, np.int32)


@dataclass(frozen=True)
class Trials:
    """Experiments, whom they are meant for, and what their variants change.

    Attributes:
        experiments: see `pipeline.core.experiments`.
        targets: the condition of an experiment that is not meant for everybody.
        changed: see `Changed`.
    """

    experiments: Experiments = field(default_factory=Experiments)
    targets: Mapping[str, Expression] = field(default_factory=dict)
    changed: Changed = field(default_factory=dict)

    def assigned(
        self, units: Units, scalars: Mapping[str, Scalar], now_ms: int
    ) -> Sequence[Assigned]:
        """Who asks, in each experiment that is meant for them."""

        def is_meant(experiment: Experiment) -> bool:
            target = self.targets.get(experiment.name)
            if target is None:
                return True
            return bool(target.mask(_NO_ITEMS.fields, _ONE_ROW, scalars)[0])

        return self.experiments.assigned(units, now_ms, is_meant)

    @property
    def are_none(self) -> bool:
        """True where nobody is in any, nor held out."""
        return not self.experiments.experiments and not self.experiments.holdout_slots

    def placement(self, base: Placement, assigned: Iterable[Assigned]) -> Placement:
        """The placement as the variants change it: at most one of them does."""
        for each in assigned:
            changed = self.changed.get((each.experiment, each.variant.name, base.name))
            if changed is not None:
                return changed
        return base

    def concerning(self, names: Sequence[str], assigned: Sequence[Assigned]) -> list[Assigned]:
        """Those of the assigned whose experiment makes a difference at one of these placements, in
        any variant.
        """
        concerned = {experiment for experiment, _, name in self.changed if name in names}
        return [
            each
            for each in assigned
            if each.experiment in concerned or self._shows_popular(each.experiment)
        ]

    def _shows_popular(self, experiment: str) -> bool:
        if experiment == HOLDOUT:
            return True
        found = (each for each in self.experiments.experiments if each.name == experiment)
        return any(variant.is_popular for each in found for variant in each.variants)


NO_TRIALS = Trials()


def load_trials(config: Config, fields: FieldTypes, placements: Placements) -> Trials:
    """The experiments of `config.experiments`, a file or its text; none where it is empty.

    Args:
        config: with the settings that placements take.
        fields: that expressions of placements may name.
        placements: those that variants change.

    Raises:
        InvalidConfig: naming for every problem file, line, field, value and expectation.
    """
    if not config.experiments:
        return Trials()
    content, file = content_of(VARIABLE, config.experiments)
    try:
        return parse_trials(content, file, config, fields, placements)
    except InvalidFile as error:
        raise InvalidConfig(str(error)) from None


def parse_trials(
    content: bytes, file: str, config: Config, fields: FieldTypes, placements: Placements
) -> Trials:
    """The experiments that `content` holds; `file` names it in messages.

    Raises:
        InvalidFile: naming for every problem file, line, field, value and expectation.
    """
    reader = _Reader(file, config, fields, placements)
    trials = reader.trials(compose(content, file))
    reader.check()
    return trials


class _Reader(PlacementReader):
    """Reads blocks of experiments."""

    def __init__(
        self, file: str, config: Config, fields: FieldTypes, placements: Placements
    ) -> None:
        super().__init__(file, config, fields)
        self._placements = placements
        self._changed: dict[tuple[str, str, str], Placement] = {}
        self._targets: dict[str, Expression] = {}
        self._nodes: dict[str, Node] = {}

    def trials(self, root: Node) -> Trials:
        """All experiments of the file."""
        fields = self.fields(root, "file", (), ("holdout", "experiments"))
        holdout = self._slots(fields.get("holdout"), "holdout")
        found = []
        for key, node in self._blocks(fields.get("experiments")):
            name = self.name(key, "experiments")
            if name == HOLDOUT:
                self.note(key, "experiments", f"another name than {HOLDOUT}", key)
            elif name:
                self._nodes[name] = node
                found.append(self._experiment(node, name))
        self.check_fallbacks(self._placements.by_name)
        self._check_overlaps(found)
        return Trials(Experiments(tuple(found), holdout or 0), self._targets, self._changed)

    def _blocks(self, node: Node) -> list[tuple[Node, Node]]:
        return [] if node is None else self.pairs(node, "experiments")

    def _experiment(self, node: Node, name: str) -> Experiment:
        optional = ("unit", "layer", "from", "traffic", "where", "start", "end", "salt", "force")
        fields = self.fields(node, name, ("variants",), optional)
        unit = self.one_of(fields.get("unit"), f"{name}.unit", UNITS) or "visitor"
        variants = self._variants(fields.get("variants"), name)
        first = self._slots(fields.get("from"), f"{name}.from") or 0
        traffic = self._slots(fields.get("traffic"), f"{name}.traffic")
        traffic = SLOTS - first if traffic is None else traffic
        if first + traffic > SLOTS:
            expected = f"at most {1 - first / SLOTS:g}: the layer ends there"
            self.note(fields["traffic"], f"{name}.traffic", expected, fields["traffic"])
        start_ms = self.time_ms(fields.get("start"), f"{name}.start")
        end_ms = self.time_ms(fields.get("end"), f"{name}.end")
        if start_ms is not None and end_ms is not None and end_ms <= start_ms:
            self.note(fields["end"], f"{name}.end", "a time after the start", fields["end"])
        self._read_target(fields.get("where"), name)
        known: Unit = next(each for each in ("visitor", "account", "session") if each == unit)
        return Experiment(
            name=name,
            variants=variants,
            unit=known,
            layer=self.name(fields.get("layer"), f"{name}.layer"),
            first_slot=first,
            traffic_slots=traffic,
            salt=self.text(fields.get("salt"), f"{name}.salt", MAX_SALT_LENGTH),
            start_ms=start_ms,
            end_ms=end_ms,
            forced=self._forced(fields.get("force"), name, variants),
        )

    def _variants(self, node: Node, path: str) -> tuple[Variant, ...]:
        variants = []
        for key, block in self.pairs(node, f"{path}.variants"):
            name = self.name(key, f"{path}.variants")
            if not name:
                continue
            at = f"{path}.variants.{name}"
            fields = self.fields(block, at, ("share",), ("show", "placements"))
            slots = self._slots(fields.get("share"), f"{at}.share") or 0
            is_popular = self.one_of(fields.get("show"), f"{at}.show", POPULAR) == "popular"
            variants.append(Variant(name, slots, is_popular))
            self._read_placements(fields.get("placements"), path, name, f"{at}.placements")
        together = sum(each.slots for each in variants)
        if variants and together != SLOTS:
            expected = "shares that come to 1 together"
            self.note(node, f"{path}.variants", expected, f"{together / SLOTS:g}")
        return tuple(variants)

    def _read_placements(self, node: Node, experiment: str, variant: str, path: str) -> None:
        if node is None:
            return
        for key, block in self.pairs(node, path):
            name = self.one_of(key, path, self._placements.by_name)
            if name:
                base = self._placements.by_name[name]
                changed = self.changed(block, f"{path}.{name}", base)
                self._changed[experiment, variant, name] = changed

    def _read_target(self, node: Node, name: str) -> None:
        text = self.text(node, f"{name}.where", MAX_EXPRESSION_LENGTH)
        if not text:
            return
        try:
            self._targets[name] = compile_expression(text, _FIELDS)
        except InvalidExpression as error:
            expected = f"{error.expected} at column {error.column}"
            self.note(node, f"{name}.where", expected, error.got)

    def _forced(self, node: Node, path: str, variants: Sequence[Variant]) -> dict[str, str]:
        names = [each.name for each in variants]
        pairs = [] if node is None else self.pairs(node, f"{path}.force")
        found = {
            self.text(key, f"{path}.force", MAX_ID_LENGTH): self.one_of(
                value, f"{path}.force", names
            )
            for key, value in pairs
        }
        return {unit: variant for unit, variant in found.items() if unit and variant}

    def _slots(self, node: Node, path: str) -> int | None:
        """A share as slots; None where it is absent or none."""
        share = self.number(node, path, 0.0, 1.0)
        if share is None:
            return None
        slots = round(share * SLOTS)
        if abs(slots - share * SLOTS) > 1e-6:
            self.note(node, path, "a share of at most four decimals", node)
        return slots

    def _check_overlaps(self, experiments: Sequence[Experiment]) -> None:
        for one, other in combinations(experiments, 2):
            if not _meet(one, other):
                continue
            node = self._nodes[other.name]
            if _share_slots(one, other):
                expected = f"another part of layer {one.layer}: {one.name} has this one"
                self.note(node, other.name, expected, "an overlap")
            if (one.layer or one.name) != (other.layer or other.name):
                both = self._placements_of(one.name) & self._placements_of(other.name)
                for name in sorted(both):
                    expected = f"{name} changed by one layer alone: {one.name} changes it too"
                    self.note(node, other.name, expected, name)

    def _placements_of(self, experiment: str) -> set[str]:
        return {name for found, _, name in self._changed if found == experiment}


def _meet(one: Experiment, other: Experiment) -> bool:
    """True where both run at some moment."""
    ends = [each.end_ms for each in (one, other) if each.end_ms is not None]
    starts = [each.start_ms for each in (one, other) if each.start_ms is not None]
    return not ends or not starts or max(starts) < min(ends)


def _share_slots(one: Experiment, other: Experiment) -> bool:
    """True where both have the same slots of one layer."""
    if not one.layer or one.layer != other.layer:
        return False
    ends = [each.first_slot + each.traffic_slots for each in (one, other)]
    return max(one.first_slot, other.first_slot) < min(ends)
