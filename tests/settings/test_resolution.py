"""Resolution of settings from layers, with the origin of each value."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.settings import COMMAND_LINE, Layer, Settings, place, resolve, setting


class Part(NamedTuple):
    number: int


def _part(text: str) -> Part:
    if not text.isdecimal():
        raise UserError(f"part {text}: give a number")
    return Part(int(text))


@dataclasses.dataclass(frozen=True)
class Size(Settings):
    hidden_size: int = setting(meaning="width", at_least=1)
    heads: int = setting(1, "attention heads")

    def check_together(self) -> None:
        if self.hidden_size % self.heads:
            raise UserError(f"hidden_size {self.hidden_size} is not a multiple of {self.heads}")


@dataclasses.dataclass(frozen=True)
class Words(Settings):
    kind: str = setting("jieba", "word segmenter")
    hmm: bool = setting(True, "use the model")


@dataclasses.dataclass(frozen=True)
class Run(Settings):
    model: Size
    rate: float = setting(0.1, "peak rate", above=0, flags=("--lr",))
    limit: int | None = setting(None, "steps", at_least=1)
    part: Part | None = setting(None, "share", parse=_part)
    words: Words | None = setting(None, "word boundaries", plain="kind")
    files: tuple[str, ...] = ()


RECIPE = Layer("recipe small", {"model": {"hidden_size": 8}, "rate": "5e-1", "files": ["a"]})


def test_later_layers_override_earlier_ones() -> None:
    given = {"hidden_size": "4", "model.heads": "2", "limit": "none", "part": "3"}
    resolved = resolve(Run, [RECIPE, Layer(COMMAND_LINE, given)])
    assert resolved.settings == Run(Size(4, 2), rate=0.5, part=Part(3), files=("a",))
    origins = {key: resolved.origin(key) for key in ("rate", "model.heads", "files", "words.hmm")}
    assert origins == {
        "rate": "recipe small",
        "model.heads": "command line",
        "files": "recipe small",
        "words.hmm": "default",
    }


def test_built_settings_may_be_a_layer_s_value() -> None:
    layers = [Layer("the run", {"model": Size(6, 3)}), Layer(COMMAND_LINE, {"heads": "2"})]
    assert resolve(Run, layers).settings.model == Size(6, 2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([{"words": "spaces"}], Words("spaces")),
        ([{"words": {"kind": "spaces", "hmm": False}}], Words("spaces", hmm=False)),
        ([{"words": "jieba"}, {"hmm": "false"}], Words(hmm=False)),
        ([{"hmm": False}, {"words.kind": "spaces"}], Words("spaces", hmm=False)),
        ([{"words": "jieba", "hmm": False}, {"words": "none"}], None),
        ([{"words": "none"}, {"words": "jieba"}], Words()),
        ([{}], None),
    ],
)
def test_an_optional_section_is_there_if_one_of_its_values_is(
    values: list[dict[str, Any]], words: Words | None
) -> None:
    layers = [RECIPE, *(Layer("a file", value) for value in values)]
    assert resolve(Run, layers).settings.words == words


@pytest.mark.parametrize(
    ("values", "origin", "error", "message"),
    [
        ({"rat": 1}, "my.yaml", UsageError, r'my.yaml: unknown setting "rat". Did you mean "rate"'),
        ({"rate": "x"}, "my.yaml", UserError, "my.yaml: rate must be a number; received 'x'"),
        ({"rate": "x"}, COMMAND_LINE, UsageError, "^rate must be a number; received 'x'"),
        ({"rate": 0}, "my.yaml", UsageError, "my.yaml: rate must be above 0; received 0.0"),
        ({"lr": 1, "rate": 2}, "my.yaml", UsageError, "my.yaml: rate is given twice: remove one"),
        ({"heads": 3}, COMMAND_LINE, UserError, "hidden_size 8 is not a multiple of 3"),
        ({"hmm": "false"}, COMMAND_LINE, UsageError, "hmm applies only with words: set words too"),
        ({"part": "x"}, "my.yaml", UserError, "my.yaml: part x: give a number"),
    ],
)
def test_wrong_values_are_named_with_their_origin(
    values: dict[str, Any], origin: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolve(Run, [RECIPE, Layer(origin, values)])


def test_missing_settings_are_named() -> None:
    with pytest.raises(UserError, match="required settings are missing: hidden_size"):
        resolve(Run, [Layer("x", {"heads": 1})])


def test_values_are_placed_under_their_full_keys() -> None:
    assert place(Run, {"lr": "1", "hidden_size": "2", "words": "jieba"}) == {
        "rate": 1.0,
        "model.hidden_size": 2,
        "words.kind": "jieba",
    }
