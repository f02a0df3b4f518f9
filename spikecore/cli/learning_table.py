"""The table ``[train.learning]`` of a run file: how gradients are computed, or local rules by the names of layers."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Annotated, Literal, get_args

from spikecore import plasticity
from spikecore.api.learning.learning import ways
from spikecore.api.learning.local_rule import Weighing
from spikecore.api.learning.plasticity import additive, proportional
from spikecore.backprop import Learning
from spikecore.cli.schema import TYPES, Kind, fields_of, model_of, models_of, named, one_of, tagged
from spikecore.plasticity import LocalRule

WEIGHINGS: Dict[str, Weighing] = {"proportional": proportional, "additive": additive}
NONE = "none"  # TOML has no word for None
TYPES[Weighing] = Literal["proportional", "additive"]


def _number_or_none(value: Any) -> Any:
    if value == NONE or isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be a number, or {NONE!r}")


def _rule(name: str, rule: Callable[..., Any]) -> Any:
    """The table of a rule or limit. Its layer is the key under which it stands. What TOML cannot say has a word."""
    words: Dict[str, Dict[Any, Any]] = {}  # by option: what each word means
    fields = {key: option for key, option in fields_of(rule).items() if key != "layer"}
    for key, (kind, default) in fields.items():
        if kind == TYPES[Weighing]:
            words[key], fields[key] = WEIGHINGS, (kind, "proportional")
        elif default is not None and type(None) in get_args(kind):
            words[key], fields[key] = {NONE: None}, (Annotated[Any, AfterValidator(_number_or_none)], default)

    def make(**given: Any) -> Any:
        return rule(**{key: words.get(key, {}).get(value, value) for key, value in given.items()})

    model = model_of(name, make, fields, kind=(Literal[name], name))  # type: ignore[valid-type]
    model.__doc__ = rule.__doc__
    return model


PLASTIC = {
    **named(LocalRule, plasticity),
    **{kind.__name__: kind for kind in (plasticity.AdaptiveThreshold, plasticity.Bounds, plasticity.Normalize)},
}
AnyRule = one_of(tuple(_rule(name, rule) for name, rule in sorted(PLASTIC.items())), "kind")
AnyReward = tagged({"ClassReward": plasticity.ClassReward})


def _rules(value: Any) -> Any:
    """Put a rule that stands alone into a list, and refuse a table of rules whose name lacks its quotes."""
    parts = [name for name, part in value.items() if name != "kind" and _is_rule(part)] if type(value) is dict else []
    if parts:
        raise ValueError(
            f'has a part {parts[0]!r}, and rules have none: a name with a dot needs quotes, e.g. "1.{parts[0]}" = ...; '
            "in a shell, others around them: --set 'train.learning.rules.\"1.connection\"=STDP'"
        )
    return [value] if isinstance(value, (str, dict)) else value


def _is_rule(value: Any) -> bool:
    kinds = [part.get("kind") if isinstance(part, dict) else part for part in _listed(value)]
    return bool(kinds) and all(isinstance(kind, str) and kind in PLASTIC for kind in kinds)


def _listed(value: Any) -> List[Any]:
    return value if isinstance(value, list) else [value]


class PlasticityTable(Kind):
    """Local rules, without gradients."""

    kind: Literal["Plasticity"] = "Plasticity"
    rules: Dict[str, Annotated[List[AnyRule], BeforeValidator(_rules)]] = Field(  # type: ignore[valid-type]
        min_length=1, description="by the name of a layer, a rule or several, and limits of its weights"
    )
    reduction: Literal["mean", "sum"] = Field("mean", description="what the changes of a batch's samples become")
    reward: Optional[AnyReward] = Field(None, description="the reward of RewardSTDP")  # type: ignore[valid-type]
    keep_zeros: bool = Field(False, description="whether connections of weight zero stay zero")
    update_every: Optional[int] = Field(None, ge=1, description="steps between two changes of the parameters")

    target = plasticity.Plasticity

    def make(self) -> plasticity.Plasticity:
        """The rules by layer."""
        rules = {
            name: tuple(rule.make() for rule in entries)  # type: ignore[attr-defined]
            for name, entries in self.rules.items()
        }
        reward = None if self.reward is None else self.reward.make()
        return plasticity.Plasticity(rules, self.reduction, reward, self.keep_zeros, self.update_every)

    @model_validator(mode="after")
    def _rewarded(self) -> PlasticityTable:
        if self.make().rewarded and self.reward is None:
            raise ValueError('RewardSTDP needs a reward: reward = "ClassReward"')
        return self


AnyLearning = one_of((*models_of(dict(ways())), PlasticityTable), "kind", "bptt", own=(Learning,))


def is_plasticity(value: Any) -> bool:
    """Whether a table ``learning``, which may have any mistake, is one of local rules."""
    kind = value.get("kind") if isinstance(value, dict) else value
    return isinstance(value, PlasticityTable) or kind == "Plasticity"
