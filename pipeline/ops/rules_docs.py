"""Rules as text for people: spans, conditions, and the tables of docs/rules.md."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.features.visitor import VISITOR_FEATURES
from pipeline.core.rules import AnomalyRule, CampaignRule, Condition, Rules
from pipeline.runtime.generated_parts import with_part
from pipeline.runtime.yaml_reader import span_text

BEGIN = "<!-- rules: begin, written by `python -m pipeline.ops.rules_file --docs` -->"
END = "<!-- rules: end -->"


def tables(rules: Rules) -> str:
    """The rules as Markdown: a table of campaigns, one of anomalies, and one of the visitor's
    features they name.
    """
    campaigns = [
        (
            f"`{rule.name}`",
            _sentence(rule.conditions),
            span_text(rule.cooldown_ms),
            rule.channel,
            _carried(rule),
        )
        for rule in rules.campaigns
    ]
    anomalies = [
        (f"`{rule.name}`", rule.of, _sentence(rule.conditions), rule.severity, _marks(rule))
        for rule in rules.anomalies
    ]
    named = {condition.signal for rule in rules.campaigns for condition in rule.conditions}
    named |= {
        condition.signal for rule in rules.anomalies_of("visitor") for condition in rule.conditions
    }
    named |= {name for rule in rules.campaigns for name in rule.payload}
    features = [
        (
            f"`{feature.name}`",
            feature.meaning,
            feature.formula,
            f"{feature.unit} {feature.range}".strip(),
        )
        for feature in VISITOR_FEATURES
        if feature.name in named
    ]
    return "\n".join(
        [
            *_table(("campaign", "due when", "cooldown", "channel", "carries"), campaigns),
            "",
            *_table(("anomaly", "of", "found when", "severity", "marks"), anomalies),
            "",
            *_table(("signal", "means", "computed as", "values"), features),
        ]
    )


def documented(text: str, rules: Rules) -> str:
    """`text` with the tables of `rules` between the two markers.

    Raises:
        ValueError: when `text` lacks a marker.
    """
    return with_part(text, BEGIN, END, tables(rules))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _sentence(conditions: Sequence[Condition]) -> str:
    return ", ".join(f"`{c.signal}` {c.bound.replace('_', ' ')} {_value(c)}" for c in conditions)


def _value(condition: Condition) -> str:
    if condition.signal.endswith("_s") and condition.value:
        return span_text(round(condition.value * 1000))
    return f"{condition.value:g}"


def _carried(rule: CampaignRule) -> str:
    return ", ".join(f"`{name}`" for name in rule.payload) or "the signals of its conditions"


def _marks(rule: AnomalyRule) -> str:
    span = span_text(rule.mark_for_ms)
    return f"for {span}" if rule.marks else f"no; told again after {span}"
